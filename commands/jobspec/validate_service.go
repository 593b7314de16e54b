package jobspec

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"drover/eventlog/event"
)

// serviceName is a label of a host's name, which is what a service is found by.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// services checks the services of a group and of its tasks. Nothing registers them yet; what is stored now must be right
// when something does.
func (v *validator) services(g *event.TaskGroup, path string) {
	provider := ""
	seen := map[string]bool{}
	check := func(at, task string, list []event.Service) {
		for i := range list {
			s := &list[i]
			here := at + ".service." + s.Name
			v.service(g, s, here, task)
			if key := fmt.Sprint(s.Name, "\x00", task, "\x00", s.PortLabel); seen[key] {
				v.fail(here, "defined more than once with the port %q", s.PortLabel)
			} else {
				seen[key] = true
			}
			if provider == "" {
				provider = s.Provider
			}
			if s.Provider != provider {
				v.fail(here+".provider", "%q: all services of a group have one provider, and another has %q", s.Provider, provider)
			}
		}
	}
	check(path, "", g.Services)
	for _, t := range g.Tasks {
		check(path+".task."+t.Name, t.Name, t.Services)
	}
}

// service checks one service; task is empty for one of the group.
func (v *validator) service(g *event.TaskGroup, s *event.Service, path, task string) {
	if !serviceName.MatchString(s.Name) && !hasTarget(s.Name) {
		v.fail(path+".name", "%q is not valid per RFC 1123: at most 63 letters, digits and dashes", s.Name)
	}
	v.oneOf(path+".provider", s.Provider, "consul", "nomad")
	v.addressMode(path+".address_mode", s.AddressMode, task)
	if s.Address != "" && s.AddressMode != "auto" {
		v.fail(path+".address", "goes with address_mode auto only, not %q", s.AddressMode)
	}
	v.oneOf(path+".on_update", s.OnUpdate, "require_healthy", "ignore_warnings", "ignore")
	reached := s.AddressMode
	if task == "" && s.Connect != nil && s.Connect.SidecarService != nil && reached == "auto" {
		reached = "alloc" // by its proxy, in the network that they share
	}
	v.port(g, path+".port", s.PortLabel, reached)
	if s.TaskName != "" {
		v.taskOf(g, path+".task", s.TaskName, task)
	}
	if w := s.Weights; w != nil && (w.Passing < 0 || w.Warning < 0) {
		v.fail(path+".weights", "passing %d and warning %d must not be negative", w.Passing, w.Warning)
	}
	if s.Connect != nil {
		v.connect(path+".connect", s, task)
	}
	if r := s.CheckRestart; r != nil {
		v.checkRestart(path+".check_restart", r)
	}
	for i := range s.Checks {
		v.check(g, s, &s.Checks[i], fmt.Sprintf("%s.check[%d]", path, i), task)
	}
}

func (v *validator) addressMode(path, mode, task string) {
	modes := []string{"auto", "host", "alloc", "alloc_ipv6"}
	if task != "" {
		modes = append(modes, "driver")
	} else if mode == "driver" {
		v.fail(path, `"driver" is for the services of a task`)
		return
	}
	v.oneOf(path, mode, modes...)
}

// port checks the label of a port, which the group's network must have.
func (v *validator) port(g *event.TaskGroup, path, label, mode string) {
	if label == "" || hasTarget(label) {
		return
	}
	if number, err := strconv.Atoi(label); err == nil {
		if mode != "alloc" && mode != "alloc_ipv6" && mode != "driver" {
			v.fail(path, "a number, %d, goes with address_mode alloc or driver; else it is the label of a port", number)
		} else if number < 1 || number > 65535 {
			v.fail(path, "%d is not between 1 and 65535", number)
		}
		return
	}
	for _, n := range g.Networks {
		for _, list := range [][]event.Port{n.ReservedPorts, n.DynamicPorts} {
			if slices.ContainsFunc(list, func(p event.Port) bool { return p.Label == label }) {
				return
			}
		}
	}
	v.fail(path, "the group's network has no port %q", label)
}

// taskOf checks the name of the task that a service, or a check, is about.
func (v *validator) taskOf(g *event.TaskGroup, path, name, task string) {
	switch {
	case task != "" && name != task:
		v.fail(path, "%q is another task than the one that the service is in", name)
	case !slices.ContainsFunc(g.Tasks, func(t *event.Task) bool { return t.Name == name }):
		v.fail(path, "the group has no task %q", name)
	}
}

