package commands

import (
	"maps"
	"math"
	"reflect"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

func (c RegisterNode) decide(d *decision) *Rejection {
	if err := validateNode(c.Node); err != nil {
		return reject(ReasonInvalid, "register node: %v", err)
	}
	id := c.Node.ID
	known := d.state.Node(id)
	if known == nil {
		d.emit(&event.NodeRegistered{NodeID: id, SecretHash: c.SecretHash, Incarnation: c.Incarnation, Node: c.Node}, event.ID{})
		if c.Ineligible {
			d.emit(&event.NodeEligibilitySet{NodeID: id, Ineligible: true}, event.ID{})
		}
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
	changed := nodeDifference(known.Info, c.Node)
	if changed == nil {
		return nil
	}
	d.emit(changed, event.ID{})
	if len(d.out) == 1 && known.Schedulable() && (changed.Rest != nil || changed.ComputedClass != known.Info.ComputedClass) {
		return d.evaluateSystemJobs(c.Node) // if it is not ready, it will be
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
		if !node.Ineligible {
			return d.evaluateSystemJobs(node.Info)
		}
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

// A job gets one evaluation, however many of its nodes went, and none while one
// of its evaluations is pending: whoever has begun that one is refused, because a
// node of the job going down makes every older basis stale, and decides again on
// a state that sees it. If it fails for good, what it leaves to be tried later
// stands for this change too.
//
// What fits into one append is done, in the order of the list; the nodes left over
// stay as they are. Only when the jobs of a single node do not fit are there jobs
// left over of a node that is down: see Again.
func (c MarkNodesDown) decide(d *decision) *Rejection {
	left := nodesDownBytesMax
	var down []event.ID
	var keys []event.JobKey
	seen := make(map[event.JobKey]bool)
	var first event.ID
	listed := make(map[event.ID]bool, len(c.IDs))
	for _, id := range c.IDs {
		node := d.state.Node(id)
		if node == nil || listed[id] || (node.Status == event.NodeDown) != c.Again {
			continue
		}
		listed[id] = true
		goes := !c.Again
		jobs := d.jobsToLookAt(id, goes, seen)
		cost := 0
		if goes {
			cost = nodeDownBytes
		}
		for _, key := range jobs {
			cost += evaluationBytes + len(key.Namespace) + len(key.ID)
		}
		if cost > left && len(down)+len(keys) > 0 {
			break
		}
		cut := cost > left
		for cost > left && len(jobs) > 0 {
			last := jobs[len(jobs)-1]
			cost -= evaluationBytes + len(last.Namespace) + len(last.ID)
			jobs = jobs[:len(jobs)-1]
		}
		left -= cost
		if goes {
			down = append(down, id)
		}
		if len(jobs) > 0 && len(keys) == 0 {
			first = id
		}
		for _, key := range jobs {
			seen[key] = true
		}
		keys = append(keys, jobs...)
		if cut {
			break
		}
	}
	for _, id := range down {
		d.emit(&event.NodeStatusChanged{NodeID: id, Status: event.NodeDown, Description: c.Reason}, event.ID{})
	}
	slices.SortFunc(keys, event.JobKey.Compare)
	for i, key := range keys {
		eval := event.Evaluation{
			ID: d.newID("evaluation", uint64(i)), Namespace: key.Namespace, JobID: key.ID,
			Type: event.JobTypeService, Priority: 50, TriggeredBy: event.TriggerNodeUpdate,
			NodeID: first, NodeModifyIndex: d.state.Index() + 1,
		}
		if len(down) == 0 {
			eval.NodeModifyIndex = d.state.Node(first).ModifyIndex
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

func (c SetEligibility) decide(d *decision) *Rejection {
	node := d.state.Node(c.NodeID)
	if node == nil {
		return reject(ReasonNotFound, "node not found")
	}
	if node.Ineligible != c.Eligible {
		return nil
	}
	d.emit(&event.NodeEligibilitySet{NodeID: c.NodeID, Ineligible: !c.Eligible}, event.ID{})
	if c.Eligible && node.Status == event.NodeReady {
		return d.evaluateSystemJobs(node.Info)
	}
	return nil
}

func (c EvaluateNode) decide(d *decision) *Rejection {
	node := d.state.Node(c.NodeID)
	if node == nil {
		return reject(ReasonNotFound, "node not found")
	}
	keys := d.jobsToLookAt(c.NodeID, false, nil)
	cost := 0
	for _, key := range keys {
		cost += evaluationBytes + len(key.Namespace) + len(key.ID)
	}
	if cost > nodesDownBytesMax {
		return reject(ReasonInvalid, "node %v has allocations of %d jobs, too many to be looked at by one command: evaluate the jobs themselves", c.NodeID, len(keys))
	}
	for _, key := range keys {
		job := d.state.Job(key)
		if job == nil || job.Spec.Job.Type == event.JobTypeSystem && job.Spec.Job.Covers(node.Info) {
			continue // it is purged and goes anyway, or it comes below
		}
		if r := d.createEvaluation(event.Evaluation{
			ID: d.newID("evaluation", uint64(len(d.out))), Namespace: key.Namespace, JobID: key.ID,
			Type: job.Spec.Job.Type, Priority: job.Spec.Job.Priority, TriggeredBy: event.TriggerNodeUpdate,
			JobModifyIndex: job.JobModifyIndex, NodeID: c.NodeID, NodeModifyIndex: node.ModifyIndex,
		}); r != nil {
			return r
		}
	}
	return d.evaluateSystemJobs(node.Info)
}

// evaluateSystemJobs has the jobs looked at that may want to be on a node which has
// just become one that can be used, or another than it was. A job whose evaluation is
// pending gets no other: if that was decided before the node came, its plan leaves it
// open (see nodesCame). So nodes that come together cost a job one evaluation.
func (d *decision) evaluateSystemJobs(node *event.Node) *Rejection {
	for job := range d.state.SystemJobs() {
		spec := job.Spec.Job
		if spec.Template() || !spec.Covers(node) || d.willBeDecided(job.Key, false) {
			continue
		}
		if r := d.createEvaluation(event.Evaluation{
			ID: d.newID("evaluation", uint64(len(d.out))), Namespace: job.Key.Namespace, JobID: job.Key.ID,
			Type: spec.Type, Priority: spec.Priority, TriggeredBy: event.TriggerNodeUpdate,
			JobModifyIndex: job.JobModifyIndex, NodeID: node.ID, NodeModifyIndex: d.next() - 1,
		}); r != nil {
			return r
		}
	}
	return nil
}

// nodesCame reports whether a job that wants to be on every node has been decided
// without one that has come since.
func (d *decision) nodesCame(basis uint64, job *projections.Job) bool {
	if job == nil || job.Stopped || job.Spec.Job.Type != event.JobTypeSystem {
		return false
	}
	for n := range d.state.Nodes() {
		if n.ModifyIndex > basis && n.Schedulable() && job.Spec.Job.Covers(n.Info) {
			return true
		}
	}
	return false
}

// jobsToLookAt lists the jobs with an allocation on the node that has not ended,
// as far as they need a new evaluation and are not seen already, in order. goes
// says that the node goes down with this command, and has not before.
func (d *decision) jobsToLookAt(node event.ID, goes bool, seen map[event.JobKey]bool) []event.JobKey {
	var keys []event.JobKey
	var last event.JobKey
	here := make(map[event.JobKey]bool)
	for a := range d.state.AllocationsOn(node) {
		if a.Client.Terminal() || a.Job == last || here[a.Job] {
			continue
		}
		last, here[a.Job] = a.Job, true
		if !seen[a.Job] && !d.willBeDecided(a.Job, goes) {
			keys = append(keys, a.Job)
		}
	}
	slices.SortFunc(keys, event.JobKey.Compare)
	return keys
}

// willBeDecided reports whether an evaluation of the job is pending that will see
// its nodes as they are then. Nothing makes a plan stale for a job that is purged,
// so if a node is only now going down, a decision under way may not have seen it.
func (d *decision) willBeDecided(key event.JobKey, goes bool) bool {
	if job := d.state.Job(key); job != nil {
		open := job.OpenEvals
		if d.state.BlockedEvaluation(key) != nil {
			open--
		}
		return open > 0
	}
	if goes {
		return false
	}
	for eval := range d.state.EvaluationsOf(key) {
		if eval.Status == event.EvalPending {
			return true
		}
	}
	return false
}
