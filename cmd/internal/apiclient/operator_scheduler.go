package apiclient

import (
	"context"
	"net/url"
	"strconv"
)

// SchedulerConfig is how jobs are taken and placed.
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

// SchedulerConfig reads how jobs are taken and placed.
func (c *Client) SchedulerConfig(ctx context.Context) (*SchedulerConfig, Answer, error) {
	var resp struct{ SchedulerConfig *SchedulerConfig }
	a, err := c.Get(ctx, schedulerConfigPath, Query{}, &resp)
	return resp.SchedulerConfig, a, err
}

// SetSchedulerConfig sets it, if checked only as long as its ModifyIndex is that of
// config. updated is false when it is not.
func (c *Client) SetSchedulerConfig(ctx context.Context, config *SchedulerConfig, checked bool) (updated bool, warnings []string, err error) {
	var q Query
	if checked {
		q.Values = url.Values{"cas": {strconv.FormatUint(config.ModifyIndex, 10)}}
	}
	var resp struct {
		Updated  bool
		Warnings []string
	}
	_, err = c.Put(ctx, schedulerConfigPath, q, config, &resp)
	return resp.Updated, resp.Warnings, err
}

const schedulerConfigPath = "/v1/operator/scheduler/configuration"
