package scheduler

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// view is what a group makes of the nodes of one feasibility class, or of one
// node: whatever does not depend on what else runs there.
type view struct {
	verdict  verdict
	affinity event.Score
	combo    int32
}

// look is the group's view of one node, and why it is filtered.
func (p *placer) look(g *groupPlacer, n *event.Node, class int32) (view, string) {
	if text := g.rules.filter(n, int(class)); text != "" {
		return view{verdict: verdictUnmet}, text
	}
	v := view{verdict: verdictMet, affinity: g.affinities.score(n)}
	if p.combos != nil {
		v.combo = p.combos.number(p.marks(g, p.valuesOn(g, n)))
	}
	return v, ""
}

// marks turns the values of a node into their marks, in place.
func (p *placer) marks(g *groupPlacer, list []int32) []int32 {
	for i, s := range g.spreads {
		list[i] = s.mark(list[i])
	}
	for i, l := range g.limits {
		list[len(g.spreads)+i] = l.mark(list[len(g.spreads)+i])
	}
	return list
}

// valuesOn are the values of a node that spreads and limits count by.
func (p *placer) valuesOn(g *groupPlacer, n *event.Node) []int32 {
	p.list = p.list[:0]
	for _, s := range g.spreads {
		p.list = append(p.list, s.of(n))
	}
	for _, l := range g.limits {
		p.list = append(p.list, l.of(n))
	}
	return p.list
}

// prepare looks at the fleet for a group: class by class if that decides, else
// node by node.
func (p *placer) prepare(g *groupPlacer) {
	f := &p.fleet
	p.combos = nil
	if width := len(g.spreads) + len(g.limits); width > 0 {
		p.combos = newCombos(width)
	}
	var m *event.AllocMetric
	if g.funnel == nil {
		m = &event.AllocMetric{
			NodesEvaluated: f.evaluated, NodesInPool: f.inPool, NodePool: f.pool, NodesAvailable: f.available,
		}
		g.funnel = m
	}
	byNode := g.byNode()
	p.views = resize(p.views, len(f.classes))
	for i := range f.classes {
		c := &f.classes[i]
		p.views[i] = view{verdict: verdictUnmet}
		switch {
		case !c.covered:
		case byNode:
			p.views[i].verdict = verdictUnknown
		default:
			var text string
			p.views[i], text = p.look(g, c.member, c.computed)
			if m != nil && text != "" {
				noteFiltered(m, c.member, text, 1)
				if c.nodes > 1 {
					_, text = p.look(g, c.member, c.computed)
					noteFiltered(m, c.member, text, c.nodes-1)
				}
			}
		}
	}
	if !byNode {
		return
	}
	p.ownViews = resize(p.ownViews, f.rows.Slots())
	p.holders = resize(p.holders, len(g.spreads)+len(g.limits))
	for i := range p.holders {
		if g.wide(i) {
			p.holders[i].reset(f.rows.Slots())
		}
	}
	for _, page := range f.pages {
		for i := range page.rows {
			row := &page.rows[i]
			if !row.Schedulable || p.views[row.Class].verdict != verdictUnknown {
				continue
			}
			var text string
			p.ownViews[int(page.first)+i], text = p.look(g, row.Node.Info, f.classes[row.Class].computed)
			if m != nil && text != "" {
				noteFiltered(m, row.Node.Info, text, 1)
			}
			if text == "" && p.combos != nil {
				for k, value := range p.valuesOn(g, row.Node.Info) {
					if g.wide(k) {
						p.holders[k].enter(value, page.first+int32(i))
					}
				}
			}
		}
	}
}

// wide reports whether the attribute at a position may have as many values as
// there are nodes.
func (g *groupPlacer) wide(position int) bool {
	if position < len(g.spreads) {
		return g.spreads[position].values.wide
	}
	return g.limits[position-len(g.spreads)].values.wide
}

// viewOf is what prepare found out about a node.
func (p *placer) viewOf(slot int32) view {
	row := p.fleet.rows.Row(int(slot))
	if !row.Schedulable {
		return view{verdict: verdictUnmet}
	}
	v := p.views[row.Class]
	if v.verdict == verdictUnknown {
		v = p.ownViews[slot]
	}
	return v
}

