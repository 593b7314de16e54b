package scheduler

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Jobs of the types system and sysbatch run on every node that they can run on: each
// group has its places there, as many as its count. Nodes are not compared. A node
// that a rule keeps the job off is no failure; one that could run it and has no room
// is. What ran on a node that is gone has its place on no other.

// systemGroup is what must happen to one group of such a job.
type systemGroup struct {
	*groupChanges
	placer *groupPlacer
	// filled are the places that need nothing, or nothing more than stopping.
	filled map[place]bool
	ended  map[place]event.ID  // the newest that ended in a place which is free again
	nodes  []*projections.Node // that the group can run on, by ID
	held   int                 // places that are filled or were given
}

// place is one of a group's on a node.
type place struct {
	node event.ID
	name uint32
}

// everywhere decides about a job that runs on every node.
func (d *scratch) everywhere(s *projections.State, job *projections.Job, rules *jobRules, plan *event.PlanCommitted, budget *budget) {
	d.begin(s, rules, plan.Seed)
	defer d.forget()
	groups, changes := reconcileEverywhere(s, job, rules)
	budget.cut(changes)
	stopAll(plan, changes)
	plan.Queued = make(map[string]int, len(job.Spec.Job.TaskGroups))
	p := &placer{state: s, job: job.Spec.Job, plan: plan, budget: budget, rules: rules, scratch: d}
	var failed []*groupPlacer
	for _, g := range groups {
		g.placer.funnel = p.sift(g)
		g.placer.planned.Metric = g.placer.funnel
	}
	for _, g := range groups {
		p.countEverywhere(s, job.Key, g)
	}
	for _, g := range groups {
		plan.Queued[g.name] = 0
		p.replaceEverywhere(g)
		p.fillEverywhere(g)
		planned := &g.placer.planned
		if len(planned.Placements) == 0 {
			planned.Metric = nil
		}
		plan.Queued[g.name] += g.placer.queued
		if planned.Failed != nil {
			failed = append(failed, g.placer)
		}
		if len(planned.Placements) > 0 || planned.Failed != nil {
			plan.Groups = append(plan.Groups, *planned)
		}
	}
	if len(failed) > 0 {
		plan.ClassEligibility, plan.EscapedComputedClass = eligibility(&p.fleet, failed)
		plan.ClassEligibility = bounded(plan.ClassEligibility)
	}
}

