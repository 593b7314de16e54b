package commands

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// hurry marks those of a job's allocations that would wait before they are killed.
func (d *decision) hurry(job *projections.Job, evalID event.ID) *Rejection {
	var ids event.IDs
	for a := range d.state.AllocationsOf(job.Key) {
		if a.Live() && !a.NoShutdownDelay() && waits(a.Spec.Job.LookupGroup(a.Group)) {
			ids = append(ids, a.ID)
		}
	}
	switch {
	case len(ids) > markedMax:
		return reject(ReasonInvalid, "%d allocations of job %q would have to be told not to wait; the limit is %d: stop it with its delay", len(ids), job.Key.ID, markedMax)
	case len(ids) > 0:
		d.emit(&event.AllocationsMarked{IDs: ids, NoShutdownDelay: true}, evalID)
	}
	return nil
}

// waits reports whether something of a group has a shutdown delay.
func waits(g *event.TaskGroup) bool {
	return g != nil && (g.ShutdownDelay > 0 || slices.ContainsFunc(g.Tasks, func(t *event.Task) bool { return t.ShutdownDelay > 0 }))
}

// RevertJob makes an older version of a job its newest one.
type RevertJob struct {
	Key     event.JobKey
	Version uint64
	// Prior, if not nil, is the version that the job must have now.
	Prior *uint64
}

func (c RevertJob) decide(d *decision) *Rejection {
	if r := takesJobs(d.state); r != nil {
		return r
	}
	old := d.state.Job(c.Key)
	switch {
	case old == nil:
		return reject(ReasonNotFound, "job not found")
	case c.Prior != nil && *c.Prior != old.Version:
		return reject(ReasonConflict, "Current job has version %d; enforcing version %d", old.Version, *c.Prior)
	case c.Version == old.Version:
		return reject(ReasonInvalid, "can't revert to current version")
	}
	at := slices.IndexFunc(old.Older, func(v projections.JobVersion) bool { return v.Version == c.Version })
	if at < 0 {
		return reject(ReasonNotFound, "job %q in namespace %q at version %d not found", c.Key.ID, c.Key.Namespace, c.Version)
	}
	target := old.Older[at]
	if r := admit(d.state, target.Spec.Job); r != nil {
		return r
	}
	evalID := d.newID("evaluation", 0)
	submitted := &event.JobSubmitted{
		Namespace: c.Key.Namespace, JobID: c.Key.ID, Version: old.Version + 1, Spec: target.SpecHash, Source: target.Source, SubmitTime: d.now,
	}
	modifyIndex := old.JobModifyIndex
	if target.SpecHash == old.SpecHash && !old.Stopped {
		submitted.SameSpec, submitted.Version, submitted.SubmitTime, submitted.Source = true, old.Version, old.SubmitTime, old.Source
		d.emit(submitted, evalID)
	} else {
		modifyIndex = d.emit(submitted, evalID)
	}
	spec := target.Spec.Job
	return d.evaluate(spec, event.Evaluation{
		ID: evalID, Namespace: c.Key.Namespace, JobID: c.Key.ID, Type: spec.Type, Priority: spec.Priority,
		TriggeredBy: event.TriggerJobRegister, JobModifyIndex: modifyIndex,
	})
}
