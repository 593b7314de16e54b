package cli

import (
	"flag"
	"fmt"
	"strings"

	"drover/cmd/internal/apiclient"
)

func statusSpec() spec {
	return spec{
		name: "status", args: "[identifier]", general: true, console: true,
		synopsis: "Display the status output for a resource",
		about: "Display the status of whatever the identifier names: a job, allocation, node, evaluation or\nnamespace.\n" +
			"Without an identifier, list all jobs.",
		setup: func(fs *flag.FlagSet) runFunc {
			verbose := fs.Bool("verbose", false, "Show full IDs and absolute times.")
			return func(in *invocation, args []string) int {
				if len(args) > 1 {
					return in.usage("This command takes either no arguments or one: <identifier>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				if len(args) == 0 {
					return in.jobList(c, shaped{})
				}
				return in.statusOf(c, args[0], *verbose)
			}
		},
	}
}

// match is one thing that an identifier may have meant.
type match struct {
	what  string // "Jobs", as the list of matches is titled
	id    string
	exact bool
	run   func() int
}

func (in *invocation) statusOf(c *apiclient.Client, typed string, verbose bool) int {
	matches, err := in.matches(c, typed, verbose)
	if err != nil {
		return in.fail("Error querying search with id: %q: %s", typed, err)
	}
	var exact []match
	for _, m := range matches {
		if m.exact {
			exact = append(exact, m)
		}
	}
	switch {
	case len(exact) == 1:
		return exact[0].run()
	case len(matches) == 1:
		return matches[0].run()
	case len(matches) == 0:
		return in.fail("No matches found for id %q", typed)
	}
	lines := []string{fmt.Sprintf("Multiple matches found for id %q", typed)}
	for i, m := range matches {
		if i == 0 || m.what != matches[i-1].what {
			lines = append(lines, "", m.what+":")
		}
		lines = append(lines, "  "+m.id)
	}
	return in.fail("%s", strings.Join(lines, "\n"))
}

// matches finds everything that begins as typed.
func (in *invocation) matches(c *apiclient.Client, typed string, verbose bool) ([]match, error) {
	var all []match
	jobs, _, err := c.Jobs(in.ctx, apiclient.Query{Prefix: typed, PerPage: jobPrefixLimit})
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		c := c.InNamespace(j.JobNamespace())
		all = append(all, match{"Jobs", j.ID, j.ID == typed, func() int {
			return in.jobStatus(c, j.ID, jobStatusOptions{evals: verbose, verbose: verbose})
		}})
	}
	namespaces, _, err := c.Namespaces(in.ctx, apiclient.Query{Prefix: typed})
	if err != nil {
		return nil, err
	}
	for _, n := range namespaces {
		all = append(all, match{"Namespaces", n.Name, n.Name == typed, func() int { in.namespaceStatus(n); return 0 }})
	}
	prefix, ok := evenPrefix(typed)
	if !ok {
		return all, nil
	}
	q := apiclient.Query{Prefix: prefix}
	allocs, _, err := c.Allocations(in.ctx, q)
	if err != nil {
		return nil, err
	}
	for _, a := range found(allocs, typed, func(a *apiclient.AllocStub) string { return a.ID }) {
		all = append(all, match{"Allocations", a.ID, a.ID == typed, func() int { return in.allocStatus(c, a.ID, allocStatusOptions{verbose: verbose}) }})
	}
	nodes, _, err := c.Nodes(in.ctx, q)
	if err != nil {
		return nil, err
	}
	for _, n := range found(nodes, typed, func(n *apiclient.NodeStub) string { return n.ID }) {
		all = append(all, match{"Nodes", n.ID, n.ID == typed, func() int { return in.nodeStatus(c, n.ID, nodeStatusOptions{verbose: verbose}) }})
	}
	evals, _, err := c.Evaluations(in.ctx, q)
	if err != nil {
		return nil, err
	}
	for _, e := range found(evals, typed, func(e *apiclient.Evaluation) string { return e.ID }) {
		all = append(all, match{"Evaluations", e.ID, e.ID == typed, func() int { return in.evalStatus(c, e.ID, shaped{}, verbose) }})
	}
	return all, nil
}

func versionSpec() spec {
	return spec{
		name: "version", synopsis: "Print the Drover version",
		about: "Print the version of this program.",
		setup: func(*flag.FlagSet) runFunc {
			return func(in *invocation, _ []string) int {
				in.ui.Output("Drover v" + in.p.Version)
				return 0
			}
		},
	}
}
