package scheduler

import (
	"math"

	"drover/eventlog/event"
	"drover/projections"
)

// hunt walks over what has ended, oldest first, and gathers what may leave. What
// changed after the times given stays.
type hunt struct {
	jobs, evals, batchEvals, nodes, blobs int64 // Unix nanoseconds

	// excess is how many allocations, and how many evaluations, are to leave; nil
	// is all that may.
	excess func(*projections.State) int

	phase phase
	from  [phases]uint64 // by phase: what ended before that index has been looked at
}

type phase int

const (
	huntJobs phase = iota
	huntAllocations
	huntEvaluations
	huntRest
	phases
)

// rewind begins a new look. What was looked at stays so: whatever came to its end
// since then stands behind it.
func (h *hunt) rewind() { h.phase = huntJobs }

// next is the next command's worth, nil when there is nothing more.
func (h *hunt) next(s *projections.State) *event.Collected {
	b := &bag{state: s, hunt: h, seen: make(map[event.JobKey]bool), limit: math.MaxInt}
	if h.excess != nil {
		if b.limit = h.excess(s); b.limit <= 0 {
			return nil
		}
	}
	for ; h.phase < phases; h.phase++ {
		if !h.look(s, b) {
			break
		}
	}
	if b.names == 0 {
		return nil
	}
	return &b.out
}

// look walks on in its phase, and reports whether it came to the end of it. It
// stops where the bag is full, to go on from there.
func (h *hunt) look(s *projections.State, b *bag) bool {
	from := &h.from[h.phase]
	switch h.phase {
	case huntJobs:
		for j := range s.DeadJobsFrom(*from) {
			if j.ModifyTime > h.jobs {
				break
			}
			if *from = j.ModifyIndex; !b.job(j.Key) {
				return false
			}
		}
	case huntAllocations:
		for a := range s.EndedAllocationsFrom(*from) {
			if a.ModifyTime > max(h.jobs, h.evals, h.batchEvals) {
				break
			}
			if *from = a.ModifyIndex; !b.job(a.Job) {
				return false
			}
		}
	case huntEvaluations:
		for e := range s.EndedEvaluationsFrom(*from) {
			if e.ModifyTime > max(h.jobs, h.evals, h.batchEvals) {
				break
			}
			if *from = e.ModifyIndex; !b.job(e.Job()) {
				return false
			}
		}
	case huntRest:
		for n := range s.Nodes() {
			if n.StatusTime <= h.nodes && s.IsGone(n) && b.room() {
				b.out.Nodes = append(b.out.Nodes, n.Info.ID)
				b.add(1, 0, len(n.Info.ID))
			}
		}
		for hash, stored := range s.UnnamedBlobs() {
			if stored > h.blobs || !b.room() {
				break
			}
			b.out.Blobs = append(b.out.Blobs, hash)
			b.add(1, 0, len(hash))
		}
	}
	return true
}

// bag is one command that is being filled.
type bag struct {
	state *projections.State
	hunt  *hunt
	seen  map[event.JobKey]bool
	out   event.Collected

	names, allocations, bytes int
	limit                     int // of names, and of allocations
}

func (b *bag) room() bool {
	return b.names < min(collectNames, b.limit) && b.allocations < min(collectAllocations, b.limit) && b.bytes < collectBytes
}

func (b *bag) add(names, allocations, bytes int) {
	b.names += names
	b.allocations += allocations
	b.bytes += bytes
}

// job puts what may leave of a job into the bag, and reports whether all of it
// found room.
func (b *bag) job(key event.JobKey) bool {
	if b.seen[key] {
		return true
	}
	if !b.room() {
		return false
	}
	b.seen[key] = true
	if j := b.state.Job(key); j != nil && j.ModifyTime <= b.hunt.jobs {
		if allocations, over := b.state.IsOver(j); over {
			b.whole(key, allocations)
			return true
		}
	}
	ended := b.state.EndedWork(key)
	work := event.CollectedWork{Namespace: key.Namespace, JobID: key.ID}
	fits := true
	for i := range ended.Evaluations {
		e := &ended.Evaluations[i]
		if e.LastChange > b.hunt.before(e.Type) {
			continue
		}
		if fits = b.room(); !fits {
			break
		}
		work.Evaluations = append(work.Evaluations, e.CreateIndex)
		b.add(1, e.Allocations, 2)
	}
	for _, a := range ended.Allocations {
		if a.ModifyTime > b.hunt.before(a.Spec.Job.Type) {
			continue
		}
		if fits = fits && b.room(); !fits {
			break
		}
		work.Allocations = append(work.Allocations, a.ID)
		b.add(1, 1, len(a.ID)+1)
	}
	if len(work.Evaluations)+len(work.Allocations) > 0 {
		b.out.Work = append(b.out.Work, work)
		b.add(0, 0, len(key.Namespace)+len(key.ID))
	}
	return fits
}

// whole is a job that leaves with all that it had.
func (b *bag) whole(key event.JobKey, allocations int) {
	b.add(1, allocations, len(key.ID)+2)
	for i := range b.out.Jobs {
		if jobs := &b.out.Jobs[i]; jobs.Namespace == key.Namespace {
			jobs.IDs = append(jobs.IDs, key.ID)
			return
		}
	}
	b.out.Jobs = append(b.out.Jobs, event.CollectedJobs{Namespace: key.Namespace, IDs: []string{key.ID}})
	b.add(0, 0, len(key.Namespace))
}

// before is the time up to which work of jobs of the type leaves.
func (h *hunt) before(jobType string) int64 {
	if jobType == event.JobTypeBatch || jobType == event.JobTypeSysBatch {
		return h.batchEvals
	}
	return h.evals
}