func noteFiltered(m *event.AllocMetric, n *event.Node, text string, nodes int) {
	m.NodesFiltered += nodes
	add(&m.ConstraintFiltered, text, nodes)
	if n.NodeClass != "" {
		add(&m.ClassFiltered, n.NodeClass, nodes)
	}
}

func noteExhausted(m *event.AllocMetric, n *event.Node, dimension string, nodes int) {
	m.NodesExhausted += nodes
	add(&m.DimensionExhausted, dimension, nodes)
	if n.NodeClass != "" {
		add(&m.ClassExhausted, n.NodeClass, nodes)
	}
}

func add(counts *map[string]int, key string, n int) {
	if *counts == nil {
		*counts = make(map[string]int)
	}
	(*counts)[key] += n
}

// crowded says which rule about other allocations keeps the group off a node; ""
// if none does. A site is nil where the job is not.
func (p *placer) crowded(g *groupPlacer, s *site, n *event.Node, combo int32) string {
	if text := g.hosts(s); text != "" {
		return text
	}
	for i, limit := range g.limits {
		if limit.closedAt(p.combos.of(combo)[len(g.spreads)+i]) {
			return limit.explain(limit.of(n))
		}
	}
	return ""
}

func (g *groupPlacer) hosts(s *site) string {
	if s != nil && (g.rules.job.distinctHosts && s.live > 0 || g.rules.distinctHosts && s.group > 0) {
		return filteredDistinctHosts
	}
	return ""
}

