package projections

import (
	"cmp"
	"slices"

	"drover/eventlog/event"
)

// What may leave the state, and how it leaves. The rules are asked by whoever
// looks for candidates and again by whoever decides; the fold takes what was
// decided as true.

// IsOver reports whether a job has come to its end for good, so that it may leave
// with all that it had: it was stopped, or it is a batch job that has run; all
// its allocations have ended on their nodes, and no evaluation is open.
// allocations is how many would leave.
//
// A job whose versions have tags does not leave by itself: somebody means to come
// back to them.
//
// A batch job's work never leaves in parts: without the allocations that show
// that it was done, it would be done again.
func (s *State) IsOver(j *Job) (allocations int, over bool) {
	spec := j.Spec.Job
	batch := spec.Type == event.JobTypeBatch || spec.Type == event.JobTypeSysBatch
	template := spec.Template()
	if j.Status() != "dead" || !j.Stopped && (!batch || template) || j.HasTags() {
		return 0, false
	}
	for a := range s.AllocationsOf(j.Key) {
		if !a.Client.Terminal() {
			return 0, false
		}
		allocations++
	}
	return allocations, true
}

// FilledBy reports whether an allocation that has ended still fills its place in
// the job. One that failed for good does, since the client has already restarted
// it as often as its policy allows. One that completed does for a batch or sysbatch
// job, whose work is then done; a service must not end, so its place is free, and that
// of a system job is free in any case. What a batch job's older versions did says
// nothing about its newest.
func (j *Job) FilledBy(a *Allocation) bool {
	if a.CreateIndex < j.CreateIndex {
		return false // it ended for a job of the same name that was purged
	}
	switch j.Spec.Job.Type {
	case event.JobTypeService:
		return a.Client == event.ClientFailed
	case event.JobTypeSystem:
		return false // whenever the job is looked at, it is to be on every node
	}
	if a.JobVersion != j.Version || a.SpecHash != j.SpecHash {
		return false
	}
	return a.Client == event.ClientComplete || a.Client == event.ClientFailed
}

// isPast reports whether nothing will ask for an allocation any more: it has
// ended, it fills no place in its job, whether or not that is stopped now, and its
// successor does not wait for it.
func (s *State) isPast(j *Job, a *Allocation) bool {
	if !a.Client.Terminal() {
		return false
	}
	if next := a.Next(); !next.IsZero() {
		// A successor that has not started may have to wait for it, or take over
		// what it left on disk.
		if next := s.Allocation(next); next != nil && next.Client == event.ClientPending {
			return false
		}
	}
	return j == nil || a.Desired != event.DesiredRun || !j.FilledBy(a)
}

// EndedWork is what of a job's work may leave the state while the job stays.
type EndedWork struct {
	Evaluations []EndedEvaluation // in the order of their creation
	Allocations []*Allocation     // whose evaluations stay, in the order of their creation
}

// EndedEvaluation may leave with all allocations that it made.
type EndedEvaluation struct {
	*event.Evaluation
	Allocations int   // that leave with it
	LastChange  int64 // of it and of them, Unix nanoseconds
}

// EndedWork finds what of a job's work may leave. The job need not be there: what
// is left of one that was purged may leave as soon as no evaluation of it is open.
func (s *State) EndedWork(key event.JobKey) EndedWork {
	type made struct {
		allocations int
		kept        bool
		lastChange  int64
	}
	job := s.Job(key)
	by := make(map[event.ID]*made)
	var terminal []*event.Evaluation
	for e := range s.EvaluationsOf(key) {
		if e.Status.Terminal() {
			terminal = append(terminal, e)
			by[e.ID] = &made{lastChange: e.ModifyTime}
		} else if job == nil {
			return EndedWork{}
		}
	}
	var past []*Allocation
	for a := range s.AllocationsOf(key) {
		m := by[a.EvalID]
		if !s.isPast(job, a) {
			if m != nil {
				m.kept = true
			}
			continue
		}
		past = append(past, a)
		if m != nil {
			m.allocations++
			m.lastChange = max(m.lastChange, a.ModifyTime)
		}
	}
	var work EndedWork
	for _, e := range terminal {
		if m := by[e.ID]; !m.kept {
			work.Evaluations = append(work.Evaluations, EndedEvaluation{e, m.allocations, m.lastChange})
		}
	}
	for _, a := range past {
		if m := by[a.EvalID]; m == nil || m.kept {
			work.Allocations = append(work.Allocations, a)
		}
	}
	return work
}

// IsGone reports whether a node may leave the state: it is down and nothing is
// left on it, not even what has ended.
func (s *State) IsGone(n *Node) bool {
	if n.Status != event.NodeDown {
		return false
	}
	for range s.AllocationsOn(n.Info.ID) {
		return false
	}
	return true
}

// leaving gathers what the removals of one record touch, so that the lists and
// rows that many of them touch are changed once.
type leaving struct {
	jobs        []*Job
	evaluations []*event.Evaluation
	allocations []*Allocation
	nodes       []event.ID // whose orders changed
	specs       []usedSpec // that allocations ran by
}

type usedSpec struct {
	key  event.JobKey
	hash event.Hash
}

