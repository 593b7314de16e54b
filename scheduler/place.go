package scheduler

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Names of scorers in ScoreMetaData.
const (
	scorerBinpack      = "binpack"
	scorerAntiAffinity = "job-anti-affinity"
	scorerAffinity     = "node-affinity"
)

const dimensionCores = "cores"

// placer makes the placements of one plan, one after the other: each sees what
// those before it took.
//
// Its meaning is simple: for each placement, score every node that can take it
// and choose the best. What it does instead is to score all nodes once per group
// and keep them in a heap, since a placement changes the score of one node only.
// Where a placement can change what other nodes may do (distinct_property), it
// does score them all each time.
type placer struct {
	state   *projections.State
	job     *event.Job
	plan    *event.PlanCommitted
	budget  *budget
	fleet   *fleet
	rules   *jobRules
	groups  []*groupPlacer
	ordinal uint32

	// By candidate, for the group that is being placed.
	scores []event.Score
	slots  []int32 // position in heap, -1 when absent
	heap   []int32 // candidates, best first
}

// groupPlacer is the placing of one group.
type groupPlacer struct {
	changes *groupChanges
	rules   *groupRules
	ask     *projections.Ask
	dynamic int  // ports to choose
	bytes   int  // that one placement takes up in a plan
	cores   bool // asks for whole cores, which no node gives

	prepared   bool
	funnel     *event.AllocMetric // of the filters that do not depend on other allocations
	eligible   []int32            // candidates that pass those
	live       []int32            // by candidate: live allocations of the group, planned ones included
	affinities []event.Score      // by candidate; nil when the group has none
	planned    event.PlannedGroup
	queued     int
}

// everyNode reports whether a placement can change what other nodes may do.
func (g *groupPlacer) everyNode() bool { return len(g.rules.limits)+len(g.rules.job.limits) > 0 }

// prepare filters the fleet for a group, once.
func (p *placer) prepare(g *groupPlacer) {
	if g.prepared {
		return
	}
	g.prepared = true
	f := p.fleet
	g.funnel = &event.AllocMetric{
		NodesEvaluated: len(f.nodes), NodesInPool: f.inPool, NodePool: f.pool, NodesAvailable: f.available,
	}
	g.eligible = make([]int32, 0, len(f.nodes))
	for i := range f.nodes {
		c := &f.nodes[i]
		if text := g.rules.filter(c.info(), int(c.class)); text != "" {
			noteFiltered(g.funnel, c.info(), text)
			continue
		}
		g.eligible = append(g.eligible, int32(i))
	}
	g.affinities = affinityScores(p.job, g, f)
}

func noteFiltered(m *event.AllocMetric, n *event.Node, text string) {
	m.NodesFiltered++
	add(&m.ConstraintFiltered, text)
	if n.NodeClass != "" {
		add(&m.ClassFiltered, n.NodeClass)
	}
}

func noteExhausted(m *event.AllocMetric, n *event.Node, dimension string) {
	m.NodesExhausted++
	add(&m.DimensionExhausted, dimension)
	if n.NodeClass != "" {
		add(&m.ClassExhausted, n.NodeClass)
	}
}

func add(counts *map[string]int, key string) {
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[key]++
}

// crowded says which rule about other allocations keeps the group off a node; ""
// if none does.
func (p *placer) crowded(g *groupPlacer, i int) string {
	if g.rules.job.distinctHosts && p.fleet.nodes[i].live > 0 || g.rules.distinctHosts && g.live[i] > 0 {
		return filteredDistinctHosts
	}
	for _, limits := range [][]*propertyLimit{g.rules.job.limits, g.rules.limits} {
		for _, limit := range limits {
			if text := limit.filter(p.fleet.nodes[i].info()); text != "" {
				return text
			}
		}
	}
	return ""
}

// exhausted says which dimension of a room the group exceeds; "" if it fits.
func (g *groupPlacer) exhausted(room *projections.Room) string {
	dimension, fits := room.Fits(g.ask, nil)
	switch dimension {
	case "", projections.DimensionCPU, projections.DimensionMemory, projections.DimensionDisk:
		// Ports come before those: a static one was found free.
		if g.dynamic > 0 && !hasDynamicPorts(room, g.ask, g.dynamic) {
			return dimensionDynamicPorts
		}
		if g.cores {
			return dimensionCores
		}
	}
	if fits {
		return ""
	}
	return dimension
}

