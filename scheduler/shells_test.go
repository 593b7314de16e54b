package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// ledger stands for the log and its committer: it takes what it is told to take.
type ledger struct {
	*projections.Store
	mu      sync.Mutex
	cluster *cluster
	plans   []*event.PlanCommitted
	ended   []string
	awake   []event.ID
	down    []event.ID
	open    map[event.JobKey]int
	// answer, if set, may answer a plan instead.
	answer func(n int, plan *event.PlanCommitted) (PlanResult, error, bool)
	refuse error // of reactors' commands
	epochs []uint64
	told   int // records published
}

func newLedger(t *testing.T) *ledger {
	c := newCluster(t)
	return &ledger{Store: projections.NewStore(c.state), cluster: c, open: make(map[event.JobKey]int), told: len(c.log)}
}

// publish hands out what the cluster's log has got.
func (l *ledger) publish() {
	news := l.cluster.log[l.told:]
	l.told = len(l.cluster.log)
	l.Publish(news, l.cluster.state)
}

// change does something to the cluster and publishes it.
func (l *ledger) change(do func(c *cluster)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do(l.cluster)
	l.publish()
}

func (l *ledger) CommitPlan(ctx context.Context, p Proposal) (PlanResult, error) {
	plan := p.Plan
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return PlanResult{}, err
	}
	l.plans = append(l.plans, plan)
	if l.answer != nil {
		if result, err, ok := l.answer(len(l.plans), plan); ok {
			return result, err
		}
	}
	return l.take(plan), nil
}

func (l *ledger) take(plan *event.PlanCommitted) PlanResult {
	s := l.cluster.state
	key := event.JobKey{Namespace: plan.Namespace, ID: plan.JobID}
	if eval := s.Evaluation(plan.EvalID); eval == nil || eval.Status != event.EvalPending {
		return PlanResult{Refused: "the evaluation is not open", Closed: true}
	}
	if s.Job(key).ChangeIndex > plan.Basis {
		return PlanResult{Refused: "the job changed", Stale: true, Index: s.Index()}
	}
	l.cluster.apply(plan)
	l.publish()
	return PlanResult{Index: l.cluster.state.Index()}
}

func (l *ledger) FailEvaluation(ctx context.Context, epoch uint64, eval *event.Evaluation, description string) error {
	l.change(func(c *cluster) {
		c.apply(&event.EvaluationEnded{EvalID: eval.ID, Status: event.EvalFailed, Description: description})
		l.ended = append(l.ended, description)
	})
	return nil
}

func (l *ledger) Unblock(ctx context.Context, epoch uint64, evals []event.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = append(l.epochs, epoch)
	if l.refuse != nil {
		return l.refuse
	}
	for _, id := range evals {
		l.cluster.apply(&event.EvaluationUnblocked{EvalID: id})
		l.awake = append(l.awake, id)
	}
	l.publish()
	return nil
}

func (l *ledger) MarkDown(ctx context.Context, epoch uint64, nodes []event.ID, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = append(l.epochs, epoch)
	if l.refuse != nil {
		return l.refuse
	}
	for _, id := range nodes {
		l.cluster.apply(&event.NodeStatusChanged{NodeID: id, Status: event.NodeDown, Description: reason})
		l.down = append(l.down, id)
	}
	l.publish()
	return nil
}

// What happened so far, for tests that look while a shell runs.

func (l *ledger) downNodes() []event.ID           { return lookAt(l, &l.down) }
func (l *ledger) woken() []event.ID               { return lookAt(l, &l.awake) }
func (l *ledger) planned() []*event.PlanCommitted { return lookAt(l, &l.plans) }
func (l *ledger) endings() []string               { return lookAt(l, &l.ended) }

func lookAt[T any](l *ledger, list *[]T) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(*list)
}

// running runs a shell inside a synctest bubble until the test's end.
func running(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("the shell ended with %v", err)
		}
	})
}

// pass lets virtual time go by, and everything that happens in it happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func inBubble(t *testing.T, story func(t *testing.T, l *ledger)) {
	synctest.Test(t, func(t *testing.T) { story(t, newLedger(t)) })
}

func TestWorkersTakeWhatIsOpenAndWhatComes(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(3, "n", 4000, 8192)
			c.submit(newJob("old", 2, 100, 100))
			c.evaluate("old", event.TriggerJobRegister)
		})
		running(t, (&Workers{Source: l, Committer: l, Count: 2}).Run)
		began := time.Now()
		synctest.Wait()
		if n := len(l.cluster.live("old")); n != 2 {
			t.Fatalf("%d allocations of the evaluation that was open before, want 2", n)
		}
		l.change(func(c *cluster) {
			c.submit(newJob("new", 3, 100, 100))
			c.evaluate("new", event.TriggerJobRegister)
		})
		synctest.Wait()
		if n := len(l.cluster.live("new")); n != 3 {
			t.Fatalf("%d allocations of the new evaluation, want 3", n)
		}
		if took := time.Since(began); took != 0 {
			t.Fatalf("waited %v where nothing had to be waited for", took)
		}
	})
}

