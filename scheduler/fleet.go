package scheduler

import (
	"drover/eventlog/event"
	"drover/projections"
)

// fleet is all nodes as a decision finds them, and which of them the job may use.
type fleet struct {
	state     *projections.State
	rows      projections.Fleet
	pages     []page
	seed      uint64
	classes   []fleetClass // by feasibility class
	computed  []string     // computed classes of candidates
	evaluated int          // candidates: schedulable nodes of the job's pool and data centers
	pool      string
	inPool    int
	available map[string]int // ready nodes of the pool by data center
}

// page is some rows of the fleet.
type page struct {
	first int32 // slot of the first row
	rows  []projections.FleetRow
}

// fleetClass is the schedulable nodes of one feasibility class.
type fleetClass struct {
	nodes    int
	member   *event.Node // any of them
	computed int32       // position in fleet.computed, -1 for none
	covered  bool        // by the job's pool and data centers
}

// load looks over the fleet of a state for a job. It uses the memory of the one
// before.
func (f *fleet) load(s *projections.State, rules *jobRules, seed uint64) {
	rows := s.Fleet()
	*f = fleet{
		state: s, rows: rows, seed: seed, pool: rules.pool, available: make(map[string]int),
		pages: f.pages[:0], classes: resize(f.classes, rows.Classes()),
	}
	clear(f.classes)
	for first, rows := range rows.Pages() {
		f.pages = append(f.pages, page{int32(first), rows})
		for i := range rows {
			row := &rows[i]
			if !row.Schedulable {
				continue
			}
			c := &f.classes[row.Class]
			if c.nodes == 0 {
				c.member = row.Node.Info
			}
			c.nodes++
		}
	}
	f.cover(rules)
}

// forget lets go of what belongs to the state.
func (f *fleet) forget() {
	clear(f.pages)
	clear(f.classes)
	*f = fleet{pages: f.pages[:0], classes: f.classes[:0]}
}

// cover finds the classes that the job may use at all, and counts their nodes.
func (f *fleet) cover(rules *jobRules) {
	for _, pattern := range rules.datacenters {
		f.available[pattern] = 0 // stays if no node is there, so that the explanation can say so
	}
	numbers := make(map[string]int32)
	for i := range f.classes {
		c := &f.classes[i]
		if c.nodes == 0 {
			continue
		}
		pool, datacenter := rules.covers(c.member)
		if !pool {
			continue
		}
		f.inPool += c.nodes
		if !datacenter {
			continue
		}
		c.covered, c.computed = true, -1
		f.evaluated += c.nodes
		f.available[c.member.Datacenter] += c.nodes
		if name := c.member.ComputedClass; name != "" {
			number, known := numbers[name]
			if !known {
				number = int32(len(f.computed))
				numbers[name] = number
				f.computed = append(f.computed, name)
			}
			c.computed = number
		}
	}
	for _, pattern := range rules.datacenters {
		if f.available[pattern] == 0 && f.covers(pattern) {
			delete(f.available, pattern) // a pattern that matches data centers is no name of one
		}
	}
}

// covers reports whether the pattern matches a data center that has nodes.
func (f *fleet) covers(pattern string) bool {
	for name, count := range f.available {
		if count > 0 && event.MatchGlob(pattern, name) {
			return true
		}
	}
	return false
}

// find is the slot of a node, or -1 when there is no such node.
func (f *fleet) find(id event.ID) int32 {
	if n := f.state.Node(id); n != nil {
		return int32(n.Slot())
	}
	return -1
}

func (f *fleet) node(slot int32) *projections.Node { return f.rows.Row(int(slot)).Node }

// tie is the place of a node among nodes of the same score, lowest first.
func (f *fleet) tie(row *projections.FleetRow) uint64 { return mix(f.seed, row.Draw) }

// tieAt is tie for a slot.
func (f *fleet) tieAt(slot int32) uint64 { return mix(f.seed, f.rows.Row(int(slot)).Draw) }

// earlier orders nodes by ID, for the case that the seed does not tell them apart.
func (f *fleet) earlier(a, b int32) bool {
	return f.node(a).Info.ID.Compare(f.node(b).Info.ID) < 0
}

// eligibility says, for groups that could not be placed, which computed classes
// could run one of them. Classes of nodes outside the job's pool or data centers
// cannot, since both are part of a class; classes of nodes that are not ready
// were never seen.
func eligibility(f *fleet, failed []*groupPlacer) (classes map[string]bool, escaped bool) {
	classes = make(map[string]bool)
	for i := range f.classes {
		if c := &f.classes[i]; c.nodes > 0 && c.member.ComputedClass != "" {
			classes[c.member.ComputedClass] = false
		}
	}
	for _, g := range failed {
		escaped = escaped || g.rules.escapes()
		for number, class := range f.computed {
			if g.rules.job.conditions.known(number) != verdictUnmet && g.rules.conditions.known(number) != verdictUnmet {
				classes[class] = true
			}
		}
	}
	return classes, escaped
}
