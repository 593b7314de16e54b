package commands

import (
	"fmt"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// fleetWith is a state with ready nodes and jobs, each with one allocation on each
// of its nodes; on(j) lists the nodes of a job.
func fleetWith(tb testing.TB, nodes, jobs int, on func(j int) []int) *projections.State {
	tb.Helper()
	s := projections.New()
	number := uint64(0)
	apply := func(events ...event.Event) {
		draft := projections.NewDraft(s)
		for _, e := range events {
			before := draft.State()
			header := event.Header{Index: before.Index() + 1, Kind: e.Kind(), Previous: before.Hash()}
			draft.Apply(&event.Record{Header: header, Event: e, Hash: event.HashOf([]byte(fmt.Sprint(header.Index)))})
		}
		s = draft.Seal()
	}
	apply(&event.ClusterCreated{ClusterID: named("cluster"), Region: "global"}, &event.CommitterStarted{Epoch: 1})
	for i := range nodes {
		n := testNode(nodeWord(i), 1<<30, 1<<30, 1<<30)
		apply(&event.NodeRegistered{NodeID: n.ID, SecretHash: secretOf(n.Name), Incarnation: 1, Node: n}, &event.NodeStatusChanged{NodeID: n.ID, Status: event.NodeReady})
	}
	for j := range jobs {
		id := fmt.Sprintf("job%05d", j)
		placed := on(j)
		job := testJob(id, testGroup{name: "g", count: len(placed), cpu: 1, mem: 1})
		blob, err := NewBlob(job)
		if err != nil {
			tb.Fatal(err)
		}
		number++
		eval := event.DeriveID("eval", event.ID{}, number)
		apply(&event.BlobStored{Blob: blob.Hash, Of: 1, Data: blob.Data}, &event.JobSubmitted{Namespace: "default", JobID: id, Spec: blob.Hash},
			&event.EvaluationCreated{Evaluation: event.Evaluation{ID: eval, Namespace: "default", JobID: id, Status: event.EvalPending, TriggeredBy: event.TriggerJobRegister}})
		p := &event.PlanCommitted{EvalID: eval, Namespace: "default", JobID: id, Basis: s.Index(), Outcome: event.EvalComplete, Groups: []event.PlannedGroup{{Name: "g"}}}
		for name, n := range placed {
			p.Nodes = append(p.Nodes, nodeNamed(nodeWord(n)))
			p.Groups[0].Placements = append(p.Groups[0].Placements, event.Placement{Ordinal: uint32(name), Node: uint32(name), Name: uint32(name)})
		}
		apply(p)
	}
	return s
}

// declareDown sends the command as the reactor does, until nothing is left to do,
// and returns the state and what each command led to.
func declareDown(tb testing.TB, s *projections.State, ids []event.ID) (*projections.State, [][]Decided) {
	tb.Helper()
	var all [][]Decided
	again := false
	for n := uint64(0); ; n++ {
		cmd := &Command{ID: event.DeriveID("down", event.ID{}, n), Epoch: 1, Body: MarkNodesDown{IDs: ids, Reason: "heartbeat missed", Again: again}}
		cmd.Caller = event.Caller{Kind: event.CallerReactor, Name: "heartbeats"}
		decided, rejection := Decide(s, s.Time(), cmd)
		if rejection != nil {
			tb.Fatal(rejection)
		}
		if again && len(decided) == 0 {
			return s, all
		}
		bt := &batch{sealed: s, stamp: s.Time(), chain: memLog{}.Chain, logger: quiet()}
		w := &waiting{cmd: cmd, answer: make(chan answer, 1)}
		if !bt.take(w, time.Now()) || len(bt.answers) != 1 || bt.answers[0].err != nil {
			tb.Fatalf("not taken: %+v", bt.answers)
		}
		s = bt.seal()
		all = append(all, decided)
		var left []event.ID
		for _, id := range ids {
			if s.Node(id).Status != event.NodeDown {
				left = append(left, id)
			}
		}
		if again = len(left) == 0; !again {
			ids = left
		}
	}
}

func evaluationsIn(all [][]Decided) (n int) {
	for _, decided := range all {
		for _, d := range decided {
			if _, ok := d.Event.(*event.EvaluationCreated); ok {
				n++
			}
		}
	}
	return n
}

func allNodes(n int) []event.ID {
	var ids []event.ID
	for i := range n {
		ids = append(ids, nodeNamed(nodeWord(i)))
	}
	return ids
}

// More nodes and jobs than one append takes are several commands, and one
// evaluation of each job all the same.
func TestManyNodesGoDownInAFewAppends(t *testing.T) {
	s := fleetWith(t, 3000, 300, func(j int) []int { return []int{j, j + 1000, j + 2000} })
	s, all := declareDown(t, s, allNodes(3000))
	if len(all) < 2 || len(all) > 3 {
		t.Errorf("%d commands", len(all))
	}
	if n := evaluationsIn(all); n != 300 {
		t.Errorf("%d evaluations of 300 jobs", n)
	}
	for _, id := range allNodes(3000) {
		if s.Node(id).Status != event.NodeDown {
			t.Fatalf("node %v is %v", id, s.Node(id).Status)
		}
	}
}

// The jobs of one node alone can be too many for an append.
func TestOneNodeOfManyJobsGoesDown(t *testing.T) {
	const jobs = 4000
	s := fleetWith(t, 2, jobs, func(int) []int { return []int{0} })
	_, all := declareDown(t, s, allNodes(2)[:1])
	if len(all) < 2 || evaluationsIn(all) != jobs {
		t.Errorf("%d commands, %d evaluations of %d jobs", len(all), evaluationsIn(all), jobs)
	}
}

// BenchmarkDown declares 1,000 of 5,000 nodes down that have 200 allocations of
// 1,000 jobs each.
func BenchmarkDown(b *testing.B) {
	s := fleetWith(b, 5000, 1000, func(j int) []int {
		nodes := make([]int, 1000)
		for i := range nodes {
			nodes[i] = (j*7 + i*5) % 5000
		}
		return nodes
	})
	b.ReportAllocs()
	records := 0
	for b.Loop() {
		_, all := declareDown(b, s, allNodes(1000))
		records = 0
		for _, decided := range all {
			records += len(decided)
		}
	}
	b.ReportMetric(float64(records), "records")
}
