package projections

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"drover/eventlog/event"
)

// Commit is one step of the published state: the records of one or more whole
// commands, and the state after the last of them. A commit that is not among the
// newest comes with a later state, the oldest one that the Store still has.
type Commit struct {
	Records []*event.Record
	State   *State
}

// Last is the index of the commit's last record.
func (c Commit) Last() uint64 { return c.Records[len(c.Records)-1].Index }

func (c Commit) bytes() (n int) {
	for _, r := range c.Records {
		n += r.Size
	}
	return n
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
	commits []Commit      // newest last; without State before bounds.states.from
	bounds  struct{ commits, states bound }
}

// bound keeps a tail of the commits below a count and a sum of record bytes.
type bound struct {
	countMax, bytesMax int
	from               int // position in Store.commits of the first one within
	bytes              int // of those from there on
}

// admit takes the newest commit in and calls out for each that falls out for it.
// The newest one stays, however large it is: whoever is awake sees it.
func (b *bound) admit(commits []Commit, out func(*Commit)) {
	b.bytes += commits[len(commits)-1].bytes()
	for n := len(commits) - b.from; n > 1 && (n > b.countMax || b.bytes > b.bytesMax); n-- {
		b.bytes -= commits[b.from].bytes()
		out(&commits[b.from])
		b.from++
	}
}

// NewStore publishes a first state.
func NewStore(s *State) *Store {
	st := &Store{owner: make(chan struct{}, 1), changed: make(chan struct{})}
	st.bounds.commits = bound{countMax: commitsKept, bytesMax: commitBytesKept}
	st.bounds.states = bound{countMax: statesKept, bytesMax: stateBytesKept}
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
	if c := (Commit{records, next}); len(records) > 0 {
		st.bytes.Add(uint64(c.bytes()))
		st.commits = append(st.commits, c)
		st.bounds.states.admit(st.commits, func(c *Commit) { c.State = nil })
		st.bounds.commits.admit(st.commits, func(c *Commit) { c.Records = nil })
		gone := st.bounds.commits.from
		st.commits = st.commits[gone:]
		st.bounds.commits.from, st.bounds.states.from = 0, st.bounds.states.from-gone
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
// and a channel that is closed at the next publication. Commits are missing when
// the first one does not begin right after the index.
func (st *Store) CommitsAfter(index uint64) ([]Commit, <-chan struct{}) {
	st.mu.Lock()
	defer st.mu.Unlock()
	first := len(st.commits)
	for first > 0 && st.commits[first-1].Last() > index {
		first--
	}
	list := slices.Clone(st.commits[first:])
	if stateless := st.bounds.states.from - first; stateless > 0 {
		for i := range list[:stateless] {
			list[i].State = list[stateless].State
		}
	}
	return list, st.changed
}
