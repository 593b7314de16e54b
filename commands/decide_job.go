package commands

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

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