// Operators change how many workers there are, and what they take, while these run: what nobody takes waits.
func TestWorkersAreRearranged(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) { c.addNodes(3, "n", 4000, 8192) })
		w := &Workers{Source: l, Committer: l, Count: 2}
		for what, bad := range map[string]Lineup{"negative": {Count: -1}, "too many": {Count: workersMax + 1}, "unknown": {Count: 1, Types: []string{"cron"}}} {
			if err := w.Arrange(bad); err == nil || w.Lineup().Count != 2 {
				t.Errorf("%s: %v, then %+v", what, err, w.Lineup())
			}
		}
		running(t, w.Run)
		synctest.Wait()
		submit := func(id string) {
			l.change(func(c *cluster) {
				c.submit(newJob(id, 1, 10, 10))
				c.evaluate(id, event.TriggerJobRegister)
			})
			synctest.Wait()
		}
		expect := func(id string, want int) {
			t.Helper()
			if n := len(l.cluster.live(id)); n != want {
				t.Fatalf("%d allocations of %s, want %d", n, id, want)
			}
		}
		arrange := func(count int, types ...string) {
			t.Helper()
			if err := w.Arrange(Lineup{Count: count, Types: types}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := len(w.States()); n != count || w.Lineup().Count != count {
				t.Fatalf("%d workers, %+v, want %d", n, w.Lineup(), count)
			}
		}
		submit("before")
		expect("before", 1)
		arrange(0)
		submit("waits")
		expect("waits", 0)
		arrange(1, event.JobTypeBatch)
		expect("waits", 0) // it is a service
		arrange(1, event.JobTypeBatch, event.JobTypeService)
		expect("waits", 1)
		arrange(5)
		for i := range 20 {
			submit(fmt.Sprintf("many-%d", i))
			expect(fmt.Sprintf("many-%d", i), 1)
		}
	})
}

// Whoever is replaced while at work finishes that; what it could not do, and no change of the state will tell of, the
// next one finds.
func TestWorkersThatAreReplacedFinish(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(3, "n", 4000, 8192)
			c.submit(newJob("web", 1, 10, 10))
			c.evaluate("web", event.TriggerJobRegister)
		})
		slow := &heldCommitter{Committer: l, let: make(chan struct{})}
		w := &Workers{Source: l, Committer: slow, Count: 1}
		running(t, w.Run)
		synctest.Wait() // at work, its plan is being handed over
		if err := w.Arrange(Lineup{Count: 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the new one has passed over it: the job is busy
		close(slow.let)
		pass(time.Minute)
		if n := len(l.cluster.live("web")); n != 1 || slow.tries != 2 {
			t.Fatalf("%d allocations after %d tries, want 1 after 2", n, slow.tries)
		}
	})
}

// heldCommitter hands nothing over until it is let, and fails the first time.
type heldCommitter struct {
	Committer
	let   chan struct{}
	tries int
}

func (s *heldCommitter) CommitPlan(ctx context.Context, p Proposal) (PlanResult, error) {
	<-s.let
	if s.tries++; s.tries == 1 {
		return PlanResult{}, errors.New("nobody knows what became of it")
	}
	return s.Committer.CommitPlan(ctx, p)
}

// While operators have evaluations paused nothing is decided; then what has waited is.
func TestPausedWorkersRest(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(1, "n", 4000, 8192)
			c.apply(&event.SchedulerConfigured{PauseEvaluations: true})
			c.submit(newJob("web", 2, 100, 100))
			c.evaluate("web", event.TriggerJobRegister)
		})
		running(t, (&Workers{Source: l, Committer: l, Count: 2}).Run)
		synctest.Wait()
		if n := len(l.cluster.live("web")); n != 0 {
			t.Errorf("%d allocations were placed while evaluations are paused", n)
		}
		l.change(func(c *cluster) { c.apply(&event.SchedulerConfigured{}) })
		synctest.Wait()
		if n := len(l.cluster.live("web")); n != 2 {
			t.Errorf("%d allocations of the evaluation that waited, want 2", n)
		}
	})
}

