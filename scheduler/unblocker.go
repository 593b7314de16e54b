package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// Waker makes blocked evaluations pending again. The command carries the epoch
// that the reactor was born in and is refused in any other. Evaluations that are
// not blocked any more are passed over.
type Waker interface {
	Unblock(ctx context.Context, epoch uint64, evals []event.ID) error
}

// Unblocker is the reactor that wakes blocked evaluations when room came that
// they can use. It keeps nothing that a new leader could not derive: whether to
// wake one follows from the state alone.
type Unblocker struct {
	Source Source
	Waker  Waker
	Epoch  uint64       // the epoch of the leadership that this reactor serves
	Log    *slog.Logger // nil discards
}

// Run wakes evaluations until ctx ends.
func (u *Unblocker) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	wake := follow(ctx, u.Source, &running)
	contended := time.NewTicker(attemptsRetry)
	defer contended.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	wait := retryFirst
	var seen seenCapacity
	for {
		s := u.Source.Snapshot()
		err := u.unblock(ctx, wakeable(s, seen))
		if err == nil {
			seen, wait = seenCapacity{s.Index(), s.CapacityIndex(nil, true)}, retryFirst
		} else {
			again.Reset(wait)
			wait = min(2*wait, retryMax)
		}
		select {
		case <-wake:
		case <-again.C:
		case <-contended.C:
			if err := u.unblock(ctx, contention(u.Source.Snapshot())); err != nil && ctx.Err() == nil && u.Log != nil {
				u.Log.Warn("contended evaluations stay blocked for another while", "error", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (u *Unblocker) unblock(ctx context.Context, evals []event.ID) error {
	for len(evals) > 0 {
		n := min(len(evals), unblockMax)
		if err := u.Waker.Unblock(ctx, u.Epoch, evals[:n]); err != nil {
			if u.Log != nil && ctx.Err() == nil {
				u.Log.Warn("blocked evaluations were not woken", "count", len(evals), "error", err)
			}
			return fmt.Errorf("wake %d evaluations: %w", len(evals), err)
		}
		evals = evals[n:]
	}
	return nil
}

// seenCapacity is what was looked at before: blocked evaluations up to index,
// against room that came up to capacity.
type seenCapacity struct{ index, capacity uint64 }

// wakeable lists the blocked evaluations for which room came since they were
// decided. That it asks for the time of the decision, and not of falling asleep,
// is what keeps a wake-up from being missed in between.
func wakeable(s *projections.State, seen seenCapacity) []event.ID {
	moved := s.CapacityIndex(nil, true) > seen.capacity
	var evals []event.ID
	for eval := range s.BlockedEvaluations() {
		if !moved && eval.ModifyIndex <= seen.index || eval.TriggeredBy == event.TriggerMaxPlanAttempts {
			continue
		}
		if s.CapacityIndex(eval.ClassEligibility, eval.EscapedComputedClass) > eval.SnapshotIndex {
			evals = append(evals, eval.ID)
		}
	}
	return evals
}

// contention lists the evaluations that wait because their plans were refused
// too often. No room has to come for them.
func contention(s *projections.State) []event.ID {
	var evals []event.ID
	for eval := range s.BlockedEvaluations() {
		if eval.TriggeredBy == event.TriggerMaxPlanAttempts {
			evals = append(evals, eval.ID)
		}
	}
	return evals
}
