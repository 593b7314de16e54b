package commands

import (
	"net/http"
	"slices"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// EvalDeleteResponse answers a deletion of evaluations.
type EvalDeleteResponse struct {
	Count int // of those that are gone
	WriteAnswer
}

// deleteEvaluations has evaluations leave the state: those that the body lists, or
// those of the namespace that a filter fits.
func (h *HTTP) deleteEvaluations(w http.ResponseWriter, r *http.Request) error {
	_, namespace, err := h.question(r)
	if err != nil {
		return err
	}
	if namespace == "" {
		namespace = event.DefaultNamespace
	}
	var req struct {
		EvalIDs []string
		Filter  string
	}
	if err := rest.DecodeJSON(w, r, rest.BodyBytesMax, &req); err != nil {
		return err
	}
	if (len(req.EvalIDs) == 0) == (req.Filter == "") {
		return rest.Errorf(http.StatusBadRequest, "evals must be deleted by either ID or filter")
	}
	ids, err := h.evaluationsToDelete(req.EvalIDs, req.Filter, namespace)
	if err != nil {
		return err
	}
	answer := EvalDeleteResponse{WriteAnswer: WriteAnswer{KnownLeader: true, Index: h.cfg.Store.Snapshot().Index()}}
	// More than one command takes go in several, each of them whole or not at all;
	// only the first has the ID that the caller repeats it by.
	do := h.do
	for part := range slices.Chunk(distinct(ids, event.ID.Compare), deleteEvaluationsMax) {
		result, err := do(r, apiCaller(r), DeleteEvaluations{IDs: part})
		if err != nil {
			return httpError(err, false)
		}
		do = func(r *http.Request, caller event.Caller, body Body) (Result, error) {
			return h.cfg.Do(r.Context(), Command{ID: h.cfg.NewID(), Caller: caller, Body: body})
		}
		answer.Count += len(part)
		if n := len(result.Records); n > 0 {
			answer.Index = result.Records[n-1].Index
		}
	}
	return rest.JSON(w, r, answer)
}

func (h *HTTP) evaluationsToDelete(named []string, filter, namespace string) ([]event.ID, error) {
	var ids []event.ID
	for _, text := range named {
		id, err := event.ParseID(text)
		if err != nil {
			return nil, rest.Errorf(http.StatusInternalServerError, "evaluation %q: %v", text, err)
		}
		ids = append(ids, id)
	}
	if filter == "" {
		return ids, nil
	}
	f, err := rest.ParseFilter(filter)
	if err != nil {
		return nil, err
	}
	for eval := range h.cfg.Store.Snapshot().Evaluations() {
		if namespace != "*" && eval.Namespace != namespace {
			continue
		}
		fits, err := f.Match(eval)
		if err != nil {
			return nil, err
		}
		if fits {
			ids = append(ids, eval.ID)
		}
	}
	return ids, nil
}
