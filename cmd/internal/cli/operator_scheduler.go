package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"strconv"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

func schedulerGetConfigSpec() spec {
	return spec{
		name: "operator scheduler get-config", general: true,
		synopsis: "Display the current scheduler configuration",
		about:    "Show how jobs are taken and placed.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				config, answer, err := c.SchedulerConfig(in.ctx)
				switch {
				case err != nil:
					return in.fail("Error querying scheduler configuration: %s", err)
				case s.json:
					return in.print(s, answer.Body)
				case s.wanted():
					body, err := json.Marshal(config)
					if err != nil {
						return in.fail("Error formatting the data: %s", err)
					}
					return in.print(s, body)
				}
				in.ui.Output(schedulerPairs(config).String())
				return 0
			}
		},
	}
}

func schedulerPairs(c *apiclient.SchedulerConfig) pairs {
	var p pairs
	p.add("Scheduler Algorithm", c.SchedulerAlgorithm)
	for _, set := range []struct {
		name string
		is   bool
	}{
		{"Memory Oversubscription", c.MemoryOversubscriptionEnabled},
		{"Reject Job Registration", c.RejectJobRegistration},
		{"Pause Eval Broker", c.PauseEvalBroker},
		{"Preemption System Scheduler", c.PreemptionConfig.SystemSchedulerEnabled},
		{"Preemption Service Scheduler", c.PreemptionConfig.ServiceSchedulerEnabled},
		{"Preemption Batch Scheduler", c.PreemptionConfig.BatchSchedulerEnabled},
		{"Preemption SysBatch Scheduler", c.PreemptionConfig.SysBatchSchedulerEnabled},
	} {
		p.add(set.name, strconv.FormatBool(set.is))
	}
	p.add("Node Limit", strconv.FormatUint(uint64(c.NodeLimitForFeasibilityChecks), 10))
	p.add("Modify Index", strconv.FormatUint(c.ModifyIndex, 10))
	return p
}

func schedulerSetConfigSpec() spec {
	return spec{
		name: "operator scheduler set-config", general: true,
		synopsis: "Modify the current scheduler configuration",
		about: "Change how jobs are taken and placed. What no flag speaks of stays as it is. Preemption and the limit of nodes are\n" +
			"kept for whoever reads them; nothing acts on them in this version.",
		setup: func(fs *flag.FlagSet) runFunc {
			var check number
			check.register(fs, "check-index", "Only if the configuration's modify index is still this `index`.")
			var changes []func(*apiclient.SchedulerConfig)
			truth := func(name, usage string, of func(*apiclient.SchedulerConfig) *bool) {
				fs.Func(name, usage+" `true|false`", func(text string) error {
					value, err := strconv.ParseBool(text)
					if err != nil {
						return fmt.Errorf("%q is neither true nor false", text)
					}
					changes = append(changes, func(c *apiclient.SchedulerConfig) { *of(c) = value })
					return nil
				})
			}
			fs.Func("scheduler-algorithm", "How nodes are ranked: `binpack|spread`, the fullest first or the emptiest.", func(text string) error {
				if text != event.AlgorithmBinpack && text != event.AlgorithmSpread {
					return fmt.Errorf("%q is neither %s nor %s", text, event.AlgorithmBinpack, event.AlgorithmSpread)
				}
				changes = append(changes, func(c *apiclient.SchedulerConfig) { c.SchedulerAlgorithm = text })
				return nil
			})
			truth("memory-oversubscription", "Tasks may use memory_max where their node has it:", func(c *apiclient.SchedulerConfig) *bool { return &c.MemoryOversubscriptionEnabled })
			truth("memory-oversubscription-enabled", "The same as -memory-oversubscription, by the name that it has in files:", func(c *apiclient.SchedulerConfig) *bool { return &c.MemoryOversubscriptionEnabled })
			truth("reject-job-registration", "No job is registered, reverted or scaled:", func(c *apiclient.SchedulerConfig) *bool { return &c.RejectJobRegistration })
			truth("pause-eval-broker", "Nothing is placed or stopped until this is false again:", func(c *apiclient.SchedulerConfig) *bool { return &c.PauseEvalBroker })
			truth("preempt-system-scheduler", "Kept, not acted on:", func(c *apiclient.SchedulerConfig) *bool { return &c.PreemptionConfig.SystemSchedulerEnabled })
			truth("preempt-service-scheduler", "Kept, not acted on:", func(c *apiclient.SchedulerConfig) *bool { return &c.PreemptionConfig.ServiceSchedulerEnabled })
			truth("preempt-batch-scheduler", "Kept, not acted on:", func(c *apiclient.SchedulerConfig) *bool { return &c.PreemptionConfig.BatchSchedulerEnabled })
			truth("preempt-sysbatch-scheduler", "Kept, not acted on:", func(c *apiclient.SchedulerConfig) *bool { return &c.PreemptionConfig.SysBatchSchedulerEnabled })
			fs.Func("node-limit-for-feasibility-checks", "Kept, not acted on: every node is looked at. A `number`.", func(text string) error {
				value, err := strconv.ParseUint(text, 10, 32)
				if err != nil {
					return fmt.Errorf("%q is no whole number", text)
				}
				changes = append(changes, func(c *apiclient.SchedulerConfig) { c.NodeLimitForFeasibilityChecks = uint(value) })
				return nil
			})
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				return in.configureScheduler(check, changes)
			}
		},
	}
}

// configureScheduler changes the configuration as it is now, and only as long as it
// is that one: what others change meanwhile is not undone unseen.
func (in *invocation) configureScheduler(check number, changes []func(*apiclient.SchedulerConfig)) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	config, _, err := c.SchedulerConfig(in.ctx)
	if err != nil {
		return in.fail("Error querying for current scheduler configuration: %s", err)
	}
	if check.set {
		config.ModifyIndex = check.value
	}
	for _, change := range changes {
		change(config)
	}
	updated, warnings, err := c.SetSchedulerConfig(in.ctx, config, true)
	switch {
	case err != nil:
		return in.fail("Error setting scheduler configuration: %s", err)
	case !updated:
		return in.fail("Scheduler configuration could not be atomically updated, please try again")
	}
	in.ui.Output("Scheduler configuration updated!")
	for _, warning := range warnings {
		in.ui.Warn("Warning: " + warning)
	}
	return 0
}
