package commands

import (
	"drover/eventlog/event"
	"drover/projections"
)

// ConfigureScheduler sets how jobs are taken and placed from here on.
type ConfigureScheduler struct {
	Config event.SchedulerConfigured
	// ModifyIndex, if not nil, is the one that the configuration must have now.
	ModifyIndex *uint64
}

func (c ConfigureScheduler) decide(d *decision) *Rejection {
	now := d.state.Scheduler()
	if c.Config.Algorithm == "" {
		c.Config.Algorithm = event.AlgorithmBinpack
	}
	if err := checkAlgorithm(c.Config.Algorithm); err != nil {
		return err
	}
	if c.ModifyIndex != nil && *c.ModifyIndex != now.ModifyIndex {
		return reject(ReasonStale, "the scheduler configuration was changed at index %d, not %d", now.ModifyIndex, *c.ModifyIndex)
	}
	if c.Config != now.SchedulerConfigured {
		d.emit(&c.Config, event.ID{})
	}
	return nil
}

func checkAlgorithm(name string) *Rejection {
	if name != event.AlgorithmBinpack && name != event.AlgorithmSpread {
		return reject(ReasonInvalid, "invalid scheduler algorithm %q: it is %s or %s", name, event.AlgorithmBinpack, event.AlgorithmSpread)
	}
	return nil
}

// takesJobs refuses a job while operators want no new ones.
func takesJobs(s *projections.State) *Rejection {
	if s.Scheduler().RejectJobs {
		return reject(ReasonConflict, "job registration, dispatch, and scale are disabled by the scheduler configuration")
	}
	return nil
}
