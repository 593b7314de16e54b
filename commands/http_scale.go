package commands

import (
	"errors"
	"net/http"

	"drover/projections/rest"
)

// scaleJob gives a group of a job another count, or notes what is said about it.
func (h *HTTP) scaleJob(w http.ResponseWriter, r *http.Request) error {
	key, err := h.changedJob(r, "")
	if err != nil {
		return err
	}
	var req struct {
		Count          *int64
		Target         map[string]string
		Message        string
		Error          bool
		Meta           map[string]any
		JobModifyIndex uint64
	}
	if err := rest.DecodeJSON(w, r, settingBytesMax, &req); err != nil {
		return err
	}
	if named := req.Target["Job"]; named != "" && named != key.ID {
		return rest.Errorf(http.StatusBadRequest, "job ID in payload did not match URL")
	}
	if req.Target["Group"] == "" {
		return rest.Errorf(http.StatusBadRequest, "missing task group name for scaling action")
	}
	result, err := h.do(r, apiCaller(r), ScaleJob{
		Key: key, Group: req.Target["Group"], Count: req.Count, Message: req.Message, Error: req.Error,
		Meta: req.Meta, JobModifyIndex: req.JobModifyIndex,
	})
	var rejection *Rejection
	if errors.As(err, &rejection) {
		// Autoscalers tell these by their codes.
		switch rejection.Reason {
		case ReasonNotFound:
			return rest.Errorf(http.StatusNotFound, "%s", rejection.Message)
		case ReasonInvalid:
			return rest.Errorf(http.StatusBadRequest, "%s", rejection.Message)
		}
	}
	if err != nil {
		return httpError(err, false)
	}
	return h.answerRegistered(w, r, result, "")
}