func TestWorkersTakeTheMostUrgentFirstAndOneOfAJob(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(3, "n", 4000, 8192)
			for _, j := range []struct {
				id       string
				priority int
			}{{"low", 10}, {"first", 50}, {"second", 50}, {"high", 90}} {
				job := newJob(j.id, 1, 100, 100)
				job.Priority = j.priority
				c.submit(job)
				c.evaluate(j.id, event.TriggerJobRegister)
			}
			c.evaluate("high", event.TriggerNodeUpdate)
		})
		var order []string
		inFlight := make(map[string]int)
		l.answer = func(_ int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			order = append(order, plan.JobID)
			if inFlight[plan.JobID]++; inFlight[plan.JobID] > 1 {
				t.Errorf("two plans of job %s at the same time", plan.JobID)
			}
			result := l.take(plan)
			inFlight[plan.JobID]--
			return result, nil, true
		}
		running(t, (&Workers{Source: l, Committer: l, Count: 1}).Run)
		synctest.Wait()
		want := []string{"high", "high", "first", "second", "low"}
		if !slices.Equal(order, want) {
			t.Fatalf("order %v, want %v", order, want)
		}
	})
}

func TestManyWorkersNeverShareAJob(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(3, "n", 100_000, 100_000)
			for i := range 5 {
				id := fmt.Sprintf("j%d", i)
				c.submit(newJob(id, 2, 10, 10))
				for range 4 {
					c.evaluate(id, event.TriggerNodeUpdate)
				}
			}
		})
		var mu sync.Mutex
		busy := make(map[string]bool)
		committer := slowCommitter{l, func(plan *event.PlanCommitted) func() {
			mu.Lock()
			defer mu.Unlock()
			if busy[plan.JobID] {
				t.Errorf("two workers on job %s", plan.JobID)
			}
			busy[plan.JobID] = true
			return func() {
				mu.Lock()
				defer mu.Unlock()
				busy[plan.JobID] = false
			}
		}}
		running(t, (&Workers{Source: l, Committer: committer, Count: 4}).Run)
		pass(time.Minute) // every plan takes a second
		if n := len(l.planned()); n != 20 {
			t.Fatalf("%d plans, want 20", n)
		}
	})
}

// lateSource lets something happen right after the nth look at the state.
type lateSource struct {
	*ledger
	mu    sync.Mutex
	looks int
	nth   int
	late  func()
}

func (s *lateSource) Snapshot() *projections.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.ledger.Snapshot()
	if s.looks++; s.looks == s.nth {
		s.late()
	}
	return state
}

// An evaluation that comes while the workers start, right after they looked, is
// run though nothing comes after it.
func TestWorkersMissNoEvaluation(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(1, "n", 4000, 8192)
			c.submit(newJob("late", 1, 100, 100))
		})
		source := &lateSource{ledger: l, nth: 1, late: func() {
			l.change(func(c *cluster) { c.evaluate("late", event.TriggerJobRegister) })
		}}
		running(t, (&Workers{Source: source, Committer: l, Count: 2}).Run)
		synctest.Wait()
		if n := len(l.cluster.live("late")); n != 1 {
			t.Fatalf("%d allocations of the late one after %d looks, want 1", n, source.looks)
		}
	})
}

// slowCommitter takes a while for each plan.
type slowCommitter struct {
	*ledger
	enter func(*event.PlanCommitted) (leave func())
}

func (s slowCommitter) CommitPlan(ctx context.Context, p Proposal) (PlanResult, error) {
	defer s.enter(p.Plan)()
	timer := time.NewTimer(time.Second)
	<-timer.C
	return s.ledger.CommitPlan(ctx, p)
}

func TestWorkersTryAgainOnANewerState(t *testing.T) {
	tests := []struct {
		name   string
		kind   string
		answer func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool)
		plans  int
		ended  string
		live   int
	}{
		{name: "the job changed meanwhile", kind: event.JobTypeService, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			if n == 1 {
				l.cluster.submit(newJob("web", 4, 100, 100))
				l.publish()
			}
			return PlanResult{}, nil, false
		}, plans: 2, live: 4},
		{name: "a busy job is no conflict", kind: event.JobTypeBatch, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			return PlanResult{Refused: "stale", Stale: true, Index: l.cluster.state.Index()}, nil, n < 20
		}, plans: 20, live: 2},
		{name: "somebody else closed it", kind: event.JobTypeService, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			l.cluster.apply(&event.EvaluationEnded{EvalID: plan.EvalID, Status: event.EvalCanceled})
			l.publish()
			return PlanResult{}, nil, false
		}, plans: 1},
		{name: "no progress, service", kind: event.JobTypeService, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			return PlanResult{Partial: true, Index: l.cluster.state.Index()}, nil, true
		}, plans: 5, ended: "maximum attempts reached (5)"},
		{name: "no progress, batch", kind: event.JobTypeBatch, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			return PlanResult{Partial: true, Index: l.cluster.state.Index()}, nil, true
		}, plans: 2, ended: "maximum attempts reached (2)"},
		{name: "refused for good", kind: event.JobTypeService, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			return PlanResult{Refused: "a second allocation of that name"}, nil, true
		}, plans: 5, ended: "maximum attempts reached (5)"},
		{name: "nobody leads for a while", kind: event.JobTypeService, answer: func(l *ledger, n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			return PlanResult{}, errors.New("no leader"), n < 4
		}, plans: 4, live: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *ledger) {
				l.change(func(c *cluster) {
					c.addNodes(3, "n", 4000, 8192)
					job := newJob("web", 2, 100, 100)
					job.Type = test.kind
					c.submit(job)
					c.evaluate("web", event.TriggerJobRegister)
				})
				l.answer = func(n int, plan *event.PlanCommitted) (PlanResult, error, bool) { return test.answer(l, n, plan) }
				running(t, (&Workers{Source: l, Committer: l, Count: 2}).Run)
				pass(time.Minute)
				if len(l.planned()) != test.plans {
					t.Errorf("%d plans, want %d", len(l.planned()), test.plans)
				}
				if n := len(l.cluster.live("web")); n != test.live {
					t.Errorf("%d allocations, want %d", n, test.live)
				}
				if ended := fmt.Sprint(l.endings()); test.ended != "" && ended != "["+test.ended+"]" || test.ended == "" && len(l.endings()) > 0 {
					t.Errorf("ended %v, want %q", ended, test.ended)
				}
			})
		})
	}
}

