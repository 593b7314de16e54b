package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"drover/cmd/internal/apiclient"
)

// jobPrefixLimit bounds how many jobs a prefix search lists: enough to choose
// from.
const jobPrefixLimit = 20

// evenPrefix makes what a person typed of an identifier into what the routes
// search by: an even number of hexadecimal digits. ok is false when no
// identifier can begin so.
func evenPrefix(typed string) (prefix string, ok bool) {
	typed = strings.ToLower(typed)
	digits := 0
	for _, c := range typed {
		switch {
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
			digits++
		case c != '-':
			return "", false
		}
	}
	if digits%2 == 1 {
		typed = strings.TrimRight(typed, "-")
		typed = typed[:len(typed)-1]
	}
	return strings.TrimRight(typed, "-"), digits > 1 && len(typed) <= 36
}

// found narrows a list down to what begins as typed; the search may have been
// wider by a digit.
func found[T any](list []T, typed string, id func(T) string) []T {
	typed = strings.ToLower(typed)
	return slices.DeleteFunc(list, func(x T) bool { return !strings.HasPrefix(id(x), typed) })
}

// search is one lookup by prefix. On failure it has told the person, and code is
// the exit code.
type search struct {
	short string // said for an identifier of one character
	none  string // said when nothing matches; %q is what was typed
	what  string // plural, for "matched multiple"
	code  int    // exit code for several matches
}

var (
	allocSearch = search{"Identifier must contain at least two characters.", "No allocation(s) with prefix or id %q found", "allocations", 1}
	nodeSearch  = search{"Identifier must contain at least two characters.", "No node(s) with prefix %q found", "nodes", 1}
	evalSearch  = search{"Identifier must contain at least two characters.", "No evaluation(s) with prefix or id %q found", "evaluations", 1}
)

// one resolves what was typed to one row of a list.
func one[T any](in *invocation, s search, typed string, list func(prefix string) ([]T, error), id func(T) string, show func([]T) string) (T, int, bool) {
	var zero T
	if len(typed) == 1 {
		return zero, in.fail("%s", s.short), false
	}
	prefix, ok := evenPrefix(typed)
	if !ok {
		return zero, in.fail(s.none, typed), false
	}
	all, err := list(prefix)
	if err != nil {
		return zero, in.fail("Error querying %s: %s", s.what, err), false
	}
	all = found(all, typed, id)
	switch len(all) {
	case 0:
		return zero, in.fail(s.none, typed), false
	case 1:
		return all[0], 0, true
	}
	out := fmt.Sprintf("Prefix matched multiple %s\n\n%s", s.what, show(all))
	if s.code == 0 {
		in.ui.Output(out)
	} else {
		in.ui.Error(out)
	}
	return zero, s.code, false
}

func (in *invocation) oneAlloc(c *apiclient.Client, s search, typed string, verbose bool) (*apiclient.AllocStub, int, bool) {
	return one(in, s, typed,
		func(prefix string) ([]*apiclient.AllocStub, error) {
			list, _, err := c.Allocations(in.ctx, apiclient.Query{Prefix: prefix})
			return list, err
		},
		func(a *apiclient.AllocStub) string { return a.ID },
		func(list []*apiclient.AllocStub) string {
			return in.allocTable(list, allocColumns{verbose: verbose, job: true})
		})
}

func (in *invocation) oneNode(c *apiclient.Client, typed string, verbose bool) (*apiclient.NodeStub, int, bool) {
	return one(in, nodeSearch, typed,
		func(prefix string) ([]*apiclient.NodeStub, error) {
			list, _, err := c.Nodes(in.ctx, apiclient.Query{Prefix: prefix})
			return list, err
		},
		func(n *apiclient.NodeStub) string { return n.ID },
		func(list []*apiclient.NodeStub) string { return nodeTable(list, nodeColumns{verbose: verbose}) })
}

func (in *invocation) oneEval(c *apiclient.Client, typed string, verbose bool) (*apiclient.Evaluation, int, bool) {
	return one(in, evalSearch, typed,
		func(prefix string) ([]*apiclient.Evaluation, error) {
			list, _, err := c.Evaluations(in.ctx, apiclient.Query{Prefix: prefix})
			return list, err
		},
		func(e *apiclient.Evaluation) string { return e.ID },
		func(list []*apiclient.Evaluation) string { return evalTable(list, verbose) })
}

