package scheduler

import (
	"bytes"
	"maps"

	"drover/eventlog/event"
	"drover/projections"
)

// versionChange is what a new version of a job means for the allocations of one
// group of an older version.
type versionChange struct {
	old   event.Hash
	group string
}

// versionChanges remembers the comparison of versions: many allocations ask the
// same question.
type versionChanges struct {
	job   *projections.Job
	known map[versionChange]bool
}

// replaces reports whether the allocation must be replaced to run the job's
// version; otherwise it can go on under it.
func (v *versionChanges) replaces(a *projections.Allocation) bool {
	if a.SpecHash == v.job.SpecHash {
		return false
	}
	key := versionChange{a.SpecHash, a.Group}
	replaces, ok := v.known[key]
	if !ok {
		replaces = replacesTasks(a.Spec.Job, v.job.Spec.Job, a.Group)
		if v.known == nil {
			v.known = make(map[versionChange]bool)
		}
		v.known[key] = replaces
	}
	return replaces
}

// replacesTasks compares two versions of a group by what its tasks can see.
func replacesTasks(from, to *event.Job, group string) bool {
	return !bytes.Equal(tasksEncoding(from, group), tasksEncoding(to, group))
}

// tasksEncoding encodes the group without what running tasks do not notice.
func tasksEncoding(job *event.Job, name string) []byte {
	group := *job.LookupGroup(name)
	group.Count, group.Constraints, group.Affinities, group.Spreads = 0, nil, nil, nil
	group.RestartPolicy, group.ReschedulePolicy = event.RestartPolicy{RenderTemplates: group.RestartPolicy.RenderTemplates}, nil
	group.Update, group.Migrate, group.Disconnect, group.Scaling = nil, nil, nil, nil
	group.Services, group.ShutdownDelay, group.MaxRunDuration = connectOf(group.Services), 0, 0
	group.StopAfterClientDisconnect, group.MaxClientDisconnect, group.PreventRescheduleOnLost = nil, nil, nil
	tasks := make([]*event.Task, len(group.Tasks))
	for i, t := range group.Tasks {
		task := *t
		task.Constraints, task.Affinities, task.Services = nil, nil, connectOf(task.Services)
		task.RestartPolicy = event.RestartPolicy{RenderTemplates: task.RestartPolicy.RenderTemplates}
		task.KillTimeout, task.KillSignal, task.ShutdownDelay = 0, "", 0
		task.Leader, task.Lifecycle = false, nil
		task.LogConfig = event.LogConfig{Disabled: task.LogConfig.Disabled}
		task.Actions, task.ScalingPolicies = nil, nil
		task.Meta = mergedMeta(job.Meta, group.Meta, task.Meta)
		tasks[i] = &task
	}
	group.Meta, group.Tasks = nil, tasks
	data, err := event.Marshal(&group)
	if err != nil {
		panic("encode a group of a job that came out of the log: " + err.Error())
	}
	return data
}

// connectOf keeps of services what runs beside the tasks.
func connectOf(services []event.Service) []event.Service {
	var kept []event.Service
	for _, s := range services {
		if s.Connect != nil {
			kept = append(kept, event.Service{Name: s.Name, PortLabel: s.PortLabel, Connect: s.Connect})
		}
	}
	return kept
}

// mergedMeta is what a task sees of meta: the innermost value of each key.
func mergedMeta(levels ...map[string]string) map[string]string {
	merged := make(map[string]string)
	for _, level := range levels {
		maps.Copy(merged, level)
	}
	return merged
}