// Each partial commit that gets something done gives new attempts.
func TestProgressGivesNewAttempts(t *testing.T) {
	inBubble(t, func(t *testing.T, l *ledger) {
		l.change(func(c *cluster) {
			c.addNodes(1, "n", 100_000, 100_000)
			c.submit(newJob("web", 12, 100, 100))
			c.evaluate("web", event.TriggerJobRegister)
		})
		l.answer = func(n int, plan *event.PlanCommitted) (PlanResult, error, bool) {
			part := *plan
			part.Groups = slices.Clone(plan.Groups)
			if len(part.Groups[0].Placements) == 1 {
				return PlanResult{}, nil, false
			}
			part.Groups[0].Placements = part.Groups[0].Placements[:1]
			part.Outcome = event.EvalPending
			result := l.take(&part)
			result.Partial = true
			return result, nil, true
		}
		running(t, (&Workers{Source: l, Committer: l, Count: 1}).Run)
		synctest.Wait()
		if n := len(l.cluster.live("web")); n != 12 || len(l.endings()) > 0 {
			t.Fatalf("%d allocations, want 12; ended %v", n, l.endings())
		}
	})
}

// A decision too large for one append is several plans of one evaluation. What
// finds no node uses nothing up, so the evaluation ends in any case.
func TestALargeDecisionIsSeveralPlans(t *testing.T) {
	const count = 30_000
	for _, test := range []struct{ room, plans int }{{count, 3}, {16_000, 2}, {100, 1}, {0, 1}} {
		t.Run(fmt.Sprintf("room for %d", test.room), func(t *testing.T) {
			inBubble(t, func(t *testing.T, l *ledger) {
				l.change(func(c *cluster) {
					c.addNode(newNode("a", int64(test.room), 1_000_000, nil))
					c.submit(newJob("web", count, 1, 1))
					c.evaluate("web", event.TriggerJobRegister)
				})
				running(t, (&Workers{Source: l, Committer: l, Count: 1}).Run)
				synctest.Wait()
				if n := len(l.cluster.live("web")); n != test.room {
					t.Fatalf("%d allocations, want %d", n, test.room)
				}
				plans := l.planned()
				if len(plans) != test.plans {
					t.Fatalf("%d plans, want %d", len(plans), test.plans)
				}
				for i, plan := range plans {
					data, err := event.Marshal(plan)
					if err != nil {
						t.Fatal(err)
					}
					if len(data) > 512<<10 {
						t.Errorf("plan %d has %d bytes", i, len(data))
					}
					if last := i == len(plans)-1; last != (plan.Outcome == event.EvalComplete) {
						t.Errorf("plan %d of %d leaves its evaluation %v", i, len(plans), plan.Outcome)
					}
				}
				last := plans[len(plans)-1]
				if queued := last.Queued["g"]; queued != count-test.room {
					t.Errorf("%d are queued, want %d", queued, count-test.room)
				}
				if failed := last.Groups[len(last.Groups)-1].Failed; (failed != nil) != (test.room < count) {
					t.Errorf("the last plan explains a failure: %v", failed != nil)
				}

				// Stopping them takes several plans as well.
				l.change(func(c *cluster) {
					c.apply(&event.JobStopped{Namespace: event.DefaultNamespace, JobID: "web", Version: 1})
					c.evaluate("web", event.TriggerJobDeregister)
				})
				synctest.Wait()
				if n := len(l.cluster.live("web")); n != 0 {
					t.Errorf("%d allocations of a stopped job", n)
				}
			})
		})
	}
}
