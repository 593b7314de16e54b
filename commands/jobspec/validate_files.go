package jobspec

import (
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drover/eventlog/event"
)

// Rules for what is put into a task's directories before it starts.

// escapes tells whether a path, taken as one below dir, leads out of the allocation's directory, which dir is in. Where it
// holds a target, the node looks again when it knows more.
func escapes(dir, destination string) bool {
	return !within(path.Join(dir, destination))
}

func within(relative string) bool { return relative != ".." && !strings.HasPrefix(relative, "../") }

var forcedGetter = regexp.MustCompile(`^([A-Za-z0-9]+)(?:::|://)`)

// foreignGetter is the way of fetching that a source names, where no node knows it; "" for any other source.
func foreignGetter(source string) string {
	m := forcedGetter.FindStringSubmatch(source)
	if m == nil || slices.Contains([]string{"http", "https", "git", "ssh", "file"}, m[1]) {
		return ""
	}
	return m[1]
}

func (v *validator) artifact(path string, a *event.TaskArtifact) {
	if a.GetterSource == "" {
		v.fail(path+".source", "is required")
	}
	v.oneOf(path+".mode", a.GetterMode, "any", "file", "dir")
	if escapes("task", a.RelativeDest) {
		v.fail(path+".destination", "%q leads out of the allocation's directory", a.RelativeDest)
	}
	if sum, ok := a.GetterOptions["checksum"]; ok {
		v.checksum(path+".options.checksum", sum)
	}
}

// digestBytes is how long the digests of the known kinds are.
var digestBytes = map[string]int{"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}

func (v *validator) checksum(path, text string) {
	if hasTarget(text) {
		return
	}
	kind, digits, found := strings.Cut(text, ":")
	want := digestBytes[kind]
	switch digest, err := hex.DecodeString(digits); {
	case !found:
		v.fail(path, "%q is not of the form type:digest, as in sha256:9f86…", text)
	case want == 0:
		v.fail(path, "%q is not one of md5, sha1, sha256, sha512", kind)
	case err != nil:
		v.fail(path, "%q is no hexadecimal number", digits)
	case len(digest) != want:
		v.fail(path, "a digest of %s has %d digits, not %d", kind, 2*want, len(digits))
	}
}

// templates checks those of a task together: each has a file of its own.
func (v *validator) templates(at string, list []event.Template) {
	first := map[string]int{}
	for i := range list {
		here := fmt.Sprintf("%s.template[%d]", at, i)
		v.template(here, &list[i])
		if list[i].DestPath == "" {
			continue
		}
		file := list[i].DestPath
		if !hasTarget(file) {
			file = path.Join("/", file)
		}
		if other, taken := first[file]; taken {
			v.fail(here+".destination", "%q is the destination of template[%d] already", list[i].DestPath, other)
			continue
		}
		first[file] = i
	}
}

func (v *validator) template(path string, t *event.Template) {
	switch {
	case t.SourcePath == "" && t.EmbeddedTmpl == "":
		v.fail(path, "source or data is required")
	case t.SourcePath != "" && t.EmbeddedTmpl != "":
		v.fail(path, "source and data cannot both be given")
	}
	switch {
	case t.DestPath == "":
		v.fail(path+".destination", "is required")
	case escapes("task", t.DestPath):
		v.fail(path+".destination", "%q leads out of the allocation's directory", t.DestPath)
	}
	if _, err := strconv.ParseUint(t.Perms, 8, 12); err != nil {
		v.fail(path+".perms", `%q is no octal number such as "0644"`, t.Perms)
	}
	v.oneOf(path+".change_mode", t.ChangeMode, "restart", "signal", "noop", "script")
	if t.ChangeMode == "signal" && t.Envvars {
		v.fail(path+".env", "is not allowed with change_mode signal: a running process does not see it")
	}
	if t.ChangeSignal != "" && !slices.Contains(signals, t.ChangeSignal) {
		v.fail(path+".change_signal", "%q is no signal", t.ChangeSignal)
	}
	if t.ChangeMode == "script" && (t.ChangeScript == nil || t.ChangeScript.Command == "") {
		v.fail(path+".change_script", "is required with change_mode script")
	}
	if t.Splay < 0 {
		v.fail(path+".splay", "%s is negative", t.Splay)
	}
	if w := t.Wait; w != nil && w.Max < w.Min {
		v.fail(path+".wait", "max %s is less than min %s", w.Max, w.Min)
	}
}

// volume checks a request for one. Of what a plugin may offer only the plugin knows more.
func (v *validator) volume(g *event.TaskGroup, path string, r event.VolumeRequest) {
	if r.Source == "" {
		v.fail(path+".source", "is required")
	}
	switch r.Type {
	case "host":
		v.ifAny(path+".access_mode", r.AccessMode,
			"single-node-reader-only", "single-node-writer", "single-node-single-writer", "single-node-multi-writer")
		if r.AccessMode == "single-node-reader-only" && !r.ReadOnly {
			v.fail(path+".access_mode", "%q needs read_only = true", r.AccessMode)
		}
		if r.MountOptions != nil {
			v.fail(path+".mount_options", "are for volumes of the type csi only")
		}
	case "csi":
		if r.AccessMode == "" {
			v.fail(path+".access_mode", "is required for a volume of the type csi")
		}
		if r.AttachmentMode == "" {
			v.fail(path+".attachment_mode", "is required for a volume of the type csi")
		}
		if r.MountOptions != nil && r.AttachmentMode != "file-system" && r.AttachmentMode != "" {
			v.fail(path+".mount_options", "go with attachment_mode file-system, not %q", r.AttachmentMode)
		}
		if strings.HasPrefix(r.AccessMode, "single-node-") && strings.HasSuffix(r.AccessMode, "writer") && g.Count > 1 && !r.PerAlloc {
			v.fail(path+".access_mode", "%q is for one allocation, and the count is %d; per_alloc gives each a volume of its own", r.AccessMode, g.Count)
		}
	default:
		v.fail(path+".type", "%q is not one of host, csi", r.Type)
	}
	if !r.PerAlloc {
		return
	}
	if event.EveryNode(v.job.Type) {
		v.fail(path+".per_alloc", "is not for %s jobs: their allocations have no numbers", v.job.Type)
	}
	if g.Update != nil && g.Update.Canary > 0 {
		v.fail(path+".per_alloc", "does not go with canaries, which would share the volume of another allocation")
	}
	if r.Sticky {
		v.fail(path+".per_alloc", "does not go with sticky")
	}
}

func (v *validator) volumeMounts(g *event.TaskGroup, t *event.Task, path string) {
	for i, m := range t.VolumeMounts {
		at := path + ".volume_mount"
		if len(t.VolumeMounts) > 1 {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		if _, ok := g.Volumes[m.Volume]; !ok {
			v.fail(at+".volume", "the group has no volume %q", m.Volume)
		}
		if m.Destination == "" {
			v.fail(at+".destination", "is required")
		}
		v.oneOf(at+".propagation_mode", m.PropagationMode, "private", "host-to-task", "bidirectional")
		v.ifAny(at+".selinux_label", m.SELinuxLabel, "z", "Z")
	}
}

// dispatchPayload checks where the input of a dispatched job goes: below the task's local directory.
func (v *validator) dispatchPayload(at string, d *event.DispatchPayloadConfig) {
	switch {
	case d.File == "":
		v.fail(at+".file", "is required")
	case !within(path.Clean(strings.TrimLeft(d.File, "/"))):
		v.fail(at+".file", "%q leads out of the task's local directory", d.File)
	}
}
