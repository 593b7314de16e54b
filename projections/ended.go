package projections

import (
	"cmp"
	"iter"

	"drover/eventlog/event"
)

// endings finds what has ended without a walk over everything that runs: what
// garbage collection looks at, in the order in which it ended. It is derived
// from the tables and rebuilt from them when a checkpoint is read.
type endings struct {
	jobs        table[agedJob, struct{}]
	evaluations table[aged, struct{}]
	allocations table[agedOrdinal, struct{}]

	// named counts, by blob, the job versions whose spec or source it is. A blob
	// leaves the state with the last of them, or, when it is the spec of
	// allocations that outlive their job's version, with the last of those.
	named table[event.Hash, int]
	// unnamed are blobs that were stored ahead and that no job has named yet.
	unnamed table[agedBlob, struct{}]
}

// aged orders by the last change, which for what has ended is its end.
type aged struct {
	index uint64
	id    event.ID
}

type agedOrdinal struct{ index, ordinal uint64 }

type agedJob struct {
	index uint64
	key   event.JobKey
}

type agedBlob struct {
	time int64 // Unix nanoseconds, of the last chunk
	hash event.Hash
}

func newEndings() endings {
	return endings{
		jobs: newTable[agedJob, struct{}](func(a, b agedJob) int {
			return cmp.Or(cmp.Compare(a.index, b.index), a.key.Compare(b.key))
		}),
		evaluations: newTable[aged, struct{}](compareAgedID),
		allocations: newTable[agedOrdinal, struct{}](func(a, b agedOrdinal) int {
			return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.ordinal, b.ordinal))
		}),
		named: newTable[event.Hash, int](compareHash),
		unnamed: newTable[agedBlob, struct{}](func(a, b agedBlob) int {
			return cmp.Or(cmp.Compare(a.time, b.time), compareHash(a.hash, b.hash))
		}),
	}
}

func compareAgedID(a, b aged) int {
	return cmp.Or(cmp.Compare(a.index, b.index), a.id.Compare(b.id))
}

func (e endings) copy() endings {
	return endings{e.jobs.copy(), e.evaluations.copy(), e.allocations.copy(), e.named.copy(), e.unnamed.copy()}
}

// keysFrom visits keys in their order, beginning with the first that is not less
// than start.
func keysFrom[K, V any](t table[K, V], start K) iter.Seq[K] {
	return func(yield func(K) bool) {
		t.tree.Ascend(row[K, V]{key: start}, func(r row[K, V]) bool { return yield(r.key) })
	}
}

// EndedAllocations is the number of allocations in the state that have ended.
func (s *State) EndedAllocations() int { return s.ended.allocations.len() }

// EndedEvaluations is the number of evaluations in the state that have ended.
func (s *State) EndedEvaluations() int { return s.ended.evaluations.len() }

// EndedAllocationsFrom visits the ended allocations whose last change is at the
// index or after it, oldest first.
func (s *State) EndedAllocationsFrom(index uint64) iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		for key := range keysFrom(s.ended.allocations, agedOrdinal{index: index}) {
			if !yield(s.allocations.get(key.ordinal)) {
				return
			}
		}
	}
}

// EndedEvaluationsFrom visits the evaluations that ended at the index or after it,
// oldest first.
func (s *State) EndedEvaluationsFrom(index uint64) iter.Seq[*event.Evaluation] {
	return func(yield func(*event.Evaluation) bool) {
		for key := range keysFrom(s.ended.evaluations, aged{index: index}) {
			if !yield(s.Evaluation(key.id)) {
				return
			}
		}
	}
}

// DeadJobsFrom visits the jobs whose status is dead and whose last change is at the
// index or after it, longest dead first.
func (s *State) DeadJobsFrom(index uint64) iter.Seq[*Job] {
	return func(yield func(*Job) bool) {
		for key := range keysFrom(s.ended.jobs, agedJob{index: index}) {
			if !yield(s.Job(key.key)) {
				return
			}
		}
	}
}

// UnnamedBlobs visits the blobs that no job has named yet, oldest first, with the
// time of their last chunk in Unix nanoseconds.
func (s *State) UnnamedBlobs() iter.Seq2[event.Hash, int64] {
	return func(yield func(event.Hash, int64) bool) {
		for key := range keysFrom(s.ended.unnamed, agedBlob{}) {
			if !yield(key.hash, key.time) {
				return
			}
		}
	}
}

// IsUnnamed reports whether the blob is there and no job has named it yet.
func (s *State) IsUnnamed(hash event.Hash) bool {
	b, ok := s.blobs.get(hash)
	if !ok {
		return false
	}
	_, unnamed := s.ended.unnamed.get(agedBlob{b.Stored, hash})
	return unnamed
}

