package commands

import (
	"sync"
	"sync/atomic"

	"drover/projections"
)

// Tip is the newest state that the committer of this server has decided, ahead
// of what is durable; where the committer does not lead, the newest published
// one. The scheduler's workers decide on it, so that a plan need not be on disk
// before the next one is made, and nobody decides on room that is given away
// already. Nobody else may see it: what it shows can be lost.
//
// What was lost is not seen any more, and the next state may have a lower index.
// It has another epoch: decisions are lost only when an epoch ends.
type Tip struct {
	store   *projections.Store
	decided atomic.Pointer[projections.State] // nil when nobody decides here
	wanted  chan struct{}                     // holds a token when somebody waits for the next one

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
}

func newTip(store *projections.Store) *Tip {
	return &Tip{store: store, wanted: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Snapshot is the newest state.
func (t *Tip) Snapshot() *projections.State {
	if s := t.decided.Load(); s != nil {
		return s
	}
	return t.store.Snapshot()
}

// Changed is closed when there is another state. To wait for a condition, take
// the channel, look at a snapshot, and only then wait. To take it is to ask for
// the next state, which costs the committer something; do so only to wait.
func (t *Tip) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.decided.Load() == nil {
		// Whatever is decided from here on is published some time.
		return t.store.Changed()
	}
	select {
	case t.wanted <- struct{}{}:
	default:
	}
	return t.changed
}

func (t *Tip) show(s *projections.State) { t.set(s) }

// forget goes back to what is published.
func (t *Tip) forget() { t.set(nil) }

func (t *Tip) set(s *projections.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decided.Store(s)
	close(t.changed)
	t.changed = make(chan struct{})
}
