package commands

import (
	"cmp"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// DeleteEvaluations has evaluations leave the state by an operator's word, all or
// none: open ones are canceled first, since nothing is decided meanwhile. Those
// with allocations that still matter stay.
type DeleteEvaluations struct {
	IDs []event.ID
}

func (c DeleteEvaluations) decide(d *decision) *Rejection {
	if len(c.IDs) > deleteEvaluationsMax {
		return reject(ReasonInvalid, "delete %d evaluations at once; the limit is %d", len(c.IDs), deleteEvaluationsMax)
	}
	if !d.state.Scheduler().PauseEvaluations {
		return reject(ReasonInvalid, "evaluations can be deleted only while the scheduler is paused: drover operator scheduler set-config -pause-eval-broker=true")
	}
	var jobs []event.JobKey // in the order in which they are named
	work := make(map[event.JobKey]event.Indexes)
	var open []*event.Evaluation
	for _, id := range distinct(c.IDs, event.ID.Compare) {
		eval := d.state.Evaluation(id)
		if eval == nil {
			return reject(ReasonNotFound, "eval %v not found", id)
		}
		key := eval.Job()
		if work[key] == nil {
			jobs = append(jobs, key)
		}
		work[key] = append(work[key], eval.CreateIndex)
		if !eval.Status.Terminal() {
			open = append(open, eval)
		}
	}
	for _, key := range jobs {
		if id, inUse := d.evaluationInUse(key, work[key]); inUse {
			return reject(ReasonInvalid, "eval %v is not safe to delete: it has allocations that have not ended, or whose end still counts", id)
		}
	}
	for _, eval := range open {
		d.emit(&event.EvaluationEnded{EvalID: eval.ID, Status: event.EvalCanceled, Description: "deleted by an operator"}, eval.ID)
	}
	var out event.Collected
	for _, key := range jobs {
		slices.Sort(work[key])
		out.Work = append(out.Work, event.CollectedWork{Namespace: key.Namespace, JobID: key.ID, Evaluations: work[key]})
	}
	if len(out.Work) > 0 {
		d.emit(&out, event.ID{})
	}
	return nil
}

// evaluationInUse finds one of a job's evaluations that made allocations which may
// not leave with it.
func (d *decision) evaluationInUse(key event.JobKey, created event.Indexes) (event.ID, bool) {
	leaving := make(map[event.ID]bool, len(created))
	for eval := range d.state.EvaluationsOf(key) {
		if slices.Contains(created, eval.CreateIndex) {
			leaving[eval.ID] = true
		}
	}
	ended := d.state.EndedWork(key).Evaluations
	for a := range d.state.AllocationsOf(key) {
		if !leaving[a.EvalID] {
			continue
		}
		made := d.state.Evaluation(a.EvalID).CreateIndex
		if _, may := slices.BinarySearchFunc(ended, made, func(e projections.EndedEvaluation, index uint64) int {
			return cmp.Compare(e.CreateIndex, index)
		}); !may {
			return a.EvalID, true
		}
	}
	return event.ID{}, false
}
