package cli

import (
	"flag"
	"fmt"
	"strings"

	"github.com/posener/complete"

	"drover/cmd/internal/apiclient"
	"drover/projections/jobdiff"
)

// Exit codes of job plan.
const (
	planSame    = 0 // no allocation would be created or destroyed
	planChanges = 1
	planFailed  = 255
)

type planOptions struct {
	jobFileOptions
	shaped         // of the output: -json says that the file is JSON
	diff           bool
	policyOverride bool
	verbose        bool
}

func jobPlanSpec() spec {
	return spec{
		name: "job plan", args: "<path>", general: true, misuse: planFailed,
		synopsis: "Dry-run a job update to determine its effects",
		about: "Show what submitting the job in the file would change and what the scheduler would do, and do nothing of it.\n" +
			"A path of \"-\" reads the standard input. The exit code is 0 when no allocation would be created or destroyed,\n" +
			"1 when some would be, and 255 when the plan could not be made.",
		predict: complete.PredictOr(complete.PredictFiles("*.nomad"), complete.PredictFiles("*.hcl"), complete.PredictFiles("*.json")),
		setup: func(fs *flag.FlagSet) runFunc {
			var o planOptions
			o.jobFileOptions.register(fs)
			fs.BoolVar(&o.shaped.json, "json-output", false, "Print the servers' answer as JSON.")
			fs.StringVar(&o.tmpl, "t", "", "Print the servers' answer through a Go `template`.")
			fs.BoolVar(&o.diff, "diff", true, "Show how the job differs from the one that is there.")
			fs.BoolVar(&o.policyOverride, "policy-override", false, "Accepted as it is elsewhere; there are no policies to override.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show what is inside of groups and tasks that come or go.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					in.usage("This command takes one argument: <path>")
					return planFailed
				}
				return in.jobPlan(args[0], o)
			}
		},
	}
}

func (in *invocation) jobPlan(path string, o planOptions) int {
	c, ok := in.client()
	if !ok {
		return planFailed
	}
	file, err := in.parseJobFile(path, o.jobFileOptions)
	if err != nil {
		in.fail("Error getting job struct: %s", err)
		return planFailed
	}
	c = file.destination(c)
	resp, body, err := c.PlanJob(in.ctx, file.Job, o.diff, o.policyOverride)
	if err != nil {
		in.fail("Error during plan: %s", err)
		return planFailed
	}
	if o.wanted() {
		if in.print(o.shaped, body) != 0 {
			return planFailed
		}
		return planCode(resp)
	}
	if o.diff && resp.Diff != nil {
		in.ui.Output(in.jobDiff(resp.Diff, o.verbose) + "\n")
	}
	in.ui.Output(in.ui.bold("Scheduler dry-run:"))
	in.dryRun(resp, file.Job.Type)
	in.ui.Output("")
	in.jobWarnings(file.Warnings, resp.Warnings)
	in.ui.Output(in.checkIndexHint(resp.JobModifyIndex, path, file, o))
	return planCode(resp)
}

// planCode is the exit code for a plan that was made.
func planCode(resp *apiclient.JobPlanResponse) int {
	if resp.Diff != nil && resp.Diff.Type == jobdiff.None || resp.Annotations == nil {
		return planSame
	}
	for _, u := range resp.Annotations.DesiredTGUpdates {
		if u.Stop+u.Place+u.Migrate+u.DestructiveUpdate+u.Canary > 0 {
			return planChanges
		}
	}
	return planSame
}

// dryRun says what could be placed.
func (in *invocation) dryRun(resp *apiclient.JobPlanResponse, jobType string) {
	if len(resp.FailedTGAllocs) == 0 {
		in.ui.Info("- All tasks successfully allocated.")
	} else {
		where := "to place all allocations"
		if strings.HasPrefix(jobType, "sys") {
			where = "to place allocations on all nodes"
		}
		in.ui.Output(in.ui.painted(ansiYellow, "- WARNING: Failed "+where+"."))
		for _, group := range sorted(resp.FailedTGAllocs) {
			metric := resp.FailedTGAllocs[group]
			in.ui.Output("  " + failedGroup(group, metric))
			for _, reason := range in.ui.reasons(metric) {
				in.ui.Output("    " + reason)
			}
		}
	}
	if next := resp.NextPeriodicLaunch; !next.IsZero() {
		in.ui.Info(fmt.Sprintf("- If submitted now, next periodic launch would be at %s (%s).", in.p.absolute(next), in.p.ago(next)))
	}
}

// checkIndexHint says how to submit what was planned and nothing else.
func (in *invocation) checkIndexHint(index uint64, path string, file *ParsedJob, o planOptions) string {
	words := []string{"drover job run", fmt.Sprintf("-check-index %d", index)}
	if o.jobFileOptions.json {
		words = append(words, "-json")
	}
	for _, v := range o.vars {
		words = append(words, "-var="+quoted(v))
	}
	for _, f := range o.varFiles {
		words = append(words, "-var-file="+quoted(f))
	}
	if in.given("namespace") && !file.NamespaceWritten {
		words = append(words, "-namespace="+quoted(file.Job.Namespace))
	}
	words = append(words, quoted(path))
	return in.ui.bold(fmt.Sprintf("Job Modify Index: %d", index)) + "\n" +
		"To submit the job with version verification run:\n\n" + strings.Join(words, " ") + "\n\n" +
		"When running the job with the check-index flag, the job will only be run if the\n" +
		"job modify index given matches the server-side version. If the index has\n" +
		"changed, another user has modified the job and the plan's results are\n" +
		"potentially invalid."
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
