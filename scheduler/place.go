package scheduler

import (
	"drover/eventlog/event"
	"drover/projections"
)

// Names of scorers in ScoreMetaData.
const (
	scorerBinpack      = "binpack"
	scorerAntiAffinity = "job-anti-affinity"
	scorerAffinity     = "node-affinity"
	scorerSpread       = "allocation-spread"
)

const dimensionCores = "cores"

// placer makes the placements of one plan, one after the other: each sees what
// those before it took.
//
// Its meaning is simple: for each placement, score every node that can take it
// and choose the best. What it does instead is to score all nodes once per group
// and keep them in order (see ranking), since a placement changes the own scores
// of one node only.
type placer struct {
	state   *projections.State
	job     *event.Job
	plan    *event.PlanCommitted
	budget  *budget
	rules   *jobRules
	groups  []*groupPlacer
	ordinal uint32
	*scratch
}

// groupPlacer is the placing of one group.
type groupPlacer struct {
	changes    *groupChanges
	rules      *groupRules
	ask        *projections.Ask
	fit        fit
	dynamic    int  // ports to choose
	bytes      int  // that one placement takes up in a plan
	cores      bool // asks for whole cores, which no node gives
	affinities affinities
	spreads    []*spread
	limits     []*propertyLimit // of the job, then its own

	on     []present          // its live allocations while another group is in hand
	funnel *event.AllocMetric // of the filters that do not depend on other allocations

	planned event.PlannedGroup
	queued  int
}

// present is a number of live allocations of a group on one site.
type present struct {
	site  int32
	count int32
}

func newGroupPlacer(job *projections.Job, rules *jobRules, changes *groupChanges) *groupPlacer {
	g := &groupPlacer{
		changes: changes, rules: newGroupRules(rules, changes.group), ask: job.Spec.Ask(changes.name), fit: rules.fit,
		affinities: newAffinities(job.Spec.Job, changes.group),
		spreads:    newSpreads(job.Spec.Job, changes.group, rules.valuesOf),
	}
	g.limits = append(append(g.limits, rules.limits...), g.rules.limits...)
	g.planned.Name = changes.name
	g.dynamic = countDynamic(g.ask)
	g.bytes = placementBytes + nodeBytes + portBytes*len(g.ask.Ports)
	for _, t := range changes.group.Tasks {
		g.cores = g.cores || t.Resources.Cores > 0
	}
	return g
}

// byNode reports whether nodes of one feasibility class may differ for the group.
func (g *groupPlacer) byNode() bool {
	byNode := g.rules.escapes() || g.affinities.escapes
	for _, s := range g.spreads {
		byNode = byNode || s.target.unique()
	}
	for _, l := range g.limits {
		byNode = byNode || l.target.unique()
	}
	return byNode
}

// placeFresh places what is missing of a group.
func (p *placer) placeFresh(g *groupPlacer) {
	wanted := g.changes.fresh
	switch {
	case len(wanted) == 0:
		return
	case p.budget.over:
		g.queued += len(wanted)
		return
	case g.planned.Failed != nil:
		g.coalesce(len(wanted))
		return
	}
	p.begin(g)
	for n := range wanted {
		best, ok := p.ranking.best()
		if !ok {
			p.fail(g, len(wanted)-n)
			return
		}
		if !p.budget.affords(p.bytes(g, wanted[n].previous)) {
			g.queued += len(wanted) - n
			return
		}
		p.putBest(g, best, wanted[n].name, wanted[n].previous)
	}
}

// placeDestructive replaces allocations by new ones of the same names. On the
// node of the old one its room counts as free, for its successor only; no other
// placement can have it, since it keeps it until it has ended.
func (p *placer) placeDestructive(g *groupPlacer) {
	old := g.changes.destructive
	switch {
	case len(old) == 0:
		return
	case p.budget.over:
		g.queued += len(old)
		return
	}
	p.begin(g)
	for n := range old {
		if !p.budget.affords(p.budget.stop(describeUpdated) + p.bytes(g, old[n].ID)) {
			g.queued += len(old) - n
			return
		}
		if !p.replace(g, old[n], describeUpdated) {
			p.fail(g, len(old)-n)
			return
		}
	}
}