// noteJob is called when a job changed, with the row that the draft owns.
func (s *State) noteJob(j *Job) {
	if j.ModifyIndex == s.index {
		j.ModifyTime = s.time
	}
	if j.Spec.Job.Type == event.JobTypeSystem {
		if j.Stopped {
			s.system.remove(j.Key)
		} else {
			s.system.put(j.Key, struct{}{})
		}
	}
	s.noteScaled(j)
	since := uint64(0)
	if j.Status() == "dead" {
		since = j.ModifyIndex
	}
	if since == j.deadSince {
		return
	}
	s.forgetDead(j)
	if j.deadSince = since; since != 0 {
		s.ended.jobs.put(agedJob{since, j.Key}, struct{}{})
	}
}

// forgetDead takes a job that leaves, or lives again, out of the dead ones.
func (s *State) forgetDead(j *Job) {
	if j.deadSince != 0 {
		s.ended.jobs.remove(agedJob{j.deadSince, j.Key})
	}
}

// noteEvaluation is called with every new row of an evaluation. One that has
// ended has no newer row.
func (s *State) noteEvaluation(e *event.Evaluation) {
	if e.Status.Terminal() {
		s.ended.evaluations.put(aged{e.ModifyIndex, e.ID}, struct{}{})
	}
}

// noteAllocation is called with every new row of an allocation and the one that
// it replaces, if any.
func (s *State) noteAllocation(old, a *Allocation) {
	if old != nil && old.Client.Terminal() && old.ModifyIndex != a.ModifyIndex {
		s.ended.allocations.remove(agedOrdinal{old.ModifyIndex, old.ordinal})
	}
	if a.Client.Terminal() {
		s.ended.allocations.put(agedOrdinal{a.ModifyIndex, a.ordinal}, struct{}{})
	}
}

// noteBlob is called with every new row of a blob and the one that it replaces,
// if any. A blob that no job names is on its way to a job, or was left behind.
func (s *State) noteBlob(old, b *blob) {
	if old != nil {
		s.ended.unnamed.remove(agedBlob{old.Stored, old.Hash})
	}
	_, named := s.ended.named.get(b.Hash)
	if _, spec := s.specs.get(b.Hash); !named && !spec {
		s.ended.unnamed.put(agedBlob{b.Stored, b.Hash}, struct{}{})
	}
}

// noteVersions is called when the versions of a job change, with the blobs that
// they named before and after. What no version names any more leaves the state,
// unless an allocation still runs by it.
func (s *State) noteVersions(key event.JobKey, before, after []event.Hash) {
	for _, hash := range after {
		count, _ := s.ended.named.get(hash)
		s.ended.named.put(hash, count+1)
		if b, ok := s.blobs.get(hash); ok && count == 0 {
			s.ended.unnamed.remove(agedBlob{b.Stored, hash})
		}
	}
	for _, hash := range before {
		if count, _ := s.ended.named.get(hash); count > 1 {
			s.ended.named.put(hash, count-1)
			continue
		}
		s.ended.named.remove(hash)
		s.release(key, hash)
	}
}

// blobs lists the specs and sources of all versions of the job that are kept, one
// that several versions name as often.
func (j *Job) blobs() []event.Hash {
	list := make([]event.Hash, 0, 2+2*len(j.Older))
	add := func(spec, source event.Hash) {
		list = append(list, spec)
		if !source.IsZero() {
			list = append(list, source)
		}
	}
	add(j.SpecHash, j.Source)
	for i := range j.Older {
		add(j.Older[i].SpecHash, j.Older[i].Source)
	}
	return list
}

// release takes a blob of a job out of the state, and the spec that it is, if
// nothing refers to it any more: no version of any job, and no allocation of this
// one (a spec says which job it is of, so no other job's allocations run by it).
func (s *State) release(key event.JobKey, hash event.Hash) {
	if _, named := s.ended.named.get(hash); named {
		return
	}
	if _, spec := s.specs.get(hash); spec {
		for a := range s.AllocationsOf(key) {
			if a.SpecHash == hash {
				return
			}
		}
		s.specs.remove(hash)
	}
	s.removeBlob(hash)
}

func (s *State) removeBlob(hash event.Hash) {
	if b, ok := s.blobs.get(hash); ok {
		s.ended.unnamed.remove(agedBlob{b.Stored, hash})
		s.blobs.remove(hash)
	}
}

// rebuildUnnamed is the part of the index that can only be made when all tables
// are there.
func (s *State) rebuildUnnamed() {
	for b := range s.blobs.all() {
		s.noteBlob(nil, b)
	}
}
