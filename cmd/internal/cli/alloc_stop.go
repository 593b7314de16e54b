package cli

import (
	"flag"
)

func allocStopSpec() spec {
	return spec{
		name: "alloc stop", args: "<allocation>", general: true,
		synopsis: "Stop an allocation; another takes its place",
		about: "Stop an allocation and have its job placed anew, and wait until the scheduler has dealt with it.\n" +
			"To stop the job itself, use 'drover job stop'.",
		setup: func(fs *flag.FlagSet) runFunc {
			var detach, hasty, verbose bool
			fs.BoolVar(&detach, "detach", false, "Return at once; print only the evaluation's ID.")
			fs.BoolVar(&hasty, "no-shutdown-delay", false, "Ignore the shutdown_delay of the group and its tasks.")
			fs.BoolVar(&verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <alloc-id>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				stub, code, ok := in.oneAlloc(c, allocSearch, args[0], verbose)
				if !ok {
					return code
				}
				evalID, err := c.StopAllocation(in.ctx, stub.ID, hasty)
				if err != nil {
					return in.fail("Error stopping allocation: %s", err)
				}
				if detach {
					in.ui.Output(evalID)
					return 0
				}
				return in.monitorEval(c, evalID, verbose)
			}
		},
	}
}
