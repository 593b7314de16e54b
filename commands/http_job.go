package commands

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// Register adds every writing route of the HTTP API.
func (h *HTTP) Register(rt *rest.Router) {
	rt.Handle("PUT POST", "/v1/jobs", h.write(h.submitJob))
	rt.Handle("PUT POST", "/v1/job/{id...}", h.write(h.submitJob))
	rt.Handle(http.MethodDelete, "/v1/job/{id...}", h.write(h.stopJob))
	rt.Handle("PUT POST", "/v1/job/{id...}/evaluate", h.write(h.evaluateJob))
	rt.Handle("PUT POST", "/v1/job/{id...}/plan", h.write(h.planJob))
	rt.Handle("PUT POST", "/v1/job/{id...}/scale", h.write(h.scaleJob))
	rt.Handle("PUT POST", "/v1/job/{id...}/revert", h.write(h.revertJob))
	rt.Handle("PUT POST", "/v1/job/{id...}/tag", h.write(h.tagVersion))
	rt.Handle(http.MethodDelete, "/v1/job/{id...}/tag", h.write(h.untagVersion))
	rt.Handle("PUT POST", "/v1/operator/scheduler/configuration", h.write(h.configureScheduler))
	rt.Handle("PUT POST", "/v1/node/pools", h.write(h.setNodePool))
	rt.Handle("PUT POST", "/v1/node/pool/{id}", h.write(h.setNodePool))
	rt.Handle(http.MethodDelete, "/v1/node/pool/{id}", h.write(h.deleteNodePool))
	rt.Handle("PUT POST", "/v1/namespace", h.write(h.setNamespace))
	rt.Handle("PUT POST", "/v1/namespace/{id}", h.write(h.setNamespace))
	rt.Handle(http.MethodDelete, "/v1/namespace/{id}", h.write(h.deleteNamespace))
	rt.Handle("PUT POST", "/v1/allocation/{id}/stop", h.write(h.stopAllocation))
	rt.Handle("PUT POST", "/v1/validate/job", h.validateJob)
	rt.Handle("PUT POST", "/v1/jobs/parse", h.parseJob)
	rt.Handle(http.MethodPut, "/v1/system/gc", h.write(h.collectGarbage))
	rt.Handle(http.MethodDelete, "/v1/evaluations", h.write(h.deleteEvaluations))
	rt.Handle("PUT POST", "/v1/node/{id}/eligibility", h.write(h.setEligibility))
	rt.Handle("PUT POST", "/v1/node/{id}/evaluate", h.write(h.evaluateNode))
}

// JobRegisterResponse answers a submitted or newly evaluated job.
type JobRegisterResponse struct {
	EvalID          event.ID
	EvalCreateIndex uint64
	JobModifyIndex  uint64
	Warnings        string
	WriteAnswer
}

// JobDeregisterResponse answers a stopped job.
type JobDeregisterResponse struct {
	EvalID          event.ID // none when there was no such job
	EvalCreateIndex uint64
	JobModifyIndex  uint64
	WriteAnswer
}

// WriteAnswer is what every write answers, beside its own.
type WriteAnswer struct {
	Index       uint64
	LastContact int64 // nanoseconds; the leader answers
	KnownLeader bool
	NextToken   string
}

// JobValidateResponse answers a job sent for validation.
type JobValidateResponse struct {
	// DriverConfigValidated says that a server looked at the drivers' parts, as
	// far as servers can: their form. Only a node knows what a driver takes.
	DriverConfigValidated bool
	ValidationErrors      []string
	Error                 string
	Warnings              string
}

// question reads what all routes about jobs have in common: the namespace, when
// the parameters name one, and the region, which must be this one.
func (h *HTTP) question(r *http.Request) (q rest.Query, namespace string, err error) {
	if q, err = rest.ParseQuery(r); err != nil {
		return q, "", err
	}
	return q, q.Get("namespace"), q.InRegion(h.cfg.Region)
}

func (h *HTTP) submitJob(w http.ResponseWriter, r *http.Request) error {
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
	req, err := h.readRegistration(body, namespace)
	if err != nil {
		return err
	}
	if id := r.PathValue("id"); id != "" && id != req.Job.ID {
		return rest.Errorf(http.StatusBadRequest, "Job ID does not match name")
	}
	command := SubmitJob{
		Job: req.Job, EnforceIndex: req.EnforceIndex, JobModifyIndex: req.JobModifyIndex,
		EvalPriority: req.EvalPriority, PreserveCounts: req.PreserveCounts,
	}
	if command.Spec, err = NewBlob(req.Job); err != nil {
		return rest.Errorf(http.StatusInternalServerError, "encode job %q: %v", req.Job.ID, err)
	}
	if req.Submission != nil {
		if command.Source, err = NewBlob(req.Submission); err != nil {
			return rest.Errorf(http.StatusInternalServerError, "encode the source of job %q: %v", req.Job.ID, err)
		}
	}
	if len(command.Spec.Data)+len(command.Source.Data) > inlineBytesMax {
		for _, blob := range []Blob{command.Spec, command.Source} {
			if err := h.storeBlob(r, blob); err != nil {
				return err
			}
		}
	}
	result, err := h.do(r, apiCaller(r), command)
	if err != nil {
		return httpError(err, false)
	}
	return h.answerRegistered(w, r, result, req.warnings)
}

