package commands

import (
	"encoding/json"
	"net/http"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/api"
	"drover/projections/jobdiff"
	"drover/projections/rest"
)

// Foresight is what a decision would come to.
type Foresight struct {
	Plan    *event.PlanCommitted
	Updates map[string]jobdiff.DesiredUpdates // by group
}

// JobPlanResponse answers a job sent to see what its registration would lead to.
type JobPlanResponse struct {
	JobModifyIndex     uint64              // of the job that is there; 0 = there is none
	CreatedEvals       []*event.Evaluation // what would wait for room
	Diff               *jobdiff.Job        // nil unless asked for
	Annotations        *PlanAnnotations
	FailedTGAllocs     map[string]*event.AllocMetric
	NextPeriodicLaunch time.Time // zero: nothing launches jobs by the clock
	Warnings           string
	WriteAnswer
}

// PlanAnnotations says what would be done to allocations.
type PlanAnnotations struct {
	DesiredTGUpdates map[string]jobdiff.DesiredUpdates
	PreemptedAllocs  []struct{} // none: nobody is preempted
}

// planJob says what a registration of the job would lead to, and changes nothing:
// the scheduler decides on the newest state with the job supposed in it.
func (h *HTTP) planJob(w http.ResponseWriter, r *http.Request) error {
	_, namespace, err := h.question(r)
	if err != nil {
		return err
	}
	body, err := rest.ReadBody(w, r, jobBytesMax)
	if err != nil {
		return err
	}
	if err := checkShape(body); err != nil {
		return err
	}
	var options struct{ Diff bool }
	if err := json.Unmarshal(body, &options); err != nil {
		return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	req, err := h.readRegistration(body, namespace)
	if err != nil {
		return err
	}
	if r.PathValue("id") != req.Job.ID {
		return rest.Errorf(http.StatusBadRequest, "Job ID does not match")
	}
	spec, err := NewBlob(req.Job)
	if err != nil {
		return rest.Errorf(http.StatusInternalServerError, "encode job %q: %v", req.Job.ID, err)
	}
	state := h.cfg.Store.Snapshot()
	old := state.Job(event.JobKey{Namespace: req.Job.Namespace, ID: req.Job.ID})
	if r := admit(state, req.Job); r != nil {
		return httpError(r, false)
	}
	if r := checkVersion(state, old, req.Job); r != nil {
		return httpError(r, false)
	}
	eval := planEvaluation(state, req.Job, h.cfg.NewID())
	foreseen, err := h.cfg.Foresee(state.Supposing(req.Job, spec.Hash), eval)
	if err != nil {
		return rest.Errorf(http.StatusInternalServerError, "plan job %q: %v", req.Job.ID, err)
	}
	answer := JobPlanResponse{
		Annotations: &PlanAnnotations{DesiredTGUpdates: foreseen.Updates}, FailedTGAllocs: failures(foreseen.Plan), Warnings: req.warnings,
		CreatedEvals: []*event.Evaluation{}, WriteAnswer: WriteAnswer{Index: state.Index(), KnownLeader: true},
	}
	var shown *event.Job
	if old != nil {
		shown, answer.JobModifyIndex = api.NewJob(old), old.JobModifyIndex
	}
	if options.Diff {
		answer.Diff = jobdiff.Compare(shown, req.Job)
		answer.Diff.Annotate(shown, req.Job, foreseen.Updates)
	}
	if len(answer.FailedTGAllocs) > 0 {
		answer.CreatedEvals = append(answer.CreatedEvals, remaining(eval, foreseen.Plan))
	}
	rest.SetIndex(w, state.Index())
	return rest.JSON(w, r, answer)
}

// planEvaluation is the evaluation that the registration would create.
func planEvaluation(s *projections.State, job *event.Job, id event.ID) *event.Evaluation {
	return &event.Evaluation{
		ID: id, Namespace: job.Namespace, JobID: job.ID, Type: job.Type, Priority: job.Priority,
		TriggeredBy: event.TriggerJobRegister, Status: event.EvalPending, JobModifyIndex: s.Index() + 1,
	}
}

func failures(plan *event.PlanCommitted) map[string]*event.AllocMetric {
	failed := make(map[string]*event.AllocMetric)
	for _, g := range plan.Groups {
		if g.Failed != nil {
			failed[g.Name] = g.Failed
		}
	}
	return failed
}

// remaining is the evaluation that would wait for room for the rest.
func remaining(eval *event.Evaluation, plan *event.PlanCommitted) *event.Evaluation {
	return &event.Evaluation{
		ID: event.DeriveID("blocked", eval.ID, plan.Basis), Namespace: eval.Namespace, JobID: eval.JobID, Type: eval.Type, Priority: eval.Priority,
		TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, PreviousEval: eval.ID,
		StatusDescription: describeRemaining, SnapshotIndex: plan.Basis,
		ClassEligibility: plan.ClassEligibility, EscapedComputedClass: plan.EscapedComputedClass,
		FailedTGAllocs: failures(plan), QueuedAllocations: plan.Queued, JobModifyIndex: eval.JobModifyIndex,
	}
}
