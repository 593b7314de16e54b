package commands

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"drover/commands/jobspec"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// registration is a submitted job, read and checked.
type registration struct {
	*jobspec.RegisterRequest
	warnings string
}

// readRegistration reads the body of a registration for the namespace that the
// query names, if any: it goes before that of the body, and that before the
// job's own. An error that unwraps to several says what is wrong point by point.
func (h *HTTP) readRegistration(body []byte, namespace string) (*registration, error) {
	req, err := jobspec.ParseRegisterRequest(body)
	if err != nil {
		return nil, rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	if namespace == "" {
		namespace = req.Namespace
	}
	if namespace != "" && namespace != req.Job.Namespace {
		job := *req.Job
		job.Namespace = namespace
		req.Job = &job
	}
	warnings, err := jobspec.Validate(req.Job)
	if err != nil {
		return nil, err
	}
	Complete(h.cfg.Store.Snapshot(), req.Job)
	if err := checkPriority(req.EvalPriority); err != nil {
		return nil, err
	}
	if req.PreserveResources {
		return nil, rest.Errorf(http.StatusNotImplemented, "PreserveResources is not built in this version of Drover; submit the job without it")
	}
	for _, region := range []string{req.Region, req.Job.Region} {
		if region != "" && region != event.GlobalRegion && region != h.cfg.Region {
			return nil, rest.Errorf(http.StatusInternalServerError, "No path to region")
		}
	}
	warnings = append(warnings, memoryIgnored(h.cfg.Store.Snapshot(), req.Job)...)
	return &registration{req, warningText(slices.Concat(req.Warnings, warnings))}, nil
}

// Complete writes into a valid job what follows from it and its author left out: constraints, and the node pool, which
// is its namespace's.
func Complete(s *projections.State, job *event.Job) {
	jobspec.AddImplied(job)
	if job.NodePool != "" {
		return
	}
	job.NodePool = event.DefaultPool
	if n := s.Namespace(job.Namespace); n != nil && n.NodePoolConfiguration != nil && n.NodePoolConfiguration.Default != "" {
		job.NodePool = n.NodePoolConfiguration.Default
	}
}

// memoryIgnored names the tasks that ask for more memory than they are sure of where
// nobody may have that.
func memoryIgnored(s *projections.State, job *event.Job) (warnings []string) {
	if s.MemoryOversubscribed(job.NodePool) {
		return nil
	}
	for _, g := range job.TaskGroups {
		for _, t := range g.Tasks {
			if t.Resources.MemoryMaxMB != 0 {
				warnings = append(warnings, fmt.Sprintf("Memory oversubscription is not enabled; Task %q memory_max value will be ignored. "+
					"Update the Scheduler Configuration to allow oversubscription.", g.Name+"."+t.Name))
			}
		}
	}
	return warnings
}

// warningText lists warnings in one text, as the field's tools print it.
func warningText(list []string) string {
	switch len(list) {
	case 0:
		return ""
	case 1:
		return "1 warning:\n\n* " + list[0]
	}
	return fmt.Sprintf("%d warnings:\n\n* %s", len(list), strings.Join(list, "\n* "))
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
	if err == nil {
		if r := admit(h.cfg.Store.Snapshot(), req.Job); r != nil {
			err = r
		}
	}
	if err != nil {
		answer.DriverConfigValidated = false
		answer.Error = err.Error()
		answer.ValidationErrors = problems(err)
	} else {
		answer.Warnings = req.warnings
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
	// No file of this machine may be read on behalf of a caller elsewhere.
	parsed, err := jobspec.Parse(jobspec.ParseConfig{
		Path: "input.hcl", Body: []byte(req.JobHCL),
		VarFiles: []jobspec.VarFile{{Path: "input.vars.hcl", Body: []byte(req.Variables)}},
	})
	if err != nil {
		return rest.Errorf(http.StatusBadRequest, "%v", err)
	}
	if req.Canonicalize {
		return rest.JSON(w, r, parsed.Job)
	}
	return rest.JSON(w, r, parsed.Written)
}
