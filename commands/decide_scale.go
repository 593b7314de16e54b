package commands

import (
	"maps"
	"slices"

	"drover/eventlog/event"
)

// ScaleJob gives a group of a job another count, or notes what an autoscaler has to
// say about it.
type ScaleJob struct {
	Key     event.JobKey
	Group   string
	Count   *int64 // nil = only something is said
	Message string
	Error   bool // what is said is about a failure
	Meta    map[string]any
	// JobModifyIndex asks that the job's is still this one; 0 asks for nothing.
	JobModifyIndex uint64
}

func (c ScaleJob) decide(d *decision) *Rejection {
	old := d.state.Job(c.Key)
	switch {
	case old == nil:
		return reject(ReasonNotFound, "job %q not found", c.Key.ID)
	case c.JobModifyIndex != 0 && c.JobModifyIndex != old.JobModifyIndex:
		return reject(ReasonConflict, "Enforcing job modify index %d: job exists with conflicting job modify index: %d", c.JobModifyIndex, old.JobModifyIndex)
	case old.Spec.Job.Type == event.JobTypeSystem:
		return reject(ReasonInvalid, "cannot scale jobs of type %q: they run on every node", event.JobTypeSystem)
	case c.Error && c.Count != nil:
		return reject(ReasonInvalid, "scaling action should not contain count if error is true")
	}
	group := old.Spec.Job.LookupGroup(c.Group)
	if group == nil {
		return reject(ReasonInvalid, "task group %q specified for scaling does not exist in job", c.Group)
	}
	scaled := &event.JobScaled{
		Namespace: c.Key.Namespace, JobID: c.Key.ID, Group: c.Group, Count: c.Count, PreviousCount: int64(group.Count),
		Message: c.Message, Error: c.Error, Meta: maps.Clone(c.Meta),
	}
	if c.Count == nil {
		d.emit(scaled, event.ID{})
		return nil
	}
	if r := takesJobs(d.state); r != nil {
		return r
	}
	if old.Stopped {
		return reject(ReasonInvalid, "job %q is stopped: start it before you scale it", c.Key.ID)
	}
	count := *c.Count
	switch s := group.Scaling; {
	case count < 0:
		return reject(ReasonInvalid, "scaling action count can't be negative")
	case count > jobCountMax:
		return reject(ReasonInvalid, "scaling action asks for %d allocations of group %q; the limit is %d", count, c.Group, jobCountMax)
	case s != nil && count < s.Min:
		return reject(ReasonInvalid, "group count was less than scaling policy minimum: %d < %d", count, s.Min)
	case s != nil && count > s.Max:
		return reject(ReasonInvalid, "group count was greater than scaling policy maximum: %d > %d", count, s.Max)
	}
	job := *old.Spec.Job
	job.TaskGroups = slices.Clone(job.TaskGroups)
	resized := *group
	resized.Count = int(count)
	job.TaskGroups[slices.Index(job.TaskGroups, group)] = &resized
	if r := admit(d.state, &job); r != nil {
		return r
	}
	if r := checkVersion(d.state, old, &job); r != nil {
		return r
	}
	spec, err := NewBlob(&job)
	if err != nil {
		return reject(ReasonInvalid, "scale job %v: %v", c.Key, err)
	}
	evalID := d.newID("evaluation", 0)
	submitted := &event.JobSubmitted{
		Namespace: c.Key.Namespace, JobID: c.Key.ID, Version: old.Version, Spec: spec.Hash, Source: old.Source, SubmitTime: old.SubmitTime,
	}
	modifyIndex := old.JobModifyIndex
	if submitted.SameSpec = spec.Hash == old.SpecHash; submitted.SameSpec {
		d.emit(submitted, evalID)
	} else {
		if r := d.storeBlob("spec", spec); r != nil {
			return r
		}
		submitted.Version, submitted.SubmitTime = old.Version+1, d.now
		modifyIndex = d.emit(submitted, evalID)
	}
	scaled.EvalID = evalID
	d.emit(scaled, evalID)
	return d.evaluate(&job, event.Evaluation{
		ID: evalID, Namespace: c.Key.Namespace, JobID: c.Key.ID, Type: job.Type, Priority: job.Priority,
		TriggeredBy: event.TriggerJobScaling, JobModifyIndex: modifyIndex,
	})
}
