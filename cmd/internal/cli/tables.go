package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// jobTable lists jobs.
func (in *invocation) jobTable(list []*apiclient.JobStub, namespaces bool) string {
	head := []string{"ID", "Namespace", "Type", "Priority", "Status", "Submit Date"}
	rows := [][]string{head}
	for _, j := range list {
		kind := j.Type
		if j.Periodic {
			kind += "/periodic"
		}
		if j.ParameterizedJob {
			kind += "/parameterized"
		}
		status := j.Status
		if j.Stop && status == "dead" {
			status = "dead (stopped)"
		}
		rows = append(rows, []string{j.ID, j.JobNamespace(), kind, strconv.Itoa(j.Priority), status, in.p.absolute(unixNano(j.SubmitTime))})
	}
	if !namespaces {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	return tableOf(rows...)
}

// allocColumns says which columns a list of allocations has.
type allocColumns struct {
	verbose  bool
	job      bool // which job each is of
	nodeless bool // without the node's name, which all share

	// groups, if set, are those of the job that all are of: some may run for a limited time only.
	groups []*event.TaskGroup
}

// maxRunDeadline is when an allocation of the group will have run for as long as it may; zero where there is no limit.
func maxRunDeadline(groups []*event.TaskGroup, name string, createTime int64) time.Time {
	for _, g := range groups {
		if g.Name == name && g.MaxRunDuration > 0 {
			return unixNano(createTime).Add(g.MaxRunDuration)
		}
	}
	return time.Time{}
}

const maxRunColumn = "Max Run Deadline"

// allocTable lists allocations, newest first.
func (in *invocation) allocTable(list []*apiclient.AllocStub, c allocColumns) string {
	verbose := c.verbose
	if len(list) == 0 {
		return "No allocations placed"
	}
	slices.SortStableFunc(list, func(a, b *apiclient.AllocStub) int {
		return cmp.Or(cmp.Compare(b.CreateIndex, a.CreateIndex), cmp.Compare(b.CreateTime, a.CreateTime), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	head := []string{"ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"}
	if verbose {
		head = []string{"ID", "Eval ID", "Node ID", "Node Name", "Task Group", "Version", "Desired", "Status", "Created", "Modified"}
	}
	if c.nodeless {
		head = slices.DeleteFunc(head, func(s string) bool { return s == "Node Name" })
	}
	if c.job {
		head = slices.Insert(head, slices.Index(head, "Task Group"), "Job ID")
	}
	if slices.ContainsFunc(c.groups, func(g *event.TaskGroup) bool { return g.MaxRunDuration > 0 }) {
		head = append(head, maxRunColumn)
	}
	rows := [][]string{head}
	for _, a := range list {
		var row []string
		for _, column := range head {
			row = append(row, map[string]string{
				"ID": shortID(a.ID, verbose), "Eval ID": shortID(a.EvalID, verbose), "Node ID": shortID(a.NodeID, verbose), "Node Name": a.NodeName,
				"Job ID": a.JobID, "Task Group": a.TaskGroup, "Version": strconv.FormatUint(a.JobVersion, 10), "Desired": a.DesiredStatus,
				"Status":  a.ClientStatus,
				"Created": in.p.since(unixNano(a.CreateTime), verbose), "Modified": in.p.since(unixNano(a.ModifyTime), verbose),
				maxRunColumn: in.p.absolute(maxRunDeadline(c.groups, a.TaskGroup, a.CreateTime)),
			}[column])
		}
		rows = append(rows, row)
	}
	return tableOf(rows...)
}

// nodeColumns says which columns a list of nodes has beside the usual ones.
type nodeColumns struct {
	os      bool
	verbose bool
	running map[string]int // allocations that run, by node; nil = no column
}

func nodeTable(list []*apiclient.NodeStub, c nodeColumns) string {
	head := []string{"ID", "Node Pool", "DC", "Name", "Class"}
	if c.os {
		head = append(head, "OS")
	}
	if c.verbose {
		head = append(head, "Address", "Version")
	}
	head = append(head, "Drain", "Eligibility", "Status")
	if c.running != nil {
		head = append(head, "Running Allocs")
	}
	rows := [][]string{head}
	for _, n := range list {
		row := []string{shortID(n.ID, c.verbose), n.NodePool, n.Datacenter, n.Name, n.NodeClass}
		if c.os {
			row = append(row, n.Attributes["os.name"])
		}
		if c.verbose {
			row = append(row, n.Address, n.Version)
		}
		row = append(row, strconv.FormatBool(n.Drain), n.SchedulingEligibility, n.Status)
		if c.running != nil {
			row = append(row, strconv.Itoa(c.running[n.ID]))
		}
		rows = append(rows, row)
	}
	return tableOf(rows...)
}

// placementFailures is the cell of that name.
func placementFailures(e *apiclient.Evaluation) string {
	if e.Status == "blocked" {
		return "N/A - In Progress"
	}
	return strconv.FormatBool(len(e.FailedTGAllocs) > 0)
}

func evalTable(list []*apiclient.Evaluation, verbose bool) string {
	rows := [][]string{{"ID", "Priority", "Triggered By", "Job ID", "Namespace", "Node ID", "Status", "Placement Failures"}}
	for _, e := range list {
		rows = append(rows, []string{shortID(e.ID, verbose), strconv.Itoa(e.Priority), e.TriggeredBy, e.JobID, e.Namespace,
			shortID(e.NodeID, verbose), e.Status, placementFailures(e)})
	}
	return tableOf(rows...)
}

// failedGroup is the headline of a group that could not be placed.
func failedGroup(name string, m *event.AllocMetric) string {
	plural := ""
	if m.CoalescedFailures > 0 {
		plural = "s"
	}
	return fmt.Sprintf("Task Group %q (failed to place %d allocation%s):", name, m.CoalescedFailures+1, plural)
}

// reasons explains one walk over the nodes, a line per reason.
func (t *term) reasons(m *event.AllocMetric) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf("* "+format, args...)) }
	if m.NodesEvaluated == 0 {
		say("No nodes were eligible for evaluation")
	}
	for _, dc := range sorted(m.NodesAvailable) {
		if m.NodesAvailable[dc] == 0 {
			say("No nodes are available in datacenter %q", dc)
		}
	}
	for _, class := range sorted(m.ClassFiltered) {
		say("Class %q: %d nodes excluded by filter", class, m.ClassFiltered[class])
	}
	for _, constraint := range sorted(m.ConstraintFiltered) {
		text := fmt.Sprintf("Constraint %q: %d nodes excluded by filter", constraint, m.ConstraintFiltered[constraint])
		if strings.Contains(constraint, "missing drivers") {
			text = t.red(text)
		}
		say("%s", text)
	}
	if m.NodesExhausted > 0 {
		say("Resources exhausted on %d nodes", m.NodesExhausted)
	}
	for _, class := range sorted(m.ClassExhausted) {
		say("Class %q exhausted on %d nodes", class, m.ClassExhausted[class])
	}
	for _, dimension := range sorted(m.DimensionExhausted) {
		say("Dimension %q exhausted on %d nodes", dimension, m.DimensionExhausted[dimension])
	}
	for _, dimension := range m.QuotaExhausted {
		say("Quota limit hit %q", dimension)
	}
	return lines
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
