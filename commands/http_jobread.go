package commands

import (
	"encoding/json"
	"net/http"
	"strings"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// JobReader reads jobs in the forms in which callers send them.
type JobReader interface {
	// ParseRegistration reads the JSON of a registration, {"Job":{…},…}, with
	// the API's names. An error that unwraps to several says what is wrong with
	// the job point by point.
	ParseRegistration(body []byte) (*Registration, error)

	// ParseFile reads the text of a job file, with the text of a file of
	// variables. The value is the job as the API's JSON shows it: with every
	// default filled in when canonical, else as written.
	ParseFile(source, variables string, canonical bool) (job any, err error)
}

// Registration is a submitted job, read and checked.
type Registration struct {
	Job            *event.Job // canonical and valid
	EnforceIndex   bool
	JobModifyIndex uint64
	PreserveCounts bool
	EvalPriority   int // 0 = the job's
	Submission     *event.JobSubmission
	Region         string // beside the job; "" = none was named
	Namespace      string // the same
	Warnings       string
}

// readRegistration reads the body of a registration for the namespace that the
// query names, if any: it goes before that of the body, and that before the
// job's own.
func (h *HTTP) readRegistration(body []byte, namespace string) (*Registration, error) {
	req, err := h.cfg.Jobs.ParseRegistration(body)
	if err != nil {
		return nil, err
	}
	if err := checkPriority(req.EvalPriority); err != nil {
		return nil, err
	}
	for _, region := range []string{req.Region, req.Job.Region} {
		if region != "" && region != event.GlobalRegion && region != h.cfg.Region {
			return nil, rest.Errorf(http.StatusInternalServerError, "No path to region")
		}
	}
	if namespace == "" {
		namespace = req.Namespace
	}
	if namespace != "" && namespace != req.Job.Namespace {
		job := *req.Job
		job.Namespace = namespace
		req.Job = &job
	}
	return req, onlyNamespace(req.Job.Namespace)
}

// checkShape tells a body that is no request (400) from a request with a job
// that is not right (500, as in the reference server).
func checkShape(body []byte) error {
	var shape struct{ Job json.RawMessage }
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	if err := decoder.Decode(&shape); err != nil {
		return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
	}
	if len(shape.Job) == 0 || string(shape.Job) == "null" {
		return rest.Errorf(http.StatusBadRequest, "Job must be specified")
	}
	return nil
}

// validateJob says what a registration of the job would say, and changes nothing.
func (h *HTTP) validateJob(w http.ResponseWriter, r *http.Request) error {
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
	answer := JobValidateResponse{DriverConfigValidated: true}
	req, err := h.readRegistration(body, namespace)
	if err != nil {
		answer.DriverConfigValidated = false
		answer.Error = err.Error()
		answer.ValidationErrors = problems(err)
	} else {
		answer.Warnings = req.Warnings
	}
	return rest.JSON(w, r, answer)
}

// problems lists what an error is made of.
func problems(err error) []string {
	var list []string
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			list = append(list, problems(part)...)
		}
	default:
		list = append(list, err.Error())
	}
	return list
}

// parseJob turns the text of a job file into the API's job.
func (h *HTTP) parseJob(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := h.question(r); err != nil {
		return err
	}
	var req struct {
		JobHCL       string
		Variables    string
		Canonicalize bool
	}
	if err := rest.DecodeJSON(w, r, jobBytesMax, &req); err != nil {
		return err
	}
	if req.JobHCL == "" {
		return rest.Errorf(http.StatusBadRequest, "Job spec is empty")
	}
	job, err := h.cfg.Jobs.ParseFile(req.JobHCL, req.Variables, req.Canonicalize)
	if err != nil {
		return rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	return rest.JSON(w, r, job)
}
