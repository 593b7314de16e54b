package commands

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/eventlog/memlog"
	"drover/projections"
)

// BenchmarkPlan measures what one placement costs the committer apart from the
// append: Decide, encoding, decoding, chaining and Evolve of plans of 1,000
// placements over 1,000 nodes.
func BenchmarkPlan(b *testing.B) {
	const nodes, perPlan = 1000, 1000
	plain := func(state *projections.State, cmd *Command) *projections.State {
		bt := &batch{sealed: state, stamp: state.Time(), chain: memLog{}.Chain, logger: quiet()}
		w := &waiting{cmd: cmd, answer: make(chan answer, 1)}
		if !bt.take(w, time.Now()) || len(bt.answers) != 1 || bt.answers[0].err != nil {
			b.Fatalf("not taken: %+v", bt.answers)
		}
		return bt.seal()
	}
	setup := func() *projections.State {
		s := projections.New()
		for i := range nodes {
			word := fmt.Sprintf("n%d", i)
			s = plain(s, &Command{ID: named("register " + word), Body: RegisterNode{Node: testNode(word, 1<<40, 1<<40, 1<<40), SecretHash: secretOf(word), Incarnation: 1}})
			s = plain(s, &Command{ID: named("ready " + word), Body: ReportAllocations{NodeID: nodeNamed(word), SecretHash: secretOf(word), Incarnation: 1, Sequence: 1, Ready: true}})
		}
		return s
	}
	b.ReportAllocs()
	s := setup()
	placed := 0
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		job := fmt.Sprintf("job%d", i)
		cmd := command("submit "+job, submission(testJob(job, testGroup{name: "g", count: perPlan, cpu: 1, mem: 1})))
		s = plain(s, &cmd)
		var eval event.ID
		for e := range s.PendingEvaluations() {
			eval = e.ID
		}
		p := &event.PlanCommitted{EvalID: eval, Namespace: "default", JobID: job, Basis: s.Index(), Outcome: event.EvalComplete, Groups: []event.PlannedGroup{{Name: "g"}}}
		for n := range nodes {
			p.Nodes = append(p.Nodes, nodeNamed(fmt.Sprintf("n%d", n)))
		}
		for n := range uint32(perPlan) {
			p.Groups[0].Placements = append(p.Groups[0].Placements, event.Placement{Ordinal: n, Node: n % nodes, Name: n, Score: 500_000})
		}
		plan := command("plan "+job, CommitPlan{Plan: p})
		b.StartTimer()
		s = plain(s, &plan)
		placed += perPlan
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(placed), "ns/placement")
	b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "placements/s")
}

// BenchmarkCommitter is the committer's own speed: 64 submitters of 1 KB commands
// over a log in memory, which answers at once.
func BenchmarkCommitter(b *testing.B) {
	s := newServer(memlog.New(), "s1", quiet()).start()
	defer s.stop(b)
	ctx := context.Background()
	if _, err := s.Do(ctx, noteCommand("first")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				id := event.DeriveID("bench", event.ID{}, uint64(n))
				if _, err := s.Do(ctx, Command{ID: id, Body: note{name: fmt.Sprint(n), bytes: 1 << 10}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	s.mu.Lock()
	defer s.mu.Unlock()
	b.ReportMetric(float64(b.N)/float64(max(1, len(s.appends))), "commands/append")
}
