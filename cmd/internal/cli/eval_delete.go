package cli

import (
	"flag"
	"fmt"
)

func evalDeleteSpec() spec {
	return spec{
		name: "eval delete", args: "[evaluation]", general: true,
		synopsis: "Delete evaluations by ID or using a filter",
		about: "Delete an evaluation, or all that a filter fits, for good: what an open one was to do is not done. It works only\n" +
			"while the scheduler is paused (operator scheduler set-config -pause-eval-broker=true), and spares evaluations whose\n" +
			"allocations live. The event log keeps all of it.",
		setup: func(fs *flag.FlagSet) runFunc {
			filter := fs.String("filter", "", "Delete all that this `expression` holds for.")
			yes := fs.Bool("yes", false, "Ask nothing.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) > 1:
					return in.usage("This command takes either no arguments or one: <evaluation>")
				case (len(args) == 0) == (*filter == ""):
					return in.usage("Evaluations are deleted either by ID or by -filter")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				var ids []string
				what := "the evaluations that the filter fits"
				if len(args) == 1 {
					eval, code, ok := in.oneEval(c, args[0], false)
					if !ok {
						return code
					}
					ids, what = []string{eval.ID}, fmt.Sprintf("evaluation %q", eval.ID)
				}
				if !*yes && (*filter != "" || ids[0] != args[0]) {
					if code, ok := in.confirm(fmt.Sprintf("Are you sure you want to delete %s? [y/N]", what), "Cancelling evaluation deletion"); !ok {
						return code
					}
				}
				count, err := c.DeleteEvaluations(in.ctx, ids, *filter)
				if err != nil {
					return in.fail("Error deleting evaluations: %s", err)
				}
				noun := "evaluations"
				if count == 1 {
					noun = "evaluation"
				}
				in.ui.Output(fmt.Sprintf("Successfully deleted %d %s", count, noun))
				return 0
			}
		},
	}
}
