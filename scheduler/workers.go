package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// Source is where the state comes from.
type Source interface {
	// Snapshot is the newest state.
	Snapshot() *projections.State
	// Await returns the first state seen whose index is greater than after.
	Await(ctx context.Context, after uint64) (*projections.State, error)
}

// Tip is where workers take the state from: the newest one, which may be ahead
// of what is durable. What is lost before it becomes durable vanishes from it;
// the state after that may have a lower index, and another epoch.
type Tip interface {
	Snapshot() *projections.State
	// Changed is closed when there is another state. To wait for a condition, take
	// the channel, look at a snapshot, and only then wait.
	Changed() <-chan struct{}
}

// Proposal is a plan with what it was decided on.
type Proposal struct {
	Plan *event.PlanCommitted
	// Epoch is that of the state that the plan was decided on. In any other epoch
	// that state may be lost, so that the plan is refused as stale.
	Epoch uint64
	Cause uint64 // index of the record that asked for the evaluation
}

// Committer takes plans. An error means that nobody knows what became of the
// plan or that nobody took it, and the worker asks again later; a plan that was
// refused is a result. The answer need not wait until the plan is durable: what
// is lost afterwards is gone from the Tip, and its evaluation is pending again.
type Committer interface {
	CommitPlan(ctx context.Context, p Proposal) (PlanResult, error)
	// FailEvaluation gives up on an evaluation. One that is not open any more is
	// not an error.
	FailEvaluation(ctx context.Context, epoch uint64, eval *event.Evaluation, description string) error
}

// PlanResult is what became of a plan.
type PlanResult struct {
	// Index is the index that the next decision must see; zero is any.
	Index   uint64
	Open    bool   // the evaluation is still open though all was committed: nodes came meanwhile
	Partial bool   // nodes that no longer fit were left out, the evaluation is still open
	Refused string // why nothing was committed; empty when something was
	Closed  bool   // refused because the evaluation is not open any more
	Stale   bool   // refused because what it was decided on is gone
}

// Workers run evaluations: Count of them at the same time, at most one of a job.
//
// Each decides on the newest state that is decided at all, so that one worker
// never loses anything to itself. Several that decide at the same time tend to
// choose the same nodes, the best ones. So plans are handed over one at a time; a
// plan whose nodes were taken meanwhile is not handed over at all but decided
// again, while nobody else can hand over. What is lost at commit, then, is lost to
// what no worker did: nodes that went down, jobs that changed.
type Workers struct {
	Source    Tip
	Committer Committer
	Count     int          // workers to begin with; at least 1
	Types     []string     // of the jobs whose evaluations are taken to begin with; empty = all
	Log       *slog.Logger // nil discards

	// Decided, if set, is called after each decision with the time it took.
	Decided func(plan *event.PlanCommitted, took time.Duration)
	// Overtaken, if set, is called for each plan that is decided again before it
	// was handed over, since another one took its place.
	Overtaken func()

	handing chan struct{} // holds a token; taken while a plan is handed over

	mu      sync.Mutex
	workers []*worker // that run, or ran
	hire    func()    // replaces them by others, with mu held; nil unless they run
}

// Lineup is how many workers there are, and what they take.
type Lineup struct {
	Count int      // 0 = nothing is decided here
	Types []string // of the jobs whose evaluations they take; empty = all
}

// Lineup tells it.
func (w *Workers) Lineup() Lineup {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Lineup{Count: w.Count, Types: slices.Clone(w.Types)}
}

