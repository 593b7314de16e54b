package scheduler

import (
	"bytes"

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
	group.RestartPolicy, group.ReschedulePolicy = event.RestartPolicy{}, nil
	group.Update, group.Migrate, group.Disconnect, group.Scaling = nil, nil, nil, nil
	data, err := event.Marshal([]any{&group, job.Meta})
	if err != nil {
		panic("encode a group of a job that came out of the log: " + err.Error())
	}
	return data
}
