package commands

import (
	"errors"
	"net/http"
	"strconv"

	"drover/eventlog/event"
	"drover/projections/rest"
)

// SchedulerConfigResponse answers a configuration of the scheduler.
type SchedulerConfigResponse struct {
	Updated  bool // false when it was to be changed as of an index and has changed since
	Warnings []string
	WriteAnswer
}

func (h *HTTP) configureScheduler(w http.ResponseWriter, r *http.Request) error {
	q, _, err := h.question(r)
	if err != nil {
		return err
	}
	var req struct {
		SchedulerAlgorithm string
		PreemptionConfig   struct {
			SystemSchedulerEnabled, SysBatchSchedulerEnabled, BatchSchedulerEnabled, ServiceSchedulerEnabled bool
		}
		MemoryOversubscriptionEnabled bool
		RejectJobRegistration         bool
		PauseEvalBroker               bool
		NodeLimitForFeasibilityChecks uint
	}
	if err := rest.DecodeJSON(w, r, settingBytesMax, &req); err != nil {
		return err
	}
	preempt := req.PreemptionConfig
	command := ConfigureScheduler{Config: event.SchedulerConfigured{
		Algorithm: req.SchedulerAlgorithm, MemoryOversubscribed: req.MemoryOversubscriptionEnabled,
		RejectJobs: req.RejectJobRegistration, PauseEvaluations: req.PauseEvalBroker, NodeLimit: req.NodeLimitForFeasibilityChecks,
		PreemptSystem: preempt.SystemSchedulerEnabled, PreemptSysBatch: preempt.SysBatchSchedulerEnabled,
		PreemptBatch: preempt.BatchSchedulerEnabled, PreemptService: preempt.ServiceSchedulerEnabled,
	}}
	if text := q.Get("cas"); text != "" {
		index, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return rest.Errorf(http.StatusBadRequest, "failed to parse value of %q (%q) as an index", "cas", text)
		}
		command.ModifyIndex = &index
	}
	answer := SchedulerConfigResponse{Updated: true, Warnings: idle(&command.Config)}
	result, err := h.do(r, apiCaller(r), command)
	var rejection *Rejection
	switch {
	case errors.As(err, &rejection) && rejection.Reason == ReasonStale:
		answer = SchedulerConfigResponse{Warnings: []string{}, WriteAnswer: WriteAnswer{KnownLeader: true, Index: h.cfg.Store.Snapshot().Index()}}
	case errors.As(err, &rejection) && rejection.Reason == ReasonInvalid:
		return rest.Errorf(http.StatusBadRequest, "%s", rejection.Message)
	case err != nil:
		return httpError(err, false)
	default:
		answer.WriteAnswer = writeAnswer(result)
	}
	rest.SetIndex(w, answer.Index)
	return rest.JSON(w, r, answer)
}

// idle names the settings that nothing acts on.
func idle(c *event.SchedulerConfigured) []string {
	list := []string{}
	if c.PreemptSystem || c.PreemptSysBatch || c.PreemptBatch || c.PreemptService {
		list = append(list, "preemption is not built in this version of Drover: the setting is kept and nothing acts on it")
	}
	if c.NodeLimit != 0 {
		list = append(list, "NodeLimitForFeasibilityChecks is kept and nothing acts on it: every node is looked at for every placement")
	}
	return list
}
