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
// a new stream would tell it, and the bell rang for every message.
func TestOrdersAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newCluster(t)
		nodes := []event.ID{nodeA, nodeB}
		c.commit(
			&event.NodeRegistered{NodeID: nodeA, Incarnation: 1, Node: nodeInfo(nodeA, "a", "10.0.0.1")},
			&event.NodeRegistered{NodeID: nodeB, Incarnation: 1, Node: nodeInfo(nodeB, "b", "10.0.0.2")})
		versions := make(map[string]uint64)
		sequence := make(map[event.ID]uint64)
		eval := 0
		submit := func(name string) {
			job := batchJob(name)
			if v, ok := versions[name]; ok {
				versions[name] = v + 1
			} else {
				versions[name] = 0
			}
			job.Priority = 30 + int(versions[name])
			eval++
			c.submit(job, versions[name], id(0x1000+eval))
		}
		submit("x")
		submit("y")

		stream := newOrderStream(nodeA, 0)
		agent := &modelAgent{rt, make(map[event.ID]event.Order), make(map[event.Hash]*event.Job)}
		agent.take(stream.full(c.state))

		live := func(job string) (list []*projections.Allocation) {
			for a := range c.state.AllocationsOf(event.JobKey{Namespace: "default", ID: job}) {
				if !a.Client.Terminal() {
					list = append(list, a)
				}
			}
			return list
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			before := c.state
			name := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "job")
			switch rapid.SampledFrom([]string{"submit", "plan", "plan", "report", "report"}).Draw(rt, "step") {
			case "submit":
				submit(name)
			case "plan":
				eval++
				e := id(0x1000 + eval)
				c.commit(&event.EvaluationCreated{Evaluation: event.Evaluation{ID: e, Namespace: "default", JobID: name, Type: "batch", Status: event.EvalPending}})
				before = c.state
				plan := &event.PlanCommitted{
					EvalID: e, Namespace: "default", JobID: name, JobVersion: versions[name], Basis: c.state.Index(),
					Outcome: event.EvalComplete, Groups: []event.PlannedGroup{{Name: "g"}},
				}
				for _, a := range live(name) {
					switch rapid.SampledFrom([]string{"leave", "stop", "in place"}).Draw(rt, "what of it") {
					case "stop":
						plan.Stops = append(plan.Stops, event.PlannedStop{ID: a.ID})
					case "in place":
						plan.InPlace = append(plan.InPlace, a.ID)
					}
				}
				if rapid.Bool().Draw(rt, "place") {
					plan.Nodes = []event.ID{rapid.SampledFrom(nodes).Draw(rt, "node")}
					plan.Groups[0].Placements = []event.Placement{{}}
				}
				c.commit(plan)
			case "report":
				if allocs := live(name); len(allocs) > 0 {
					a := rapid.SampledFrom(allocs).Draw(rt, "allocation")
					sequence[a.NodeID]++
					c.commit(&event.AllocationsReported{NodeID: a.NodeID, Incarnation: 1, Sequence: sequence[a.NodeID], Deltas: []event.AllocDelta{{
						ID: a.ID, Client: rapid.SampledFrom([]event.ClientStatus{event.ClientRunning, event.ClientComplete}).Draw(rt, "status"),
					}}})
				}
			}
			rang := false
			commits, _ := c.store.CommitsAfter(before.Index())
			for _, commit := range commits {
				for _, r := range commit.Records {
					all, touched := ordersTouched(commit.State, r)
					for _, n := range touched {
						rang = rang || n == nodeA
					}
					rang = rang || all
				}
			}
			if rapid.Bool().Draw(rt, "the agent forgets specs") {
				agent.forget(c.state)
			}
			batch := stream.next(c.state)
			if batch != nil && !rang {
				rt.Fatalf("there is news for the node and nothing rang: %+v", batch)
			}
			if batch != nil {
				agent.take(batch)
			}
			want := newOrderStream(nodeA, 0).full(c.state)
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