// oneJob resolves a job by ID or prefix. An exact ID wins, unless all namespaces
// were asked for and several have it. exact says whether the whole ID was typed.
func (in *invocation) oneJob(c *apiclient.Client, typed string) (job *apiclient.JobStub, exact bool, code int, ok bool) {
	list, _, err := c.Jobs(in.ctx, apiclient.Query{Prefix: typed, PerPage: jobPrefixLimit})
	if err != nil {
		return nil, false, in.fail("Error querying jobs: %s", err), false
	}
	var same []*apiclient.JobStub
	for _, j := range list {
		if j.ID == typed {
			same = append(same, j)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], true, 0, true
	case len(list) == 0:
		return nil, false, in.fail("No job(s) with prefix or ID %q found", typed), false
	case len(list) == 1:
		return list[0], false, 0, true
	}
	return nil, false, in.fail("Prefix matched multiple jobs\n\n%s", in.jobTable(list, c.Namespace() == apiclient.AllNamespaces)), false
}

// pickAlloc finds the allocation that was named, by itself or, with byJob, by its job and, if that is not empty, its
// group.
func (in *invocation) pickAlloc(c *apiclient.Client, typed string, byJob bool, group string, verbose bool) (id string, code int, ok bool) {
	if !byJob {
		search := allocSearch
		search.short = "Alloc ID must contain at least two characters."
		stub, code, ok := in.oneAlloc(c, search, typed, verbose)
		if !ok {
			return "", code, false
		}
		return stub.ID, 0, true
	}
	job, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return "", code, false
	}
	allocs, _, err := c.InNamespace(job.JobNamespace()).JobAllocations(in.ctx, job.ID, false)
	if err != nil {
		return "", in.fail("Error querying job allocations: %s", err), false
	}
	if group != "" {
		allocs = slices.DeleteFunc(allocs, func(a *apiclient.AllocStub) bool { return a.TaskGroup != group })
	}
	if len(allocs) == 0 {
		return "", in.fail("No allocations for job %q", job.ID), false
	}
	// A running one, and of those the newest.
	running := func(a *apiclient.AllocStub) int {
		if a.ClientStatus == "running" {
			return 1
		}
		return 0
	}
	best := slices.MaxFunc(allocs, func(a, b *apiclient.AllocStub) int {
		return cmp.Or(cmp.Compare(running(a), running(b)), cmp.Compare(a.CreateIndex, b.CreateIndex), cmp.Compare(b.ID, a.ID))
	})
	return best.ID, 0, true
}

// chooseTask is the task that was named, or the only one there is.
func chooseTask(a *apiclient.Allocation, task string, verbose bool) (string, error) {
	tasks := taskOrder(a)
	if task != "" {
		if !slices.Contains(tasks, task) {
			return "", fmt.Errorf("Could not find task named %q in allocation %q, which has: %s", task, shortID(a.ID, verbose), strings.Join(tasks, ", "))
		}
		return task, nil
	}
	if len(tasks) == 1 {
		return tasks[0], nil
	}
	if len(tasks) == 0 {
		return "", fmt.Errorf("Allocation %q has no tasks", shortID(a.ID, verbose))
	}
	return "", fmt.Errorf("Allocation %q is running the following tasks:\n  * %s\n\nPlease specify the task.", shortID(a.ID, verbose), strings.Join(tasks, "\n  * "))
}

// confirm asks a yes-or-no question about something that only a prefix named.
// It goes on only for an exact "y".
func (in *invocation) confirm(question, cancelled string) (code int, ok bool) {
	answer, err := in.ui.Ask(question)
	switch {
	case err != nil:
		return in.fail("Failed to parse answer: %s", err), false
	case answer == "y":
		return 0, true
	case answer == "" || strings.ToLower(answer)[0] == 'n':
		in.ui.Output(cancelled)
		return 0, false
	case strings.ToLower(answer)[0] == 'y':
		in.ui.Output("For confirmation, an exact ‘y’ is required.")
		return 1, false
	}
	in.ui.Output("No confirmation detected. For confirmation, an exact ‘y’ is required.")
	return 1, false
}
