package audit

import (
	"fmt"
	"slices"
	"strings"

	"drover/eventlog/event"
)

// itemsShown bounds how many placements, stops or reports one summary lists: a
// line should fit on a screen, and the JSON form has them all.
const itemsShown = 6

// Summary says in one line what the record's event means to an operator.
func Summary(r *event.Record) string {
	switch e := r.Event.(type) {
	case *event.ClusterCreated:
		return words("cluster "+e.ClusterID.Short(), "region "+e.Region, with("version ", e.Version))
	case *event.CommitterStarted:
		return words(fmt.Sprintf("epoch %d", e.Epoch), with("on ", e.Server), with("version ", e.Version))
	case *event.BlobStored:
		return fmt.Sprintf("blob %s chunk %d of %d, %d bytes", short(e.Blob), e.Chunk+1, e.Of, len(e.Data))
	case *event.CheckpointTaken:
		return fmt.Sprintf("state at %d, sha256 %s, fold version %d", e.At, short(e.SHA256), e.FoldVersion)
	case *event.SchedulerConfigured:
		return schedulerConfigured(e)
	case *event.JobSubmitted:
		text := fmt.Sprintf("%s version %d", event.JobKey{Namespace: e.Namespace, ID: e.JobID}, e.Version)
		if e.SameSpec {
			text += " (unchanged)"
		}
		return text
	case *event.JobStopped:
		text := fmt.Sprintf("%s version %d", event.JobKey{Namespace: e.Namespace, ID: e.JobID}, e.Version)
		if e.Purge {
			text += " (purged)"
		}
		return text
	case *event.JobScaled:
		return scaled(e)
	case *event.JobVersionTagged:
		text := fmt.Sprintf("%s version %d as %q", event.JobKey{Namespace: e.Namespace, ID: e.JobID}, e.Version, e.Name)
		return words(text, paren(e.Description))
	case *event.JobVersionUntagged:
		return fmt.Sprintf("%s tag %q", event.JobKey{Namespace: e.Namespace, ID: e.JobID}, e.Name)
	case *event.EvaluationCreated:
		return evaluationCreated(&e.Evaluation)
	case *event.EvaluationUnblocked:
		return words(e.EvalID.Short(), e.Reason)
	case *event.EvaluationEnded:
		return words(e.EvalID.Short(), e.Status.String(), paren(e.Description))
	case *event.PlanCommitted:
		return plan(e)
	case *event.NodeRegistered:
		return nodeRegistered(e)
	case *event.NodeChanged:
		return nodeChanged(e)
	case *event.NodeStatusChanged:
		return words(e.NodeID.Short(), e.Status.String(), paren(e.Description))
	case *event.NodeEligibilitySet:
		if e.Ineligible {
			return words(e.NodeID.Short(), event.Ineligible)
		}
		return words(e.NodeID.Short(), event.Eligible)
	case *event.AllocationsReported:
		return reported(e)
	case *event.AllocationsMarked:
		return marked(e)
	case *event.Collected:
		return collected(e)
	case *event.NodePoolSet:
		text := words(e.Pool.Name, paren(e.Pool.Description))
		if s := e.Pool.SchedulerConfiguration; s != nil {
			text = words(text, with("algorithm ", s.SchedulerAlgorithm))
		}
		return text
	case *event.NodePoolDeleted:
		return e.Name
	case *event.NamespaceSet:
		return words(e.Namespace.Name, paren(e.Namespace.Description))
	case *event.NamespaceDeleted:
		return e.Name
	}
	return ""
}

func schedulerConfigured(e *event.SchedulerConfigured) string {
	text := []string{with("algorithm ", e.Algorithm)}
	for _, set := range []struct {
		is   bool
		name string
	}{
		{e.MemoryOversubscribed, "memory oversubscribed"}, {e.RejectJobs, "jobs rejected"}, {e.PauseEvaluations, "evaluations paused"},
		{e.PreemptSystem, "preemption by system"}, {e.PreemptSysBatch, "preemption by sysbatch"},
		{e.PreemptBatch, "preemption by batch"}, {e.PreemptService, "preemption by service"},
	} {
		if set.is {
			text = append(text, set.name)
		}
	}
	if e.NodeLimit > 0 {
		text = append(text, fmt.Sprintf("node limit %d", e.NodeLimit))
	}
	return strings.Join(slices.DeleteFunc(text, func(s string) bool { return s == "" }), ", ")
}

func scaled(e *event.JobScaled) string {
	text := fmt.Sprintf("%s.%s", event.JobKey{Namespace: e.Namespace, ID: e.JobID}, e.Group)
	if e.Count != nil {
		text += fmt.Sprintf(" from %d to %d", e.PreviousCount, *e.Count)
	}
	if e.Error {
		text += " error"
	}
	return words(text, paren(e.Message))
}

func evaluationCreated(e *event.Evaluation) string {
	text := []string{e.ID.Short(), e.Job().String(), "trigger=" + e.TriggeredBy.String()}
	if e.Status != event.EvalPending {
		text = append(text, "status="+e.Status.String())
	}
	if !e.NodeID.IsZero() {
		text = append(text, "node="+e.NodeID.Short())
	}
	return strings.Join(text, " ")
}

