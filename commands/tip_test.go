package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
	"drover/eventlog/memlog"
	"drover/projections"
)

// heldLog is the log with appends that wait until they are let go, one by one.
type heldLog struct {
	memLog
	hold *gate
}

type gate struct {
	mu   sync.Mutex
	open bool
	let  chan struct{}
}

func (g *gate) pass() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if !open {
		<-g.let
	}
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
}

func (l heldLog) Append(ctx context.Context, after Position, entries [][]byte) (Outcome, error) {
	l.hold.pass()
	return l.memLog.Append(ctx, after, entries)
}

// held runs a test with one server whose appends can be held, and a fleet of two
// nodes with room for four allocations each.
func held(t *testing.T, test func(t *testing.T, s *server, hold *gate)) {
	synctest.Test(t, func(t *testing.T) {
		hold := &gate{open: true, let: make(chan struct{})}
		s := newServer(memlog.New(), "s1", quiet())
		s.cfg.Log = heldLog{memLog{s.log}, hold}
		s.start()
		addFleet(t, s, 2)
		test(t, s, hold)
		s.stop(t)
	})
}

func addFleet(t *testing.T, s *server, nodes int) {
	for i := range nodes {
		word := fmt.Sprint("n", i)
		committed(t, s.send(command("register "+word, RegisterNode{Node: testNode(word, 400, 400, 400), SecretHash: secretOf(word), Incarnation: 1})))
		committed(t, s.send(command("ready "+word, ReportAllocations{NodeID: nodeNamed(word), SecretHash: secretOf(word), Incarnation: 1, Sequence: 1, Ready: true})))
	}
}

func submitOf(job string, count int) Command {
	return command("submit "+job, submission(testJob(job, testGroup{name: "g", count: count, cpu: 100, mem: 100})))
}

// planOn decides the evaluation the way a scheduler does, on the first nodes that
// have room.
func planOn(s *projections.State, eval *event.Evaluation) *event.PlanCommitted {
	job := s.Job(eval.Job())
	group := event.PlannedGroup{Name: "g"}
	p := &event.PlanCommitted{
		EvalID: eval.ID, Namespace: eval.Namespace, JobID: eval.JobID, JobVersion: job.Version, Basis: s.Index(), Outcome: event.EvalComplete,
	}
	taken := make(map[uint32]bool)
	for a := range s.AllocationsOf(job.Key) {
		if a.Live() {
			taken[a.NameIndex] = true
		}
	}
	ask := job.Spec.Ask("g")
	next := uint32(0)
	for n := range s.Nodes() {
		room := projections.RoomOn(n)
		used := false
		for len(taken) < job.Spec.Job.TaskGroups[0].Count {
			if _, ok := room.Fits(ask, nil); !ok {
				break
			}
			room.Take(ask, nil)
			for taken[next] {
				next++
			}
			taken[next] = true
			if !used {
				p.Nodes, used = append(p.Nodes, n.Info.ID), true
			}
			group.Placements = append(group.Placements, event.Placement{Ordinal: uint32(len(group.Placements)), Node: uint32(len(p.Nodes) - 1), Name: next})
		}
	}
	p.Groups = []event.PlannedGroup{group}
	return p
}

// pendingOf is the job's pending evaluation on the state.
func pendingOf(s *projections.State, job string) *event.Evaluation {
	for e := range s.PendingEvaluations() {
		if e.JobID == job {
			return e
		}
	}
	return nil
}

func proposal(p *event.PlanCommitted, basis *projections.State) Command {
	return Command{ID: event.DeriveID("proposal", p.EvalID, p.Basis), Epoch: basis.Epoch(), Body: CommitPlan{Plan: p}}
}

func (s *server) propose(cmd Command) <-chan reply {
	answer := make(chan reply, 1)
	go func() {
		result, err := s.Propose(context.Background(), cmd)
		answer <- reply{result, err}
	}()
	return answer
}

func placed(s *projections.State, job string) (n int) {
	for a := range s.AllocationsOf(event.JobKey{Namespace: "default", ID: job}) {
		if a.Live() {
			n++
		}
	}
	return n
}

