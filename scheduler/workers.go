package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// Committer takes plans. An error means that nobody knows what became of the
// plan or that nobody took it, and the worker asks again later; a plan that was
// refused is a result.
type Committer interface {
	CommitPlan(ctx context.Context, plan *event.PlanCommitted) (PlanResult, error)
	// FailEvaluation gives up on an evaluation. One that is not open any more is
	// not an error.
	FailEvaluation(ctx context.Context, evalID event.ID, description string) error
}

// PlanResult is what became of a plan.
type PlanResult struct {
	Index   uint64 // of the plan's record; zero when it was refused
	Partial bool   // nodes that no longer fit were left out, the evaluation is still open
	Refused string // why nothing was committed; empty when something was
	Closed  bool   // refused because the evaluation is not open any more
	// RefreshIndex is the index that the next decision must see; set after a
	// partial commit and when the plan was refused because its basis is gone.
	RefreshIndex uint64
}

// Workers run evaluations: Count of them at the same time, at most one of a job.
type Workers struct {
	Source    Source
	Committer Committer
	Count     int          // workers; at least 1
	Log       *slog.Logger // nil discards

	// Decided, if set, is called after each decision with the time it took.
	Decided func(plan *event.PlanCommitted, took time.Duration)
}

// Run works until ctx ends, and returns when all workers have stopped. It is woken
// by new snapshots; evaluations that are open when it starts are found at once.
func (w *Workers) Run(ctx context.Context) error {
	if w.Count < 1 {
		return fmt.Errorf("scheduler workers: Count is %d, at least 1 is needed", w.Count)
	}
	work := make(chan *event.Evaluation, w.Count)
	done := make(chan event.JobKey, w.Count)
	var running sync.WaitGroup
	defer running.Wait()
	defer close(work)
	for range w.Count {
		running.Go(func() {
			one := worker{Workers: w, wait: retryFirst}
			for eval := range work {
				if ctx.Err() == nil {
					one.run(ctx, eval)
				}
				done <- eval.Job()
			}
		})
	}
	wake := follow(ctx, w.Source, &running)
	busy := make(map[event.JobKey]bool, w.Count)
	for {
		w.handOut(work, busy)
		select {
		case key := <-done:
			delete(busy, key)
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handOut gives idle workers the most urgent evaluations of jobs that nobody
// works on.
func (w *Workers) handOut(work chan<- *event.Evaluation, busy map[event.JobKey]bool) {
	if len(busy) == w.Count {
		return
	}
	for eval := range w.Source.Snapshot().PendingEvaluations() {
		if busy[eval.Job()] {
			continue
		}
		busy[eval.Job()] = true
		work <- eval
		if len(busy) == w.Count {
			return
		}
	}
}

// follow signals on the channel that there is a newer snapshot than at the call. A
// signal stands for all snapshots up to the moment when it is received.
func follow(ctx context.Context, source Source, running *sync.WaitGroup) <-chan struct{} {
	wake := make(chan struct{}, 1)
	seen := source.Snapshot().Index()
	running.Go(func() {
		for {
			s, err := source.Await(ctx, seen)
			if err != nil {
				return
			}
			seen = s.Index()
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	return wake
}

// worker runs one evaluation at a time.
type worker struct {
	*Workers
	scheduler Scheduler
	wait      time.Duration // before the next try after an error
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
			return w.fail(ctx, eval, fmt.Sprintf("no scheduler for jobs of type %q", job.Spec.Job.Type))
		}
		began := time.Now()
		plan := w.scheduler.Schedule(s, eval)
		if w.Decided != nil {
			w.Decided(plan, time.Since(began))
		}
		left := decisions(plan)
		if left < previous {
			attempts = 0 // the last plan got something done
		}
		previous = left
		result, err := w.Committer.CommitPlan(ctx, plan)
		if err != nil {
			return fmt.Errorf("commit a plan for evaluation %v: %w", eval.ID, err)
		}
		refresh := max(result.Index, result.RefreshIndex)
		switch {
		case result.Closed:
			return nil
		case result.Refused == "" && !result.Partial && plan.Outcome != event.EvalPending:
			_, err := w.refresh(ctx, refresh)
			return err
		case result.Refused == "" && !result.Partial:
			attempts = 0 // one part of several
		case result.Refused != "" && result.RefreshIndex > 0:
			stale++
		default:
			attempts++
		}
		if s, err = w.refresh(ctx, refresh); err != nil {
			return err
		}
	}
	return w.fail(ctx, eval, fmt.Sprintf("maximum attempts reached (%d)", limit))
}

// refresh returns a snapshot that has seen the index.
func (w *worker) refresh(ctx context.Context, index uint64) (*projections.State, error) {
	if index == 0 {
		return w.Source.Snapshot(), nil
	}
	s, err := w.Source.Await(ctx, index-1)
	if err != nil {
		return nil, fmt.Errorf("wait for the state at %d: %w", index, err)
	}
	return s, nil
}

// fail gives up on an evaluation and waits until that can be seen.
func (w *worker) fail(ctx context.Context, eval *event.Evaluation, description string) error {
	if w.Log != nil {
		w.Log.Warn("evaluation given up", "eval", eval.ID, "job", eval.Job(), "reason", description)
	}
	if err := w.Committer.FailEvaluation(ctx, eval.ID, description); err != nil {
		return fmt.Errorf("fail evaluation %v: %w", eval.ID, err)
	}
	for s := w.Source.Snapshot(); ; {
		if e := s.Evaluation(eval.ID); e == nil || e.Status != event.EvalPending {
			return nil
		}
		var err error
		if s, err = w.Source.Await(ctx, s.Index()); err != nil {
			return errors.Join(fmt.Errorf("wait for the end of evaluation %v", eval.ID), err)
		}
	}
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
