package commands

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// With many evaluations waiting for workers, jobs wait for them too; all else does
// not, and nobody waits longer than for as long as plans come.
func TestJobsAreHeldBackWhileManyEvaluationsWait(t *testing.T) {
	held(t, func(t *testing.T, s *server, _ *gate) {
		number := 0
		submit := func() <-chan reply {
			number++
			return s.send(submitOf(fmt.Sprintf("job-%04d", number), 0))
		}
		fill := func() {
			for s.Tip().Snapshot().PendingCount() < backlogMax {
				committed(t, submit())
			}
		}
		plan := func() {
			s.awaitShown(t, s.store.Snapshot().Index())
			tip := s.Tip().Snapshot()
			for eval := range tip.PendingEvaluations() {
				committed(t, s.propose(proposal(planOn(tip, eval), tip)))
				break
			}
		}
		fill()
		late := submit()
		synctest.Wait()
		notYet(t, late)
		committed(t, s.send(noteCommand("something else")))
		committed(t, s.send(command("stop", StopJob{Key: event.JobKey{Namespace: "default", ID: "job-0001"}})))
		notYet(t, late)

		began := time.Now()
		if r := <-late; r.err != nil {
			t.Fatal(r.err)
		}
		if waited := time.Since(began); waited > jobPatience {
			t.Errorf("a job waited for %v though no plan came; %v is enough", waited, jobPatience)
		}

		fill()
		late = submit()
		for s.Tip().Snapshot().PendingCount() > backlogMax/2+1 {
			time.Sleep(jobPatience / 2)
			plan()
			synctest.Wait()
			notYet(t, late)
		}
		plan()
		began = time.Now()
		committed(t, late)
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a job waited for %v though half of the evaluations were done", waited)
		}
	})
}

// awaitShown waits until the tip has a record.
func (s *server) awaitShown(t *testing.T, index uint64) *projections.State {
	t.Helper()
	for s.Tip().Snapshot().Index() < index {
		<-s.Tip().Changed()
	}
	return s.Tip().Snapshot()
}