// placeMigrating replaces allocations that are to go wherever their successors find
// room, if anywhere.
func (p *placer) placeMigrating(g *groupPlacer) {
	old := g.changes.migrating
	switch {
	case len(old) == 0:
		return
	case p.budget.over:
		g.queued += len(old)
		return
	}
	p.begin(g)
	for n, a := range old {
		if !p.budget.affords(p.budget.stop(describeMigrated) + p.bytes(g, a.ID)) {
			g.queued += len(old) - n
			return
		}
		if g.planned.Failed == nil && p.replace(g, a, describeMigrated) {
			continue
		}
		p.stop(a, describeMigrated, false)
		p.count(g, a.NodeID, -1)
		if g.planned.Failed != nil {
			g.coalesce(1)
		} else {
			p.fail(g, 1)
		}
	}
}

// bytes is what the next placement of the group takes in the plan at most.
func (p *placer) bytes(g *groupPlacer, previous event.ID) int {
	bytes := g.bytes
	if !previous.IsZero() {
		bytes += previousBytes
	}
	if len(g.planned.Placements) == 0 {
		bytes += groupBytes + len(g.planned.Name) + p.budget.metric(g.planned.Metric)
	}
	return bytes
}

// replace finds a node for the successor of an allocation and stops that, with a
// reason. Without one nothing changes.
func (p *placer) replace(g *groupPlacer, old *projections.Allocation, why string) bool {
	if old.Live() {
		p.count(g, old.NodeID, -1)
	}
	var home *site
	var homeView view
	var room projections.Room
	homeUsable := false
	if slot := p.fleet.find(old.NodeID); slot >= 0 {
		if homeView = p.viewOf(slot); homeView.verdict == verdictMet {
			home = p.sites.touch(slot, &p.fleet)
			p.ranking.move(home, homeView.combo, -1, 0) // it is compared with the best of the others
			room = home.room
			if old.HoldsRoom() {
				room.Release(old)
			}
			homeUsable = p.crowded(g, home, home.room.Node.Info, homeView.combo) == "" && g.exhausted(&room) == ""
		}
	}
	best, found := p.ranking.best()
	if homeUsable {
		key, with := g.ownScore(home, &room, homeView.affinity)
		// Whoever keeps data on disk stays where it is, if that can be.
		disk := g.changes.group.EphemeralDisk
		if !found || disk.Sticky || disk.Migrate || p.beats(home.slot, homeView.combo, with, key, best) {
			home.room = room
			p.stop(old, why, old.HoldsRoom())
			p.put(g, home.slot, homeView.combo, with, key, old.NameIndex, old.ID)
			return true
		}
	}
	if found {
		p.stop(old, why, false)
		p.putBest(g, best, old.NameIndex, old.ID)
	} else if old.Live() {
		p.count(g, old.NodeID, +1)
	}
	if home != nil {
		p.refresh(g, home, p.viewOf(home.slot))
	}
	return found
}

// beats reports whether a node comes before the best one of a bucket.
func (p *placer) beats(slot, combo, with int32, key int64, bucket int32) bool {
	rank, other := p.ranking.rank(combo, with, key), &p.ranking.buckets[bucket]
	if rank != other.rank {
		return rank > other.rank
	}
	e := entry{tie: p.fleet.tieAt(slot), slot: slot}
	return p.ranking.first(&e, &other.entries[0])
}

func (p *placer) stop(a *projections.Allocation, why string, handsOver bool) {
	p.plan.Stops = append(p.plan.Stops, event.PlannedStop{ID: a.ID, Description: why, HandsOver: handsOver})
	p.budget.spend(p.budget.stop(why))
}

// begin makes the group the one that is being placed.
func (p *placer) begin(g *groupPlacer) {
	p.takeUp(g)
	p.prepare(g)
	m := p.survey(g)
	if g.planned.Metric == nil {
		g.planned.Metric = m
	}
}

// takeUp makes the group the one in hand, whose allocations sites count.
func (p *placer) takeUp(g *groupPlacer) {
	if p.inHand == g {
		return
	}
	if last := p.inHand; last != nil {
		for i := range last.on {
			s := p.sites.numbered(last.on[i].site)
			last.on[i].count, s.group = s.group, 0
		}
	}
	for _, on := range g.on {
		p.sites.numbered(on.site).group += on.count
	}
	p.inHand = g
}

// arrive counts an allocation of the group in hand on a site in (by 1) or out (by -1).
func (p *placer) arrive(s *site, by int32) {
	if by > 0 && s.group == 0 {
		p.inHand.on = append(p.inHand.on, present{site: p.sites.of[s.slot] - 1})
	}
	s.live += by
	s.group += by
}

