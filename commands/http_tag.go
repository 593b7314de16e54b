package commands

import (
	"net/http"
	"strings"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// taggedJob reads what a path says of a tag: "<job>/versions/<name>" before its end.
func (h *HTTP) taggedJob(r *http.Request) (key event.JobKey, name string, err error) {
	key, err = h.changedJob(r, "")
	if err != nil {
		return key, "", err
	}
	at := strings.LastIndex(key.ID, "/versions/")
	if at <= 0 {
		return key, "", rest.Errorf(http.StatusNotFound, "a tag is at /v1/job/<job>/versions/<name>/tag")
	}
	key.ID, name = key.ID[:at], key.ID[at+len("/versions/"):]
	return key, name, nil
}

// tagVersion gives a version of a job a name.
func (h *HTTP) tagVersion(w http.ResponseWriter, r *http.Request) error {
	key, name, err := h.taggedJob(r)
	if err != nil {
		return err
	}
	var req struct {
		Version     uint64
		Latest      bool // the newest, unless a version is named
		Description string
	}
	if err := rest.DecodeJSON(w, r, settingBytesMax, &req); err != nil {
		return err
	}
	tag := TagVersion{Key: key, Name: name, Version: &req.Version, Description: req.Description}
	if req.Latest && req.Version == 0 {
		tag.Version = nil
	}
	result, err := h.do(r, apiCaller(r), tag)
	if err != nil {
		return httpError(err, false)
	}
	rest.SetIndex(w, result.Index)
	if j := result.State.Job(key); j != nil {
		if version, ok := j.Tagged(name); ok {
			return rest.JSON(w, r, j.TagOf(version))
		}
	}
	return rest.JSON(w, r, struct{}{}) // taken away meanwhile
}

// untagVersion takes a name away.
func (h *HTTP) untagVersion(w http.ResponseWriter, r *http.Request) error {
	key, name, err := h.taggedJob(r)
	if err != nil {
		return err
	}
	result, err := h.do(r, apiCaller(r), UntagVersion{Key: key, Name: name})
	if err != nil {
		return httpError(err, false)
	}
	rest.SetIndex(w, result.Index)
	return nil
}
