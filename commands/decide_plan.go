package commands

import (
	"fmt"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// decide checks a plan against the head. It refuses the plan whole when what it
// was decided on is gone; it drops the nodes that no longer fit and commits the
// rest (optimistic concurrency: Kung and Robinson 1981, as Omega uses it for
// scheduling, Schwarzkopf et al. 2013).
func (c CommitPlan) decide(d *decision) *Rejection {
	p := *c.Plan
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
	if r := d.checkBasis(&p, key); r != nil {
		return r
	}
	if r := d.checkReferences(&p, key); r != nil {
		return r
	}
	if r := d.dropUnfit(&p, key); r != nil {
		return r
	}
	d.commit(&p, eval, key)
	return nil
}

// checkBasis refuses a plan that was decided before the last change of its
// job's spec, plans or allocations: it may place what is there already.
func (d *decision) checkBasis(p *event.PlanCommitted, key event.JobKey) *Rejection {
	stale := func(format string, args ...any) *Rejection {
		r := reject(ReasonStale, format, args...)
		r.RefreshIndex = d.state.Index()
		return r
	}
	if p.Basis > d.state.Index() {
		return stale("plan decided at index %d, ahead of the log at %d", p.Basis, d.state.Index())
	}
	job := d.state.Job(key)
	if job == nil {
		// Purged: what is left to do is to stop its allocations.
		if plannedPlacements(p) > 0 || len(p.InPlace) > 0 {
			return stale("plan places job %v, which is gone", key)
		}
		return nil
	}
	if job.ChangeIndex > p.Basis {
		return stale("plan decided at index %d, job %v changed at %d", p.Basis, key, job.ChangeIndex)
	}
	if plannedPlacements(p) > 0 || len(p.InPlace) > 0 {
		if p.JobVersion != job.Version || job.Stopped {
			return stale("plan places version %d of job %v, which is at version %d", p.JobVersion, key, job.Version)
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

type instance struct {
	group string
	name  uint32
}

// checkReferences refuses a plan that speaks of what is not there, or that
// would leave two live allocations with one name. Neither can come of a sound
// scheduler on a basis that still holds; both would be damage if they came in.
func (d *decision) checkReferences(p *event.PlanCommitted, key event.JobKey) *Rejection {
	ending := make(map[event.ID]bool, len(p.Stops))
	for _, stop := range p.Stops {
		a := d.state.Allocation(stop.ID)
		if a == nil || a.Job != key {
			return reject(ReasonInvalid, "plan stops allocation %v, which is none of job %v", stop.ID, key)
		}
		if stop.Client != 0 && a.Client.Terminal() && a.Client != stop.Client {
			return reject(ReasonInvalid, "plan makes allocation %v %v, which is already %v", stop.ID, stop.Client, a.Client)
		}
		ending[stop.ID] = true
	}
	for _, id := range p.InPlace {
		if a := d.state.Allocation(id); a == nil || a.Job != key {
			return reject(ReasonInvalid, "plan updates allocation %v, which is none of job %v", id, key)
		}
	}
	if plannedPlacements(p) == 0 {
		return nil
	}
	spec := d.state.Job(key).Spec
	taken := make(map[instance]bool)
	for a := range d.state.AllocationsOf(key) {
		if a.Live() && !ending[a.ID] {
			taken[instance{a.Group, a.NameIndex}] = true
		}
	}
	for _, g := range p.Groups {
		ask := spec.Ask(g.Name)
		if ask == nil && len(g.Placements) > 0 {
			return reject(ReasonInvalid, "plan places group %q, which job %v does not have", g.Name, key)
		}
		for _, placement := range g.Placements {
			if int(placement.Node) >= len(p.Nodes) || len(placement.Ports) != len(ask.Ports) {
				return reject(ReasonInvalid, "plan for job %v has a placement that points nowhere", key)
			}
			for i, port := range ask.Ports {
				if port.Value != 0 && placement.Ports[i] != uint16(port.Value) {
					return reject(ReasonInvalid, "plan for job %v gives port %q the number %d instead of %d", key, port.Label, placement.Ports[i], port.Value)
				}
			}
			name := instance{g.Name, placement.Name}
			if taken[name] {
				return reject(ReasonInvalid, "plan places %s.%s[%d] a second time", key.ID, g.Name, placement.Name)
			}
			taken[name] = true
			if d.state.Allocation(event.AllocationID(p.EvalID, p.Basis, placement.Ordinal)) != nil {
				return reject(ReasonInvalid, "plan makes an allocation that exists")
			}
		}
	}
	return nil
}

// dropUnfit takes out of the plan each node whose part does not fit at the head
// any more: its placements, and the stops that were to make way for them.
func (d *decision) dropUnfit(p *event.PlanCommitted, key event.JobKey) *Rejection {
	if plannedPlacements(p) == 0 {
		return nil
	}
	spec := d.state.Job(key).Spec
	stops := make(map[event.ID]event.PlannedStop, len(p.Stops))
	for _, stop := range p.Stops {
		stops[stop.ID] = stop
	}
	rooms := make([]projections.Room, len(p.Nodes))
	failure := make([]string, len(p.Nodes))
	for i, id := range p.Nodes {
		node := d.state.Node(id)
		switch {
		case node == nil:
			failure[i] = "node does not exist"
		case !node.Schedulable():
			failure[i] = fmt.Sprintf("node is %v and %s", node.Status, node.Eligibility())
		default:
			rooms[i] = projections.RoomOn(node)
		}
	}
	// What hands over its room does so before anything is put in its place.
	for _, g := range p.Groups {
		for _, placement := range g.Placements {
			if stop, ok := stops[placement.Previous]; ok && stop.HandsOver && failure[placement.Node] == "" {
				if a := d.state.Allocation(stop.ID); a.NodeID == p.Nodes[placement.Node] && a.HoldsRoom() {
					rooms[placement.Node].Release(a)
				}
			}
		}
	}
	for _, g := range p.Groups {
		ask := spec.Ask(g.Name)
		for _, placement := range g.Placements {
			if failure[placement.Node] != "" {
				continue
			}
			room := &rooms[placement.Node]
			if dimension, ok := room.Fits(ask, placement.Ports); !ok {
				failure[placement.Node] = dimension
				continue
			}
			room.Take(ask, placement.Ports)
		}
	}
	bad := 0
	for i, reason := range failure {
		if reason != "" {
			bad++
			p.Dropped = append(p.Dropped, event.DroppedNode{NodeID: p.Nodes[i], Reason: reason})
		}
	}
	if bad == 0 {
		return nil
	}
	if spec.Job.AllAtOnce {
		r := reject(ReasonStale, "plan of job %v is all at once and node %v does not fit: %s", key, p.Dropped[0].NodeID, p.Dropped[0].Reason)
		r.RefreshIndex = d.state.Index()
		return r
	}
	d.removeDropped(p, failure)
	return nil
}

func (d *decision) removeDropped(p *event.PlanCommitted, failure []string) {
	kept := make(map[event.ID]bool) // predecessors that must go on running
	counts := make(map[event.ID]uint32)
	groups := slices.Clone(p.Groups)
	for i := range groups {
		var placements []event.Placement
		for _, placement := range groups[i].Placements {
			if failure[placement.Node] == "" {
				placements = append(placements, placement)
				continue
			}
			counts[p.Nodes[placement.Node]]++
			if !placement.Previous.IsZero() {
				kept[placement.Previous] = true
			}
		}
		groups[i].Placements = placements
	}
	for i := range p.Dropped {
		p.Dropped[i].Placements = counts[p.Dropped[i].NodeID]
	}
	p.Groups = groups
	// A lost predecessor stays lost whether or not its successor fits.
	p.Stops = slices.DeleteFunc(slices.Clone(p.Stops), func(stop event.PlannedStop) bool {
		return kept[stop.ID] && stop.Client == 0
	})
	p.Outcome, p.Description = event.EvalPending, "a part of the plan did not fit; it is tried again"
}

// commit emits the plan and what follows for the evaluations of its job.
func (d *decision) commit(p *event.PlanCommitted, eval *event.Evaluation, key event.JobKey) {
	failed := slices.ContainsFunc(p.Groups, func(g event.PlannedGroup) bool { return g.Failed != nil })
	open := p.Outcome == event.EvalPending
	// Room that came free after the basis may be just what was missing: whoever
	// goes to sleep now would miss the wake-up.
	missed := failed && d.state.CapacityIndex(p.ClassEligibility, p.EscapedComputedClass) > p.Basis
	blocked := d.state.BlockedEvaluation(key)
	var follow *event.Evaluation
	switch {
	case open || !failed:
	case eval.TriggeredBy == event.TriggerQueuedAllocs:
		// It was blocked before: it goes back to sleep under the same ID.
		p.Outcome, p.Description = event.EvalBlocked, "created to place remaining allocations"
		if missed {
			p.Outcome = event.EvalPending
		}
	default:
		follow = &event.Evaluation{
			ID: event.DeriveID("blocked", eval.ID, p.Basis), Namespace: eval.Namespace, JobID: eval.JobID,
			Type: eval.Type, Priority: eval.Priority, TriggeredBy: event.TriggerQueuedAllocs,
			Status: event.EvalBlocked, StatusDescription: "created to place remaining allocations",
			JobModifyIndex: eval.JobModifyIndex, PreviousEval: eval.ID, SnapshotIndex: p.Basis,
			ClassEligibility: p.ClassEligibility, EscapedComputedClass: p.EscapedComputedClass,
			QueuedAllocations: p.Queued,
		}
		for _, g := range p.Groups {
			if g.Failed != nil {
				if follow.FailedTGAllocs == nil {
					follow.FailedTGAllocs = make(map[string]*event.AllocMetric)
				}
				follow.FailedTGAllocs[g.Name] = g.Failed
			}
		}
		if missed {
			follow.Status = event.EvalPending
		}
		p.BlockedEval = follow.ID
	}
	d.emit(p, eval.ID)
	if open {
		return
	}
	if blocked != nil && blocked.ID != eval.ID {
		description := fmt.Sprintf("evaluation %q successful", eval.ID)
		if failed {
			description = fmt.Sprintf("existing blocked evaluation exists for job %q", eval.JobID)
		}
		d.emit(&event.EvaluationEnded{EvalID: blocked.ID, Status: event.EvalCanceled, Description: description}, blocked.ID)
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
		d.createEvaluation(*follow)
	}
}
