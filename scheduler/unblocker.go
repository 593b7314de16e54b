package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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

// History is a source that tells what changed, too.
type History interface {
	Source
	// CommitsAfter lists the commits after the index, as far back as they are
	// kept, and a channel that is closed at the next one.
	CommitsAfter(index uint64) ([]projections.Commit, <-chan struct{})
}

// Unblocker is the reactor that wakes blocked evaluations when room came that
// they can use. It keeps nothing that a new leader could not derive: whom to wake
// follows from the state alone (see sleepers), and is derived from it when the
// commits that it follows have a gap.
type Unblocker struct {
	Source History
	Waker  Waker
	Epoch  uint64       // the epoch of the leadership that this reactor serves
	Log    *slog.Logger // nil discards

	// Looked, if set, is called each time that something was looked at.
	Looked func(Wakeup)
}

// Wakeup is one look at what waits.
type Wakeup struct {
	Blocked int           // evaluations that wait, or were woken and are not decided yet
	Demands int           // different things that they ask for
	Woken   int           // evaluations told to wake
	Took    time.Duration // to find them
}

// Run wakes evaluations until ctx ends.
func (u *Unblocker) Run(ctx context.Context) error {
	contended := time.NewTicker(attemptsRetry)
	defer contended.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	<-again.C
	wait, resting := retryFirst, false
	var asleep *sleepers
	for {
		began := time.Now()
		var index uint64
		if asleep != nil {
			index = asleep.state.Index()
		}
		s := u.Source.Snapshot()
		commits, changed := u.Source.CommitsAfter(index)
		if asleep == nil || len(commits) == 0 && s.Index() > index || !asleep.follow(commits) {
			asleep = newSleepers(u.Source.Snapshot())
		}
		due := asleep.due()
		took := time.Since(began)
		woken := 0
		if !resting && len(due) > 0 {
			// A part at a time: what happens meanwhile may change who is next.
			woken = min(len(due), unblockMax)
			if err := u.unblock(ctx, due[:woken]); err != nil {
				woken, resting = 0, true
				again.Reset(wait)
				wait = min(2*wait, retryMax)
			} else {
				asleep.sent(woken)
				wait = retryFirst
			}
		}
		if u.Looked != nil {
			u.Looked(Wakeup{Blocked: asleep.blocked(), Demands: len(asleep.byKey), Woken: woken, Took: took})
		}
		if woken > 0 && woken < len(due) {
			continue
		}
		select {
		case <-changed:
		case <-again.C:
			resting = false
		case <-contended.C:
			u.release(ctx, slices.SortedFunc(maps.Keys(asleep.contended), event.ID.Compare))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release wakes those who wait because their plans were refused too often. No
// room has to come for them.
func (u *Unblocker) release(ctx context.Context, evals []event.ID) {
	for some := range slices.Chunk(evals, unblockMax) {
		if u.unblock(ctx, some) != nil {
			return // at the next tick
		}
	}
}

func (u *Unblocker) unblock(ctx context.Context, evals []event.ID) error {
	if err := u.Waker.Unblock(ctx, u.Epoch, evals); err != nil {
		if u.Log != nil && ctx.Err() == nil {
			u.Log.Warn("blocked evaluations were not woken", "count", len(evals), "error", err)
		}
		return fmt.Errorf("wake %d evaluations: %w", len(evals), err)
	}
	return nil
}
