package commands

import (
	"cmp"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Collect proposes what may leave the state. Whether it may is decided here, so
// the proposal may be wrong or late: what does not hold (any more) is passed
// over.
type Collect struct {
	Proposed *event.Collected
}

func (c Collect) decide(d *decision) *Rejection {
	if n := sizeOf(c.Proposed); n > collectMax {
		return reject(ReasonInvalid, "collect %d things at once; the limit is %d", n, collectMax)
	}
	var out event.Collected
	leaving := make(map[event.JobKey]bool)
	for i := range c.Proposed.Jobs {
		d.collectJobs(&out, &c.Proposed.Jobs[i], leaving)
	}
	for i := range c.Proposed.Work {
		work := &c.Proposed.Work[i]
		if key := work.Job(); !leaving[key] {
			leaving[key] = true // once in a record
			d.collectWork(&out, work)
		}
	}
	for _, id := range distinct(c.Proposed.Nodes, event.ID.Compare) {
		if n := d.state.Node(id); n != nil && d.state.IsGone(n) {
			out.Nodes = append(out.Nodes, id)
		}
	}
	for _, hash := range c.Proposed.Blobs {
		if d.state.IsUnnamed(hash) && !slices.Contains(out.Blobs, hash) {
			out.Blobs = append(out.Blobs, hash)
		}
	}
	if sizeOf(&out) > 0 {
		d.emit(&out, event.ID{})
	}
	return nil
}

func sizeOf(e *event.Collected) int {
	n := len(e.Nodes) + len(e.Blobs)
	for i := range e.Jobs {
		n += len(e.Jobs[i].IDs)
	}
	for i := range e.Work {
		n += len(e.Work[i].Evaluations) + len(e.Work[i].Allocations)
	}
	return n
}

// distinct is the list sorted, each thing once.
func distinct[T comparable](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list) // the command is the caller's
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}

func (d *decision) collectJobs(out *event.Collected, proposed *event.CollectedJobs, leaving map[event.JobKey]bool) {
	jobs := event.CollectedJobs{Namespace: proposed.Namespace}
	for _, id := range proposed.IDs {
		key := event.JobKey{Namespace: proposed.Namespace, ID: id}
		j := d.state.Job(key)
		if j == nil || leaving[key] {
			continue
		}
		if _, over := d.state.IsOver(j); over {
			leaving[key] = true
			jobs.IDs = append(jobs.IDs, id)
		}
	}
	if len(jobs.IDs) > 0 {
		out.Jobs = append(out.Jobs, jobs)
	}
}

func (d *decision) collectWork(out *event.Collected, proposed *event.CollectedWork) {
	ended := d.state.EndedWork(proposed.Job())
	work := event.CollectedWork{Namespace: proposed.Namespace, JobID: proposed.JobID}
	for _, index := range distinct(proposed.Evaluations, cmp.Compare[uint64]) {
		_, found := slices.BinarySearchFunc(ended.Evaluations, index, func(e projections.EndedEvaluation, index uint64) int {
			return cmp.Compare(e.CreateIndex, index)
		})
		if found {
			work.Evaluations = append(work.Evaluations, index)
		}
	}
	if len(proposed.Allocations) > 0 {
		may := make(map[event.ID]bool, len(ended.Allocations))
		for _, a := range ended.Allocations {
			may[a.ID] = true
		}
		for _, id := range distinct(proposed.Allocations, event.ID.Compare) {
			if may[id] {
				work.Allocations = append(work.Allocations, id)
			}
		}
	}
	if len(work.Evaluations)+len(work.Allocations) > 0 {
		out.Work = append(out.Work, work)
	}
}
