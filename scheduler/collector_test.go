package scheduler

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// landfill is a cluster whose collector's proposals are folded as they are: the
// fold stops at anything that may not leave.
type landfill struct {
	*cluster
	commands int
	namesMax int // in one command
}

func (l *landfill) Snapshot() *projections.State { return l.state }

func (l *landfill) Await(ctx context.Context, after uint64) (*projections.State, error) {
	if l.state.Index() > after {
		return l.state, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (l *landfill) Collect(_ context.Context, epoch uint64, proposed *event.Collected) error {
	if epoch != 1 {
		return fmt.Errorf("epoch %d", epoch)
	}
	names := len(proposed.Nodes)
	for _, jobs := range proposed.Jobs {
		names += len(jobs.IDs)
	}
	for _, work := range proposed.Work {
		names += len(work.Evaluations) + len(work.Allocations)
	}
	l.commands++
	l.namesMax = max(l.namesMax, names)
	l.apply(proposed)
	return nil
}

// churn runs batch jobs of some tasks from submission to their end.
func (l *landfill) churn(from, to, tasks int) {
	sequence := l.state.Node(nodeID("n0")).LastReport
	for i := from; i < to; i++ {
		id := fmt.Sprintf("churn-%05d", i)
		job := newJob(id, tasks, 1, 1)
		job.Type = event.JobTypeBatch
		l.submit(job)
		eval := l.evaluate(id, event.TriggerJobRegister)
		plan := Schedule(l.state, eval)
		l.apply(plan)
		sequence++
		report := &event.AllocationsReported{NodeID: nodeID("n0"), Incarnation: 1, Sequence: sequence}
		for a := range l.state.AllocationsOf(key(id)) {
			report.Deltas = append(report.Deltas, event.AllocDelta{ID: a.ID, Client: event.ClientComplete})
		}
		l.apply(report)
	}
}

func newLandfill(t testing.TB) *landfill {
	l := &landfill{cluster: newCluster(t)}
	l.addNode(newNode("n0", 1_000_000, 1_000_000, nil))
	return l
}

func (l *landfill) collector(keptMax int) *Collector {
	c, err := NewCollector(CollectorConfig{
		Source: l, Remover: l, Epoch: 1, Now: func() time.Time { return time.Unix(0, l.now) }, KeptMax: keptMax,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// A stream of short jobs: what stands in the state stays below its bound, the
// oldest leave first, and nothing of them stays behind in any table.
func TestChurnLeavesTheStateFlat(t *testing.T) {
	l := newLandfill(t)
	const kept = 160
	c := l.collector(kept)
	crowd := c.crowd()
	var sizes []int
	for round := range 5 {
		l.churn(100*round, 100*round+100, 3)
		if err := c.hunt(t.Context(), crowd); err != nil {
			t.Fatal(err)
		}
		if n := l.state.EndedAllocations(); n > kept || n != l.state.AllocationCount() {
			t.Errorf("round %d: %d ended of %d allocations", round, n, l.state.AllocationCount())
		}
		if l.state.Job(key(fmt.Sprintf("churn-%05d", 100*round))) != nil || l.state.Job(key(fmt.Sprintf("churn-%05d", 100*round+99))) == nil {
			t.Errorf("round %d: not the oldest have left", round)
		}
		var w counter
		if err := l.state.Encode(&w); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, int(w))
	}
	if first, last := sizes[0], sizes[len(sizes)-1]; math.Abs(float64(last-first)) > float64(first)/20 {
		t.Errorf("the state grows: %v bytes", sizes)
	}
	if l.namesMax > collectNames {
		t.Errorf("%d names in one command", l.namesMax)
	}
	// All of it may leave when somebody asks for that; what is left is the node.
	if err := c.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if l.state.EndedAllocations()+l.state.EndedEvaluations()+l.state.AllocationCount() != 0 || l.state.NodeCount() != 1 {
		t.Errorf("%d allocations and %d evaluations are left", l.state.EndedAllocations(), l.state.EndedEvaluations())
	}
	for j := range l.state.Jobs() {
		t.Errorf("job %v is left", j.Key)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// What is kept by need is passed: the hunt comes to its end above the bound, and
// finds what ended later without looking at all of it again.
func TestCrowdOfWhatMustStay(t *testing.T) {
	l := newLandfill(t)
	job := newJob("long", 40, 1, 1)
	job.Type = event.JobTypeBatch
	l.submit(job)
	l.apply(Schedule(l.state, l.evaluate("long", event.TriggerJobRegister)))
	report := &event.AllocationsReported{NodeID: nodeID("n0"), Incarnation: 1, Sequence: 1}
	for a := range l.state.AllocationsOf(key("long")) {
		if len(report.Deltas) < 39 {
			report.Deltas = append(report.Deltas, event.AllocDelta{ID: a.ID, Client: event.ClientComplete})
		}
	}
	l.apply(report)
	c := l.collector(16)
	crowd := c.crowd()
	for round := range 3 {
		if err := c.hunt(t.Context(), crowd); err != nil {
			t.Fatal(err)
		}
		if n := l.state.EndedAllocations(); n != 39 {
			t.Fatalf("round %d: %d ended allocations, 39 must stay", round, n)
		}
		l.churn(round, round+1, 5)
	}
	if err := c.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if l.state.EndedAllocations() != 39 {
		t.Errorf("%d ended allocations, 39 must stay", l.state.EndedAllocations())
	}
}

// A large job is more than one command, and leaves all the same; commands stay small.
func TestManyEndedThingsAreManyCommands(t *testing.T) {
	l := newLandfill(t)
	for range 2500 {
		l.submit(newJob("web", 0, 1, 1))
		eval := l.evaluate("web", event.TriggerJobRegister)
		l.apply(&event.EvaluationEnded{EvalID: eval.ID, Status: event.EvalCanceled})
	}
	if err := l.collector(0).Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if l.state.EndedEvaluations() != 0 || l.commands != 3 || l.namesMax != collectNames {
		t.Errorf("%d evaluations are left after %d commands of at most %d names", l.state.EndedEvaluations(), l.commands, l.namesMax)
	}
}

func TestCollectorRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLandfill(t)
		l.churn(0, 60, 1)
		c := l.collector(32)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(2 * collectTick)
		synctest.Wait()
		if n := l.state.EndedAllocations(); n > 32 || n == 0 {
			t.Errorf("%d ended allocations after a look at the crowd", n)
		}
		l.now += int64(25 * time.Hour)
		time.Sleep(collectInterval)
		synctest.Wait()
		if n := l.state.EndedAllocations(); n != 0 {
			t.Errorf("%d ended allocations a day later", n)
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
	})
}

func TestCollectorConfig(t *testing.T) {
	l := newLandfill(t)
	for _, config := range []CollectorConfig{
		{}, {Source: l, Remover: l}, {Source: l, Remover: l, Now: time.Now, JobAge: -1}, {Source: l, Remover: l, Now: time.Now, KeptMax: -1},
	} {
		if _, err := NewCollector(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}

// What one ended allocation costs from its job's submission to its leaving: the
// fold of its records and of what collects it.
func BenchmarkCollect(b *testing.B) {
	l := newLandfill(b)
	c := l.collector(0)
	l.churn(0, 2000, 1)
	state := l.state
	h := &hunt{jobs: math.MaxInt64, evals: math.MaxInt64, batchEvals: math.MaxInt64, nodes: math.MinInt64, blobs: math.MinInt64}
	b.ReportAllocs()
	for b.Loop() {
		l.state = state
		h.from = [phases]uint64{}
		if err := c.hunt(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/job")
}
