package scheduler

import (
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// TestHeapKeepsTheBest changes candidates at random and compares the heap's
// choice with a look at all of them, with and without one left out.
func TestHeapKeepsTheBest(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCluster(t)
		count := rapid.IntRange(1, 12).Draw(r, "nodes")
		for i := range count {
			c.addNode(newNode(string(rune('a'+i)), 1000*int64(rapid.IntRange(1, 3).Draw(r, "cpu")), 4096, nil))
		}
		job := newJob("web", 4, 100, 64)
		c.submit(job)
		s := c.state
		rules := newJobRules(job)
		p := &placer{state: s, job: job, plan: new(event.PlanCommitted), budget: &budget{left: planBytesMax}, rules: rules, fleet: newFleet(s, rules, rapid.Uint64().Draw(r, "seed"))}
		g := &groupPlacer{
			changes: &groupChanges{group: job.TaskGroups[0]}, rules: newGroupRules(rules, job.TaskGroups[0]),
			ask: s.Job(key("web")).Spec.Ask("g"), live: make([]int32, count),
		}
		p.survey(g)
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			i := rapid.IntRange(0, count-1).Draw(r, "candidate")
			p.fleet.nodes[i].room.Free.CPU = int64(rapid.IntRange(0, 1000).Draw(r, "free"))
			g.live[i] = int32(rapid.IntRange(0, 2).Draw(r, "live"))
			p.refresh(g, i)
			for except := -1; except < count; except++ {
				want := -1
				for k := range p.fleet.nodes {
					if score, ok := p.usable(g, k, &p.fleet.nodes[k].room); k != except && ok {
						if p.scores[k] != score {
							r.Fatalf("candidate %d has score %d in the heap, %d now", k, p.scores[k], score)
						}
						if want < 0 || p.before(int32(k), int32(want)) {
							want = k
						}
					}
				}
				if got, ok := p.choose(g, except); got != want || ok != (want >= 0) {
					r.Fatalf("all but %d: the heap has %d, the best is %d", except, got, want)
				}
			}
		}
	})
}

func TestPortSearchFindsTheLastFreePort(t *testing.T) {
	c := newCluster(t)
	c.addNode(newNode("a", 4000, 8192, func(n *event.Node) {
		n.NodeResources.MinDynamicPort, n.NodeResources.MaxDynamicPort = 20000, 30000
		n.ReservedResources = &event.NodeReservedResources{Networks: event.ReservedNetworks{ReservedHostPorts: "20000-27654,27656-30000"}}
	}))
	room := projections.RoomOn(c.state.Node(nodeID("a")))
	one := &projections.Ask{Ports: []event.Port{{Label: "http"}}}
	if !hasDynamicPorts(&room, one, 1) {
		t.Fatal("the one free port was not found")
	}
	for seed := range uint64(50) {
		if got := choosePorts(&room, one, seed); got[0] != 27655 {
			t.Fatalf("port %d, want 27655", got[0])
		}
	}
	two := &projections.Ask{Ports: []event.Port{{Label: "fixed", Value: 27655}, {Label: "http"}}}
	if hasDynamicPorts(&room, two, 1) {
		t.Fatal("a port that is asked for by number was offered as a dynamic one")
	}
}