// Workers see what is decided while the append is still on its way, and decide on
// it; nobody else does, and nobody is answered.
func TestTipIsAheadOfWhatIsDurable(t *testing.T) {
	held(t, func(t *testing.T, s *server, hold *gate) {
		hold.set(false)
		published := s.store.Snapshot()
		waits := s.Tip().Changed()
		web := s.send(submitOf("web", 3))
		notYet(t, web)
		select {
		case <-waits:
		default:
			t.Fatal("nobody was told that there is something to do")
		}
		tip := s.Tip().Snapshot()
		eval := pendingOf(tip, "web")
		if eval == nil {
			t.Fatal("the evaluation cannot be seen")
		}
		if r := committed(t, s.propose(proposal(planOn(tip, eval), tip))); r.State.Index() <= tip.Index() {
			t.Fatalf("answered with a state at %d", r.State.Index())
		}
		if tip = s.Tip().Snapshot(); placed(tip, "web") != 3 || pendingOf(tip, "web") != nil {
			t.Fatalf("the tip shows %d allocations", placed(tip, "web"))
		}
		notYet(t, web)
		if s.store.Snapshot() != published {
			t.Fatal("readers see what is not durable")
		}
		hold.let <- struct{}{} // the job
		committed(t, web)
		if got := s.store.Snapshot(); pendingOf(got, "web") == nil || placed(got, "web") != 0 {
			t.Fatal("readers see a plan that is not durable")
		}
		hold.let <- struct{}{} // the plan
		once(t, []*server{s}, "submit web")
		if n := placed(s.store.Snapshot(), "web"); n != 3 {
			t.Fatalf("%d allocations", n)
		}
		hold.set(true)
	})
}

// The append of a plan that a worker went on from is lost: what was decided on it
// is refused, everything is decided anew, and nothing is placed twice.
func TestWhatWasDecidedOnALostStateIsRefused(t *testing.T) {
	for _, fault := range []memlog.Fault{memlog.Lose, memlog.Refuse, memlog.Late} {
		t.Run(fault.String(), func(t *testing.T) {
			held(t, func(t *testing.T, s *server, hold *gate) {
				committed(t, s.send(submitOf("web", 3)))
				committed(t, s.send(submitOf("db", 4)))
				hold.set(false)
				basis := s.Tip().Snapshot()
				committed(t, s.propose(proposal(planOn(basis, pendingOf(basis, "web")), basis)))
				lost := s.Tip().Snapshot()
				lostPlan := proposal(planOn(lost, pendingOf(lost, "db")), lost)
				waits := s.Tip().Changed()

				s.log.Cluster().Inject(fault)
				hold.let <- struct{}{}
				hold.set(true)
				synctest.Wait()
				select {
				case <-waits:
				default:
					t.Error("nobody was told that the state is lost")
				}
				time.Sleep(time.Second)
				s.log.Cluster().DeliverLate()
				synctest.Wait()
				var rejection *Rejection
				answer := s.propose(lostPlan)
				synctest.Wait()
				if r, ok := answered(answer); !ok || !errors.As(r.err, &rejection) || rejection.Reason != ReasonSuperseded {
					t.Fatalf("a plan on a lost state: %v", r)
				}
				for _, job := range []string{"web", "db"} {
					now := s.Tip().Snapshot()
					eval := pendingOf(now, job)
					if eval == nil {
						t.Fatalf("the evaluation of %s is lost", job)
					}
					committed(t, s.propose(proposal(planOn(now, eval), now)))
				}
				once(t, []*server{s}, "submit web", "submit db")
				if web, db := placed(s.store.Snapshot(), "web"), placed(s.store.Snapshot(), "db"); web != 3 || db != 4 {
					t.Fatalf("%d and %d allocations", web, db)
				}
			})
		})
	}
}

// An answer that was lost is no loss: the plan is in the log, and comes back with it.
func TestALostAnswerLosesNoPlan(t *testing.T) {
	held(t, func(t *testing.T, s *server, hold *gate) {
		committed(t, s.send(submitOf("web", 3)))
		basis := s.Tip().Snapshot()
		s.log.Cluster().Inject(memlog.LoseAnswer)
		committed(t, s.propose(proposal(planOn(basis, pendingOf(basis, "web")), basis)))
		time.Sleep(time.Second)
		synctest.Wait()
		if now := s.Tip().Snapshot(); placed(now, "web") != 3 || pendingOf(now, "web") != nil || now != s.store.Snapshot() {
			t.Fatalf("%d allocations", placed(now, "web"))
		}
		once(t, []*server{s}, "submit web")
	})
}

// A server that does not lead shows its workers what is published.
func TestTipWithoutCommitter(t *testing.T) {
	two(t, func(t *testing.T, first, second *server, faults *memlog.Cluster) {
		waits := second.Tip().Changed()
		r := committed(t, first.send(noteCommand("a")))
		select {
		case <-waits:
		default:
			t.Error("not told of a new state")
		}
		if s := second.Tip().Snapshot(); s.Index() != r.Index || s != second.store.Snapshot() {
			t.Errorf("the tip is at %d", s.Index())
		}
		faults.Elect(2)
		synctest.Wait()
		if s := first.Tip().Snapshot(); s != first.store.Snapshot() {
			t.Error("a deposed leader's tip is its own")
		}
	})
}

