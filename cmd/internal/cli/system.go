package cli

import "flag"

func systemGCSpec() spec {
	return spec{
		name: "system gc", general: true,
		synopsis: "Collect what has ended, at once",
		about: "Have everything leave the servers' memory that has ended and that nothing asks for any more: dead jobs, evaluations,\n" +
			"allocations and nodes that are down, however young. The servers do that by themselves when it is old enough, or too much.\n" +
			"The event log keeps all of it.",
		setup: func(*flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.CollectGarbage(in.ctx); err != nil {
					return in.fail("Error running system garbage-collection: %s", err)
				}
				return 0
			}
		},
	}
}