// count counts a live allocation of the group in hand in or out for the rules and
// scorers that look at the others.
func (p *placer) count(g *groupPlacer, nodeID event.ID, by int32) {
	slot := p.fleet.find(nodeID)
	if slot < 0 {
		return
	}
	s := p.sites.touch(slot, &p.fleet)
	p.arrive(s, by)
	p.tell(g, s, by)
}

// tell counts an allocation on a site in or out where that is done by values.
func (p *placer) tell(g *groupPlacer, s *site, by int32) {
	if len(g.spreads)+len(g.limits) == 0 {
		return
	}
	r := &p.ranking
	r.count(g, p.valuesOn(g, s.room.Node.Info), by)
	for p.combos != nil && len(r.moved) > 0 {
		last := r.moved[len(r.moved)-1]
		r.moved = r.moved[:len(r.moved)-1]
		held := &p.holders[last.position]
		if int(last.value) >= len(held.first) {
			continue
		}
		for at := held.first[last.value]; at > 0; at = held.next[at-1] {
			p.remark(g, at-1)
		}
	}
}

// remark ranks a node anew whose values have other marks now.
func (p *placer) remark(g *groupPlacer, slot int32) {
	s, v := p.sites.touch(slot, &p.fleet), &p.ownViews[slot]
	p.ranking.move(s, v.combo, -1, 0)
	v.combo = p.combos.number(p.marks(g, p.valuesOn(g, s.room.Node.Info)))
	p.ranking.grow()
	p.refresh(g, s, *v)
}

// putBest places one allocation on the best node of a bucket.
func (p *placer) putBest(g *groupPlacer, bucket int32, name uint32, previous event.ID) {
	top := p.ranking.buckets[bucket].entries[0]
	p.put(g, top.slot, bucket/2, bucket%2, top.key, name, previous)
}

// put places one allocation on a node, whose own scores add up to key.
func (p *placer) put(g *groupPlacer, slot, combo, with int32, key int64, name uint32, previous event.ID) {
	s := p.sites.touch(slot, &p.fleet)
	p.enter(g, s, p.ranking.mean(combo, with, key), name, previous)
	p.arrive(s, +1)
	p.tell(g, s, +1)
	p.refresh(g, s, p.viewOf(slot))
}

// enter writes one allocation on a node into the plan, and takes its room.
func (p *placer) enter(g *groupPlacer, s *site, score event.Score, name uint32, previous event.ID) {
	bytes := p.bytes(g, previous)
	if s.planNode >= 0 {
		bytes -= nodeBytes
	} else {
		s.planNode = int32(len(p.plan.Nodes))
		p.plan.Nodes = append(p.plan.Nodes, s.room.Node.Info.ID)
	}
	if len(g.planned.Placements) == 0 {
		p.budget.walk = g.planned.Metric
	}
	ports := choosePorts(&s.room, g.ask, mix(s.tie, uint64(p.ordinal)))
	g.planned.Placements = append(g.planned.Placements, event.Placement{
		Ordinal: p.ordinal, Node: uint32(s.planNode), Name: name, Score: score, Ports: ports, Previous: previous,
	})
	p.ordinal++
	p.budget.spend(bytes)
	s.room.Take(g.ask, ports)
}

// refresh ranks a site anew after it changed.
func (p *placer) refresh(g *groupPlacer, s *site, v view) {
	if g.hosts(s) != "" || g.exhausted(&s.room) != "" {
		p.ranking.move(s, v.combo, -1, 0)
		return
	}
	key, with := g.ownScore(s, &s.room, v.affinity)
	p.ranking.move(s, v.combo, 2*v.combo+with, key)
}

// fail explains why the group's next placement found no node. It and the rest of
// the group, wanted in all, are not tried further.
func (p *placer) fail(g *groupPlacer, wanted int) {
	m := p.survey(g)
	m.ScoreMetaData = nil
	g.queued += wanted
	if explained, ok := p.budget.explain(g.planned.Name, m); ok {
		g.planned.Failed = explained
		g.planned.Failed.CoalescedFailures = wanted - 1
	}
}

// coalesce counts placements that are not tried because one of their group failed.
func (g *groupPlacer) coalesce(n int) {
	g.planned.Failed.CoalescedFailures += n
	g.queued += n
}
