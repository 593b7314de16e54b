package cli

import (
	"flag"

	"drover/eventlog/event"
)

func nodeEligibilitySpec() spec {
	return spec{
		name: "node eligibility", args: "<node>", general: true,
		synopsis: "Say whether allocations may be placed on a node",
		about: "Say whether new allocations may be placed on a node. What runs there goes on either way.\n" +
			"The argument may be a prefix of the node's ID, of at least two characters.",
		setup: func(fs *flag.FlagSet) runFunc {
			var enable, disable, self bool
			fs.BoolVar(&enable, "enable", false, "Allocations may be placed there.")
			fs.BoolVar(&disable, "disable", false, "No new allocations are placed there.")
			fs.BoolVar(&self, "self", false, "The node that the agent itself is.")
			return func(in *invocation, args []string) int {
				switch {
				case enable == disable:
					return in.usage("Either the '-enable' or '-disable' flag must be set")
				case self && len(args) > 0 || len(args) > 1:
					return in.usage("This command takes one argument: <node>")
				case !self && len(args) == 0:
					return in.usage("Node ID must be specified if -self isn't being used")
				}
				return in.setEligibility(args, enable)
			}
		},
	}
}

// setEligibility is about the node that was named, or without a name the agent's own.
func (in *invocation) setEligibility(args []string, eligible bool) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	var id string
	if len(args) == 0 {
		var err error
		if id, err = c.SelfNodeID(in.ctx); err != nil {
			return in.fail("Error querying agent info: %s", err)
		}
		if id == "" {
			return in.fail("Local agent not a client, no node to set")
		}
	} else {
		stub, code, ok := in.oneNode(c, args[0], false)
		if !ok {
			return code
		}
		id = stub.ID
	}
	if err := c.SetEligibility(in.ctx, id, eligible); err != nil {
		return in.fail("Error updating scheduling eligibility: %s", err)
	}
	word := event.Ineligible
	if eligible {
		word = event.Eligible
	}
	in.ui.Output("Node \"" + id + "\" scheduling eligibility set: " + word + " for scheduling")
	return 0
}
