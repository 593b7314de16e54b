package scheduler

import (
	"drover/eventlog/event"
	"drover/projections"
)

// versionChange is the step of one group's allocations from an older version of
// their job to its newest.
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
		replaces, _ = event.TaskGroupChange(a.Spec.Job, v.job.Spec.Job, a.Group)
		if v.known == nil {
			v.known = make(map[versionChange]bool)
		}
		v.known[key] = replaces
	}
	return replaces
}
