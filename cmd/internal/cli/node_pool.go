package cli

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"

	"drover/cmd/internal/apiclient"
)

// listQuery asks for a part of a list.
func listQuery(p paging) apiclient.Query {
	return apiclient.Query{PerPage: p.perPage, Token: p.token, Filter: p.filter}
}

func nodePoolListSpec() spec {
	return spec{
		name: "node pool list", general: true,
		synopsis: "List node pools",
		about:    "List the node pools.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			var p paging
			s.register(fs)
			p.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				list, answer, err := c.NodePools(in.ctx, listQuery(p))
				switch {
				case err != nil:
					return in.fail("Error querying node pools: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No node pools")
					return 0
				}
				in.ui.Output(nodePoolTable(list))
				in.footer(answer.NextToken)
				return 0
			}
		},
	}
}

func nodePoolTable(list []*apiclient.NodePool) string {
	rows := [][]string{{"Name", "Description"}}
	for _, p := range list {
		rows = append(rows, []string{p.Name, p.Description})
	}
	return tableOf(rows...)
}

// onePool resolves a node pool by its name or what it begins with.
func (in *invocation) onePool(c *apiclient.Client, typed string) (name string, code int, ok bool) {
	list, _, err := c.NodePools(in.ctx, apiclient.Query{Prefix: typed})
	if err != nil {
		return "", in.fail("Error retrieving node pool: %s", err), false
	}
	switch {
	case slices.ContainsFunc(list, func(p *apiclient.NodePool) bool { return p.Name == typed }):
		return typed, 0, true
	case len(list) == 0:
		return "", in.fail("No node pool with prefix %q found", typed), false
	case len(list) > 1:
		return "", in.fail("Prefix matched multiple node pools\n\n%s", nodePoolTable(list)), false
	}
	return list[0].Name, 0, true
}

func nodePoolInfoSpec() spec {
	return spec{
		name: "node pool info", args: "<pool>", general: true,
		synopsis: "Fetch information on an existing node pool",
		about:    "Display a node pool. The argument may be what its name begins with.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <pool>")
				}
				return in.nodePool(args[0], s)
			}
		},
	}
}

func (in *invocation) nodePool(typed string, s shaped) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	name, code, ok := in.onePool(c, typed)
	if !ok {
		return code
	}
	pool, answer, err := c.NodePool(in.ctx, name)
	if err != nil {
		return in.fail("Error fetching node pool: %s", err)
	}
	if s.wanted() {
		return in.print(s, answer.Body)
	}
	var p pairs
	p.add("Name", pool.Name)
	p.add("Description", pool.Description)
	if pool.NodeIdentityTTL != "" {
		p.add("Node Identity TTL", pool.NodeIdentityTTL)
	}
	in.ui.Output(p.String())
	metadata := "No metadata"
	if len(pool.Meta) > 0 {
		var meta pairs
		for _, key := range sorted(pool.Meta) {
			meta.add(key, pool.Meta[key])
		}
		metadata = meta.String()
	}
	in.section("Metadata", metadata)
	scheduler := "No scheduler configuration"
	if config := pool.SchedulerConfiguration; config != nil {
		var lines pairs
		lines.add("Scheduler Algorithm", config.SchedulerAlgorithm)
		if m := config.MemoryOversubscriptionEnabled; m != nil {
			lines.add("Memory Oversubscription Enabled", map[bool]string{true: "true", false: "false"}[*m])
		}
		scheduler = lines.String()
	}
	in.section("Scheduler Configuration", scheduler)
	return 0
}

func nodePoolApplySpec() spec {
	return spec{
		name: "node pool apply", args: "<file|->", general: true,
		synopsis: "Create or update a node pool",
		about:    "Make the node pool that a file describes, or change it. The file is HCL, or with -json JSON; \"-\" is the standard input.",
		setup: func(fs *flag.FlagSet) runFunc {
			asJSON := fs.Bool("json", false, "The file is JSON.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <file|->")
				}
				body, err := in.readSpec(args[0])
				if err != nil {
					return in.fail("Error reading input: %s", err)
				}
				pool, err := parseNodePool(args[0], body, *asJSON)
				if err != nil {
					return in.fail("Error parsing input: %s", err)
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.SetNodePool(in.ctx, pool); err != nil {
					return in.fail("Error applying node pool: %s", err)
				}
				in.ui.Output("Successfully applied node pool \"" + pool.Name + "\"!")
				return 0
			}
		},
	}
}

