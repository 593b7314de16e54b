package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
)

// block puts an evaluation of the job to sleep that was decided at basis.
func (c *cluster) block(job string, basis uint64, trigger event.Trigger) event.ID {
	c.evals++
	eval := event.Evaluation{
		ID: event.DeriveID("blocked-eval", event.ID{}, c.evals), Namespace: event.DefaultNamespace, JobID: job,
		Type: event.JobTypeService, Priority: c.state.Job(key(job)).Spec.Job.Priority, TriggeredBy: trigger,
		Status: event.EvalBlocked, SnapshotIndex: basis,
	}
	c.apply(&event.EvaluationCreated{Evaluation: eval})
	return eval.ID
}

// sleep blocks an evaluation of a new job that asks for so much CPU.
func (c *cluster) sleep(job *event.Job) event.ID {
	c.submit(job)
	return c.block(job.ID, c.state.Index(), event.TriggerQueuedAllocs)
}

// jobs names the jobs of evaluations.
func (l *ledger) jobs(evals []event.ID) []string {
	var list []string
	for _, id := range evals {
		list = append(list, l.Snapshot().Evaluation(id).JobID)
	}
	return list
}

func TestUnblockerWakesWhatCanUseTheRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.sleep(newJob("fits", 1, 400, 100))
			c.sleep(newJob("too big", 1, 4000, 100))
			elsewhere := newJob("elsewhere", 1, 100, 100)
			elsewhere.Datacenters = []string{"dc2"}
			c.sleep(elsewhere)
			other := newJob("other kernel", 1, 100, 100)
			other.Constraints = []event.Constraint{{LTarget: "${attr.kernel.name}", Operand: "=", RTarget: "windows"}}
			c.sleep(other)
			docker := newJob("no driver", 1, 100, 100)
			docker.TaskGroups[0].Tasks[0].Driver = "docker"
			c.sleep(docker)
			ports := newJob("port taken", 1, 100, 100)
			ports.TaskGroups[0].Networks = []event.NetworkResource{{ReservedPorts: []event.Port{{Label: "ssh", Value: 22}}}}
			c.sleep(ports)
			named := newJob("by name", 1, 400, 100)
			named.Constraints = []event.Constraint{{LTarget: "${attr.unique.hostname}", Operand: "=", RTarget: "small"}}
			c.sleep(named)
		})
		running(t, (&Unblocker{Source: l, Waker: l, Epoch: 7}).Run)
		synctest.Wait()
		if len(l.woken()) != 0 {
			t.Fatalf("%v were woken by nothing", l.jobs(l.woken()))
		}
		l.change(func(c *cluster) {
			c.addNode(newNode("small", 1000, 1000, func(n *event.Node) {
				n.ReservedResources = &event.NodeReservedResources{}
				n.ReservedResources.Networks.ReservedHostPorts = "22"
			}))
		})
		synctest.Wait()
		if woken := l.jobs(l.woken()); !slices.Equal(woken, []string{"fits", "by name"}) {
			t.Errorf("woken: %v", woken)
		}
		if l.epochs[0] != 7 {
			t.Errorf("the command carries epoch %d", l.epochs[0])
		}
	})
}

// Room for three wakes three, however many wait: the most urgent, then first come.
func TestUnblockerWakesNoMoreThanFit(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			for i := range 50 {
				job := newJob(fmt.Sprintf("j%02d", i), 1, 300, 100)
				if i%10 == 7 {
					job.Priority = 80
				}
				c.sleep(job)
			}
		})
		running(t, (&Unblocker{Source: l, Waker: l}).Run)
		l.change(func(c *cluster) { c.addNode(newNode("a", 1000, 1000, nil)) })
		synctest.Wait()
		if woken := l.jobs(l.woken()); !slices.Equal(woken, []string{"j07", "j17", "j27"}) {
			t.Fatalf("woken: %v", woken)
		}
		// What they will take is not given away a second time.
		l.change(func(c *cluster) { c.sleep(newJob("late", 1, 300, 100)) })
		synctest.Wait()
		if len(l.woken()) != 3 {
			t.Fatalf("woken: %v", l.jobs(l.woken()))
		}
		// One of them goes back to sleep without having used its part.
		l.change(func(c *cluster) {
			c.apply(&event.PlanCommitted{
				EvalID: l.awake[1], Namespace: event.DefaultNamespace, JobID: "j17", Basis: c.state.Index(), Outcome: event.EvalBlocked,
			})
		})
		synctest.Wait()
		if woken := l.jobs(l.woken()); !slices.Equal(woken[3:], []string{"j37"}) {
			t.Fatalf("woken after that: %v", woken[3:])
		}
	})
}

