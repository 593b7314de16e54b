package scheduler

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// TestADecisionCanBeRunAgainFromTheLog folds the log anew up to the basis of every
// plan in it, decides again, and compares the bytes. The state of the second fold
// shares nothing with that of the first.
func TestADecisionCanBeRunAgainFromTheLog(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCluster(t)
		c.addNodes(rapid.IntRange(1, 5).Draw(r, "nodes"), "n", 3000, 2048)
		for step := range rapid.IntRange(1, 8).Draw(r, "steps") {
			job := randomJob(r, []string{"x", "y"}[rapid.IntRange(0, 1).Draw(r, "job")], step)
			c.submit(job)
			c.schedule(job.ID)
			if live := c.live(job.ID); len(live) > 0 && rapid.Bool().Draw(r, "report") {
				c.report(live[0], rapid.SampledFrom([]event.ClientStatus{event.ClientRunning, event.ClientFailed, event.ClientComplete}).Draw(r, "status"))
			}
			if rapid.IntRange(0, 3).Draw(r, "down") == 0 {
				c.setNode("n0", rapid.SampledFrom([]event.NodeStatus{event.NodeDown, event.NodeReady}).Draw(r, "status"))
			}
		}
		draft := projections.NewDraft(projections.New())
		for _, record := range c.log {
			if committed, ok := record.Event.(*event.PlanCommitted); ok {
				s := draft.State()
				if s.Index() != committed.Basis {
					r.Fatalf("the plan at %d was decided at %d, the log before it ends at %d", record.Index, committed.Basis, s.Index())
				}
				again, err := event.Marshal(Schedule(s, s.Evaluation(committed.EvalID)))
				if err != nil {
					r.Fatal(err)
				}
				before, err := event.Marshal(committed)
				if err != nil {
					r.Fatal(err)
				}
				if !bytes.Equal(again, before) {
					r.Fatalf("the plan at %d is decided otherwise now", record.Index)
				}
			}
			draft.Apply(record)
		}
	})
}
