package cli

import (
	"errors"
	"flag"
	"io"

	"drover/cmd/internal/apiclient"
)

func agentInfoSpec() spec {
	return spec{
		name: "agent-info", general: true,
		synopsis: "Display what an agent says of itself",
		about:    "Print the figures that the agent keeps about itself, for whoever looks for a fault.",
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
				self, answer, err := c.AgentSelf(in.ctx)
				switch {
				case err != nil:
					return in.fail("Error querying agent info: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				}
				for _, group := range sorted(self.Stats) {
					in.ui.Output(group)
					for _, key := range sorted(self.Stats[group]) {
						in.ui.Output("  " + key + " = " + self.Stats[group][key])
					}
				}
				return 0
			}
		},
	}
}

func monitorSpec() spec {
	return spec{
		name: "monitor", general: true,
		synopsis: "Stream logs from an agent",
		about:    "Print the log of an agent as it is written, at any level, until interrupted.",
		setup: func(fs *flag.FlagSet) runFunc {
			var r apiclient.MonitorRequest
			fs.StringVar(&r.Level, "log-level", "INFO", "The lowest `level`: TRACE, DEBUG, INFO, WARN or ERROR. Default = INFO.")
			fs.BoolVar(&r.Location, "log-include-location", false, "Say where in the code a line comes from.")
			fs.BoolVar(&r.JSON, "json", false, "One JSON object per line.")
			fs.StringVar(&r.NodeID, "node-id", "", "The node whose agent to listen to, or a prefix of its `id`.")
			fs.StringVar(&r.ServerID, "server-id", "", "The server to listen to: its `name`, or \"leader\".")
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				if r.NodeID != "" && r.ServerID != "" {
					return in.usage("-node-id and -server-id exclude one another")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if r.NodeID != "" {
					node, code, ok := in.oneNode(c, r.NodeID, false)
					if !ok {
						return code
					}
					r.NodeID = node.ID
				}
				return in.monitorAgent(c, r)
			}
		},
	}
}

func (in *invocation) monitorAgent(c *apiclient.Client, r apiclient.MonitorRequest) int {
	stream, err := c.Monitor(in.ctx, r)
	if err != nil {
		return in.fail("Error starting monitor: %s", err)
	}
	defer func() { _ = stream.Close() }()
	for {
		frame, err := stream.Next()
		switch {
		case errors.Is(err, io.EOF):
			return 0
		case err != nil:
			return in.fail("Error monitoring the agent: %s", err)
		}
		if _, err := in.ui.out.Write(frame.Data); err != nil {
			return 1
		}
	}
}

func reconcileSummariesSpec() spec {
	return spec{
		name: "system reconcile summaries", general: true,
		synopsis: "Check the counts of all jobs' allocations",
		about: "Have the servers count the allocations of every job again and compare. The counts follow from the event log, so\n" +
			"that a difference is a fault, and is reported.",
		setup: func(*flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.ReconcileSummaries(in.ctx); err != nil {
					return in.fail("Error running system summary reconciliation: %s", err)
				}
				return 0
			}
		},
	}
}
