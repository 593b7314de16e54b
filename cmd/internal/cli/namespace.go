package cli

import (
	"flag"
	"os"
	"slices"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
)

func namespaceListSpec() spec {
	return spec{
		name: "namespace list", general: true,
		synopsis: "List namespaces",
		about:    "List the namespaces.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) > 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				list, answer, err := c.Namespaces(in.ctx, apiclient.Query{})
				switch {
				case err != nil:
					return in.fail("Error retrieving namespaces: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				case len(list) == 0:
					in.ui.Output("No namespaces found")
					return 0
				}
				in.ui.Output(namespaceTable(list))
				return 0
			}
		},
	}
}

func namespaceTable(list []*apiclient.Namespace) string {
	rows := [][]string{{"Name", "Description"}}
	for _, n := range list {
		rows = append(rows, []string{n.Name, n.Description})
	}
	return tableOf(rows...)
}

func namespaceApplySpec() spec {
	return spec{
		name: "namespace apply", args: "<file|name|->", general: true,
		synopsis: "Create or update a namespace",
		about: "Make a namespace, or change it. A file describes all of it, in HCL or with -json in JSON; \"-\" is the standard input.\n" +
			"If there is no file of that name, the argument is the namespace's own, and what no flag speaks of stays as it is.",
		setup: func(fs *flag.FlagSet) runFunc {
			var description, quota *string
			fs.Func("description", "What the namespace is for: a `text`.", func(text string) error { description = &text; return nil })
			fs.Func("quota", "The quota of the namespace. No version has them yet.", func(text string) error { quota = &text; return nil })
			asJSON := fs.Bool("json", false, "The file is JSON.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <file|name|->")
				}
				return in.applyNamespace(args[0], *asJSON, description, quota)
			}
		},
	}
}

func (in *invocation) applyNamespace(what string, asJSON bool, description, quota *string) int {
	c, ok := in.client()
	if !ok {
		return 1
	}
	namespace := &apiclient.Namespace{Name: what}
	info, err := os.Stat(what)
	switch {
	case what == "-" || err == nil && !info.IsDir():
		if description != nil || quota != nil {
			return in.usage("-description and -quota are for namespaces that are named, not described by a file")
		}
		body, err := in.readSpec(what)
		if err != nil {
			return in.fail("Error reading input: %s", err)
		}
		if namespace, err = parseNamespace(what, body, asJSON); err != nil {
			return in.fail("Error parsing input: %s", err)
		}
	default:
		known, _, err := c.ReadNamespace(in.ctx, what)
		if err != nil && !apiclient.IsNotFound(err) {
			return in.fail("Error looking up namespace: %s", err)
		}
		if err == nil {
			namespace = known
		}
	}
	if description != nil {
		namespace.Description = *description
	}
	if quota != nil {
		namespace.Quota = *quota
	}
	if err := c.SetNamespace(in.ctx, namespace); err != nil {
		return in.fail("Error applying namespace: %s", err)
	}
	in.ui.Output("Successfully applied namespace \"" + namespace.Name + "\"!")
	return 0
}

func namespaceDeleteSpec() spec {
	return spec{
		name: "namespace delete", args: "<namespace>", general: true,
		synopsis: "Delete a namespace",
		about:    "Delete a namespace in which nothing runs.",
		setup: func(*flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <namespace>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if err := c.DeleteNamespace(in.ctx, args[0]); err != nil {
					return in.fail("Error deleting namespace: %s", err)
				}
				in.ui.Output("Successfully deleted namespace \"" + args[0] + "\"!")
				return 0
			}
		},
	}
}

// oneNamespace resolves a namespace by its name or what it begins with.
func (in *invocation) oneNamespace(c *apiclient.Client, typed string) (*apiclient.Namespace, apiclient.Answer, int, bool) {
	list, _, err := c.Namespaces(in.ctx, apiclient.Query{Prefix: typed})
	if err != nil {
		return nil, apiclient.Answer{}, in.fail("Error retrieving namespace: %s", err), false
	}
	if exact := slices.IndexFunc(list, func(n *apiclient.Namespace) bool { return n.Name == typed }); exact >= 0 {
		list = list[exact : exact+1]
	}
	switch {
	case len(list) == 0:
		return nil, apiclient.Answer{}, in.fail("Namespace %q matched no namespaces", typed), false
	case len(list) > 1:
		return nil, apiclient.Answer{}, in.fail("Prefix matched multiple namespaces\n\n%s", namespaceTable(list)), false
	}
	namespace, answer, err := c.ReadNamespace(in.ctx, list[0].Name)
	if err != nil {
		return nil, answer, in.fail("Error retrieving namespace: %s", err), false
	}
	return namespace, answer, 0, true
}

func namespaceInspectSpec() spec {
	return spec{
		name: "namespace inspect", args: "<namespace>", general: true,
		synopsis: "Inspect a namespace",
		about:    "Print a namespace as the servers have it, as JSON.",
		setup: func(fs *flag.FlagSet) runFunc {
			tmpl := fs.String("t", "", "Print it by this Go `template`.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <namespace>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				_, answer, code, ok := in.oneNamespace(c, args[0])
				if !ok {
					return code
				}
				return in.print(shaped{json: *tmpl == "", tmpl: *tmpl}, answer.Body)
			}
		},
	}
}

func namespaceStatusSpec() spec {
	return spec{
		name: "namespace status", args: "<namespace>", general: true,
		synopsis: "Display a namespace's status",
		about:    "Display a namespace. The argument may be what its name begins with.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <namespace>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				namespace, answer, code, ok := in.oneNamespace(c, args[0])
				if !ok {
					return code
				}
				if s.wanted() {
					return in.print(s, answer.Body)
				}
				in.namespaceStatus(namespace)
				return 0
			}
		},
	}
}

func (in *invocation) namespaceStatus(n *apiclient.Namespace) {
	list := func(names []string, otherwise string) string {
		if len(names) == 0 {
			return otherwise
		}
		return strings.Join(names, ",")
	}
	var p pairs
	p.add("Name", n.Name)
	p.add("Description", n.Description)
	p.add("Quota", n.Quota)
	if c := n.Capabilities; c != nil {
		p.add("EnabledDrivers", list(c.EnabledTaskDrivers, "*"))
		p.add("DisabledDrivers", list(c.DisabledTaskDrivers, ""))
		p.add("EnabledNetworkModes", list(c.EnabledNetworkModes, "*"))
		p.add("DisabledNetworkModes", list(c.DisabledNetworkModes, ""))
	}
	in.ui.Output(p.String())
	if len(n.Meta) > 0 {
		var meta pairs
		for _, key := range sorted(n.Meta) {
			meta.add(key, n.Meta[key])
		}
		in.section("Metadata", meta.String())
	}
	if c := n.NodePoolConfiguration; c != nil {
		var pools pairs
		pools.add("Default", c.Default)
		pools.add("Allowed", list(c.Allowed, "*"))
		pools.add("Denied", list(c.Denied, ""))
		in.section("Node Pool Configuration", pools.String())
	}
	in.section("Indexes", "Created = "+strconv.FormatUint(n.CreateIndex, 10)+"\nChanged = "+strconv.FormatUint(n.ModifyIndex, 10))
}
