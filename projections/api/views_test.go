package api

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// The shapes of the answers, word for word. After a wanted change, run with
// -rewrite and read the difference.
func TestViews(t *testing.T) {
	c := town(t)
	datadriven.RunTest(t, "testdata/views.txt", func(t *testing.T, d *datadriven.TestData) string {
		path := d.CmdArgs[0].String()
		if path == "alloc" {
			path = "/v1/allocation/" + webAlloc(0).String()
		}
		if strings.Contains(path, "?") {
			path += "&pretty"
		} else {
			path += "?pretty"
		}
		return c.get(path).Body.String()
	})
}

// modelAgent is the least that a node agent does with its stream: it keeps the
// orders, and only those specs that something on it uses.
type modelAgent struct {
	t      *rapid.T
	orders map[event.ID]event.Order
	specs  map[event.Hash]*event.Job
}

func (m *modelAgent) take(b *event.OrderBatch) {
	if b.Full {
		clear(m.orders)
	}
	for hash, job := range b.Specs {
		m.specs[hash] = job
	}
	for _, o := range b.Orders {
		if m.specs[o.Spec] == nil {
			m.t.Fatalf("order %v names a spec that was not sent", o.ID)
		}
		m.orders[o.ID] = o
	}
	for _, id := range b.Gone {
		delete(m.orders, id)
	}
}

// forget drops what no order uses that has not ended.
func (m *modelAgent) forget(s *projections.State) {
	used := make(map[event.Hash]bool)
	for id, o := range m.orders {
		if a := s.Allocation(id); a != nil && !a.Client.Terminal() {
			used[o.Spec] = true
		}
	}
	for hash := range m.specs {
		if !used[hash] {
			delete(m.specs, hash)
		}
	}
}

// Whatever happens, an agent that took in all messages of its stream knows what
// a new stream would tell it.
func TestOrdersAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, rt)
		c := h.c
		stream := newOrderStream(nodeA, 0)
		agent := &modelAgent{rt, make(map[event.ID]event.Order), make(map[event.Hash]*event.Job)}
		agent.take(stream.whole(c.state))
		rung := c.state // the bell rang for everything up to there
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			behind := c.state
			h.step()
			// The stream looks when it has been rung, at a state that may be newer
			// than what the bell has rung for.
			var rang *touches
			caughtUp := false
			switch rapid.SampledFrom([]string{"asleep", "bell behind", "caught up"}).Draw(rt, "stream") {
			case "asleep":
				continue
			case "bell behind":
				rang = c.touchedBetween(rung, behind.Index(), false)
				rung = behind
			case "caught up":
				rang, caughtUp = c.touchedBetween(rung, c.state.Index(), false), true
				rung = c.state
			}
			if rapid.Bool().Draw(rt, "the agent forgets specs") {
				agent.forget(c.state)
			}
			// A bell that is not sure rings for everything: what left may have come
			// and ended after the state that it looks things up in.
			lost := rang.unsure || rapid.IntRange(0, 9).Draw(rt, "the bell lost track") == 0
			if batch := stream.next(c.state, rang.orders[nodeA], lost); batch != nil {
				agent.take(batch)
			}
			if !caughtUp {
				continue
			}
			want := newOrderStream(nodeA, 0).whole(c.state)
			if len(want.Orders) != len(agent.orders) {
				rt.Fatalf("the agent knows %d orders, a new stream tells %d", len(agent.orders), len(want.Orders))
			}
			for _, o := range want.Orders {
				known := agent.orders[o.ID]
				if known.Desired != o.Desired || known.Spec != o.Spec || known.JobVersion != o.JobVersion || known.ModifyIndex != o.ModifyIndex {
					rt.Fatalf("the agent knows %+v, a new stream tells %+v", known, o)
				}
			}
		}
	})
}

// A job that is changed in place and changed back: by then the agent may have
// forgotten what the first spec said.
func TestASpecThatComesBackIsSentAgain(t *testing.T) {
	c := town(t)
	stream := newOrderStream(nodeA, 0)
	first := stream.whole(c.state)
	spec := func() event.Hash { return c.state.Allocation(webAlloc(0)).SpecHash }
	told := func(hash event.Hash, batch *event.OrderBatch) {
		t.Helper()
		if batch.Specs[hash] == nil {
			t.Errorf("the spec %v did not come with %d orders", hash, len(batch.Orders))
		}
	}
	before := spec()
	told(before, first)
	for i, count := range []int{5, webJob().TaskGroups[0].Count} {
		job := webJob()
		job.TaskGroups[0].Count = count
		eval := id(0x2000 + i)
		c.submit(job, uint64(i+1), eval)
		basis := c.state.Index()
		c.commit(&event.PlanCommitted{
			EvalID: eval, Namespace: "default", JobID: "web", JobVersion: uint64(i + 1), Basis: basis,
			InPlace: []event.ID{webAlloc(0), webAlloc(1)}, Outcome: event.EvalComplete,
		})
		told(spec(), stream.next(c.state, []touchedOrder{{webAlloc(0), c.state.Index()}, {webAlloc(1), c.state.Index()}}, false))
	}
	if spec() != before {
		t.Fatal("the job did not come back to its first spec")
	}
}