// Plans that wait hold up nobody else: of what comes later, what is no plan is
// decided first.
func TestPlansWaitApart(t *testing.T) {
	held(t, func(t *testing.T, s *server, hold *gate) {
		for i := range 8 {
			committed(t, s.send(submitOf(fmt.Sprint("job", i), 1)))
		}
		basis := s.Tip().Snapshot()
		// The committer is stopped inside a command while the others queue up.
		stopped := make(chan struct{})
		first := s.send(command("stopped", waitFor{stopped}))
		synctest.Wait()
		var plans []<-chan reply
		for i := range 8 {
			plans = append(plans, s.propose(proposal(planOn(basis, pendingOf(basis, fmt.Sprint("job", i))), basis)))
		}
		synctest.Wait()
		var notes []<-chan reply
		for i := range passPlansMax + 8 {
			notes = append(notes, s.send(noteCommand(fmt.Sprint(i))))
		}
		synctest.Wait()
		close(stopped)
		committed(t, first)
		var order []string
		for _, r := range once(t, []*server{s}) {
			if r.Index > basis.Index()+1 && r.Last {
				order = append(order, r.Kind.String())
			}
		}
		for _, answer := range append(plans, notes...) {
			committed(t, answer)
		}
		if at := slices.Index(order, "PlanCommitted"); at != passPlansMax {
			t.Errorf("the first plan came after %d others", at)
		}
	})
}

// waitFor is a command that is decided when somebody lets it.
type waitFor struct{ signal <-chan struct{} }

func (w waitFor) decide(d *decision) *Rejection {
	<-w.signal
	return note{name: "waited"}.decide(d)
}

// Jobs come, workers decide them on the tips of two servers, and the log loses
// appends, answers and leaders. In the end every job is placed, once.
func TestWorkersOverFaults(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { workersOverFaults(t, seed) })
		})
	}
}

func workersOverFaults(t *testing.T, seed uint64) {
	const jobs, count = 60, 5
	faults := memlog.NewCluster(2)
	luck := &luck{faults: faults, chance: rand.New(rand.NewPCG(seed, 0))}
	servers := []*server{newServer(faults.Log(1), "s1", quiet()), newServer(faults.Log(2), "s2", quiet())}
	for _, s := range servers {
		s.cfg.Log = unluckyLog{memLog{s.log}, luck}
		s.start()
	}
	synctest.Wait()
	addFleet(t, servers[0], jobs*count/4+1)
	luck.mu.Lock()
	luck.on = true
	luck.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	refused := 0
	for i, s := range servers {
		running.Go(func() {
			chance := rand.New(rand.NewPCG(seed, uint64(i)+7))
			for ctx.Err() == nil {
				changed := s.Tip().Changed()
				tip := s.Tip().Snapshot()
				var eval *event.Evaluation
				for e := range tip.PendingEvaluations() {
					eval = e
					break
				}
				if eval == nil {
					select {
					case <-changed:
					case <-ctx.Done():
					}
					continue
				}
				plan := planOn(tip, eval)
				time.Sleep(time.Duration(chance.IntN(3)) * time.Millisecond) // others may decide meanwhile
				_, err := s.Propose(ctx, Command{ID: event.DeriveID("proposal", eval.ID, chance.Uint64()), Epoch: tip.Epoch(), Body: CommitPlan{Plan: plan}})
				var rejection *Rejection
				if errors.As(err, &rejection) {
					refused++
				}
			}
		})
	}
	stopFaults, faultsDone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(faultsDone)
		elections(faults, rand.New(rand.NewPCG(seed, 1000)), stopFaults)
	}()
	chance := rand.New(rand.NewPCG(seed, 1))
	for i := range jobs {
		time.Sleep(time.Duration(chance.IntN(10)) * time.Millisecond)
		if _, err := insist(ctx, servers, submitOf(fmt.Sprint("job", i), count), chance); err != nil {
			t.Fatal(err)
		}
	}
	close(stopFaults)
	<-faultsDone
	luck.end()
	faults.DeliverLate()
	faults.Elect(1)
	if _, err := insist(ctx, servers, noteCommand("final"), chance); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	state := servers[0].store.Snapshot()
	for i := range jobs {
		job := fmt.Sprint("job", i)
		if n := placed(state, job); n != count {
			t.Errorf("%s has %d allocations, pending %v", job, n, pendingOf(state, job))
		}
	}
	for _, s := range servers {
		if s.Tip().Snapshot().Index() != state.Index() {
			t.Errorf("a tip is at %d, the log at %d", s.Tip().Snapshot().Index(), state.Index())
		}
	}
	cancel()
	running.Wait()
	once(t, servers[:1])
	for _, s := range servers {
		s.stop(t)
	}
	t.Logf("%d records, %d epochs, %d plans refused", state.Index(), state.Epoch(), refused)
}
