package commands

import (
	"errors"
	"net/http"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// AllocStopResponse answers an allocation that was stopped.
type AllocStopResponse struct {
	EvalID event.ID
	WriteAnswer
}

// stopAllocation stops an allocation, which is replaced.
func (h *HTTP) stopAllocation(w http.ResponseWriter, r *http.Request) error {
	q, _, err := h.question(r)
	if err != nil {
		return err
	}
	id, err := event.ParseID(r.PathValue("id"))
	if err != nil {
		return rest.Errorf(http.StatusNotFound, "alloc not found")
	}
	hasty, err := q.Bool("no_shutdown_delay", false, http.StatusBadRequest)
	if err != nil {
		return err
	}
	rescheduled, err := q.Bool("reschedule", false, http.StatusBadRequest)
	if err != nil {
		return err
	}
	if rescheduled {
		return rest.Errorf(http.StatusNotImplemented, "reschedule=true: rescheduling by policy is not built in this version of Drover; "+
			"without it the allocation is stopped and replaced at once")
	}
	result, err := h.do(r, apiCaller(r), StopAllocation{ID: id, NoShutdownDelay: hasty})
	var rejection *Rejection
	if errors.As(err, &rejection) && rejection.Reason == ReasonNotFound {
		return rest.Errorf(http.StatusNotFound, "%s", rejection.Message)
	}
	if err != nil {
		return httpError(err, false)
	}
	answer := AllocStopResponse{WriteAnswer: writeAnswer(result)}
	for _, record := range result.Records {
		if e, ok := record.Event.(*event.EvaluationCreated); ok {
			answer.EvalID = e.Evaluation.ID
		}
	}
	rest.SetIndex(w, result.Index)
	return rest.JSON(w, r, &answer)
}
