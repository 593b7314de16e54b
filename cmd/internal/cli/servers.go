package cli

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"

	"drover/cmd/internal/apiclient"
)

func serverJoinSpec() spec {
	return spec{
		name: "server join", args: "<address>...", general: true,
		synopsis: "Join servers to a cluster",
		about:    "Have the server that is asked join the servers at the addresses.",
		setup: func(fs *flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) == 0 {
					return in.usage("This command takes at least one argument: <address>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				joined, err := c.JoinServers(in.ctx, args)
				if err != nil {
					return in.fail("Error joining: %s", err)
				}
				in.ui.Output(fmt.Sprintf("Joined %d servers successfully", joined))
				return 0
			}
		},
	}
}

func serverForceLeaveSpec() spec {
	return spec{
		name: "server force-leave", args: "<server>", general: true,
		synopsis: "Force a server into the 'left' state",
		about:    "Have the servers forget one that failed and will not come back.",
		setup: func(fs *flag.FlagSet) runFunc {
			prune := fs.Bool("prune", false, "Leave it out of lists of servers at once.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <server>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.ForceLeave(in.ctx, args[0], *prune); err != nil {
					return in.fail("Error force-leaving server %s: %s", args[0], err)
				}
				return 0
			}
		},
	}
}

func jobAllocsSpec() spec {
	return spec{
		name: "job allocs", args: "<job>", general: true,
		synopsis: "List allocations for a job",
		about:    "List the allocations of a job. The argument may be a prefix of its ID that fits only one job.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			all := fs.Bool("all", false, "Include allocations of earlier jobs of the same ID.")
			verbose := fs.Bool("verbose", false, "Show full IDs and absolute times.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <job>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				job, _, code, ok := in.oneJob(c, args[0])
				if !ok {
					return code
				}
				list, answer, err := c.InNamespace(job.JobNamespace()).JobAllocations(in.ctx, job.ID, *all)
				switch {
				case err != nil:
					return in.fail("Error retrieving allocations: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				}
				in.ui.Output(in.allocTable(list, allocColumns{verbose: *verbose}))
				return 0
			}
		},
	}
}

func autopilotHealthSpec() spec {
	return spec{
		name: "operator autopilot health", general: true,
		synopsis: "Display whether the servers are well",
		about:    "Say whether the servers are healthy, how many more may fail, and what is known of each.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.autopilotHealth(c, s)
			}
		},
	}
}

func (in *invocation) autopilotHealth(c *apiclient.Client, s shaped) int {
	var body json.RawMessage
	if _, err := c.Get(in.ctx, "/v1/operator/autopilot/health", apiclient.Query{Values: url.Values{}}, &body); err != nil {
		return in.fail("Error querying autopilot health: %s", err)
	}
	if s.wanted() {
		return in.print(s, body)
	}
	var health struct {
		Healthy          bool
		FailureTolerance int
		Leader           string
		Servers          []struct {
			ID, Name, Address, SerfStatus, Version, LastContact string
			Leader, Voter, Healthy                              bool
			LastTerm, LastIndex                                 uint64
		}
	}
	if err := json.Unmarshal(body, &health); err != nil {
		return in.fail("Error reading autopilot health: %s", err)
	}
	var p pairs
	p.add("Healthy", fmt.Sprint(health.Healthy))
	p.add("FailureTolerance", fmt.Sprint(health.FailureTolerance))
	p.add("Leader", health.Leader)
	in.ui.Output(p.String())
	rows := [][]string{{"ID", "Name", "Address", "SerfStatus", "Version", "Leader", "Voter", "Healthy", "LastContact", "LastTerm", "LastIndex"}}
	for _, m := range health.Servers {
		rows = append(rows, []string{m.ID, m.Name, m.Address, m.SerfStatus, m.Version, fmt.Sprint(m.Leader), fmt.Sprint(m.Voter), fmt.Sprint(m.Healthy),
			m.LastContact, fmt.Sprint(m.LastTerm), fmt.Sprint(m.LastIndex)})
	}
	in.ui.Output("")
	in.ui.Output(tableOf(rows...))
	return 0
}