// Arrange replaces the workers by as many, who take as much, as l says. Those before finish what they are at.
func (w *Workers) Arrange(l Lineup) error {
	if l.Count < 0 || l.Count > workersMax {
		return fmt.Errorf("the number of schedulers is %d: it must be between 0 and %d", l.Count, workersMax)
	}
	for _, kind := range l.Types {
		if !Supports(kind) {
			return fmt.Errorf("there is no scheduler %q", kind)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Count, w.Types = l.Count, slices.Clone(l.Types)
	if w.hire != nil {
		w.hire()
	}
	return nil
}

// WorkerState is what a worker does.
type WorkerState struct {
	Started time.Time
	Busy    bool // with an evaluation
}

// States lists the workers, in a fixed order; none before Run.
func (w *Workers) States() []WorkerState {
	w.mu.Lock()
	defer w.mu.Unlock()
	states := make([]WorkerState, len(w.workers))
	for i, one := range w.workers {
		states[i] = WorkerState{Started: one.started, Busy: one.busy.Load()}
	}
	return states
}

// Run works until ctx ends, and returns when all workers have stopped. It is woken
// by new snapshots; evaluations that are open when it starts are found at once.
func (w *Workers) Run(ctx context.Context) error {
	if w.Count < 1 {
		return fmt.Errorf("scheduler workers: Count is %d, at least 1 is needed", w.Count)
	}
	w.handing = make(chan struct{}, 1)
	w.handing <- struct{}{}
	var running sync.WaitGroup
	jobs := &busyJobs{busy: make(map[event.JobKey]bool, w.Count), freed: make(chan struct{})}
	w.mu.Lock()
	w.hire = func() {
		for _, one := range w.workers {
			close(one.retired)
		}
		w.workers = make([]*worker, w.Count)
		for i := range w.workers {
			one := &worker{Workers: w, types: w.Types, wait: retryFirst, started: time.Now(), retired: make(chan struct{})}
			w.workers[i] = one
			running.Go(func() { one.work(ctx, jobs) })
		}
	}
	w.hire()
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.hire = nil
	w.mu.Unlock()
	running.Wait()
	return ctx.Err()
}

// busyJobs are the jobs that workers work on.
type busyJobs struct {
	mu    sync.Mutex
	busy  map[event.JobKey]bool
	freed chan struct{} // closed when a job is free of whom will not look for its next evaluation
}

// take finds the most urgent evaluation of those types, or with none of any, of a job that nobody works on; nil when
// there is none.
func (j *busyJobs) take(s *projections.State, types []string) *event.Evaluation {
	if s.Scheduler().PauseEvaluations {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for eval := range s.PendingEvaluations() {
		if !j.busy[eval.Job()] && (len(types) == 0 || slices.Contains(types, eval.Type)) {
			j.busy[eval.Job()] = true
			return eval
		}
	}
	return nil
}

func (j *busyJobs) leave(job event.JobKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.busy, job)
}

// wake has all look again: who worked on a job will not look for its next evaluation.
func (j *busyJobs) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.freed)
	j.freed = make(chan struct{})
}

// someFreed is closed when a job may be free again that nobody looks at by himself.
func (j *busyJobs) someFreed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.freed
}

// work runs one evaluation after the other. A worker finds its own work: on a
// machine with much to do, every turn of another goroutine on the way from one
// evaluation to the next would be waited for. An evaluation that was passed over
// because its job was busy is found by who was busy with it.
func (w *worker) work(ctx context.Context, jobs *busyJobs) {
	for ctx.Err() == nil {
		select {
		case <-w.retired:
			jobs.wake()
			return
		default:
		}
		eval := jobs.take(w.Source.Snapshot(), w.types)
		if eval == nil {
			changed, freed := w.Source.Changed(), jobs.someFreed()
			if eval = jobs.take(w.Source.Snapshot(), w.types); eval == nil {
				select {
				case <-changed:
				case <-freed:
				case <-w.retired:
				case <-ctx.Done():
				}
				continue
			}
		}
		w.busy.Store(true)
		w.run(ctx, eval)
		w.busy.Store(false)
		jobs.leave(eval.Job())
	}
}

// worker runs one evaluation at a time.
type worker struct {
	*Workers
	scheduler Scheduler
	types     []string      // of the jobs whose evaluations it takes; empty = all
	retired   chan struct{} // closed when it is to take no more
	wait      time.Duration // before the next try after an error
	started   time.Time
	busy      atomic.Bool
}