// exhausted says which dimension of a room the group exceeds; "" if it fits.
func (g *groupPlacer) exhausted(room *projections.Room) string {
	dimension, fits := room.Fits(g.ask, nil)
	switch dimension {
	case "", projections.DimensionAllocs, projections.DimensionCPU, projections.DimensionMemory, projections.DimensionDisk:
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

// ownScore is the sum of a node's scores but what spreads add, with the group's
// ask taken from room. with is 1 where the group is already, else 0.
func (g *groupPlacer) ownScore(s *site, room *projections.Room, affinity event.Score) (key int64, with int32) {
	available := &room.Node.Available
	sum := g.fit.score(room.Free.CPU-g.ask.CPU, available.CPU, room.Free.MemoryMB-g.ask.MemoryMB, available.MemoryMB) + affinity
	if s != nil && s.group > 0 {
		sum += antiAffinity(int(s.group), g.changes.group.Count)
		with = 1
	}
	return int64(sum), with
}

// explain is the score of a node in its parts.
func (p *placer) explain(g *groupPlacer, slot int32) event.NodeScore {
	s, v := p.sites.at(slot), p.viewOf(slot)
	var room projections.Room
	if s != nil {
		room = s.room
	} else {
		room = projections.RoomOn(p.fleet.node(slot))
	}
	available := &room.Node.Available
	parts := map[string]event.Score{
		scorerBinpack: g.fit.score(room.Free.CPU-g.ask.CPU, available.CPU, room.Free.MemoryMB-g.ask.MemoryMB, available.MemoryMB),
	}
	if s != nil && s.group > 0 {
		parts[scorerAntiAffinity] = antiAffinity(int(s.group), g.changes.group.Count)
	}
	if g.affinities.total > 0 {
		parts[scorerAffinity] = v.affinity
	}
	if boost := p.ranking.standing[v.combo].spread; boost != 0 {
		parts[scorerSpread] = boost
	}
	key, with := g.ownScore(s, &room, v.affinity)
	return event.NodeScore{NodeID: room.Node.Info.ID, Scores: parts, NormScore: p.ranking.mean(v.combo, with, key)}
}

// survey looks at every node for the group: it ranks those that can take it, and
// counts what keeps it off the others.
func (p *placer) survey(g *groupPlacer) *event.AllocMetric {
	m := copyFunnel(g.funnel)
	r := &p.ranking
	r.begin(g, p.combos)
	p.sites.unrank()
	p.tight = resize(p.tight, len(p.fleet.classes))
	clear(p.tight)
	p.best = p.best[:0]
	closely := len(g.ask.Ports) > 0 || g.cores || len(g.limits) > 0
	for _, page := range p.fleet.pages {
		for i := range page.rows {
			row, slot := &page.rows[i], page.first+int32(i)
			if !row.Schedulable {
				continue
			}
			v := &p.views[row.Class]
			if v.verdict == verdictUnknown {
				v = &p.ownViews[slot]
			}
			if v.verdict == verdictUnmet {
				continue
			}
			if closely || p.sites.of[slot] != 0 {
				p.surveyClosely(g, m, slot, row, v)
				continue
			}
			if dimension := g.ask.Exceeds(row.Free); dimension != "" {
				p.tight[row.Class].note(dimension)
				continue
			}
			key := v.affinity + g.fit.score(row.Free.CPU-g.ask.CPU, row.AvailCPU, row.Free.MemoryMB-g.ask.MemoryMB, row.AvailMemoryMB)
			e := entry{key: int64(key), tie: p.fleet.tie(row), slot: slot, combo: v.combo}
			r.entries = append(r.entries, e)
			p.keepBest(&e, 0)
		}
	}
	for i := range p.tight {
		for dimension, nodes := range p.tight[i].counts() {
			noteExhausted(m, p.fleet.classes[i].member, dimension, nodes)
		}
	}
	r.seal()
	for i := range p.best {
		m.ScoreMetaData = append(m.ScoreMetaData, p.explain(g, p.best[i].slot))
	}
	return m
}

// surveyClosely is survey for one node where the group's ask is more than room, or
// that the job is on.
func (p *placer) surveyClosely(g *groupPlacer, m *event.AllocMetric, slot int32, row *projections.FleetRow, v *view) {
	info := row.Node.Info
	s := p.sites.at(slot)
	var room *projections.Room
	if s != nil {
		room = &s.room
	} else {
		fresh := projections.RoomOn(row.Node)
		room = &fresh
	}
	crowded, exhausted := p.crowded(g, s, info, v.combo), g.exhausted(room)
	switch {
	case crowded != "":
		noteFiltered(m, info, crowded, 1)
		if exhausted != "" || g.hosts(s) != "" {
			return
		}
		// What a limit closes it may open again.
	case exhausted != "":
		noteExhausted(m, info, exhausted, 1)
		return
	}
	key, with := g.ownScore(s, room, v.affinity)
	e := entry{key: key, tie: p.fleet.tie(row), slot: slot, combo: v.combo}
	if s != nil {
		s.bucket, s.key = 2*v.combo+with, key
	}
	p.ranking.enter(e, with)
	if crowded == "" {
		p.keepBest(&e, with)
	}
}

// ranked is an entry with its rank.
type ranked struct {
	entry
	rank int64
}

// keepBest puts a node where it belongs among the best few.
func (p *placer) keepBest(e *entry, with int32) {
	rank := p.ranking.rank(e.combo, with, e.key)
	if len(p.best) == scoresKept {
		last := &p.best[scoresKept-1]
		if rank < last.rank || rank == last.rank && !p.ranking.first(e, &last.entry) {
			return
		}
		p.best = p.best[:scoresKept-1]
	}
	at := len(p.best)
	for at > 0 && (rank > p.best[at-1].rank || rank == p.best[at-1].rank && p.ranking.first(e, &p.best[at-1].entry)) {
		at--
	}
	p.best = slices.Insert(p.best, at, ranked{*e, rank})
}

// tightness counts nodes of one class by the dimension that is exhausted there.
type tightness struct{ allocs, cpu, memory, disk int }

func (t *tightness) note(dimension string) {
	switch dimension {
	case projections.DimensionAllocs:
		t.allocs++
	case projections.DimensionCPU:
		t.cpu++
	case projections.DimensionMemory:
		t.memory++
	case projections.DimensionDisk:
		t.disk++
	}
}

func (t *tightness) counts() func(yield func(string, int) bool) {
	return func(yield func(string, int) bool) {
		_ = (t.allocs == 0 || yield(projections.DimensionAllocs, t.allocs)) &&
			(t.cpu == 0 || yield(projections.DimensionCPU, t.cpu)) &&
			(t.memory == 0 || yield(projections.DimensionMemory, t.memory)) &&
			(t.disk == 0 || yield(projections.DimensionDisk, t.disk))
	}
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
