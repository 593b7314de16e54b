package projections

import (
	"slices"

	"drover/eventlog/event"
)

// Tagged finds the version of the job that has a tag of this name.
func (j *Job) Tagged(name string) (version uint64, ok bool) {
	if j.Tag != nil && j.Tag.Name == name {
		return j.Version, true
	}
	for i := range j.Older {
		if tag := j.Older[i].Tag; tag != nil && tag.Name == name {
			return j.Older[i].Version, true
		}
	}
	return 0, false
}

// TagOf is the tag of a version; nil when it has none, or is not kept.
func (j *Job) TagOf(version uint64) *event.JobVersionTag {
	if j.Version == version {
		return j.Tag
	}
	for i := range j.Older {
		if j.Older[i].Version == version {
			return j.Older[i].Tag
		}
	}
	return nil
}

// HasTags reports whether a version of the job has a tag.
func (j *Job) HasTags() bool { return j.TagCount() > 0 }

// TagCount is how many versions of the job have a tag.
func (j *Job) TagCount() int {
	count := 0
	if j.Tag != nil {
		count++
	}
	for i := range j.Older {
		if j.Older[i].Tag != nil {
			count++
		}
	}
	return count
}

// HasVersion reports whether a version of the job is kept.
func (j *Job) HasVersion(version uint64) bool {
	return j.Version == version || slices.ContainsFunc(j.Older, func(v JobVersion) bool { return v.Version == version })
}

func (s *State) jobVersionTagged(r *event.Record, e *event.JobVersionTagged) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := s.ownJob(key)
	if j == nil || !j.HasVersion(e.Version) {
		s.impossible(r, "there is no job %v with a version %d", key, e.Version)
	}
	if version, ok := j.Tagged(e.Name); ok && version != e.Version {
		s.impossible(r, "version %d of job %v has the tag %q", version, key, e.Name)
	}
	s.setTag(r, j, e.Version, &event.JobVersionTag{Name: e.Name, Description: e.Description, TaggedTime: r.Time})
}

func (s *State) jobVersionUntagged(r *event.Record, e *event.JobVersionUntagged) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := s.ownJob(key)
	if j == nil {
		s.impossible(r, "there is no job %v", key)
	}
	version, ok := j.Tagged(e.Name)
	if !ok {
		s.impossible(r, "no version of job %v has the tag %q", key, e.Name)
	}
	s.setTag(r, j, version, nil)
}

// setTag changes the tag of a version that is kept.
func (s *State) setTag(r *event.Record, j *Job, version uint64, tag *event.JobVersionTag) {
	named := j.blobs()
	if j.Version == version {
		j.Tag = tag
	} else {
		j.Older = slices.Clone(j.Older)
		at := slices.IndexFunc(j.Older, func(v JobVersion) bool { return v.Version == version })
		j.Older[at].Tag = tag
		j.forgetOlder()
	}
	j.ModifyIndex = r.Index // who waits for the job to change waits for this too
	s.noteVersions(j.Key, named, j.blobs())
	s.noteJob(j)
	s.indexes[TableJobs] = r.Index
}

// forgetOlder drops the versions that are not among the newest and have no tag. The
// list must be the caller's own.
func (j *Job) forgetOlder() {
	if len(j.Older) < jobVersionsKept {
		return
	}
	tail := slices.DeleteFunc(j.Older[jobVersionsKept-1:], func(v JobVersion) bool { return v.Tag == nil })
	j.Older = j.Older[:jobVersionsKept-1+len(tail)]
}
