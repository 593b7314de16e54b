package cli

import (
	"flag"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
)

func evalStatusSpec() spec {
	return spec{
		name: "eval status", args: "<evaluation>", general: true, console: true,
		synopsis: "Display evaluation status and placement failure reasons",
		about: "Display an evaluation: what triggered it, how it ended, what it placed and what it could not place.\n" +
			"The argument may be a prefix of the evaluation's ID, of at least two characters.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			follow := fs.Bool("monitor", false, "Follow the evaluation until it ends.")
			verbose := fs.Bool("verbose", false, "Show full IDs and absolute times.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <evaluation>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				stub, code, ok := in.oneEval(c, args[0], *verbose)
				if !ok {
					return code
				}
				c = c.InNamespace(stub.Namespace)
				if *follow {
					return in.monitorEval(c, stub.ID, *verbose)
				}
				return in.evalStatus(c, stub.ID, s, *verbose)
			}
		},
	}
}

func (in *invocation) evalStatus(c *apiclient.Client, id string, s shaped, verbose bool) int {
	eval, answer, err := c.Evaluation(in.ctx, id, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying evaluation: %s", err)
	}
	if s.wanted() {
		return in.print(s, answer.Body)
	}
	allocs, _, err := c.EvaluationAllocations(in.ctx, id)
	if err != nil {
		return in.fail("Error querying allocations of the evaluation: %s", err)
	}
	in.ui.Output(in.evalHeader(eval, verbose))
	if len(eval.RelatedEvals) > 0 {
		rows := [][]string{{"ID", "Priority", "Triggered By", "Node ID", "Status", "Description"}}
		for _, e := range eval.RelatedEvals {
			rows = append(rows, []string{shortID(e.ID, verbose), strconv.Itoa(e.Priority), e.TriggeredBy, shortID(e.NodeID, verbose), e.Status, e.StatusDescription})
		}
		in.section("Related Evaluations", tableOf(rows...))
	}
	if len(allocs) > 0 {
		in.section("Placed Allocations", in.allocTable(allocs, allocColumns{verbose: verbose}))
	}
	if len(eval.FailedTGAllocs) > 0 {
		var lines []string
		for _, group := range sorted(eval.FailedTGAllocs) {
			lines = append(lines, failedGroup(group, eval.FailedTGAllocs[group]))
			for _, reason := range in.ui.reasons(eval.FailedTGAllocs[group]) {
				lines = append(lines, "  "+reason)
			}
		}
		if eval.BlockedEval != "" {
			lines = append(lines, "", "Evaluation \""+shortID(eval.BlockedEval, verbose)+"\" waiting for additional capacity to place remainder")
		}
		in.section("Failed Placements", strings.Join(lines, "\n"))
	}
	return 0
}

func (in *invocation) evalHeader(e *apiclient.Evaluation, verbose bool) string {
	description := e.StatusDescription
	if description == "" {
		description = e.Status
	}
	var p pairs
	p.add("ID", shortID(e.ID, verbose))
	p.add("Create Time", in.p.since(unixNano(e.CreateTime), verbose))
	p.add("Modify Time", in.p.since(unixNano(e.ModifyTime), verbose))
	p.add("Status", e.Status)
	p.add("Status Description", description)
	p.add("Type", e.Type)
	p.add("TriggeredBy", e.TriggeredBy)
	p.add("Job ID", e.JobID)
	p.add("Namespace", e.Namespace)
	if e.NodeID != "" {
		p.add("Node ID", shortID(e.NodeID, verbose))
	}
	p.add("Priority", strconv.Itoa(e.Priority))
	p.add("Placement Failures", placementFailures(e))
	if !e.WaitUntil.IsZero() {
		p.add("Wait Until", in.p.absolute(e.WaitUntil))
	}
	if e.QuotaLimitReached != "" {
		p.add("Quota Limit Reached", e.QuotaLimitReached)
	}
	p.add("Previous Eval", shortID(e.PreviousEval, verbose))
	p.add("Next Eval", shortID(e.NextEval, verbose))
	p.add("Blocked Eval", shortID(e.BlockedEval, verbose))
	return p.String()
}

func evalListSpec() spec {
	return spec{
		name: "eval list", args: "", general: true, console: true,
		synopsis: "List evaluations",
		about:    "List evaluations, newest first.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			var p paging
			s.register(fs)
			p.register(fs)
			job := fs.String("job", "", "Only those of this `job`.")
			status := fs.String("status", "", "Only those with this `status`.")
			verbose := fs.Bool("verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				q := apiclient.Query{PerPage: p.perPage, Token: p.token, Filter: p.filter, Values: map[string][]string{"reverse": {"true"}}}
				if *job != "" {
					q.Values["job"] = []string{*job}
				}
				if *status != "" {
					q.Values["status"] = []string{*status}
				}
				list, answer, err := c.Evaluations(in.ctx, q)
				switch {
				case err != nil:
					return in.fail("Error querying evaluations: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No evals found")
					return 0
				}
				in.ui.Output(evalTable(list, *verbose))
				in.footer(answer.NextToken)
				return 0
			}
		},
	}
}