// plan tells a decision in the order of interest: what ends, what starts, what
// could not be placed, and the outcome.
func plan(e *event.PlanCommitted) string {
	parts := []string{words(e.EvalID.Short(), event.JobKey{Namespace: e.Namespace, ID: e.JobID}.String())}
	var stops []string
	for _, s := range e.Stops {
		verb := "stop"
		if s.Client == event.ClientLost {
			verb = "lost"
		}
		stops = append(stops, words(verb, s.ID.Short(), paren(s.Description)))
	}
	parts = append(parts, some(stops, ", ")...)
	var placed []string
	for _, g := range e.Groups {
		for _, p := range g.Placements {
			node := "?"
			if int(p.Node) < len(e.Nodes) {
				node = e.Nodes[p.Node].Short()
			}
			placed = append(placed, fmt.Sprintf("%s[%d]->%s", g.Name, p.Name, node))
		}
	}
	parts = append(parts, some(placed, " ")...)
	if n := len(e.InPlace); n > 0 {
		parts = append(parts, fmt.Sprintf("%d updated in place", n))
	}
	for _, g := range e.Groups {
		if g.Failed != nil {
			parts = append(parts, fmt.Sprintf("%s: %d not placed", g.Name, g.Failed.CoalescedFailures+1))
		}
	}
	for _, d := range e.Dropped {
		parts = append(parts, fmt.Sprintf("%d dropped on %s (%s)", d.Placements, d.NodeID.Short(), d.Reason))
	}
	if len(parts) == 1 {
		parts = append(parts, "nothing to change")
	}
	if e.Outcome != event.EvalComplete {
		parts = append(parts, words(e.Outcome.String(), paren(e.Description)))
	}
	if !e.BlockedEval.IsZero() {
		parts = append(parts, "blocked evaluation "+e.BlockedEval.Short())
	}
	return strings.Join(parts, ", ")
}

func nodeRegistered(e *event.NodeRegistered) string {
	text := []string{e.NodeID.Short()}
	if e.Node != nil {
		text = append(text, e.Node.Name, "datacenter="+e.Node.Datacenter, "pool="+e.Node.NodePool)
		if e.Node.NodeClass != "" {
			text = append(text, "class="+e.Node.NodeClass)
		}
	}
	return words(append(text, fmt.Sprintf("incarnation=%d", e.Incarnation))...)
}

func nodeChanged(e *event.NodeChanged) string {
	var changes []string
	for name, value := range e.AttributesSet {
		changes = append(changes, name+"="+value)
	}
	slices.Sort(changes)
	removed := slices.Clone(e.AttributesRemoved)
	slices.Sort(removed)
	for _, name := range removed {
		changes = append(changes, name+" removed")
	}
	if e.Rest != nil {
		changes = append(changes, "resources, drivers or meta")
	}
	return strings.Join(append([]string{e.NodeID.Short()}, some(changes, ", ")...), " ")
}

func reported(e *event.AllocationsReported) string {
	var items []string
	for _, d := range e.Deltas {
		text := words(d.ID.Short(), statusWord(d.Client))
		var tasks []string
		for name, t := range d.Tasks {
			if t != nil && len(t.Events) > 0 {
				tasks = append(tasks, name+": "+t.Events[len(t.Events)-1].Type.String())
			}
		}
		slices.Sort(tasks)
		items = append(items, words(text, paren(strings.Join(tasks, "; "))))
	}
	return strings.Join(append([]string{"node " + e.NodeID.Short() + ":"}, some(items, ", ")...), " ")
}

// collected counts what left: the names of thousands of jobs tell nobody anything.
func collected(e *event.Collected) string {
	var parts []string
	count := func(n int, one, many string) {
		if n == 1 {
			parts = append(parts, "1 "+one)
		} else if n > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", n, many))
		}
	}
	var jobs []string
	for i := range e.Jobs {
		for _, id := range e.Jobs[i].IDs {
			jobs = append(jobs, event.JobKey{Namespace: e.Jobs[i].Namespace, ID: id}.String())
		}
	}
	if len(jobs) > 0 {
		parts = append(parts, words("job", some(jobs, ", ")[0]))
	}
	for i := range e.Work {
		w := &e.Work[i]
		before := len(parts)
		count(len(w.Evaluations), "evaluation", "evaluations")
		count(len(w.Allocations), "allocation", "allocations")
		if len(parts) > before {
			parts[len(parts)-1] += " of " + w.Job().String()
		}
	}
	for _, id := range e.Nodes {
		parts = append(parts, "node "+id.Short())
	}
	count(len(e.Blobs), "blob that no job named", "blobs that no job named")
	return strings.Join(parts, ", ")
}

func statusWord(s event.ClientStatus) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

// some joins the first items and counts the rest; nothing for no items.
func some(items []string, between string) []string {
	switch {
	case len(items) == 0:
		return nil
	case len(items) <= itemsShown:
		return []string{strings.Join(items, between)}
	}
	return []string{fmt.Sprintf("%s and %d more", strings.Join(items[:itemsShown], between), len(items)-itemsShown)}
}

// words joins what is not empty.
func words(text ...string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(text), func(s string) bool { return s == "" }), " ")
}

// with puts a label before what is not empty.
func with(label, text string) string {
	if text == "" {
		return ""
	}
	return label + text
}

func paren(text string) string {
	if text == "" {
		return ""
	}
	return "(" + text + ")"
}

// short is the beginning of a hash, enough to tell two apart by eye.
func short(h event.Hash) string {
	text := h.String()
	if len(text) > 8 {
		return text[:8]
	}
	return text
}

func marked(e *event.AllocationsMarked) string {
	var text []string
	for _, id := range e.IDs {
		text = append(text, id.Short())
	}
	if e.Migrate {
		text = append(text, "migrate")
	}
	if e.NoShutdownDelay {
		text = append(text, "without shutdown delay")
	}
	return words(text...)
}
