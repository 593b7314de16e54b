package scheduler

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// fleet is the nodes that a job may use, in flat arrays, as this decision leaves
// them so far.
type fleet struct {
	nodes     []candidate // by node ID
	classes   []string    // computed classes, in the order of their first node
	pool      string
	inPool    int
	available map[string]int // ready nodes of the pool by data center
}

// candidate is one node and what the decision has done to it.
type candidate struct {
	room     projections.Room
	tie      uint64
	class    int32 // position in fleet.classes, -1 for none
	planNode int32 // position in the plan's list of nodes, -1 when nothing is placed here
	live     int32 // live allocations of the job here, planned ones included and stopped ones not
}

func (c *candidate) info() *event.Node { return c.room.Node.Info }

func newFleet(s *projections.State, rules *jobRules, seed uint64) *fleet {
	f := &fleet{pool: rules.pool, available: make(map[string]int)}
	for _, pattern := range rules.datacenters {
		f.available[pattern] = 0 // stays if no node is there, so that the explanation can say so
	}
	f.nodes = make([]candidate, 0, s.NodeCount())
	numbers := make(map[string]int32)
	byDatacenter := make(map[string]int)
	for n := range s.Nodes() {
		if !n.Schedulable() {
			continue
		}
		if rules.pool != allPools && poolOf(n.Info.NodePool) != rules.pool {
			continue
		}
		f.inPool++
		count, known := byDatacenter[n.Info.Datacenter]
		if !known && !rules.coversDatacenter(n.Info.Datacenter) {
			count = -1
		}
		if count < 0 {
			byDatacenter[n.Info.Datacenter] = -1
			continue
		}
		byDatacenter[n.Info.Datacenter] = count + 1
		class := int32(-1)
		if name := n.Info.ComputedClass; name != "" {
			number, known := numbers[name]
			if !known {
				number = int32(len(f.classes))
				numbers[name] = number
				f.classes = append(f.classes, name)
			}
			class = number
		}
		f.nodes = append(f.nodes, candidate{
			room: projections.RoomOn(n), tie: tieOf(seed, n.Info.ID), class: class, planNode: -1,
		})
	}
	for name, count := range byDatacenter {
		if count > 0 {
			f.available[name] = count
		}
	}
	for _, pattern := range rules.datacenters {
		if f.available[pattern] == 0 && f.covered(pattern) {
			delete(f.available, pattern) // a pattern that matches data centers is no name of one
		}
	}
	return f
}

// covered reports whether the pattern matches a data center that has nodes.
func (f *fleet) covered(pattern string) bool {
	for name, count := range f.available {
		if count > 0 && matchGlob(pattern, name) {
			return true
		}
	}
	return false
}

// find is the position of a node, or -1 when it is not a candidate.
func (f *fleet) find(id event.ID) int {
	i, ok := slices.BinarySearchFunc(f.nodes, id, func(c candidate, id event.ID) int { return c.info().ID.Compare(id) })
	if !ok {
		return -1
	}
	return i
}

// eligibility says, for groups that could not be placed, which computed classes
// could run one of them. Classes of nodes outside the job's pool or data centers
// cannot, since both are part of a class; classes of nodes that are not ready
// were never seen.
func eligibility(s *projections.State, f *fleet, failed []*groupPlacer) (classes map[string]bool, escaped bool) {
	classes = make(map[string]bool)
	for n := range s.Nodes() {
		if class := n.Info.ComputedClass; class != "" && n.Schedulable() {
			classes[class] = false
		}
	}
	for _, g := range failed {
		escaped = escaped || g.rules.escapes()
		for number, class := range f.classes {
			if g.rules.job.conditions.known(number) != verdictUnmet && g.rules.conditions.known(number) != verdictUnmet {
				classes[class] = true
			}
		}
	}
	return classes, escaped
}