// score ranks a candidate with the group's ask taken from room.
func (p *placer) score(g *groupPlacer, i int, room *projections.Room) event.Score {
	available := &room.Node.Available
	sum := binpack(room.Free.CPU-g.ask.CPU, available.CPU, room.Free.MemoryMB-g.ask.MemoryMB, available.MemoryMB)
	n := 1
	if g.live[i] > 0 {
		sum += antiAffinity(int(g.live[i]), g.changes.group.Count)
		n++
	}
	if g.affinities != nil {
		sum += g.affinities[i]
		n++
	}
	return meanOf(sum, n)
}

// explain is score in its parts.
func (p *placer) explain(g *groupPlacer, i int, room *projections.Room) event.NodeScore {
	available := &room.Node.Available
	parts := map[string]event.Score{
		scorerBinpack: binpack(room.Free.CPU-g.ask.CPU, available.CPU, room.Free.MemoryMB-g.ask.MemoryMB, available.MemoryMB),
	}
	if g.live[i] > 0 {
		parts[scorerAntiAffinity] = antiAffinity(int(g.live[i]), g.changes.group.Count)
	}
	if g.affinities != nil {
		parts[scorerAffinity] = g.affinities[i]
	}
	return event.NodeScore{NodeID: room.Node.Info.ID, Scores: parts, NormScore: p.score(g, i, room)}
}

// usable reports whether a candidate can take the group, and its score.
func (p *placer) usable(g *groupPlacer, i int, room *projections.Room) (event.Score, bool) {
	if p.crowded(g, i) != "" || g.exhausted(room) != "" {
		return 0, false
	}
	return p.score(g, i, room), true
}

// survey looks at every candidate for the group: it counts what keeps it off
// them and ranks the rest into the heap.
func (p *placer) survey(g *groupPlacer) *event.AllocMetric {
	p.prepare(g)
	m := copyFunnel(g.funnel)
	if p.scores == nil {
		p.scores = make([]event.Score, len(p.fleet.nodes))
		p.slots = make([]int32, len(p.fleet.nodes))
	}
	p.heap = p.heap[:0]
	for i := range p.slots {
		p.slots[i] = -1
	}
	var best []int32
	for _, i := range g.eligible {
		c := &p.fleet.nodes[i]
		if text := p.crowded(g, int(i)); text != "" {
			noteFiltered(m, c.info(), text)
			continue
		}
		if dimension := g.exhausted(&c.room); dimension != "" {
			noteExhausted(m, c.info(), dimension)
			continue
		}
		p.scores[i] = p.score(g, int(i), &c.room)
		p.slots[i] = int32(len(p.heap))
		p.heap = append(p.heap, i)
		best = p.keepBest(best, i)
	}
	for slot := len(p.heap)/2 - 1; slot >= 0; slot-- {
		p.sink(slot)
	}
	for _, i := range best {
		m.ScoreMetaData = append(m.ScoreMetaData, p.explain(g, int(i), &p.fleet.nodes[i].room))
	}
	return m
}

// keepBest puts i where it belongs among the best few.
func (p *placer) keepBest(best []int32, i int32) []int32 {
	if len(best) == scoresKept && !p.before(i, best[scoresKept-1]) {
		return best
	}
	at := len(best)
	for at > 0 && p.before(i, best[at-1]) {
		at--
	}
	best = slices.Insert(best, at, i)
	return best[:min(len(best), scoresKept)]
}

func copyFunnel(from *event.AllocMetric) *event.AllocMetric {
	m := *from
	m.ConstraintFiltered = cloneCounts(from.ConstraintFiltered)
	m.ClassFiltered = cloneCounts(from.ClassFiltered)
	return &m
}

func cloneCounts(counts map[string]int) map[string]int {
	if counts == nil {
		return nil
	}
	c := make(map[string]int, len(counts))
	for k, v := range counts {
		c[k] = v
	}
	return c
}

