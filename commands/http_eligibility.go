package commands

import (
	"encoding/json"
	"net/http"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// NodeEligibilityResponse answers a node whose eligibility was set.
type NodeEligibilityResponse struct {
	NodeModifyIndex uint64
	EvalIDs         []event.ID // of the system jobs that are looked at because of it
	EvalCreateIndex uint64
	WriteAnswer
}

func (h *HTTP) setEligibility(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	body, err := rest.ReadBody(w, r, settingBytesMax)
	if err != nil {
		return err
	}
	var req struct{ NodeID, Eligibility string }
	if err := json.Unmarshal(body, &req); err != nil {
		return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	id, err := event.ParseID(r.PathValue("id"))
	switch {
	case err != nil:
		return rest.Errorf(http.StatusNotFound, "node not found")
	case req.NodeID != "" && req.NodeID != r.PathValue("id"):
		return rest.Errorf(http.StatusBadRequest, "Node ID does not match")
	case req.Eligibility != event.Eligible && req.Eligibility != event.Ineligible:
		return rest.Errorf(http.StatusInternalServerError, "invalid scheduling eligibility %q: it is %s or %s", req.Eligibility, event.Eligible, event.Ineligible)
	}
	result, err := h.do(r, apiCaller(r), SetEligibility{NodeID: id, Eligible: req.Eligibility == event.Eligible})
	if err != nil {
		return httpError(err, false)
	}
	resp := NodeEligibilityResponse{EvalIDs: []event.ID{}, WriteAnswer: writeAnswer(result)}
	for _, record := range result.Records {
		if e, ok := record.Event.(*event.EvaluationCreated); ok {
			resp.EvalIDs = append(resp.EvalIDs, e.Evaluation.ID)
			resp.EvalCreateIndex = record.Index
		}
	}
	if node := result.State.Node(id); node != nil {
		resp.NodeModifyIndex = node.ModifyIndex
	}
	rest.SetIndex(w, result.Index)
	return rest.JSON(w, r, &resp)
}
