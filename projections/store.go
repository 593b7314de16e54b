package projections

import (
	"context"
	"sync"
	"sync/atomic"

	"drover/eventlog/event"
)

// commitsKept is how many of the newest commits a Store keeps for streams that
// show objects as they were: enough to cover a reconnect, few enough to be free.
const commitsKept = 1024

// Commit is one step of the published state: the records of one or more whole
// commands, and the state after the last of them.
type Commit struct {
	Records []*event.Record
	State   *State
}

// Store holds the newest published state of one server. Readers take snapshots
// and wait for newer ones. Whoever makes the next state (the follower of the
// log, or the committer while it leads) owns the store for that time.
type Store struct {
	current atomic.Pointer[State]
	owner   chan struct{} // holds one token; taking it is owning the store
	bytes   atomic.Uint64 // of the records published

	mu      sync.Mutex
	changed chan struct{} // closed at the next publication
	commits []Commit      // newest last
}

// NewStore publishes a first state.
func NewStore(s *State) *Store {
	st := &Store{owner: make(chan struct{}, 1), changed: make(chan struct{})}
	st.owner <- struct{}{}
	st.current.Store(s)
	return st
}

// Snapshot is the newest published state.
func (st *Store) Snapshot() *State { return st.current.Load() }

// Own waits until nobody else makes states, and returns the newest one and the
// function that gives the store up.
func (st *Store) Own(ctx context.Context) (s *State, giveUp func(), err error) {
	select {
	case <-st.owner:
		return st.current.Load(), sync.OnceFunc(func() { st.owner <- struct{}{} }), nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// Publish hands out the next state. Only the owner may call it, and only at the
// end of a command.
func (st *Store) Publish(records []*event.Record, next *State) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.current.Store(next)
	for _, r := range records {
		st.bytes.Add(uint64(r.Size))
	}
	st.commits = append(st.commits, Commit{records, next})
	if extra := len(st.commits) - commitsKept; extra >= commitsKept/4 {
		st.commits = append([]Commit(nil), st.commits[extra:]...)
	}
	close(st.changed)
	st.changed = make(chan struct{})
}

// BytesFolded is the size of all records published since the store was made.
func (st *Store) BytesFolded() uint64 { return st.bytes.Load() }

// Changed is closed at the next publication. To wait for a condition, take the
// channel, look at a snapshot, and only then wait.
func (st *Store) Changed() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.changed
}

// Await returns the first state seen whose index is greater than after.
func (st *Store) Await(ctx context.Context, after uint64) (*State, error) {
	for {
		changed := st.Changed()
		if s := st.Snapshot(); s.Index() > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// CommitsAfter lists the kept commits that end after the index, oldest first,
// and a channel that is closed at the next publication.
func (st *Store) CommitsAfter(index uint64) ([]Commit, <-chan struct{}) {
	st.mu.Lock()
	defer st.mu.Unlock()
	first := len(st.commits)
	for first > 0 && st.commits[first-1].State.Index() > index {
		first--
	}
	return append([]Commit(nil), st.commits[first:]...), st.changed
}
