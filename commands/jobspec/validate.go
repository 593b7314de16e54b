package jobspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"drover/eventlog/event"
)

// FieldError says what is wrong with one field.
type FieldError struct {
	Path    string // dotted, with the names of groups and tasks: group.web.task.server.driver
	Message string
}

func (e FieldError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// ValidationErrors are all problems found in a job.
type ValidationErrors []FieldError

func (e ValidationErrors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems one by one.
func (e ValidationErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// Unwrap gives the problems one by one.
func (e ParseErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// Validate checks a canonical job by all rules that need neither a server nor a node. The error is of type
// ValidationErrors and holds every problem. Warnings are about jobs that are accepted.
func Validate(job *event.Job) (warnings []string, err error) {
	v := &validator{job: job}
	v.validateJob()
	if len(v.errs) > 0 {
		return v.warnings, v.errs
	}
	return v.warnings, nil
}

type validator struct {
	job      *event.Job
	errs     ValidationErrors
	warnings []string
}

func (v *validator) fail(path, format string, args ...any) {
	v.errs = append(v.errs, FieldError{path, fmt.Sprintf(format, args...)})
}

func (v *validator) warn(path, format string, args ...any) {
	v.warnings = append(v.warnings, path+": "+fmt.Sprintf(format, args...))
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		v.fail(path, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (v *validator) validateJob() {
	job := v.job
	switch {
	case job.ID == "":
		v.fail("job.id", "is required")
	case strings.ContainsFunc(job.ID, unicode.IsSpace):
		v.fail("job.id", "%q contains a space", job.ID)
	case strings.ContainsRune(job.ID, 0):
		v.fail("job.id", "%q contains a null character", job.ID)
	}
	if len(job.ID) > jobNameBytesMax {
		v.fail("job.id", "has %d bytes, more than %d", len(job.ID), jobNameBytesMax)
	}
	if job.Name == "" {
		v.fail("job.name", "is required")
	} else if strings.ContainsRune(job.Name, 0) {
		v.fail("job.name", "%q contains a null character", job.Name)
	}
	if len(job.Name) > jobNameBytesMax {
		v.fail("job.name", "has %d bytes, more than %d", len(job.Name), jobNameBytesMax)
	}
	if job.Namespace == "" {
		v.fail("job.namespace", "is required")
	}
	switch job.Type {
	case event.JobTypeService, event.JobTypeBatch, event.JobTypeSystem, event.JobTypeSysBatch:
	default:
		v.fail("job.type", "invalid job type %q: service, batch, system and sysbatch are known", job.Type)
	}
	v.launches(job)
	if job.Multiregion != nil {
		v.fail("job.multiregion", "multiregion jobs are not supported")
	}
	if len(job.Payload) > 0 {
		v.fail("job.payload", "a payload cannot be submitted with a job, only dispatched")
	}
	if job.Dispatched || job.ParentID != "" {
		v.fail("job.id", "a job launched by another one cannot be registered")
	}
	if job.Priority < 1 || job.Priority > priorityMax {
		v.fail("job.priority", "%d is not between 1 and %d", job.Priority, priorityMax)
	}
	if len(job.Datacenters) == 0 {
		v.fail("job.datacenters", "at least one is required")
	}
	if slices.Contains(job.Datacenters, "") {
		v.fail("job.datacenters", "an entry is empty")
	}
	v.blocksOfType()
	if job.Update != nil && job.Type == event.JobTypeService {
		v.update("job.update", job.Update)
	}
	v.constraints("job", job.Constraints, true)
	v.affinities("job", job.Affinities)
	v.spreads("job", job.Spreads)
	if job.UI != nil && len([]rune(job.UI.Description)) > uiDescriptionMax {
		v.fail("job.ui.description", "has more than %d characters", uiDescriptionMax)
	}
	v.groups()
}

func (v *validator) groups() {
	if len(v.job.TaskGroups) == 0 {
		v.fail("job.group", "at least one group is required")
	}
	seen := map[string]bool{}
	total := 0
	for i, g := range v.job.TaskGroups {
		path := "group." + g.Name
		if g.Name == "" {
			path = fmt.Sprintf("group[%d]", i)
			v.fail(path, "a name is required")
		}
		if seen[g.Name] && g.Name != "" {
			v.fail(path, "defined more than once")
		}
		seen[g.Name] = true
		if strings.ContainsRune(g.Name, 0) {
			v.fail(path, "the name contains a null character")
		}
		if len(g.Name) > jobNameBytesMax {
			v.fail(path, "the name has %d bytes, more than %d", len(g.Name), jobNameBytesMax)
		}
		if g.Count < 0 {
			v.fail(path+".count", "%d is negative", g.Count)
		}
		total += min(max(g.Count, 0), countMax+1)
		v.group(g, path)
	}
	if total > countMax {
		v.fail("job.group", "the counts of all groups add up to more than %d", countMax)
	}
}

func (v *validator) group(g *event.TaskGroup, path string) {
	kind := v.job.Type
	if kind == event.JobTypeSystem && g.Count > 1 {
		v.fail(path+".count", "%d is more than 1: a system job has one allocation of a group on each node", g.Count)
	}
	if g.ShutdownDelay < 0 {
		v.fail(path+".shutdown_delay", "%s is negative", g.ShutdownDelay)
	}
	if g.MaxRunDuration < 0 {
		v.fail(path+".max_run_duration", "%s is negative", g.MaxRunDuration)
	}
	if g.MaxRunDuration > 0 && kind != event.JobTypeBatch && kind != event.JobTypeSysBatch {
		v.fail(path+".max_run_duration", "only batch and sysbatch jobs may have it")
	}
	for _, old := range []struct {
		name    string
		written bool
	}{
		{"stop_after_client_disconnect", g.StopAfterClientDisconnect != nil},
		{"max_client_disconnect", g.MaxClientDisconnect != nil},
		{"prevent_reschedule_on_lost", g.PreventRescheduleOnLost != nil},
	} {
		if old.written {
			v.warn(path+"."+old.name, "old syntax: only the disconnect block counts")
		}
	}
	v.constraints(path, g.Constraints, true)
	v.affinities(path, g.Affinities)
	v.spreads(path, g.Spreads)
	v.restart(path+".restart", g.RestartPolicy)
	if !event.EveryNode(kind) {
		v.reschedule(path+".reschedule", g.ReschedulePolicy)
	}
	if u := g.Update; u != nil && (kind == event.JobTypeService || kind == event.JobTypeSystem) {
		v.update(path+".update", u)
		if u.MaxParallel > g.Count && g.Count > 0 && u.MaxParallel > 1 && kind == event.JobTypeService {
			v.warn(path+".update.max_parallel", "%d is more than the count %d", u.MaxParallel, g.Count)
		}
	}
	if g.Migrate != nil && kind == event.JobTypeService {
		v.migrate(path+".migrate", g.Migrate)
	}
	if d := g.Disconnect; d != nil {
		v.disconnect(path+".disconnect", d)
	}
	if g.EphemeralDisk.SizeMB < groupDiskMBMin {
		v.fail(path+".ephemeral_disk.size", "%d MB is less than %d", g.EphemeralDisk.SizeMB, groupDiskMBMin)
	}
	if g.EphemeralDisk.SizeMB > groupDiskMBMax {
		v.fail(path+".ephemeral_disk.size", "%d MB is more than any machine has", g.EphemeralDisk.SizeMB)
	}
	if s := g.Scaling; s != nil {
		v.scaling(path+".scaling", s, g.Count)
	}
	if len(g.Networks) > 1 {
		v.warn(path+".network", "only the first of %d is used", len(g.Networks))
	}
	v.networks(path, g.Networks)
	for _, name := range sortedKeys(g.Volumes) {
		v.volume(g, path+".volume."+name, g.Volumes[name])
	}
	v.tasks(g, path)
	v.services(g, path)
	v.beyond(g, path)
}

// beyond warns of what is right and what no node offers: the group waits for one that does, or its tasks fail.
func (v *validator) beyond(g *event.TaskGroup, path string) {
	wait := func(at, what string) {
		v.warn(at, "will not run here: no node of this version %s, so nothing of the group is placed", what)
	}
	if len(g.Networks) > 0 {
		if mode := g.Networks[0].Mode; mode == "bridge" || mode == "none" || strings.HasPrefix(mode, "cni/") {
			wait(path+".network.mode", fmt.Sprintf("makes networks of the mode %q", mode))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.Volumes)) {
		switch volume, at := g.Volumes[name], path+".volume."+name; {
		case volume.Type == "csi":
			wait(at, "offers CSI volumes")
		case volume.PerAlloc:
			wait(at+".per_alloc", "offers a volume for each allocation")
		case volume.Sticky:
			wait(at+".sticky", "makes volumes")
		}
	}
	for _, t := range g.Tasks {
		at := path + ".task." + t.Name
		if t.Resources.Cores > 0 {
			wait(at+".resources.cores", "reserves whole cores")
		}
		for i := range t.Artifacts {
			if by := foreignGetter(t.Artifacts[i].GetterSource); by != "" {
				v.warn(fmt.Sprintf("%s.artifact[%d].source", at, i), "will not run here: no node of this version fetches by %s, so the task fails; http, https and git are known", by)
			}
		}
		if len(t.Resources.Devices) > 0 {
			wait(at+".resources.device", "offers devices")
		}
		if t.Vault != nil {
			wait(at+".vault", "has Vault")
		}
		if len(t.Secrets) > 0 {
			wait(at+".secret", "has a provider of secrets")
		}
	}
}

func (v *validator) tasks(g *event.TaskGroup, path string) {
	if len(g.Tasks) == 0 {
		v.fail(path+".task", "at least one task is required")
	}
	seen := map[string]bool{}
	leaders, cpu, memory, logs := 0, 0, 0, 0
	for i, t := range g.Tasks {
		at := path + ".task." + t.Name
		if t.Name == "" {
			at = fmt.Sprintf("%s.task[%d]", path, i)
		}
		if seen[t.Name] && t.Name != "" {
			v.fail(at, "defined more than once")
		}
		seen[t.Name] = true
		if t.Leader {
			leaders++
		}
		if u := g.Update; v.job.Type == event.JobTypeService && u != nil && u.MaxParallel > 0 && u.ProgressDeadline > 0 && t.KillTimeout > u.ProgressDeadline {
			v.fail(at+".kill_timeout", "%s is more than the update's progress_deadline, %s", t.KillTimeout, u.ProgressDeadline)
		}
		v.task(g, t, at)
		// Each is bounded before it is added, so no sum can overflow.
		cpu += min(max(t.Resources.CPU, 0), groupCPUMHzMax+1)
		memory += min(max(t.Resources.MemoryMB, 0), groupMemoryMBMax+1)
		if !t.LogConfig.Disabled {
			logs += min(max(t.LogConfig.MaxFiles, 0), 1<<20) * min(max(t.LogConfig.MaxFileSizeMB, 0), 1<<20)
		}
	}
	if leaders > 1 {
		v.fail(path+".task", "only one task may be the leader, not %d", leaders)
	}
	if cpu > groupCPUMHzMax {
		v.fail(path+".task", "the tasks ask for more than %d MHz together", groupCPUMHzMax)
	}
	if memory > groupMemoryMBMax {
		v.fail(path+".task", "the tasks ask for more than %d MB of memory together", groupMemoryMBMax)
	}
	if logs >= g.EphemeralDisk.SizeMB && len(g.Tasks) > 1 && g.EphemeralDisk.SizeMB >= groupDiskMBMin {
		v.warn(path+".ephemeral_disk.size", "the tasks' logs may take %d MB, the disk has %d", logs, g.EphemeralDisk.SizeMB)
	}
}

func (v *validator) task(g *event.TaskGroup, t *event.Task, path string) {
	switch {
	case t.Name == "":
		v.fail(path, "a name is required")
	case strings.ContainsAny(t.Name, "/\\\x00"):
		v.fail(path, "the name contains a slash, a backslash or a null character")
	case t.Name == "alloc" || t.Name == "." || t.Name == "..":
		v.fail(path, "the name %q is taken: each task has a directory of its name", t.Name)
	}
	if len(t.Name) > jobNameBytesMax {
		v.fail(path, "the name has %d bytes, more than %d", len(t.Name), jobNameBytesMax)
	}
	if t.Driver == "" {
		v.fail(path+".driver", "is required")
	}
	if t.KillTimeout < 0 {
		v.fail(path+".kill_timeout", "%s is negative", t.KillTimeout)
	}
	if t.KillSignal != "" && !slices.Contains(signals, t.KillSignal) {
		v.fail(path+".kill_signal", "%q is no signal", t.KillSignal)
	}
	if t.ShutdownDelay < 0 {
		v.fail(path+".shutdown_delay", "%s is negative", t.ShutdownDelay)
	}
	for _, name := range sortedKeys(t.Env) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			v.fail(path+".env", "%q is no name of an environment variable", name)
		}
		if strings.ContainsRune(t.Env[name], 0) {
			v.fail(path+".env."+name, "the value contains a null character")
		}
	}
	if depth := nesting(t.Config); depth > opaqueNestingMax {
		v.fail(path+".config", "is nested %d levels deep, more than %d", depth, opaqueNestingMax)
	}
	if l := t.Lifecycle; l != nil {
		v.oneOf(path+".lifecycle.hook", l.Hook, "prestart", "poststart", "poststop")
	}
	v.resources(path+".resources", t.Resources)
	v.constraints(path, t.Constraints, false)
	v.affinities(path, t.Affinities)
	if t.RestartPolicy != g.RestartPolicy { // else it is the group's, checked there
		v.restart(path+".restart", t.RestartPolicy)
	}
	v.logs(path+".logs", t.LogConfig, g.EphemeralDisk.SizeMB)
	v.templates(path, t.Templates)
	for i := range t.Artifacts {
		v.artifact(fmt.Sprintf("%s.artifact[%d]", path, i), &t.Artifacts[i])
	}
	v.volumeMounts(g, t, path)
	v.extras(t, path)
	v.deepContent(g, t, path)
}

func (v *validator) resources(path string, r event.Resources) {
	switch {
	case r.Cores < 0:
		v.fail(path+".cores", "%d is negative", r.Cores)
	case r.Cores > 0 && r.CPU > 0:
		v.fail(path, "cpu and cores cannot both be given")
	case r.Cores == 0 && r.CPU < taskCPUMHzMin:
		v.fail(path+".cpu", "%d MHz is less than %d", r.CPU, taskCPUMHzMin)
	}
	if r.MemoryMB < taskMemoryMBMin {
		v.fail(path+".memory", "%d MB is less than %d", r.MemoryMB, taskMemoryMBMin)
	}
	if r.MemoryMaxMB != 0 && r.MemoryMaxMB != -1 && r.MemoryMaxMB < r.MemoryMB {
		v.fail(path+".memory_max", "%d MB is less than memory, %d MB", r.MemoryMaxMB, r.MemoryMB)
	}
	if r.SecretsMB < 0 || r.SecretsMB > r.MemoryMB {
		v.fail(path+".secrets", "%d MB is not between 0 and memory, %d MB", r.SecretsMB, r.MemoryMB)
	}
	if r.DiskMB != 0 {
		v.fail(path+".disk", "disk belongs to the group's ephemeral_disk")
	}
	if r.IOPS != nil && *r.IOPS != 0 {
		v.warn(path+".iops", "is ignored")
	}
	for i := range r.Networks {
		v.warn(path+".network", "old syntax: ports belong to the group; modern form, in the group: %s", networkForm(&r.Networks[i]))
		if r.Networks[i].MBits < 0 {
			v.fail(path+".network.mbits", "%d is negative", r.Networks[i].MBits)
		}
	}
	v.devices(path, r)
}

// networkForm writes a network with its ports as a group's block.
func networkForm(n *event.NetworkResource) string {
	var ports []string
	for _, p := range slices.Concat(n.ReservedPorts, n.DynamicPorts) {
		switch {
		case p.Value > 0:
			ports = append(ports, fmt.Sprintf("port %q { static = %d }", p.Label, p.Value))
		case p.To != 0:
			ports = append(ports, fmt.Sprintf("port %q { to = %d }", p.Label, p.To))
		default:
			ports = append(ports, fmt.Sprintf("port %q {}", p.Label))
		}
	}
	if len(ports) == 0 {
		return "nothing, as there are no ports in it"
	}
	return "network { " + strings.Join(ports, ", ") + " }"
}

func (v *validator) logs(path string, l event.LogConfig, diskMB int) {
	if l.MaxFiles < 1 {
		v.fail(path+".max_files", "%d is less than 1", l.MaxFiles)
	}
	if l.MaxFileSizeMB < 1 {
		v.fail(path+".max_file_size", "%d MB is less than 1", l.MaxFileSizeMB)
	}
	if l.MaxFiles < 1 || l.MaxFileSizeMB < 1 || l.Disabled || diskMB < groupDiskMBMin {
		return
	}
	if l.MaxFiles > groupDiskMBMax/l.MaxFileSizeMB || l.MaxFiles*l.MaxFileSizeMB >= diskMB {
		v.fail(path, "%d files of %d MB do not fit on the ephemeral disk of %d MB", l.MaxFiles, l.MaxFileSizeMB, diskMB)
	}
}

func (v *validator) restart(path string, r event.RestartPolicy) {
	v.oneOf(path+".mode", r.Mode, "fail", "delay")
	if r.Attempts < 0 {
		v.fail(path+".attempts", "%d is negative", r.Attempts)
	}
	if r.Delay < 0 {
		v.fail(path+".delay", "%s is negative", r.Delay)
	}
	if r.Attempts == 0 && r.Mode == "delay" {
		v.fail(path+".attempts", `0 is allowed only with mode "fail"`)
	}
	if r.Interval < restartIntervalMinSeconds*time.Second {
		v.fail(path+".interval", "%s is less than %ds", r.Interval, restartIntervalMinSeconds)
		return
	}
	if r.Attempts > 0 && r.Delay > r.Interval/time.Duration(r.Attempts) {
		v.fail(path, "%d attempts with a delay of %s do not fit into the interval of %s", r.Attempts, r.Delay, r.Interval)
	}
}

// nesting counts the levels of lists and maps in opaque content.
func nesting(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			deepest = max(deepest, nesting(item))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, nesting(item))
		}
	default:
		return 0
	}
	return deepest + 1
}

// signals are the names a task may be killed with.
var signals = []string{
	"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT",
	"SIGKILL", "SIGPIPE", "SIGPROF", "SIGQUIT", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP",
	"SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGXCPU", "SIGXFSZ",
}
