package cli

import (
	"context"
	"fmt"
	"time"

	"drover/cmd/internal/apiclient"
)

const (
	// monitorWait is how long one blocking query of the monitor may take. The
	// agent answers earlier when something changes.
	monitorWait = time.Minute

	// monitorPause keeps the monitor from asking without end an agent that
	// answers blocking queries at once.
	monitorPause = 250 * time.Millisecond
)

// monitor follows one evaluation to its end and tells what happens.
type monitor struct {
	in      *invocation
	client  *apiclient.Client
	verbose bool

	status string            // of the evaluation, last told
	node   string            // that triggered it, told
	job    string            // the same
	allocs map[string]string // client status last told, by allocation
}

// monitorEval follows an evaluation, and those that continue it. The exit code
// is 2 when something could not be placed.
func (in *invocation) monitorEval(c *apiclient.Client, evalID string, verbose bool) int {
	for {
		m := &monitor{in: in, client: c, verbose: verbose, status: "pending", allocs: map[string]string{}}
		eval, err := m.follow(evalID)
		if err != nil {
			return in.fail("Error reading evaluation: %s", err)
		}
		m.finish(eval)
		if eval.NextEval == "" {
			if len(eval.FailedTGAllocs) > 0 {
				return 2
			}
			return 0
		}
		evalID = eval.NextEval
		if err := m.next(evalID); err != nil {
			return in.fail("Error reading evaluation: %s", err)
		}
	}
}

func (m *monitor) stamp() string { return m.in.p.absolute(m.in.p.Now()) }

// head begins a stage.
func (m *monitor) head(format string, args ...any) {
	m.in.ui.Output(m.in.ui.bold(fmt.Sprintf("==> %s: %s", m.stamp(), fmt.Sprintf(format, args...))))
}

// tell says a detail of it.
func (m *monitor) tell(format string, args ...any) {
	m.in.ui.Output(fmt.Sprintf("    %s: %s", m.stamp(), fmt.Sprintf(format, args...)))
}

func (m *monitor) short(id string) string { return shortID(id, m.verbose) }

// follow returns the evaluation once it has ended.
func (m *monitor) follow(id string) (*apiclient.Evaluation, error) {
	m.head("Monitoring evaluation %q", m.short(id))
	var index uint64
	for {
		asked := time.Now()
		eval, answer, err := m.client.Evaluation(m.in.ctx, id, apiclient.Query{Index: index, Wait: monitorWait})
		if err != nil {
			return nil, err
		}
		allocs, _, err := m.client.EvaluationAllocations(m.in.ctx, id)
		if err != nil {
			return nil, err
		}
		m.update(eval, allocs)
		if eval.Terminal() {
			return eval, nil
		}
		if answer.Index <= index && time.Since(asked) < monitorPause {
			if err := pause(m.in.ctx, monitorPause); err != nil {
				return nil, err
			}
		}
		index = max(index, answer.Index)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// update tells what is new.
func (m *monitor) update(eval *apiclient.Evaluation, allocs []*apiclient.AllocStub) {
	if eval.NodeID != "" && m.node == "" {
		m.node = eval.NodeID
		m.tell("Evaluation triggered by node %q", m.short(eval.NodeID))
	}
	if eval.JobID != "" && m.job == "" {
		m.job = eval.JobID
		m.tell("Evaluation triggered by job %q", eval.JobID)
	}
	for _, a := range allocs {
		told, seen := m.allocs[a.ID]
		m.allocs[a.ID] = a.ClientStatus
		switch {
		case !seen && a.DesiredStatus == "run" && a.CreateIndex < eval.CreateIndex:
			m.tell("Allocation %q modified: node %q, group %q", m.short(a.ID), m.short(a.NodeID), a.TaskGroup)
		case !seen && a.DesiredStatus == "run":
			m.tell("Allocation %q created: node %q, group %q", m.short(a.ID), m.short(a.NodeID), a.TaskGroup)
		case seen && told != a.ClientStatus:
			text := fmt.Sprintf("Allocation %q status changed: %q -> %q", m.short(a.ID), told, a.ClientStatus)
			if a.ClientDescription != "" {
				text += fmt.Sprintf(" (%s)", a.ClientDescription)
			}
			m.tell("%s", text)
		}
	}
	if eval.Status != m.status {
		m.tell("Evaluation status changed: %q -> %q", m.status, eval.Status)
		m.status = eval.Status
	}
}

// finish tells how the evaluation ended.
func (m *monitor) finish(eval *apiclient.Evaluation) {
	if len(eval.FailedTGAllocs) == 0 {
		m.head("Evaluation %q finished with status %q", m.short(eval.ID), eval.Status)
		return
	}
	m.head("Evaluation %q finished with status %q but failed to place all allocations:", m.short(eval.ID), eval.Status)
	for _, group := range sorted(eval.FailedTGAllocs) {
		metric := eval.FailedTGAllocs[group]
		m.tell("%s", failedGroup(group, metric))
		for _, reason := range m.in.ui.reasons(metric) {
			m.in.ui.Output("      " + reason)
		}
	}
	if eval.BlockedEval != "" {
		m.tell("Evaluation %q waiting for additional capacity to place remainder", m.short(eval.BlockedEval))
	}
}

// next waits for the evaluation that continues the last one.
func (m *monitor) next(id string) error {
	eval, _, err := m.client.Evaluation(m.in.ctx, id, apiclient.Query{})
	if err != nil {
		return err
	}
	wait := eval.Wait
	if !eval.WaitUntil.IsZero() {
		wait = max(0, eval.WaitUntil.Sub(m.in.p.Now()))
	}
	m.head("Monitoring next evaluation %q in %s", m.short(id), wait.Round(time.Second))
	return pause(m.in.ctx, wait)
}
