package jobspec

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"drover/eventlog/event"
)

// Rules for what surrounds a task: who it is to others, what it may ask them for, what may be asked of it.

func (v *validator) extras(t *event.Task, path string) {
	if t.Identity != nil {
		v.identity(path+".identity", t.Identity)
	}
	for i := range t.Identities {
		v.identity(path+".identity."+t.Identities[i].Name, &t.Identities[i])
	}
	if t.Vault != nil {
		v.oneOf(path+".vault.change_mode", t.Vault.ChangeMode, "restart", "noop", "signal")
		if s := t.Vault.ChangeSignal; s != "" && !slices.Contains(signals, strings.ToUpper(s)) {
			v.fail(path+".vault.change_signal", "%q is no signal", s)
		}
	}
	for _, s := range t.Secrets {
		at := path + ".secret." + s.Name
		if s.Name == "" {
			at = path + ".secret"
			v.fail(at, "a name is required")
		}
		if s.Provider == "" {
			v.fail(at+".provider", "is required: nomad, vault or the name of a plugin")
		}
	}
	v.actions(t, path)
	if c := t.CSIPluginConfig; c != nil {
		if c.ID == "" {
			v.fail(path+".csi_plugin.id", "is required")
		}
		v.oneOf(path+".csi_plugin.type", c.Type, "node", "controller", "monolith")
	}
	if t.DispatchPayload != nil {
		v.dispatchPayload(path+".dispatch_payload", t.DispatchPayload)
	}
}

var identityName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (v *validator) identity(path string, w *event.WorkloadIdentity) {
	if !identityName.MatchString(w.Name) {
		v.fail(path+".name", "%q is not 1 to 128 letters, digits, dashes and underscores", w.Name)
	}
	v.ifAny(path+".change_mode", w.ChangeMode, "noop", "restart", "signal")
	if w.ChangeSignal != "" && !slices.Contains(signals, strings.ToUpper(w.ChangeSignal)) {
		v.fail(path+".change_signal", "%q is no signal", w.ChangeSignal)
	}
	if w.Filepath != "" {
		switch {
		case !w.File:
			v.fail(path+".filepath", "needs file = true")
		case escapes("task", w.Filepath):
			v.fail(path+".filepath", "%q leads out of the allocation's directory", w.Filepath)
		}
	}
	if w.TTL < 0 {
		v.fail(path+".ttl", "%s is negative", w.TTL)
	}
	if w.Name == "default" {
		if w.TTL > 0 {
			v.fail(path+".ttl", "is not for the default identity, which lives as long as its allocation")
		}
		return
	}
	if len(w.Audience) == 0 {
		v.warn(path+".aud", "is not given: whoever is shown the identity can use it elsewhere")
	}
	if w.TTL == 0 {
		v.warn(path+".ttl", "is not given: the identity does not expire")
	}
}

func (v *validator) actions(t *event.Task, path string) {
	seen := map[string]bool{}
	for _, a := range t.Actions {
		at := path + ".action." + a.Name
		switch {
		case a.Name == "":
			at = path + ".action"
			v.fail(at, "a name is required")
		case utf8.RuneCountInString(a.Name) > actionNameMax:
			v.fail(at, "the name has more than %d characters", actionNameMax)
		case strings.ContainsFunc(a.Name, unicode.IsSpace):
			v.fail(at, "the name %q contains a space", a.Name)
		case seen[a.Name]:
			v.fail(at, "defined more than once")
		}
		seen[a.Name] = true
		if a.Command == "" {
			v.fail(at+".command", "is required")
		}
	}
}

// deviceName is [vendor/]type[/name].
var deviceName = regexp.MustCompile(`^[^/]+(/[^/]+){0,2}$`)

func (v *validator) devices(path string, r event.Resources) {
	for _, d := range r.Devices {
		at := path + ".device." + d.Name
		switch {
		case d.Name == "":
			at = path + ".device"
			v.fail(at, "a name is required")
		case !deviceName.MatchString(d.Name):
			v.fail(at, "%q is not of the form [vendor/]type[/name]", d.Name)
		}
		if d.Count < 1 {
			v.fail(at+".count", "%d is less than 1", d.Count)
		}
		v.constraints(at, d.Constraints, false)
		v.affinities(at, d.Affinities)
	}
	if r.NUMA != nil {
		v.oneOf(path+".numa.affinity", r.NUMA.Affinity, "none", "prefer", "require")
	}
}