// better orders candidates: by score, then by the seed, then by node ID.
func (p *placer) better(i int32, score event.Score, j int32, other event.Score) bool {
	if score != other {
		return score > other
	}
	if a, b := p.fleet.nodes[i].tie, p.fleet.nodes[j].tie; a != b {
		return a < b
	}
	return i < j
}

func (p *placer) before(i, j int32) bool { return p.better(i, p.scores[i], j, p.scores[j]) }

// The heap is a binary heap of candidates whose slots are known, so that any of
// them can be moved when its score changes.

func (p *placer) swap(a, b int) {
	p.heap[a], p.heap[b] = p.heap[b], p.heap[a]
	p.slots[p.heap[a]], p.slots[p.heap[b]] = int32(a), int32(b)
}

func (p *placer) sink(slot int) {
	for {
		child := 2*slot + 1
		if child >= len(p.heap) {
			return
		}
		if right := child + 1; right < len(p.heap) && p.before(p.heap[right], p.heap[child]) {
			child = right
		}
		if !p.before(p.heap[child], p.heap[slot]) {
			return
		}
		p.swap(slot, child)
		slot = child
	}
}

func (p *placer) rise(slot int) {
	for slot > 0 {
		parent := (slot - 1) / 2
		if !p.before(p.heap[slot], p.heap[parent]) {
			return
		}
		p.swap(slot, parent)
		slot = parent
	}
}

// refresh brings the heap up to date after a candidate changed.
func (p *placer) refresh(g *groupPlacer, i int) {
	if g.everyNode() {
		return // choose looks at all of them anyway
	}
	slot := int(p.slots[i])
	score, ok := p.usable(g, i, &p.fleet.nodes[i].room)
	switch {
	case !ok && slot < 0:
		return
	case !ok:
		last := len(p.heap) - 1
		p.swap(slot, last)
		p.heap, p.slots[i] = p.heap[:last], -1
		if slot == last {
			return
		}
	case slot < 0:
		if _, eligible := slices.BinarySearch(g.eligible, int32(i)); !eligible {
			return
		}
		slot = len(p.heap)
		p.heap, p.slots[i] = append(p.heap, int32(i)), int32(slot)
		p.scores[i] = score
	default:
		p.scores[i] = score
	}
	p.rise(slot)
	p.sink(slot)
}

// choose is the best candidate but except (-1 for none).
func (p *placer) choose(g *groupPlacer, except int) (best int, ok bool) {
	best = -1
	if g.everyNode() {
		for _, i := range g.eligible {
			if int(i) == except {
				continue
			}
			score, usable := p.usable(g, int(i), &p.fleet.nodes[i].room)
			if !usable {
				continue
			}
			p.scores[i] = score
			if best < 0 || p.before(i, int32(best)) {
				best = int(i)
			}
		}
		return best, best >= 0
	}
	// The best but the root is one of the root's children.
	for _, slot := range [3]int{0, 1, 2} {
		if slot >= len(p.heap) || int(p.heap[slot]) == except {
			continue
		}
		if best < 0 || p.before(p.heap[slot], int32(best)) {
			best = int(p.heap[slot])
		}
		if slot == 0 {
			break
		}
	}
	return best, best >= 0
}

// present counts a live allocation of the job in (by 1) or out (by -1) for the
// rules and scorers that look at the others.
func (p *placer) present(group *groupPlacer, nodeID event.ID, by int32) {
	if i := p.fleet.find(nodeID); i >= 0 {
		p.fleet.nodes[i].live += by
		if group.live != nil {
			group.live[i] += by
		}
	}
	if len(p.rules.limits)+len(group.rules.limits) == 0 {
		return
	}
	if n := p.state.Node(nodeID); n != nil {
		for _, limit := range p.rules.limits {
			limit.count(n.Info, int(by))
		}
		for _, limit := range group.rules.limits {
			limit.count(n.Info, int(by))
		}
	}
}

// placeFresh places what is missing of a group.
func (p *placer) placeFresh(g *groupPlacer) {
	if len(g.changes.fresh) == 0 {
		return
	}
	if g.planned.Failed != nil {
		g.coalesce(len(g.changes.fresh))
		return
	}
	p.begin(g)
	for n, wanted := range g.changes.fresh {
		if !p.budget.affords(g.bytes) {
			g.queued += len(g.changes.fresh) - n
			return
		}
		i, ok := p.choose(g, -1)
		if !ok {
			p.fail(g)
			g.coalesce(len(g.changes.fresh) - n - 1)
			return
		}
		p.put(g, i, wanted.name, wanted.previous)
	}
}