func (w *worker) run(ctx context.Context, eval *event.Evaluation) {
	err := w.process(ctx, eval)
	if err == nil {
		w.wait = retryFirst
		return
	}
	if ctx.Err() != nil {
		return
	}
	if w.Log != nil {
		w.Log.Warn("evaluation will be tried again", "eval", eval.ID, "job", eval.Job(), "wait", w.wait, "error", err)
	}
	pause(ctx, w.wait)
	w.wait = min(2*w.wait, retryMax)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// process decides an evaluation until its plan is committed whole, it is closed
// by somebody else, or its attempts are used up. When it returns without error,
// the snapshot shows what it did.
func (w *worker) process(ctx context.Context, eval *event.Evaluation) error {
	limit := attemptsService
	if eval.Type == event.JobTypeBatch {
		limit = attemptsBatch
	}
	s := w.Source.Snapshot()
	previous := 0
	for attempts, stale := 0, 0; attempts < limit && stale < attemptsStale; {
		if eval = s.Evaluation(eval.ID); eval == nil || eval.Status != event.EvalPending {
			return nil
		}
		if job := s.Job(eval.Job()); job != nil && !job.Stopped && !Supports(job.Spec.Job.Type) {
			return w.fail(ctx, s, eval, fmt.Sprintf("no scheduler for jobs of type %q", job.Spec.Job.Type))
		}
		plan, result, err := w.decide(ctx, s, eval)
		if err != nil {
			return fmt.Errorf("commit a plan for evaluation %v: %w", eval.ID, err)
		}
		left := decisions(plan)
		if left < previous {
			attempts = 0 // the last plan got something done
		}
		previous = left
		if result.Closed {
			return nil
		}
		if s, err = w.refresh(ctx, s.Epoch(), result.Index); err != nil {
			return err
		}
		switch {
		case result.Refused == "" && !result.Partial && !result.Open && plan.Outcome != event.EvalPending:
			return nil
		case result.Refused == "" && !result.Partial:
			attempts = 0 // one part of several
		case result.Stale:
			stale++
		default:
			attempts++
		}
	}
	return w.fail(ctx, s, eval, fmt.Sprintf("maximum attempts reached (%d)", limit))
}

// decide makes a plan and hands it over, unless it can be seen already that it
// would not be taken.
func (w *worker) decide(ctx context.Context, s *projections.State, eval *event.Evaluation) (*event.PlanCommitted, PlanResult, error) {
	plan := w.schedule(s, eval)
	select {
	case <-w.handing:
		defer func() { w.handing <- struct{}{} }()
	case <-ctx.Done():
		return plan, PlanResult{}, ctx.Err()
	}
	if tip := w.Source.Snapshot(); tip != s {
		now := tip.Evaluation(eval.ID)
		switch {
		case now == nil || now.Status != event.EvalPending:
			return plan, PlanResult{Closed: true}, nil
		case jobMoved(plan, tip):
			return plan, PlanResult{Refused: "its job has changed meanwhile", Stale: true}, nil
		case !stillFits(plan, s, tip):
			if w.Overtaken != nil {
				w.Overtaken()
			}
			s, eval = tip, now
			plan = w.schedule(s, eval)
		}
	}
	result, err := w.Committer.CommitPlan(ctx, Proposal{Plan: plan, Epoch: s.Epoch(), Cause: eval.ModifyIndex})
	return plan, result, err
}

func (w *worker) schedule(s *projections.State, eval *event.Evaluation) *event.PlanCommitted {
	began := time.Now()
	plan := w.scheduler.Schedule(s, eval)
	if w.Decided != nil {
		w.Decided(plan, time.Since(began))
	}
	return plan
}

// jobMoved reports whether the job has changed since the plan was decided.
func jobMoved(plan *event.PlanCommitted, tip *projections.State) bool {
	job := tip.Job(event.JobKey{Namespace: plan.Namespace, ID: plan.JobID})
	return job == nil && decisions(plan) > len(plan.Stops) || job != nil && job.ChangeIndex > plan.Basis
}

// stillFits reports whether what a plan decided on s has room on a newer state:
// what Decide finds out in earnest, for those nodes only that have changed. Where
// a plan does more on such a node than to place, it says no; to decide again is
// never wrong.
func stillFits(plan *event.PlanCommitted, s, tip *projections.State) bool {
	job := tip.Job(event.JobKey{Namespace: plan.Namespace, ID: plan.JobID})
	rooms := make([]*projections.Room, len(plan.Nodes)) // nil where nothing changed
	changed := 0
	for i, id := range plan.Nodes {
		node := tip.Node(id)
		if node == s.Node(id) {
			continue
		}
		if node == nil || !node.Schedulable() {
			return false
		}
		room := projections.RoomOn(node)
		rooms[i] = &room
		changed++
	}
	if changed == 0 {
		return true
	}
	if len(plan.Stops)+len(plan.InPlace) > 0 || job == nil {
		return false
	}
	for _, g := range plan.Groups {
		ask := job.Spec.Ask(g.Name)
		for i := range g.Placements {
			p := &g.Placements[i]
			room := rooms[p.Node]
			if room == nil {
				continue
			}
			if _, ok := room.Fits(ask, p.Ports); !ok {
				return false
			}
			room.Take(ask, p.Ports)
		}
	}
	return true
}

// refresh returns a snapshot that has seen the index, unless that was lost with
// its epoch.
func (w *worker) refresh(ctx context.Context, epoch, index uint64) (*projections.State, error) {
	return w.await(ctx, func(s *projections.State) bool { return s.Index() >= index || s.Epoch() != epoch })
}

// await returns the first snapshot seen for which the condition holds.
func (w *worker) await(ctx context.Context, holds func(*projections.State) bool) (*projections.State, error) {
	if s := w.Source.Snapshot(); holds(s) {
		return s, nil
	}
	for {
		changed := w.Source.Changed()
		if s := w.Source.Snapshot(); holds(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a newer state: %w", ctx.Err())
		}
	}
}

// fail gives up on an evaluation and waits until that can be seen.
func (w *worker) fail(ctx context.Context, s *projections.State, eval *event.Evaluation, description string) error {
	if w.Log != nil {
		w.Log.Warn("evaluation given up", "eval", eval.ID, "job", eval.Job(), "reason", description)
	}
	if err := w.Committer.FailEvaluation(ctx, s.Epoch(), eval, description); err != nil {
		return fmt.Errorf("fail evaluation %v: %w", eval.ID, err)
	}
	_, err := w.await(ctx, func(now *projections.State) bool {
		e := now.Evaluation(eval.ID)
		return e == nil || e.Status != event.EvalPending || now.Epoch() != s.Epoch()
	})
	return err
}

// decisions is how much a plan does or could not do.
func decisions(plan *event.PlanCommitted) int {
	n := len(plan.Stops) + len(plan.InPlace)
	for _, g := range plan.Groups {
		n += len(g.Placements)
	}
	for _, queued := range plan.Queued {
		n += queued
	}
	return n
}
