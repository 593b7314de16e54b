package api

import "drover/projections"

// SchedulerConfigAnswer is how jobs are taken and placed, and the state that says so.
type SchedulerConfigAnswer struct {
	SchedulerConfig *SchedulerConfig
	Index           uint64
	LastContact     int64 // nanoseconds
	KnownLeader     bool
	NextToken       string
}

// SchedulerConfig is how jobs are taken and placed. Nothing acts on preemption and
// on the limit of nodes.
type SchedulerConfig struct {
	SchedulerAlgorithm            string
	PreemptionConfig              PreemptionConfig
	MemoryOversubscriptionEnabled bool
	RejectJobRegistration         bool
	PauseEvalBroker               bool
	NodeLimitForFeasibilityChecks uint
	CreateIndex                   uint64
	ModifyIndex                   uint64
}

// PreemptionConfig says which types of job may take the room of lower priorities.
type PreemptionConfig struct {
	SystemSchedulerEnabled   bool
	SysBatchSchedulerEnabled bool
	BatchSchedulerEnabled    bool
	ServiceSchedulerEnabled  bool
}

// NewSchedulerConfig shows the scheduler's configuration.
func NewSchedulerConfig(c *projections.Scheduler) *SchedulerConfig {
	return &SchedulerConfig{
		SchedulerAlgorithm: c.Algorithm,
		PreemptionConfig: PreemptionConfig{
			SystemSchedulerEnabled: c.PreemptSystem, SysBatchSchedulerEnabled: c.PreemptSysBatch,
			BatchSchedulerEnabled: c.PreemptBatch, ServiceSchedulerEnabled: c.PreemptService,
		},
		MemoryOversubscriptionEnabled: c.MemoryOversubscribed, RejectJobRegistration: c.RejectJobs, PauseEvalBroker: c.PauseEvaluations,
		NodeLimitForFeasibilityChecks: c.NodeLimit, CreateIndex: c.CreateIndex, ModifyIndex: c.ModifyIndex,
	}
}

var schedulerConfigView = view{
	index:  func(k *ask) uint64 { return max(k.state.Scheduler().ModifyIndex, 1) },
	matter: func(*ask) matter { return matter{sort: schedulerConfig} },
	show: func(k *ask) (any, error) {
		c := NewSchedulerConfig(k.state.Scheduler())
		return &SchedulerConfigAnswer{SchedulerConfig: c, Index: max(c.ModifyIndex, 1), KnownLeader: true}, nil
	},
}