// placeDestructive replaces allocations by new ones of the same names. On the
// node of the old one its room counts as free, for its successor only; no other
// placement can have it, since it keeps it until it has ended.
func (p *placer) placeDestructive(g *groupPlacer) {
	if len(g.changes.destructive) == 0 {
		return
	}
	p.begin(g)
	for n, old := range g.changes.destructive {
		if !p.budget.affords(stopBytes + g.bytes) {
			g.queued += len(g.changes.destructive) - n
			return
		}
		if !p.replace(g, old) {
			p.fail(g)
			g.coalesce(len(g.changes.destructive) - n - 1)
			return
		}
	}
}

func (p *placer) replace(g *groupPlacer, old *projections.Allocation) bool {
	if old.Live() {
		p.present(g, old.NodeID, -1)
	}
	home := p.fleet.find(old.NodeID)
	var room projections.Room
	var homeScore event.Score
	homeUsable := false
	if home >= 0 {
		if _, eligible := slices.BinarySearch(g.eligible, int32(home)); eligible {
			room = p.fleet.nodes[home].room
			if old.HoldsRoom() {
				room.Release(old)
			}
			homeScore, homeUsable = p.usable(g, home, &room)
		}
	}
	best, found := p.choose(g, home)
	// Whoever keeps data on disk stays where it is, if that can be.
	disk := g.changes.group.EphemeralDisk
	switch {
	case homeUsable && (!found || disk.Sticky || disk.Migrate || p.better(int32(home), homeScore, int32(best), p.scores[best])):
		p.fleet.nodes[home].room = room
		p.scores[home] = homeScore
		p.stop(old, describeUpdated, old.HoldsRoom())
		p.put(g, home, old.NameIndex, old.ID)
		return true
	case found:
		p.stop(old, describeUpdated, false)
		p.put(g, best, old.NameIndex, old.ID)
		if home >= 0 {
			p.refresh(g, home)
		}
		return true
	}
	if old.Live() {
		p.present(g, old.NodeID, +1)
	}
	return false
}

func (p *placer) stop(a *projections.Allocation, why string, handsOver bool) {
	p.plan.Stops = append(p.plan.Stops, event.PlannedStop{ID: a.ID, Description: why, HandsOver: handsOver})
	p.budget.left -= stopBytes
}

// begin makes the group the one that is being placed.
func (p *placer) begin(g *groupPlacer) {
	m := p.survey(g)
	if g.planned.Metric == nil {
		g.planned.Metric = m
	}
}

// put places one allocation on a candidate; p.scores has its score.
func (p *placer) put(g *groupPlacer, i int, name uint32, previous event.ID) {
	c := &p.fleet.nodes[i]
	if c.planNode < 0 {
		c.planNode = int32(len(p.plan.Nodes))
		p.plan.Nodes = append(p.plan.Nodes, c.info().ID)
	}
	ports := choosePorts(&c.room, g.ask, mix(c.tie, uint64(p.ordinal)))
	g.planned.Placements = append(g.planned.Placements, event.Placement{
		Ordinal: p.ordinal, Node: uint32(c.planNode), Name: name, Score: p.scores[i], Ports: ports, Previous: previous,
	})
	p.ordinal++
	p.budget.left -= g.bytes
	c.room.Take(g.ask, ports)
	c.live++
	g.live[i]++
	for _, limit := range p.rules.limits {
		limit.count(c.info(), 1)
	}
	for _, limit := range g.rules.limits {
		limit.count(c.info(), 1)
	}
	p.refresh(g, i)
}

// fail explains why the group's next placement found no node.
func (p *placer) fail(g *groupPlacer) {
	g.planned.Failed = p.survey(g)
	g.planned.Failed.ScoreMetaData = nil
	g.queued++
}

// coalesce counts placements that are not tried because one of their group failed.
func (g *groupPlacer) coalesce(n int) {
	g.planned.Failed.CoalescedFailures += n
	g.queued += n
}