func (s *State) collected(r *event.Record, e *event.Collected) {
	var l leaving
	for i := range e.Jobs {
		for _, id := range e.Jobs[i].IDs {
			s.jobCollected(r, event.JobKey{Namespace: e.Jobs[i].Namespace, ID: id}, &l)
		}
	}
	for i := range e.Work {
		s.workCollected(r, &e.Work[i], &l)
	}
	s.removeAllocations(r, &l)
	for _, eval := range l.evaluations {
		s.removeEvaluation(r, eval)
	}
	for _, j := range l.jobs {
		s.removeJob(r, j)
	}
	s.releaseSpecs(&l)
	for _, id := range e.Nodes {
		n := s.Node(id)
		if n == nil || !s.IsGone(n) {
			s.impossible(r, "node %v is not gone", id)
		}
		s.leaveFleet(n)
		s.nodes.remove(id)
		s.indexes[TableNodes] = r.Index
	}
	for _, hash := range e.Blobs {
		if !s.IsUnnamed(hash) {
			s.impossible(r, "blob %v is named, or is not there", hash)
		}
		s.removeBlob(hash)
	}
}

func (s *State) jobCollected(r *event.Record, key event.JobKey, l *leaving) {
	j := s.Job(key)
	if j == nil || j.Status() != "dead" {
		s.impossible(r, "job %v is not dead", key)
	}
	l.jobs = append(l.jobs, j)
	for a := range s.AllocationsOf(key) {
		s.leave(r, a, l)
	}
	for eval := range s.EvaluationsOf(key) {
		l.evaluations = append(l.evaluations, eval)
	}
}

func (s *State) workCollected(r *event.Record, w *event.CollectedWork, l *leaving) {
	key := w.Job()
	evals := make(map[event.ID]bool, len(w.Evaluations))
	for i, index := range w.Evaluations {
		eval := s.evaluationCreatedAt(key, index)
		if eval == nil || i > 0 && index <= w.Evaluations[i-1] {
			s.impossible(r, "no evaluation of job %v was created at %d, or it is named twice", key, index)
		}
		evals[eval.ID] = true
		l.evaluations = append(l.evaluations, eval)
	}
	if len(evals) > 0 {
		for a := range s.AllocationsOf(key) {
			if evals[a.EvalID] {
				s.leave(r, a, l)
			}
		}
	}
	for i, id := range w.Allocations {
		a := s.Allocation(id)
		if a == nil || a.Job != key || evals[a.EvalID] || i > 0 && id.Compare(w.Allocations[i-1]) <= 0 {
			s.impossible(r, "allocation %v is none of job %v, or is named twice", id, key)
		}
		s.leave(r, a, l)
	}
}

// evaluationCreatedAt finds an evaluation by the record that created it, of which
// there is one.
func (s *State) evaluationCreatedAt(key event.JobKey, index uint64) *event.Evaluation {
	at := func(k jobOrder) bool { return k.job == key && k.index == index }
	for eval := range s.evaluationsOfJob.from(jobOrder{job: key, index: index}, at) {
		return eval
	}
	return nil
}

// The removals below keep every table and every index true. None changes what is
// counted of a job: what has ended is in no count of what lives, and the counts
// of what has ended only grow.

// leave has an allocation leave with the next removal.
func (s *State) leave(r *event.Record, a *Allocation, l *leaving) {
	if !a.Client.Terminal() {
		s.impossible(r, "allocation %v is %v", a.ID, a.Client)
	}
	l.allocations = append(l.allocations, a)
	l.nodes = append(l.nodes, a.NodeID)
	if n := len(l.specs); n == 0 || l.specs[n-1].hash != a.SpecHash {
		l.specs = append(l.specs, usedSpec{a.Job, a.SpecHash})
	}
}

func (s *State) removeAllocations(r *event.Record, l *leaving) {
	for _, a := range l.allocations {
		s.ended.allocations.remove(agedOrdinal{a.ModifyIndex, a.ordinal})
		s.indexes[TableAllocations] = r.Index
	}
	s.dropAllocations(l.allocations)
	slices.SortFunc(l.nodes, event.ID.Compare)
	for _, id := range slices.Compact(l.nodes) {
		if n := s.ownNode(id); n != nil {
			n.OrdersIndex = r.Index
		}
	}
}

func (s *State) removeEvaluation(r *event.Record, e *event.Evaluation) {
	if !e.Status.Terminal() {
		s.impossible(r, "evaluation %v is %v", e.ID, e.Status)
	}
	s.evaluations.remove(e.ID)
	s.evaluationsOfJob.remove(jobOrder{e.Job(), e.CreateIndex, e.ID})
	s.evaluationAge.remove(aged{e.CreateIndex, e.ID})
	s.ended.evaluations.remove(aged{e.ModifyIndex, e.ID})
	s.indexes[TableEvaluations] = r.Index
}

// removeJob is how a job leaves, collected or purged.
func (s *State) removeJob(r *event.Record, j *Job) {
	s.jobs.remove(j.Key)
	s.system.remove(j.Key)
	s.forgetScaled(j)
	s.forgetDead(j)
	s.indexes[TableJobs] = r.Index
	s.noteVersions(j.Key, j.blobs(), nil)
}

// releaseSpecs lets go of the specs that allocations ran by and that nothing
// refers to any more.
func (s *State) releaseSpecs(l *leaving) {
	slices.SortFunc(l.specs, func(a, b usedSpec) int { return cmp.Or(a.key.Compare(b.key), compareHash(a.hash, b.hash)) })
	for _, used := range slices.Compact(l.specs) {
		s.release(used.key, used.hash)
	}
}
