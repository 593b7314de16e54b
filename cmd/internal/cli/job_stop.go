package cli

import (
	"bytes"
	"flag"
	"fmt"
	"sync"

	"drover/cmd/internal/apiclient"
)

type stopOptions struct {
	apiclient.StopOptions
	detach  bool
	verbose bool
	yes     bool
}

func jobStopSpec() spec {
	return spec{
		name: "job stop", args: "<job> [<job>…]", general: true,
		synopsis: "Stop a running job",
		about: "Stop a running job and wait until the scheduler has dealt with it.\n" +
			"The job is kept and can be run again, unless -purge is given. A job that is named by a prefix is only stopped after a question.\n" +
			"Several jobs are stopped at the same time, without questions.",
		setup: func(fs *flag.FlagSet) runFunc {
			var o stopOptions
			fs.BoolVar(&o.detach, "detach", false, "Return at once; print only the evaluation's ID.")
			fs.IntVar(&o.EvalPriority, "eval-priority", 0, "Priority of the evaluation, 1 to 100. Default = the job's.")
			fs.BoolVar(&o.Global, "global", false, "Stop a job of several regions in all of them.")
			fs.BoolVar(&o.NoShutdownDelay, "no-shutdown-delay", false, "Ignore the shutdown_delay of groups and tasks.")
			fs.BoolVar(&o.Purge, "purge", false, "Forget the job, too.")
			fs.BoolVar(&o.yes, "yes", false, "Ask nothing.")
			fs.BoolVar(&o.verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) == 0 {
					return in.usage("This command takes at least one argument: <job>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if len(args) == 1 {
					return in.stopJob(c, args[0], o)
				}
				return in.stopJobs(c, args, o)
			}
		},
	}
}

// stopJobs stops several at the same time. What each has to say comes out in
// one piece, in the order of the arguments.
func (in *invocation) stopJobs(c *apiclient.Client, ids []string, o stopOptions) int {
	o.yes = true
	type outcome struct {
		out, err bytes.Buffer
		code     int
	}
	outcomes := make([]outcome, len(ids))
	var wait sync.WaitGroup
	for i, id := range ids {
		wait.Go(func() {
			own := *in
			ui := *in.ui
			ui.out, ui.err = &outcomes[i].out, &outcomes[i].err
			own.ui = &ui
			outcomes[i].code = own.stopJob(c, id, o)
		})
	}
	wait.Wait()
	code := 0
	for i := range outcomes {
		// A write that fails leaves nobody to tell.
		_, _ = outcomes[i].out.WriteTo(in.ui.out)
		_, _ = outcomes[i].err.WriteTo(in.ui.err)
		code = max(code, outcomes[i].code)
	}
	return code
}

func (in *invocation) stopJob(c *apiclient.Client, typed string, o stopOptions) int {
	stub, exact, code, ok := in.oneJob(c, typed)
	if !ok {
		return code
	}
	if !exact && !o.yes {
		question := fmt.Sprintf("Are you sure you want to stop job %q? [y/N]", stub.ID)
		if code, ok := in.confirm(question, "Cancelling job stop"); !ok {
			return code
		}
	}
	c = c.InNamespace(stub.JobNamespace())
	resp, err := c.StopJob(in.ctx, stub.ID, o.StopOptions)
	if err != nil {
		return in.fail("Error deregistering job: %s", err)
	}
	if resp.EvalID == "" {
		return 0 // a job that only launches others needs no evaluation
	}
	if o.detach {
		in.ui.Output(resp.EvalID)
		return 0
	}
	return in.monitorEval(c, resp.EvalID, o.verbose)
}