// reconcileEverywhere compares what such a job has with what it wants, as far as that
// does not depend on room. The groups come in the order of the spec; changes also
// has groups that the job has no more, by name.
func reconcileEverywhere(s *projections.State, job *projections.Job, rules *jobRules) (groups []*systemGroup, changes []*groupChanges) {
	named := make(map[string]*systemGroup)
	gone := make(map[string]*groupChanges)
	for _, g := range job.Spec.Job.TaskGroups {
		c := &groupChanges{name: g.Name, group: g}
		made := &systemGroup{
			groupChanges: c, placer: newGroupPlacer(job, rules, c), filled: make(map[place]bool), ended: make(map[place]event.ID),
		}
		named[g.Name] = made
		groups, changes = append(groups, made), append(changes, c)
	}
	for a := range s.AllocationsOf(job.Key) {
		if g := named[a.Group]; g != nil {
			g.sort(s, job, a)
			continue
		}
		c := gone[a.Group]
		if c == nil {
			c = &groupChanges{name: a.Group}
			gone[a.Group], changes = c, append(changes, c)
		}
		c.classify(s, job, a)
	}
	slices.SortFunc(changes[len(groups):], func(a, b *groupChanges) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	stay := &staying{state: s, job: job, rules: rules}
	versions := &versionChanges{job: job}
	for _, g := range groups {
		g.settleEverywhere(s, job, versions, stay)
	}
	return groups, changes
}

// sort puts an allocation where it belongs as far as that does not depend on the
// others of its group.
func (g *systemGroup) sort(s *projections.State, job *projections.Job, a *projections.Allocation) {
	counted := len(g.present)
	g.classify(s, job, a)
	if len(g.present) == counted && a.Client.Terminal() {
		if at := (place{a.NodeID, a.NameIndex}); a.Next().IsZero() {
			g.ended[at] = a.ID
		}
	}
}

// settleEverywhere decides about the allocations that fill their places.
func (g *systemGroup) settleEverywhere(s *projections.State, job *projections.Job, versions *versionChanges, stay *staying) {
	newest := make(map[place]*projections.Allocation, len(g.present))
	slices.SortFunc(g.present, byName)
	for _, a := range g.present {
		at := place{a.NodeID, a.NameIndex}
		older := newest[at]
		if older == nil {
			newest[at] = a
			continue
		}
		if a.Client.Terminal() && !older.Client.Terminal() {
			continue
		}
		if !older.Client.Terminal() {
			g.unneeded = append(g.unneeded, older)
		}
		newest[at] = a
	}
	kept := g.present[:0]
	for _, a := range g.present {
		at := place{a.NodeID, a.NameIndex}
		node := s.Node(a.NodeID)
		if newest[at] != a {
			continue
		}
		if a.Client.Terminal() {
			g.filled[at] = true // its work is done there, whatever becomes of the node
			kept = append(kept, a)
			continue
		}
		current := a.JobVersion == job.Version && a.SpecHash == job.SpecHash
		switch {
		case int(a.NameIndex) >= g.group.Count || !job.Spec.Job.Covers(node.Info):
			g.unneeded = append(g.unneeded, a)
			continue
		case a.Migrates() && node.Schedulable() && g.placer.rules.filter(node.Info, -1) == "":
			g.filled[at] = true
			g.migrating = append(g.migrating, a)
		case current && !a.Migrates():
			g.filled[at] = true
		case !node.Schedulable() || g.placer.rules.filter(node.Info, -1) != "":
			g.unneeded = append(g.unneeded, a)
			continue
		case versions.replaces(a) || !stay.stays(a):
			g.filled[at] = true
			g.destructive = append(g.destructive, a)
		default:
			g.filled[at] = true
			g.inPlace = append(g.inPlace, a)
		}
		kept = append(kept, a)
	}
	g.present = kept
	g.held = len(g.filled)
}

// sift finds the nodes that a group can run on, and counts what keeps it off others.
func (p *placer) sift(g *systemGroup) *event.AllocMetric {
	f := &p.fleet
	m := &event.AllocMetric{NodesEvaluated: f.evaluated, NodesInPool: f.inPool, NodePool: f.pool, NodesAvailable: f.available}
	for n := range p.state.Nodes() {
		if !n.Schedulable() {
			continue
		}
		class := &f.classes[n.Class()]
		if !class.covered {
			continue
		}
		if text := g.placer.rules.filter(n.Info, int(class.computed)); text != "" {
			noteFiltered(m, n.Info, text, 1)
			continue
		}
		g.nodes = append(g.nodes, n)
	}
	return m
}

// countEverywhere counts by their values the allocations of a group that go on.
func (p *placer) countEverywhere(s *projections.State, key event.JobKey, g *systemGroup) {
	if len(g.placer.limits) == 0 {
		return
	}
	stopped := make(map[event.ID]bool)
	for _, list := range [][]*projections.Allocation{g.unneeded, g.lost} {
		for _, a := range list {
			stopped[a.ID] = true
		}
	}
	for a := range s.AllocationsOf(key) {
		if node := s.Node(a.NodeID); a.Group == g.name && a.Live() && !stopped[a.ID] && node != nil {
			g.tell(node.Info)
		}
	}
}

// tell counts one more allocation on a node.
func (g *systemGroup) tell(n *event.Node) {
	for _, limit := range g.placer.limits {
		if value := limit.of(n); value != noValue {
			limit.add(value, +1)
		}
	}
}

// crowdedOut says which rule about other allocations keeps the group off a node.
func (g *systemGroup) crowdedOut(n *event.Node) string {
	for _, limit := range g.placer.limits {
		if text := limit.explain(limit.of(n)); text != "" {
			return text
		}
	}
	return ""
}

// replaceEverywhere replaces allocations where they are, by ones of the same names.
// One whose successor has no room there goes on as it is, unless it is to go.
func (p *placer) replaceEverywhere(g *systemGroup) {
	replaced := slices.Concat(g.migrating, g.destructive)
	for n, old := range replaced {
		why := describeUpdated
		if n < len(g.migrating) {
			why = describeMigrated
		}
		if p.budget.over || !p.budget.affords(p.budget.stop(why)+p.bytes(g.placer, old.ID)) {
			g.placer.queued += len(replaced) - n
			return
		}
		site := p.sites.touch(p.fleet.find(old.NodeID), &p.fleet)
		room := site.room
		if old.HoldsRoom() {
			room.Release(old)
		}
		if dimension := g.placer.exhausted(&room); dimension != "" {
			p.exhaust(g, site, dimension)
			if why == describeMigrated {
				p.stop(old, why, false)
			}
			continue
		}
		site.room = room
		p.stop(old, why, old.HoldsRoom())
		p.give(g, site, old.NameIndex, old.ID)
	}
}

// fillEverywhere fills the places that are free, node by node.
func (p *placer) fillEverywhere(g *systemGroup) {
	var free []place
	for _, n := range g.nodes {
		for name := range uint32(g.group.Count) {
			if at := (place{n.Info.ID, name}); !g.filled[at] {
				free = append(free, at)
			}
		}
	}
	for i, at := range free {
		if p.budget.over || !p.budget.affords(p.bytes(g.placer, g.ended[at])) {
			g.placer.queued += len(free) - i
			return
		}
		site := p.sites.touch(p.fleet.find(at.node), &p.fleet)
		info := site.room.Node.Info
		if text := g.crowdedOut(info); text != "" {
			if g.placer.planned.Failed == nil {
				noteFiltered(g.placer.funnel, info, text, 1)
			}
			continue
		}
		if dimension := g.placer.exhausted(&site.room); dimension != "" {
			p.exhaust(g, site, dimension)
			continue
		}
		g.tell(info)
		g.held++
		p.give(g, site, at.name, g.ended[at])
	}
	if g.held == 0 && g.placer.planned.Failed == nil && g.group.Count > 0 && p.fleet.evaluated > 0 {
		// Nobody at all takes it: that is more likely a mistake than a wish.
		if explained, ok := p.budget.explain(g.name, copyFunnel(g.placer.funnel)); ok {
			g.placer.planned.Failed = explained
		}
	}
}

// exhaust notes that a node which could run the group has no room for it.
func (p *placer) exhaust(g *systemGroup, s *site, dimension string) {
	failed := g.placer.planned.Failed
	g.placer.queued++
	if failed == nil {
		m := copyFunnel(g.placer.funnel)
		noteExhausted(m, s.room.Node.Info, dimension, 1)
		if explained, ok := p.budget.explain(g.name, m); ok {
			g.placer.planned.Failed = explained
		}
		return
	}
	failed.CoalescedFailures++
	noteExhausted(failed, s.room.Node.Info, dimension, 1)
}

// give places one allocation of the group on a node.
func (p *placer) give(g *systemGroup, s *site, name uint32, previous event.ID) {
	available, free := &s.room.Node.Available, &s.room.Free
	score := g.placer.fit.score(free.CPU-g.placer.ask.CPU, available.CPU, free.MemoryMB-g.placer.ask.MemoryMB, available.MemoryMB)
	p.enter(g.placer, s, score, name, previous)
}