// One evaluation takes several allocations' worth of room, on several nodes.
func TestUnblockerCountsWhatOneWillTake(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			job := newJob("many", 5, 300, 100)
			c.submit(job)
			c.evals++
			c.apply(&event.EvaluationCreated{Evaluation: event.Evaluation{
				ID: event.DeriveID("blocked-eval", event.ID{}, c.evals), Namespace: event.DefaultNamespace, JobID: "many", Priority: 50,
				TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, SnapshotIndex: c.state.Index(),
				QueuedAllocations: map[string]int{"g": 5}, FailedTGAllocs: map[string]*event.AllocMetric{"g": {}},
			}})
			c.sleep(newJob("next", 1, 300, 100))
			c.sleep(newJob("last", 1, 300, 100))
		})
		running(t, (&Unblocker{Source: l, Waker: l}).Run)
		l.change(func(c *cluster) { c.addNode(newNode("a", 1000, 1000, nil)) })
		synctest.Wait()
		if woken := l.jobs(l.woken()); !slices.Equal(woken, []string{"many"}) {
			t.Fatalf("woken: %v", woken)
		}
		l.change(func(c *cluster) { c.addNode(newNode("b", 1000, 1000, nil)) })
		synctest.Wait()
		if woken := l.jobs(l.woken()); !slices.Equal(woken, []string{"many", "next"}) {
			t.Fatalf("woken: %v", woken)
		}
	})
}

// Room came after the decision and before it went to sleep: nothing will come
// any more, and it must be woken all the same.
func TestUnblockerMissesNoWakeUp(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		var id event.ID
		running(t, (&Unblocker{Source: l, Waker: l}).Run)
		l.change(func(c *cluster) {
			job := newJob("web", 1, 400, 100)
			job.Constraints = []event.Constraint{{LTarget: "${meta.rack}", Operand: distinctProperty}}
			c.submit(job)
			basis := c.state.Index()
			c.addNode(newNode("a", 1000, 1000, nil))
			id = c.block("web", basis, event.TriggerQueuedAllocs)
		})
		synctest.Wait()
		if !slices.Equal(l.woken(), []event.ID{id}) {
			t.Fatalf("woken: %v", l.woken())
		}
		// The node has no rack, which is not looked at: it fails on the new state
		// too and goes back to sleep, and now it may.
		l.change(func(c *cluster) {
			plan := Schedule(c.state, c.state.Evaluation(id))
			plan.Outcome = event.EvalBlocked
			c.apply(plan)
		})
		synctest.Wait()
		if len(l.woken()) != 1 {
			t.Fatalf("woken again by nothing: %v", l.woken())
		}
	})
}

func TestUnblockerTriesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.refuse = errors.New("no leader")
		l.change(func(c *cluster) {
			c.sleep(newJob("web", 1, 400, 100))
			c.addNode(newNode("a", 1000, 1000, nil))
		})
		running(t, (&Unblocker{Source: l, Waker: l}).Run)
		pass(10 * time.Second)
		l.mu.Lock()
		tries := len(l.epochs)
		l.refuse = nil
		l.mu.Unlock()
		if tries < 2 || tries > 20 {
			t.Errorf("%d tries in 10 s", tries)
		}
		pass(retryMax + time.Second)
		if len(l.woken()) != 1 {
			t.Fatalf("woken: %v", l.woken())
		}
	})
}

// What was blocked by contention waits for no room, only for a while.
func TestUnblockerReleasesContentionByTime(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNode(newNode("a", 1000, 1000, nil))
			c.submit(newJob("web", 1, 100, 100))
			c.block("web", 0, event.TriggerMaxPlanAttempts)
		})
		running(t, (&Unblocker{Source: l, Waker: l}).Run)
		pass(attemptsRetry - time.Second)
		if len(l.woken()) != 0 {
			t.Fatal("woken at once")
		}
		pass(2 * time.Second)
		if len(l.woken()) != 1 {
			t.Fatalf("woken: %v", l.woken())
		}
	})
}
