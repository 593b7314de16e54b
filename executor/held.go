package executor

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"drover/eventlog/event"
)

// Held is an allocation on the node, for those who watch the node.
type Held struct {
	ID     event.ID
	Job    *event.Job
	Group  *event.TaskGroup
	Status event.ClientStatus
	Tasks  []HeldTask // in the order of the job
}

// HeldTask is a task of it.
type HeldTask struct {
	Name   string
	Status event.TaskStatus
	Counts TaskCounts
	Usage  *ResourceUsage // nil: it does not run, or nobody asked
}

// TaskCounts is how often something has become of a task since the agent began.
type TaskCounts struct{ Started, Restarted, Completed, Failed, OOMKilled uint64 }

// count takes in what a task's history says.
func (c *TaskCounts) count(e event.TaskEvent) {
	switch e.Type {
	case event.TaskStarted:
		c.Started++
	case event.TaskRestarting:
		c.Restarted++
	case event.TaskTerminated:
		if e.Details[event.DetailOOMKilled] == "true" {
			c.OOMKilled++
		}
	}
}

// countEnd takes in that a task will not run again.
func (c *TaskCounts) countEnd(failed bool) {
	if failed {
		c.Failed++
	} else {
		c.Completed++
	}
}

// Node is what the agent tells of the machine now. It is not to be changed.
func (a *Agent) Node() *event.Node { return a.node.Load() }

// HostUsage is what the machine uses now.
func (a *Agent) HostUsage(ctx context.Context) (*HostUsage, error) {
	return a.host.sample(ctx, a.node.Load())
}

// Held lists the allocations on the node, with what their tasks use when measure says so.
func (a *Agent) Held(ctx context.Context, measure bool) ([]Held, error) {
	a.mu.Lock()
	runners := slices.SortedFunc(maps.Values(a.runners), func(x, y *runner) int { return cmp.Compare(x.id.String(), y.id.String()) })
	a.mu.Unlock()
	list := make([]Held, 0, len(runners))
	var asked []*meteredTask
	var usages []**ResourceUsage
	for _, r := range runners {
		r.mu.Lock()
		held := Held{ID: r.id, Job: r.job, Group: r.group, Status: r.view.status, Tasks: slices.Clone(r.view.tasks)}
		live := r.view.live
		r.mu.Unlock()
		r.meter.keep(live)
		for i := range held.Tasks {
			if running := live[held.Tasks[i].Name]; running != nil && measure {
				asked = append(asked, &meteredTask{name: held.Tasks[i].Name, running: running, meter: &r.meter})
				usages = append(usages, &held.Tasks[i].Usage)
			}
		}
		list = append(list, held)
	}
	if err := meterAll(ctx, asked, coreMHz(a.node.Load())); err != nil {
		return nil, err
	}
	for i, t := range asked {
		if t.usage != nil {
			*usages[i] = &t.usage.ResourceUsage
		}
	}
	return list, nil
}
