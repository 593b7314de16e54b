package cli

import (
	"flag"

	"drover/cmd/internal/apiclient"
)

func allocRestartSpec() spec {
	return spec{
		name: "alloc restart", args: "<allocation> [task]", general: true,
		synopsis: "Restart tasks of an allocation",
		about: "Restart the tasks of an allocation that run, where they are. No restart policy counts it.\n" +
			"With a task's name only that one is restarted; with -all-tasks every task starts again in its\n" +
			"order, also those that have ended.",
		setup: func(fs *flag.FlagSet) runFunc {
			var task string
			var all, verbose bool
			fs.StringVar(&task, "task", "", "Restart only this `task`.")
			fs.BoolVar(&all, "all-tasks", false, "Restart all tasks, also those that have ended.")
			fs.BoolVar(&verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) < 1 || len(args) > 2 {
					return in.usage("This command takes one or two arguments: <alloc-id> <task-name>")
				}
				if len(args) == 2 {
					if task != "" && task != args[1] {
						return in.usage("The task is named twice: %q and %q", task, args[1])
					}
					task = args[1]
				}
				if all && task != "" {
					return in.usage("The -all-tasks option excludes the name of a task")
				}
				return in.onAlloc(args[0], task, verbose, func(c *apiclient.Client, alloc *apiclient.Allocation, node *apiclient.Node) int {
					if err := c.RestartAllocation(in.ctx, node, alloc.ID, task, all); err != nil {
						return in.fail("Failed to restart allocation:\n\n%s", err)
					}
					return 0
				})
			}
		},
	}
}

func allocSignalSpec() spec {
	return spec{
		name: "alloc signal", args: "<allocation> [task]", general: true,
		synopsis: "Send a signal to tasks of an allocation",
		about:    "Send a signal to a task of an allocation, or without a task's name to all that run.",
		setup: func(fs *flag.FlagSet) runFunc {
			var task, signal string
			var verbose bool
			fs.StringVar(&signal, "s", "SIGKILL", "The `signal`, by name. Default = SIGKILL")
			fs.StringVar(&task, "task", "", "Send it only to this `task`.")
			fs.BoolVar(&verbose, "verbose", false, "Show full IDs.")
			return func(in *invocation, args []string) int {
				if len(args) < 1 || len(args) > 2 {
					return in.usage("This command takes up to two arguments: <alloc-id> <task>")
				}
				if len(args) == 2 {
					if task != "" && task != args[1] {
						return in.usage("The task is named twice: %q and %q", task, args[1])
					}
					task = args[1]
				}
				return in.onAlloc(args[0], task, verbose, func(c *apiclient.Client, alloc *apiclient.Allocation, node *apiclient.Node) int {
					if err := c.SignalAllocation(in.ctx, node, alloc.ID, task, signal); err != nil {
						return in.fail("Error signalling allocation: %s", err)
					}
					return 0
				})
			}
		},
	}
}

// onAlloc finds the allocation that was typed, checks the task if one was named, and finds the node to ask.
func (in *invocation) onAlloc(typed, task string, verbose bool, do func(*apiclient.Client, *apiclient.Allocation, *apiclient.Node) int) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	stub, code, ok := in.oneAlloc(c, allocSearch, typed, verbose)
	if !ok {
		return code
	}
	alloc, _, err := c.Allocation(in.ctx, stub.ID, apiclient.Query{})
	if err != nil {
		return in.fail("Error querying allocation: %s", err)
	}
	if task != "" {
		if _, err := chooseTask(alloc, task, verbose); err != nil {
			return in.fail("%s", err)
		}
	}
	return do(c, alloc, in.nodeOf(c, alloc))
}

// nodeOf is the node that an allocation is on, or nil when that cannot be found out: the configured agent knows the way.
func (in *invocation) nodeOf(c *apiclient.Client, alloc *apiclient.Allocation) *apiclient.Node {
	node, _, err := c.Node(in.ctx, alloc.NodeID)
	if err != nil {
		return nil
	}
	return node
}