func (v *validator) connect(path string, s *event.Service, task string) {
	c := s.Connect
	if s.Provider != "consul" {
		v.fail(path, "goes with provider consul only, not %q", s.Provider)
	}
	if task != "" && !c.Native {
		v.fail(path, "only the services of a group are connected")
	}
	kinds := 0
	for _, there := range []bool{c.Native, c.SidecarService != nil, c.Gateway != nil} {
		if there {
			kinds++
		}
	}
	if kinds != 1 {
		v.fail(path, "exactly one of native, sidecar_service and gateway is required, not %d", kinds)
	}
}

func (v *validator) checkRestart(path string, r *event.CheckRestart) {
	if r.Limit < 0 {
		v.fail(path+".limit", "%d is negative", r.Limit)
	}
	if r.Grace < 0 {
		v.fail(path+".grace", "%s is negative", r.Grace)
	}
}

var httpMethods = []string{
	"", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

func (v *validator) check(g *event.TaskGroup, s *event.Service, c *event.ServiceCheck, path, task string) {
	kinds := []string{"http", "tcp", "script", "grpc"}
	if s.Provider == "nomad" {
		kinds = kinds[:2]
	}
	switch kind := strings.ToLower(c.Type); {
	case kind == "":
		v.fail(path+".type", "is required")
	case !slices.Contains(kinds, kind):
		v.fail(path+".type", "%q is not one of %s with provider %s", c.Type, strings.Join(kinds, ", "), s.Provider)
	case kind == "script":
		if c.Command == "" {
			v.fail(path+".command", "is required for a script")
		}
		if task == "" && c.TaskName == "" && s.TaskName == "" {
			v.fail(path+".task", "is required: a script of a group's service runs in a task")
		}
	default:
		v.probe(s, c, path, kind)
	}
	v.span(path+".interval", c.Interval)
	v.span(path+".timeout", c.Timeout)
	if c.AddressMode != "" {
		v.addressMode(path+".address_mode", c.AddressMode, task)
	}
	mode := c.AddressMode
	if mode == "" {
		mode = s.AddressMode
	}
	v.port(g, path+".port", c.PortLabel, mode)
	if c.TaskName != "" {
		v.taskOf(g, path+".task", c.TaskName, task)
	}
	v.ifAny(path+".initial_status", c.InitialStatus, "passing", "warning", "critical", "pending")
	v.ifAny(path+".on_update", c.OnUpdate, "require_healthy", "ignore_warnings", "ignore")
	if c.OnUpdate == "ignore" && c.CheckRestart != nil {
		v.fail(path+".check_restart", "does not go with on_update ignore")
	}
	if n := utf8.RuneCountInString(c.Notes); n > checkNotesMax {
		v.fail(path+".notes", "has %d characters, more than %d", n, checkNotesMax)
	}
	for _, n := range []struct {
		name  string
		count int
	}{
		{"success_before_passing", c.SuccessBeforePassing},
		{"failures_before_critical", c.FailuresBeforeCritical},
		{"failures_before_warning", c.FailuresBeforeWarning},
	} {
		if n.count < 0 {
			v.fail(path+"."+n.name, "%d is negative", n.count)
		}
	}
	if r := c.CheckRestart; r != nil {
		v.checkRestart(path+".check_restart", r)
	}
}

// probe checks what asks over the network.
func (v *validator) probe(s *event.Service, c *event.ServiceCheck, path, kind string) {
	if s.PortLabel == "" && c.PortLabel == "" && !c.Expose {
		v.fail(path+".port", "is required: neither the check nor its service names one")
	}
	if kind != "http" {
		return
	}
	switch u, err := url.Parse(c.Path); {
	case c.Path == "":
		v.fail(path+".path", "is required for http")
	case hasTarget(c.Path):
	case err != nil:
		v.fail(path+".path", "%q is no path: %v", c.Path, err)
	case u.IsAbs():
		v.fail(path+".path", "%q is not relative: it begins with a scheme", c.Path)
	}
	if !slices.Contains(httpMethods, strings.ToUpper(c.Method)) {
		v.fail(path+".method", "%q is no method of HTTP", c.Method)
	}
	v.ifAny(path+".protocol", strings.ToLower(c.Protocol), "http", "https")
}

// ifAny checks a word that may be left out.
func (v *validator) ifAny(path, value string, allowed ...string) {
	if value != "" {
		v.oneOf(path, value, allowed...)
	}
}

// span checks a time that a check needs.
func (v *validator) span(path string, d time.Duration) {
	switch {
	case d == 0:
		v.fail(path, "is required")
	case d < time.Second:
		v.fail(path, "%s is less than 1s", d)
	}
}
