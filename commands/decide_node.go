package commands

import (
	"maps"
	"math"
	"reflect"
	"slices"

	"drover/eventlog/event"
)

func (c RegisterNode) decide(d *decision) *Rejection {
	if err := validateNode(c.Node); err != nil {
		return reject(ReasonInvalid, "register node: %v", err)
	}
	id := c.Node.ID
	known := d.state.Node(id)
	if known == nil {
		d.emit(&event.NodeRegistered{NodeID: id, SecretHash: c.SecretHash, Incarnation: c.Incarnation, Node: c.Node}, event.ID{})
		return nil
	}
	if known.SecretHash != c.SecretHash {
		return reject(ReasonForbidden, "node %v registers with another secret than before", id)
	}
	if c.Incarnation < known.Incarnation {
		return reject(ReasonSuperseded, "node %v registers as incarnation %d, it is already at %d", id, c.Incarnation, known.Incarnation)
	}
	if c.Incarnation != known.Incarnation || known.Status == event.NodeDown {
		d.emit(&event.NodeRegistered{NodeID: id, Incarnation: c.Incarnation}, event.ID{})
	}
	if changed := nodeDifference(known.Info, c.Node); changed != nil {
		d.emit(changed, event.ID{})
	}
	return nil
}

// nodeDifference is what changed from one fingerprint to the next; nil when
// nothing did.
func nodeDifference(old, next *event.Node) *event.NodeChanged {
	changed := &event.NodeChanged{NodeID: next.ID, ComputedClass: next.ComputedClass}
	for key, value := range next.Attributes {
		if was, ok := old.Attributes[key]; !ok || was != value {
			if changed.AttributesSet == nil {
				changed.AttributesSet = make(map[string]string)
			}
			changed.AttributesSet[key] = value
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old.Attributes)) {
		if _, ok := next.Attributes[key]; !ok {
			changed.AttributesRemoved = append(changed.AttributesRemoved, key)
		}
	}
	a, b := *old, *next
	a.Attributes, b.Attributes = nil, nil
	if !reflect.DeepEqual(canonicalNode(&a), canonicalNode(&b)) {
		changed.Rest = &b
	}
	if changed.AttributesSet == nil && changed.AttributesRemoved == nil && changed.Rest == nil {
		return nil
	}
	return changed
}

// canonicalNode is the node's encoding: nil and empty are the same in it.
func canonicalNode(n *event.Node) string {
	drivers := make(map[string]*event.DriverInfo, len(n.Drivers))
	for name, info := range n.Drivers {
		seen := *info
		seen.UpdateTime = 0 // when a driver was looked at is no change
		drivers[name] = &seen
	}
	c := *n
	c.Drivers = drivers
	data, err := event.Marshal(&c)
	if err != nil {
		panic("encode node " + n.ID.String() + ": " + err.Error())
	}
	return string(data)
}

func (c ReportAllocations) decide(d *decision) *Rejection {
	node := d.state.Node(c.NodeID)
	switch {
	case node == nil:
		return reject(ReasonNotFound, "node %v is not registered", c.NodeID)
	case node.SecretHash != c.SecretHash:
		return reject(ReasonForbidden, "node %v reports with another secret than it registered with", c.NodeID)
	case c.Incarnation != node.Incarnation:
		return reject(ReasonSuperseded, "report of node %v from incarnation %d refused: it is at %d", c.NodeID, c.Incarnation, node.Incarnation)
	case node.Status == event.NodeDown:
		return reject(ReasonNodeDown, "node %v was declared down; it must register again", c.NodeID)
	case c.Sequence == node.LastReport && c.Sequence > 0:
		return nil // its answer was lost; it took effect
	case c.Sequence != node.LastReport+1:
		return reject(ReasonSuperseded, "report %d of node %v refused: its last one was %d", c.Sequence, c.NodeID, node.LastReport)
	}
	for _, delta := range c.Deltas {
		for _, task := range delta.Tasks {
			if task == nil {
				return reject(ReasonInvalid, "report of node %v names a task of allocation %v and says nothing of it", c.NodeID, delta.ID)
			}
		}
	}
	report := &event.AllocationsReported{NodeID: c.NodeID, Incarnation: c.Incarnation, Sequence: c.Sequence}
	for _, delta := range c.Deltas {
		a := d.state.Allocation(delta.ID)
		if a == nil || a.NodeID != c.NodeID || a.Client == event.ClientLost {
			continue // collected meanwhile, or given up: the log has said the last word on it
		}
		switch delta.Client {
		case 0, event.ClientPending, event.ClientRunning, event.ClientComplete, event.ClientFailed:
		default:
			return reject(ReasonInvalid, "report of node %v: allocation %v cannot be %v by a node's word", c.NodeID, delta.ID, delta.Client)
		}
		if a.Client.Terminal() || delta.Client == a.Client {
			delta.Client = 0
		}
		delta.Tasks = newsOf(a.Tasks(), delta.Tasks)
		if delta.Client == 0 && len(delta.Tasks) == 0 {
			continue
		}
		report.Deltas = append(report.Deltas, delta)
	}
	d.emit(report, event.ID{})
	if c.Ready && node.Status == event.NodeInitializing {
		d.emit(&event.NodeStatusChanged{NodeID: c.NodeID, Status: event.NodeReady}, event.ID{})
	}
	return nil
}

// newsOf is what a report says of tasks without what is known: an agent that
// starts again tells everything again, and one that was killed before it noted
// an answer its events too. Times of one task's events strictly grow.
func newsOf(known, told map[string]*event.TaskState) map[string]*event.TaskState {
	news := make(map[string]*event.TaskState, len(told))
	for name, task := range told {
		before := known[name]
		if before == nil {
			news[name] = task
			continue
		}
		last := int64(math.MinInt64)
		if len(before.Events) > 0 {
			last = before.Events[len(before.Events)-1].Time
		}
		rest := *task // the command is the caller's
		rest.Events = slices.DeleteFunc(slices.Clone(task.Events), func(e event.TaskEvent) bool { return e.Time <= last })
		if len(rest.Events) > 0 || !sameButEvents(&rest, before) {
			news[name] = &rest
		}
	}
	return news
}

func sameButEvents(a, b *event.TaskState) bool {
	x, y := *a, *b
	x.Events, y.Events = nil, nil
	return reflect.DeepEqual(x, y)
}

// MarkNodesDown makes one evaluation per job, however many of its nodes went.
func (c MarkNodesDown) decide(d *decision) *Rejection {
	var down []event.ID
	gone := make(map[event.ID]bool, len(c.IDs))
	for _, id := range c.IDs {
		node := d.state.Node(id)
		if node == nil || node.Status == event.NodeDown || gone[id] {
			continue
		}
		gone[id] = true
		d.emit(&event.NodeStatusChanged{NodeID: id, Status: event.NodeDown, Description: c.Reason}, event.ID{})
		down = append(down, id)
	}
	for i, key := range jobsOn(d.state, down) {
		eval := event.Evaluation{
			ID: d.newID("evaluation", uint64(i)), Namespace: key.Namespace, JobID: key.ID,
			Type: event.JobTypeService, Priority: 50, TriggeredBy: event.TriggerNodeUpdate,
			NodeID: down[0], NodeModifyIndex: d.state.Index() + 1,
		}
		if job := d.state.Job(key); job != nil {
			eval.Type, eval.Priority, eval.JobModifyIndex = job.Spec.Job.Type, job.Spec.Job.Priority, job.JobModifyIndex
		}
		if r := d.createEvaluation(eval); r != nil {
			return r
		}
	}
	return nil
}
