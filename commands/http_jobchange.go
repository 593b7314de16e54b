package commands

import (
	"net/http"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// changedJob reads what routes that change a job have in common: which one. id is
// the job that the body names, if any.
func (h *HTTP) changedJob(r *http.Request, id string) (event.JobKey, error) {
	_, namespace, err := h.question(r)
	if err != nil {
		return event.JobKey{}, err
	}
	if namespace == "" {
		namespace = event.DefaultNamespace
	}
	if id != "" && id != r.PathValue("id") {
		return event.JobKey{}, rest.Errorf(http.StatusBadRequest, "Job ID does not match")
	}
	return event.JobKey{Namespace: namespace, ID: r.PathValue("id")}, nil
}

// revertJob makes an older version of a job its newest one.
func (h *HTTP) revertJob(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		JobID               string
		JobVersion          uint64
		EnforcePriorVersion *uint64
	}
	if err := rest.DecodeJSON(w, r, rest.BodyBytesMax, &req); err != nil {
		return err
	}
	if req.JobID == "" {
		return rest.Errorf(http.StatusBadRequest, "JobID must be specified")
	}
	key, err := h.changedJob(r, req.JobID)
	if err != nil {
		return err
	}
	result, err := h.do(r, apiCaller(r), RevertJob{Key: key, Version: req.JobVersion, Prior: req.EnforcePriorVersion})
	if err != nil {
		return httpError(err, false)
	}
	return h.answerRegistered(w, r, result, "")
}