func nodePoolDeleteSpec() spec {
	return spec{
		name: "node pool delete", args: "<pool>", general: true,
		synopsis: "Delete a node pool",
		about:    "Delete a node pool in which there are no nodes and no jobs that have not ended.",
		setup: func(*flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <pool>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.DeleteNodePool(in.ctx, args[0]); err != nil {
					return in.fail("Error deleting node pool: %s", err)
				}
				in.ui.Output("Successfully deleted node pool \"" + args[0] + "\"!")
				return 0
			}
		},
	}
}

func nodePoolNodesSpec() spec {
	return spec{
		name: "node pool nodes", args: "<pool>", general: true,
		synopsis: "Fetch a list of nodes in a node pool",
		about:    "List the nodes of a node pool. The argument may be what its name begins with.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			var p paging
			s.register(fs)
			p.register(fs)
			verbose := fs.Bool("verbose", false, "Show full IDs, addresses and versions.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <pool>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				name, code, ok := in.onePool(c, args[0])
				if !ok {
					return code
				}
				list, answer, err := c.NodePoolNodes(in.ctx, name, listQuery(p))
				switch {
				case err != nil:
					return in.fail("Error querying nodes: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No nodes")
					return 0
				}
				in.ui.Output(nodeTable(list, nodeColumns{verbose: *verbose}))
				in.footer(answer.NextToken)
				return 0
			}
		},
	}
}

func nodePoolJobsSpec() spec {
	return spec{
		name: "node pool jobs", args: "<pool>", general: true,
		synopsis: "Fetch a list of jobs in a node pool",
		about:    "List the jobs of a node pool. The argument may be what its name begins with.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			var p paging
			s.register(fs)
			p.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <pool>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				name, code, ok := in.onePool(c, args[0])
				if !ok {
					return code
				}
				list, answer, err := c.NodePoolJobs(in.ctx, name, listQuery(p))
				switch {
				case err != nil:
					return in.fail("Error querying jobs: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No jobs")
					return 0
				}
				in.ui.Output(in.jobTable(list, c.Namespace() == apiclient.AllNamespaces))
				in.footer(answer.NextToken)
				return 0
			}
		},
	}
}

// What "node pool init" writes.
const (
	poolHCL = `node_pool "example" {
  description = "Example node pool"

  # meta is kept with the pool, for people and for tools.
  meta {
    environment = "prod"
    owner       = "sre"
  }

  # scheduler_config holds what is otherwise for jobs of this pool than for the
  # cluster; see "drover operator scheduler get-config".
  scheduler_config {
    # binpack fills one node before the next, spread takes the emptiest.
    scheduler_algorithm             = "spread"
    memory_oversubscription_enabled = true
  }
}
`
	poolJSON = `{
  "Name": "example",
  "Description": "Example node pool",
  "Meta": {
    "environment": "prod",
    "owner": "sre"
  },
  "SchedulerConfiguration": {
    "SchedulerAlgorithm": "spread",
    "MemoryOversubscriptionEnabled": true
  }
}
`
)

func nodePoolInitSpec() spec {
	return spec{
		name: "node pool init", args: "[<file>]",
		synopsis: "Create an example node pool specification file",
		about:    "Write an example of a node pool, to pool.nomad.hcl or pool.nomad.json unless a file is named.",
		setup: func(fs *flag.FlagSet) runFunc {
			out := fs.String("out", "hcl", "The `format`: hcl or json.")
			quiet := fs.Bool("quiet", false, "Do not say what was written.")
			return func(in *invocation, args []string) int {
				if len(args) > 1 {
					return in.usage("This command takes no arguments or one: <file>")
				}
				path, text := "pool.nomad.hcl", poolHCL
				switch *out {
				case "hcl":
				case "json":
					path, text = "pool.nomad.json", poolJSON
				default:
					return in.fail("Unknown format %q: it is hcl or json", *out)
				}
				if len(args) == 1 {
					path = args[0]
				}
				return in.writeExample(path, text, *quiet)
			}
		},
	}
}

// writeExample writes a file that must not be there yet.
func (in *invocation) writeExample(path, text string, quiet bool) int {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return in.fail("File %q already exists", path)
	}
	if err == nil {
		_, err = file.WriteString(text)
		if closing := file.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		return in.fail("Failed to write %q: %s", path, err)
	}
	if !quiet {
		in.ui.Output("Example node pool specification written to " + path)
	}
	return 0
}
