package commands

import (
	"fmt"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// describeRemaining is said of an evaluation that waits for room.
const describeRemaining = "created to place remaining allocations"

// decide checks a plan against the head. It refuses the plan whole when what it
// was decided on is gone; it drops the nodes that no longer fit and commits the
// rest (optimistic concurrency: Kung and Robinson 1981, as Omega uses it for
// scheduling, Schwarzkopf et al. 2013).
func (c CommitPlan) decide(d *decision) *Rejection {
	p := *c.Plan
	p.Dropped, p.BlockedEval = nil, event.ID{}
	eval := d.state.Evaluation(p.EvalID)
	if eval == nil {
		return reject(ReasonClosed, "plan for evaluation %v, which does not exist", p.EvalID)
	}
	if eval.Status != event.EvalPending {
		return reject(ReasonClosed, "plan for evaluation %v, which is %v", p.EvalID, eval.Status)
	}
	key := event.JobKey{Namespace: p.Namespace, ID: p.JobID}
	if key != eval.Job() {
		return reject(ReasonInvalid, "plan for job %v by an evaluation of job %v", key, eval.Job())
	}
	switch p.Outcome {
	case event.EvalPending, event.EvalComplete, event.EvalFailed:
	default:
		return reject(ReasonInvalid, "plan for evaluation %v leaves it %v", p.EvalID, p.Outcome)
	}
	if r := d.checkBasis(&p, key); r != nil {
		return r
	}
	if r := d.checkStops(&p, key); r != nil {
		return r
	}
	if r := d.checkInPlace(&p, key); r != nil {
		return r
	}
	if r := d.checkPlacements(&p, key); r != nil {
		return r
	}
	if r := d.dropUnfit(&p, key); r != nil {
		return r
	}
	return d.commit(&p, eval, key)
}

// stale refuses a plan that was decided on a state that is gone.
func (d *decision) stale(format string, args ...any) *Rejection {
	r := reject(ReasonStale, format, args...)
	r.RefreshIndex = d.state.Index()
	return r
}

// checkBasis refuses a plan that was decided before the last change of its
// job's spec, plans or allocations: it may place what is there already.
func (d *decision) checkBasis(p *event.PlanCommitted, key event.JobKey) *Rejection {
	if p.Basis > d.state.Index() {
		return d.stale("plan decided at index %d, ahead of the log at %d", p.Basis, d.state.Index())
	}
	job := d.state.Job(key)
	if job == nil {
		// Purged: what is left to do is to stop its allocations.
		if plannedPlacements(p) > 0 || len(p.InPlace) > 0 {
			return d.stale("plan places job %v, which is gone", key)
		}
		return nil
	}
	if job.ChangeIndex > p.Basis {
		return d.stale("plan decided at index %d, job %v changed at %d", p.Basis, key, job.ChangeIndex)
	}
	if plannedPlacements(p) > 0 || len(p.InPlace) > 0 {
		if p.JobVersion != job.Version || job.Stopped {
			return d.stale("plan places version %d of job %v, which is at version %d", p.JobVersion, key, job.Version)
		}
	}
	return nil
}

func plannedPlacements(p *event.PlanCommitted) int {
	n := 0
	for _, g := range p.Groups {
		n += len(g.Placements)
	}
	return n
}

// The checks below refuse a plan that speaks of what is not there, that would
// leave two live allocations with one name, or that would give one room away
// twice. None of it can come of a sound scheduler on a basis that still holds;
// all of it would be damage if it came in.

type instance struct {
	group string
	name  uint32
	node  event.ID // for jobs that run on every node, where each name stands for a place on each
}

func instanceOf(everyNode bool, group string, name uint32, node event.ID) instance {
	if !everyNode {
		node = event.ID{}
	}
	return instance{group, name, node}
}

func (d *decision) checkStops(p *event.PlanCommitted, key event.JobKey) *Rejection {
	seen := make(map[event.ID]bool, len(p.Stops))
	successors := successorsOf(p)
	for _, stop := range p.Stops {
		a := d.state.Allocation(stop.ID)
		if a == nil || a.Job != key {
			return reject(ReasonInvalid, "plan stops allocation %v, which is none of job %v", stop.ID, key)
		}
		if seen[stop.ID] {
			return reject(ReasonInvalid, "plan stops allocation %v twice", stop.ID)
		}
		seen[stop.ID] = true
		switch {
		case stop.Client == 0:
		case stop.Client != event.ClientLost || stop.HandsOver:
			return reject(ReasonInvalid, "plan makes allocation %v %v", stop.ID, stop.Client)
		case a.Client.Terminal() && a.Client != stop.Client:
			return d.stale("plan makes allocation %v %v, which is already %v", stop.ID, stop.Client, a.Client)
		default:
			if node := d.state.Node(a.NodeID); node != nil && node.Status != event.NodeDown {
				return d.stale("plan gives allocation %v up, but its node %v is %v", stop.ID, a.NodeID, node.Status)
			}
		}
		if stop.HandsOver && !slices.Contains(successors[a.ID], a.NodeID) {
			return reject(ReasonInvalid, "plan has allocation %v hand its room over to nobody", stop.ID)
		}
	}
	return nil
}

// successorsOf lists, by allocation, the nodes on which the plan replaces it.
func successorsOf(p *event.PlanCommitted) map[event.ID][]event.ID {
	nodes := make(map[event.ID][]event.ID)
	for _, g := range p.Groups {
		for _, placement := range g.Placements {
			if !placement.Previous.IsZero() && int(placement.Node) < len(p.Nodes) {
				nodes[placement.Previous] = append(nodes[placement.Previous], p.Nodes[placement.Node])
			}
		}
	}
	return nodes
}

func (d *decision) checkInPlace(p *event.PlanCommitted, key event.JobKey) *Rejection {
	if len(p.InPlace) == 0 {
		return nil
	}
	ending := stopped(p)
	spec := d.state.Job(key).Spec
	seen := make(map[event.ID]bool, len(p.InPlace))
	for _, id := range p.InPlace {
		a := d.state.Allocation(id)
		if a == nil || a.Job != key || !a.Live() || ending[id] || seen[id] {
			return reject(ReasonInvalid, "plan updates allocation %v in place, which is none of job %v that goes on", id, key)
		}
		seen[id] = true
		ask := spec.Ask(a.Group)
		if ask == nil {
			return reject(ReasonInvalid, "plan updates allocation %v in place, whose group %q is gone", id, a.Group)
		}
		if !slices.EqualFunc(ask.Ports, a.Ports(), func(asked event.Port, held event.AssignedPort) bool {
			return asked.Label == held.Label && (asked.Value == 0 || asked.Value == held.Value)
		}) {
			return reject(ReasonInvalid, "plan updates allocation %v in place, whose ports have changed", id)
		}
	}
	return nil
}

func stopped(p *event.PlanCommitted) map[event.ID]bool {
	ids := make(map[event.ID]bool, len(p.Stops))
	for _, stop := range p.Stops {
		ids[stop.ID] = true
	}
	return ids
}

func (d *decision) checkPlacements(p *event.PlanCommitted, key event.JobKey) *Rejection {
	nodes := make(map[event.ID]bool, len(p.Nodes))
	for _, id := range p.Nodes {
		if nodes[id] {
			return reject(ReasonInvalid, "plan for job %v lists node %v twice", key, id)
		}
		nodes[id] = true
	}
	if plannedPlacements(p) == 0 {
		return nil
	}
	c := placementCheck{
		decision: d, plan: p, key: key, ending: stopped(p), taken: make(map[instance]bool),
		ordinals: make(map[uint32]bool), succeeded: make(map[event.ID]bool),
	}
	spec := d.state.Job(key).Spec
	c.everyNode = event.EveryNode(spec.Job.Type)
	for a := range d.state.AllocationsOf(key) {
		if a.Live() && !c.ending[a.ID] {
			c.taken[instanceOf(c.everyNode, a.Group, a.NameIndex, a.NodeID)] = true
		}
	}
	for _, g := range p.Groups {
		ask := spec.Ask(g.Name)
		if ask == nil && len(g.Placements) > 0 {
			return reject(ReasonInvalid, "plan places group %q, which job %v does not have", g.Name, key)
		}
		for _, placement := range g.Placements {
			if r := c.check(g.Name, ask, placement); r != nil {
				return r
			}
		}
	}
	return nil
}

// placementCheck is what the placements of one plan have taken so far.
type placementCheck struct {
	*decision
	plan      *event.PlanCommitted
	key       event.JobKey
	ending    map[event.ID]bool
	taken     map[instance]bool
	ordinals  map[uint32]bool
	succeeded map[event.ID]bool
	everyNode bool // the job runs on every node
}

func (c *placementCheck) check(group string, ask *projections.Ask, placement event.Placement) *Rejection {
	if int(placement.Node) >= len(c.plan.Nodes) || len(placement.Ports) != len(ask.Ports) {
		return reject(ReasonInvalid, "plan for job %v has a placement that points nowhere", c.key)
	}
	for i, port := range ask.Ports {
		switch number := placement.Ports[i]; {
		case port.Value != 0 && number != uint16(port.Value):
			return reject(ReasonInvalid, "plan for job %v gives port %q the number %d instead of %d", c.key, port.Label, number, port.Value)
		case number == 0:
			return reject(ReasonInvalid, "plan for job %v gives port %q no number", c.key, port.Label)
		}
	}
	name := instanceOf(c.everyNode, group, placement.Name, c.plan.Nodes[placement.Node])
	if c.taken[name] {
		return reject(ReasonInvalid, "plan places %s.%s[%d] a second time", c.key.ID, group, placement.Name)
	}
	c.taken[name] = true
	if c.ordinals[placement.Ordinal] || c.state.Allocation(event.AllocationID(c.plan.EvalID, c.plan.Basis, placement.Ordinal)) != nil {
		return reject(ReasonInvalid, "plan makes an allocation that exists")
	}
	c.ordinals[placement.Ordinal] = true
	if placement.Previous.IsZero() {
		return nil
	}
	previous := c.state.Allocation(placement.Previous)
	switch {
	case previous == nil || previous.Job != c.key:
		return reject(ReasonInvalid, "plan replaces allocation %v, which is none of job %v", placement.Previous, c.key)
	case c.succeeded[previous.ID]:
		return reject(ReasonInvalid, "plan replaces allocation %v twice", previous.ID)
	case previous.Live() && (!c.ending[previous.ID] || name != instanceOf(c.everyNode, previous.Group, previous.NameIndex, previous.NodeID)):
		// If the placement is dropped its predecessor goes on, under its own name.
		return reject(ReasonInvalid, "plan replaces allocation %v, which lives, by %s.%s[%d]", previous.ID, c.key.ID, group, placement.Name)
	}
	c.succeeded[previous.ID] = true
	return nil
}

// planRoom is the room on one node while a plan is checked; failure says why the
// node's part of the plan is dropped.
type planRoom struct {
	projections.Room
	failure string
}

// dropUnfit takes out of the plan each node whose part does not fit at the head
// any more: its placements, the stops that were to make way for them, and the
// allocations that were to grow in place.
func (d *decision) dropUnfit(p *event.PlanCommitted, key event.JobKey) *Rejection {
	if plannedPlacements(p) == 0 && len(p.InPlace) == 0 {
		return nil
	}
	spec := d.state.Job(key).Spec
	rooms := make(map[event.ID]*planRoom, len(p.Nodes))
	order := slices.Clone(p.Nodes)
	for _, id := range p.Nodes {
		rooms[id] = d.roomFor(id)
	}
	d.handOver(p, rooms)
	grown := make(map[event.ID]bool)
	for _, id := range p.InPlace {
		a := d.state.Allocation(id)
		ask := spec.Ask(a.Group)
		node := d.state.Node(a.NodeID)
		if ask.Resources == a.Ask.Resources || node == nil {
			continue
		}
		grown[id] = true
		room := rooms[a.NodeID]
		if room == nil {
			room = &planRoom{Room: projections.RoomOn(node)}
			rooms[a.NodeID], order = room, append(order, a.NodeID)
		}
		room.Release(a)
		room.take(ask, a.HostPorts())
	}
	for _, g := range p.Groups {
		for _, placement := range g.Placements {
			rooms[p.Nodes[placement.Node]].take(spec.Ask(g.Name), placement.Ports)
		}
	}
	for _, id := range order {
		if reason := rooms[id].failure; reason != "" {
			p.Dropped = append(p.Dropped, event.DroppedNode{NodeID: id, Reason: reason})
		}
	}
	if len(p.Dropped) == 0 {
		return nil
	}
	if spec.Job.AllAtOnce {
		return d.stale("plan of job %v is all at once and node %v does not fit: %s", key, p.Dropped[0].NodeID, p.Dropped[0].Reason)
	}
	removeDropped(p)
	if len(grown) > 0 {
		p.InPlace = slices.DeleteFunc(slices.Clone(p.InPlace), func(id event.ID) bool {
			return grown[id] && rooms[d.state.Allocation(id).NodeID].failure != ""
		})
	}
	return nil
}

// roomFor is the room on a node that new allocations are to be placed on.
func (d *decision) roomFor(id event.ID) *planRoom {
	node := d.state.Node(id)
	switch {
	case node == nil:
		return &planRoom{failure: "node does not exist"}
	case !node.Schedulable():
		return &planRoom{failure: fmt.Sprintf("node is %v and %s", node.Status, node.Eligibility())}
	}
	return &planRoom{Room: projections.RoomOn(node)}
}

// handOver gives back what predecessors hold, before anything is put in their place.
func (d *decision) handOver(p *event.PlanCommitted, rooms map[event.ID]*planRoom) {
	for _, stop := range p.Stops {
		if !stop.HandsOver {
			continue
		}
		a := d.state.Allocation(stop.ID)
		if room := rooms[a.NodeID]; room.failure == "" && a.HoldsRoom() {
			room.Release(a)
		}
	}
}

func (r *planRoom) take(ask *projections.Ask, ports []uint16) {
	if r.failure != "" {
		return
	}
	if dimension, ok := r.Fits(ask, ports); !ok {
		r.failure = dimension
		return
	}
	r.Take(ask, ports)
}

// removeDropped leaves out the placements on nodes that are dropped, and the
// stops that made way for them.
func removeDropped(p *event.PlanCommitted) {
	dropped := make(map[event.ID]*event.DroppedNode, len(p.Dropped))
	for i := range p.Dropped {
		dropped[p.Dropped[i].NodeID] = &p.Dropped[i]
	}
	kept := make(map[event.ID]bool) // predecessors that must go on running
	groups := slices.Clone(p.Groups)
	for i := range groups {
		var placements []event.Placement
		for _, placement := range groups[i].Placements {
			node := dropped[p.Nodes[placement.Node]]
			if node == nil {
				placements = append(placements, placement)
				continue
			}
			node.Placements++
			if !placement.Previous.IsZero() {
				kept[placement.Previous] = true
			}
		}
		groups[i].Placements = placements
	}
	p.Groups = groups
	// A lost predecessor stays lost whether or not its successor fits.
	p.Stops = slices.DeleteFunc(slices.Clone(p.Stops), func(stop event.PlannedStop) bool {
		return kept[stop.ID] && stop.Client == 0
	})
	p.Outcome, p.Description = event.EvalPending, "a part of the plan did not fit; it is tried again"
}

// commit emits the plan and what follows for the evaluations of its job.
func (d *decision) commit(p *event.PlanCommitted, eval *event.Evaluation, key event.JobKey) *Rejection {
	failed := slices.ContainsFunc(p.Groups, func(g event.PlannedGroup) bool { return g.Failed != nil })
	if p.Outcome == event.EvalComplete && d.nodesCame(p.Basis, d.state.Job(key)) {
		p.Outcome, p.Description = event.EvalPending, "nodes came meanwhile; it is decided again"
	}
	open := p.Outcome == event.EvalPending
	blocked := d.state.BlockedEvaluation(key)
	var follow *event.Evaluation
	switch {
	case open || !failed:
	case eval.TriggeredBy == event.TriggerQueuedAllocs:
		// It was blocked before: it goes back to sleep under the same ID. Room that
		// came since the basis is not missed: who wakes it compares that room with
		// the basis, not with the moment of falling asleep.
		p.Outcome, p.Description = event.EvalBlocked, describeRemaining
	default:
		// What failed and why stands in the plan; the fold has it inherit that.
		follow = &event.Evaluation{
			ID: event.DeriveID("blocked", eval.ID, p.Basis), Namespace: eval.Namespace, JobID: eval.JobID,
			Type: eval.Type, Priority: eval.Priority, TriggeredBy: event.TriggerQueuedAllocs,
			Status: event.EvalBlocked, StatusDescription: describeRemaining,
			JobModifyIndex: eval.JobModifyIndex, PreviousEval: eval.ID, SnapshotIndex: p.Basis,
		}
		p.BlockedEval = follow.ID
	}
	if !open && blocked != nil {
		// Ended first, so that a job never has two blocked evaluations.
		description := fmt.Sprintf("evaluation %q successful", eval.ID)
		if failed {
			description = fmt.Sprintf("existing blocked evaluation exists for job %q", eval.JobID)
		}
		d.emit(&event.EvaluationEnded{EvalID: blocked.ID, Status: event.EvalCanceled, Description: description}, blocked.ID)
	}
	d.emit(p, eval.ID)
	if open {
		return nil
	}
	// Evaluations of the job that this decision has seen ask for nothing more.
	// Those that a caller waits for run all the same, so that he sees an outcome.
	for other := range d.state.EvaluationsOf(key) {
		machine := other.TriggeredBy != event.TriggerJobRegister && other.TriggeredBy != event.TriggerJobDeregister
		if other.Status == event.EvalPending && machine && other.ID != eval.ID && other.CreateIndex <= p.Basis {
			d.emit(&event.EvaluationEnded{
				EvalID: other.ID, Status: event.EvalCanceled, Description: "canceled after more recent eval was processed",
			}, other.ID)
		}
	}
	if follow != nil {
		return d.createEvaluation(*follow)
	}
	return nil
}
