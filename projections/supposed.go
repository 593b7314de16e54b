package projections

import "drover/eventlog/event"

// Supposing is the state as the scheduler would see it if the job were submitted
// now: for one decision about this job, which nobody records. Of jobs it holds
// this one only. Unlike a draft it may be made by anybody, since it shares what it
// does not replace and copies nothing of s.
func (s *State) Supposing(job *event.Job, hash event.Hash) *State {
	c := *s
	c.owner, c.touched = nil, nil
	c.index = s.index + 1
	key := event.JobKey{Namespace: job.Namespace, ID: job.ID}
	next := Job{Key: key, CreateIndex: c.index}
	if old := s.Job(key); old != nil {
		next = *old
		next.owner, next.ownSummary = nil, nil
	}
	next.ModifyIndex, next.ChangeIndex = c.index, c.index
	if next.Spec == nil || next.SpecHash != hash || next.Stopped {
		if next.Spec != nil {
			next.nextVersion()
			next.Version++
		}
		next.Spec, next.SpecHash, next.Stopped = newSpec(hash, job), hash, false
		next.JobModifyIndex = c.index
	}
	c.jobs = newTable[event.JobKey, *Job](event.JobKey.Compare)
	c.jobs.put(key, &next)
	return &c
}
