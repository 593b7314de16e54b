package cli

import (
	"flag"
	"slices"
	"strings"

	"drover/cmd/internal/apiclient"
)

func nodeMetaReadSpec() spec {
	return spec{
		name: "node meta read", general: true,
		synopsis: "Show a node's metadata",
		about: "Show a node's metadata: what holds, what operators set while it ran, and what its configuration says.\n" +
			"It is the node itself that answers; \"node status -verbose\" shows what the servers have heard of it.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			node := nodeIDFlag(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				return in.readMetadata(*node, s)
			}
		},
	}
}

func nodeMetaApplySpec() spec {
	return spec{
		name: "node meta apply", args: "<key>=<value>...", general: true,
		synopsis: "Change a node's metadata",
		about: "Set values in a node's metadata, or take keys away, while it runs. What is set so holds over the node's\n" +
			"configuration and is kept when its agent starts again. Jobs ask for it as ${meta.<key>}: allocations that\n" +
			"run stay, and jobs that waited for such a node are placed.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			node := nodeIDFlag(fs)
			unset := fs.String("unset", "", "Take these `keys` away, separated by commas.")
			return func(in *invocation, args []string) int {
				said := make(map[string]*string)
				for key := range strings.SplitSeq(*unset, ",") {
					if key = strings.TrimSpace(key); key != "" {
						said[key] = nil
					}
				}
				for _, arg := range args {
					key, value, ok := strings.Cut(arg, "=")
					if !ok || key == "" {
						return in.usage("Error parsing metadata: %q is not of the form key=value", arg)
					}
					said[key] = &value
				}
				if len(said) == 0 {
					return in.usage("Either -unset or at least one key=value must be given")
				}
				return in.applyMetadata(*node, said, s)
			}
		},
	}
}

func nodeIDFlag(fs *flag.FlagSet) *string {
	return fs.String("node-id", "", "The node, by an `id` or its beginning. Default = the agent that is asked.")
}

// namedNode resolves what -node-id says; "" stays "".
func (in *invocation) namedNode(typed string) (c *apiclient.Client, id string, code int, ok bool) {
	if c, ok = in.client(); !ok || typed == "" {
		return c, "", 1, ok
	}
	node, code, ok := in.oneNode(c, typed, false)
	if !ok {
		return c, "", code, false
	}
	return c, node.ID, 0, true
}

func (in *invocation) readMetadata(node string, s shaped) int {
	c, id, code, ok := in.namedNode(node)
	if !ok {
		return code
	}
	m, answer, err := c.ReadNodeMetadata(in.ctx, id)
	switch {
	case err != nil:
		return in.fail("Error reading node metadata: %s", err)
	case s.wanted():
		return in.print(s, answer.Body)
	}
	var dynamic pairs
	for _, key := range sorted(m.Dynamic) {
		if value := m.Dynamic[key]; value != nil {
			dynamic.add(key, *value)
		} else {
			dynamic.add(key, "<unset>")
		}
	}
	plain := func(values map[string]string) (p pairs) {
		for _, key := range sorted(values) {
			p.add(key, values[key])
		}
		return p
	}
	var parts []string
	for _, part := range []struct {
		title string
		rows  pairs
	}{{"All Meta", plain(m.Meta)}, {"Dynamic Meta", dynamic}, {"Static Meta", plain(m.Static)}} {
		text := noneCell
		if len(part.rows) > 0 {
			text = part.rows.String()
		}
		parts = append(parts, in.ui.bold(part.title)+"\n"+text)
	}
	in.ui.Output(strings.Join(parts, "\n\n"))
	return 0
}

func (in *invocation) applyMetadata(node string, said map[string]*string, s shaped) int {
	c, id, code, ok := in.namedNode(node)
	if !ok {
		return code
	}
	_, answer, err := c.ApplyNodeMetadata(in.ctx, id, said)
	switch {
	case err != nil:
		return in.fail("Error applying dynamic node metadata: %s", err)
	case s.wanted():
		return in.print(s, answer.Body)
	}
	return 0
}

func nodeConfigSpec() spec {
	return spec{
		name: "node config", args: "[<server>...]", general: true,
		synopsis: "Show or change the servers that a node knows",
		about: "Show the servers that a node talks to, or have it talk to others. It is about the node that is asked, and\n" +
			"only while its agent runs: what holds after a start stands in client.servers of its configuration.",
		setup: func(fs *flag.FlagSet) runFunc {
			show := fs.Bool("servers", false, "Show the known servers.")
			update := fs.Bool("update-servers", false, "Replace the known servers by the arguments, host or host:port.")
			return func(in *invocation, args []string) int {
				switch {
				case *show == *update:
					return in.usage("Either the '-servers' or '-update-servers' flag must be set")
				case *show && len(args) > 0:
					return in.usage("This command takes no arguments with -servers")
				case *update && len(args) == 0:
					return in.usage("This command takes at least one server address with -update-servers")
				}
				return in.nodeServers(args)
			}
		},
	}
}

// nodeServers shows the servers, or replaces them when there are arguments.
func (in *invocation) nodeServers(args []string) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	if len(args) > 0 {
		if err := c.SetNodeServers(in.ctx, args); err != nil {
			return in.fail("Error updating server list: %s", err)
		}
		return 0
	}
	list, err := c.NodeServers(in.ctx)
	if err != nil {
		return in.fail("Error querying server list: %s", err)
	}
	slices.Sort(list)
	for _, server := range list {
		in.ui.Output(server)
	}
	return 0
}