// storeBlob puts a blob into the log piece by piece, ahead of the command that
// needs it. Doing so twice does no harm, so the pieces need no remembered IDs.
func (h *HTTP) storeBlob(r *http.Request, blob Blob) error {
	if blob.Hash.IsZero() {
		return nil
	}
	pieces := slices.Collect(slices.Chunk(blob.Data, chunkBytesMax))
	for i, data := range pieces {
		_, err := h.cfg.Do(r.Context(), Command{
			ID: h.cfg.NewID(), Caller: apiCaller(r),
			Body: StoreBlob{Hash: blob.Hash, Chunk: uint32(i), Of: uint32(len(pieces)), Data: data},
		})
		if err != nil {
			return httpError(err, false)
		}
	}
	return nil
}

func (h *HTTP) answerRegistered(w http.ResponseWriter, r *http.Request, result Result, warnings string) error {
	answer := JobRegisterResponse{Warnings: warnings, WriteAnswer: writeAnswer(result)}
	for _, record := range result.Records {
		switch e := record.Event.(type) {
		case *event.JobSubmitted:
			answer.JobModifyIndex = record.Index
		case *event.EvaluationCreated:
			answer.EvalID, answer.EvalCreateIndex = e.Evaluation.ID, record.Index
			if answer.JobModifyIndex == 0 {
				answer.JobModifyIndex = e.Evaluation.JobModifyIndex
			}
		case *event.JobScaled:
			if job := result.State.Job(event.JobKey{Namespace: e.Namespace, ID: e.JobID}); job != nil && answer.JobModifyIndex == 0 {
				answer.JobModifyIndex = job.JobModifyIndex
			}
		}
	}
	rest.SetIndex(w, result.Index)
	return rest.JSON(w, r, answer)
}

func writeAnswer(result Result) WriteAnswer {
	return WriteAnswer{Index: result.Index, KnownLeader: true}
}

func (h *HTTP) stopJob(w http.ResponseWriter, r *http.Request) error {
	q, namespace, err := h.question(r)
	if err != nil {
		return err
	}
	if namespace == "" {
		namespace = event.DefaultNamespace
	}
	purge, err := q.Bool("purge", false, http.StatusInternalServerError)
	if err != nil {
		return err
	}
	// Jobs live in one region each, so "in every region" is "here".
	if _, err := q.Bool("global", false, http.StatusBadRequest); err != nil {
		return err
	}
	noDelay, err := q.Bool("no_shutdown_delay", false, http.StatusBadRequest)
	if err != nil {
		return err
	}
	priority := 0
	if text := q.Get("eval_priority"); text != "" {
		if priority, err = strconv.Atoi(text); err != nil {
			return rest.Errorf(http.StatusBadRequest, "failed to parse value of %q (%q) as a number", "eval_priority", text)
		}
		if err := checkPriority(priority); err != nil {
			return err
		}
	}
	result, err := h.do(r, apiCaller(r), StopJob{
		Key: event.JobKey{Namespace: namespace, ID: r.PathValue("id")}, Purge: purge, EvalPriority: priority, NoShutdownDelay: noDelay,
	})
	if err != nil {
		return httpError(err, false)
	}
	answer := JobDeregisterResponse{WriteAnswer: writeAnswer(result)}
	for _, record := range result.Records {
		if e, ok := record.Event.(*event.EvaluationCreated); ok {
			answer.EvalID, answer.EvalCreateIndex, answer.JobModifyIndex = e.Evaluation.ID, record.Index, e.Evaluation.JobModifyIndex
		}
	}
	rest.SetIndex(w, result.Index)
	return rest.JSON(w, r, answer)
}

// checkPriority checks a wished priority of an evaluation; 0 is no wish.
func checkPriority(priority int) error {
	if priority < 0 || priority > 100 {
		return rest.Errorf(http.StatusBadRequest, "evaluation priority must be between 1 and 100, not %d", priority)
	}
	return nil
}

func (h *HTTP) evaluateJob(w http.ResponseWriter, r *http.Request) error {
	_, namespace, err := h.question(r)
	if err != nil {
		return err
	}
	if namespace == "" {
		namespace = event.DefaultNamespace
	}
	var req struct {
		JobID       string
		EvalOptions struct{ ForceReschedule bool }
	}
	body, err := rest.ReadBody(w, r, rest.BodyBytesMax)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(body)) != "" {
		if err := json.Unmarshal(body, &req); err != nil {
			return rest.Errorf(http.StatusBadRequest, "failed to decode the request body: %v", err)
		}
	}
	id := r.PathValue("id")
	if req.JobID != "" && req.JobID != id {
		return rest.Errorf(http.StatusBadRequest, "JobID not same as in the path")
	}
	if req.EvalOptions.ForceReschedule {
		return rest.Errorf(http.StatusNotImplemented, "ForceReschedule is not built in this version of Drover; evaluate without it")
	}
	result, err := h.do(r, apiCaller(r), EvaluateJob{Key: event.JobKey{Namespace: namespace, ID: id}})
	if err != nil {
		return httpError(err, false)
	}
	return h.answerRegistered(w, r, result, "")
}
