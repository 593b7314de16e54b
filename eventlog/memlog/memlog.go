// Package memlog is the log in memory, for tests and simulation: same methods, same errors and same promises as eventlog, minus
// the disk, plus faults that can be switched on one by one. Nothing in it sleeps or looks at a clock, so a run is as
// deterministic as its caller, and it works inside a testing/synctest bubble.
//
// A Cluster is one history; a Log is one server's view of it. What a real cluster does by chance, a Cluster does when told:
// Elect, Depose, Lag, Inject, DeliverLate.
package memlog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"drover/eventlog"
)

// Fault is what happens to one append.
type Fault int

// The faults. Each says what is true afterwards and what the caller is told.
const (
	// Refuse: not written; eventlog.ErrBusy.
	Refuse Fault = iota + 1
	// Lose: not written, and never will be; eventlog.ErrUnknownOutcome.
	Lose
	// LoseAnswer: written if not stale; eventlog.ErrUnknownOutcome either way.
	LoseAnswer
	// Late: not written yet, DeliverLate tries it; eventlog.ErrUnknownOutcome.
	Late
)

func (f Fault) String() string {
	switch f {
	case Refuse:
		return "refuse"
	case Lose:
		return "lose"
	case LoseAnswer:
		return "lose-answer"
	case Late:
		return "late"
	}
	return fmt.Sprintf("fault(%d)", int(f))
}

// Cluster is one history and the servers that share it.
type Cluster struct {
	mu      sync.Mutex
	entries []eventlog.Entry
	logs    []*Log
	term    uint64
	leader  uint64 // replica ID; 0: none
	faults  []Fault
	late    []lateAppend
}

type lateAppend struct {
	after eventlog.Position
	data  [][]byte
}

// New returns the only replica of a new log. It leads.
func New() *Log { return NewCluster(1).Log(1) }

// NewCluster returns a log with replicas 1 to n, led by 1.
func NewCluster(n int) *Cluster {
	c := &Cluster{}
	for id := range n {
		l := &Log{cluster: c, id: uint64(id) + 1, moved: make(chan struct{}), led: make(chan struct{}), closed: make(chan struct{})}
		c.logs = append(c.logs, l)
	}
	c.Elect(1)
	return c
}

// Log returns a replica, from 1.
func (c *Cluster) Log(id uint64) *Log { return c.logs[id-1] }

// Elect makes a replica the leader in a new term and tells all.
func (c *Cluster) Elect(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term++
	c.leader = id
	for _, l := range c.logs {
		l.learn(c.term, id)
	}
}

// Depose leaves the log without a leader, and tells all.
func (c *Cluster) Depose() { c.Elect(0) }

// ElectUnnoticed makes another replica the leader, but the present one goes on believing that it leads, as one does
// that slept, until Notice. Its appends are lost and its barriers wait.
func (c *Cluster) ElectUnnoticed(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.leader
	c.term++
	c.leader = id
	for _, l := range c.logs {
		if l.id != old {
			l.learn(c.term, id)
		}
	}
}

// Notice tells every replica who leads.
func (c *Cluster) Notice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.logs {
		l.learn(c.term, c.leader)
	}
}

// Inject adds faults that meet the next appends that reach the log, in this order, one each.
func (c *Cluster) Inject(faults ...Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, faults...)
}

// DeliverLate tries the appends held back by Late, in order, and returns what became of each: nil if written, or a
// *eventlog.StaleError because others went through before.
func (c *Cluster) DeliverLate() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []error
	for _, p := range c.late {
		_, err := c.write(p.after, p.data)
		out = append(out, err)
	}
	c.late = nil
	return out
}

// Lag holds a replica's copy where it is: its Head stays and its Barrier waits, until Lag(id, false).
func (c *Cluster) Lag(id uint64, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.Log(id)
	l.lags = on
	if !on {
		l.apply(uint64(len(c.entries)))
	}
}

func (c *Cluster) head() eventlog.Position { return c.positionAt(uint64(len(c.entries))) }

func (c *Cluster) positionAt(index uint64) eventlog.Position {
	if index == 0 {
		return eventlog.Position{}
	}
	return c.entries[index-1].Position()
}

// write is the conditional append itself; mu is held.
func (c *Cluster) write(after eventlog.Position, data [][]byte) (eventlog.Position, error) {
	head := c.head()
	if after != head {
		return eventlog.Position{}, &eventlog.StaleError{After: after, Head: head}
	}
	for _, d := range data {
		e := eventlog.Entry{Index: head.Index + 1, Data: append([]byte(nil), d...)}
		e.Hash = eventlog.Chain(head.Hash, e.Index, e.Data)
		c.entries = append(c.entries, e)
		head = e.Position()
	}
	for _, l := range c.logs {
		if !l.lags {
			l.apply(head.Index)
		}
	}
	return head, nil
}

// Log is one server's view of a Cluster. Its fields are guarded by the cluster's lock.
type Log struct {
	cluster  *Cluster
	id       uint64
	applied  uint64
	lags     bool
	moved    chan struct{} // closed when applied grows
	term     uint64
	leader   uint64        // as known here
	led      chan struct{} // closed when term or leader changes
	closed   chan struct{}
	isClosed bool
}

func (l *Log) learn(term, leader uint64) {
	if l.term == term && l.leader == leader {
		return
	}
	l.term, l.leader = term, leader
	close(l.led)
	l.led = make(chan struct{})
}

func (l *Log) apply(index uint64) {
	if l.isClosed || index <= l.applied {
		return
	}
	l.applied = index
	close(l.moved)
	l.moved = make(chan struct{})
}

// Cluster returns the cluster this replica belongs to, to switch its faults.
func (l *Log) Cluster() *Cluster { return l.cluster }

// Append does what eventlog.Log.Append does, or what the next injected fault says.
func (l *Log) Append(ctx context.Context, after eventlog.Position, data [][]byte) (eventlog.Position, error) {
	size := 0
	for _, d := range data {
		size += len(d)
	}
	if size > eventlog.AppendBytesMax || len(data) > eventlog.AppendEntriesMax {
		return eventlog.Position{}, fmt.Errorf("%d entries of %d bytes: %w", len(data), size, eventlog.ErrTooLarge)
	}
	if len(data) == 0 {
		return eventlog.Position{}, errors.New("append of no entries")
	}
	if err := ctx.Err(); err != nil {
		return eventlog.Position{}, fmt.Errorf("append after %v: %w", after, err)
	}
	c := l.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.isClosed {
		return eventlog.Position{}, eventlog.ErrClosed
	}
	if l.leader != l.id {
		return eventlog.Position{}, eventlog.ErrNotLeader
	}
	if head := c.positionAt(l.applied); head.Index > after.Index || head.Index == after.Index && head.Hash != after.Hash {
		return eventlog.Position{}, &eventlog.StaleError{After: after, Head: head}
	}
	if c.leader != l.id {
		return eventlog.Position{}, unknown(after, "another leader was elected")
	}
	var fault Fault
	if len(c.faults) > 0 {
		fault, c.faults = c.faults[0], c.faults[1:]
	}
	switch fault {
	case Refuse:
		return eventlog.Position{}, fmt.Errorf("append after %v: %w", after, eventlog.ErrBusy)
	case Lose:
		return eventlog.Position{}, unknown(after, "it was lost")
	case LoseAnswer:
		_, _ = c.write(after, data)
		return eventlog.Position{}, unknown(after, "its answer was lost")
	case Late:
		var copied [][]byte
		for _, d := range data {
			copied = append(copied, append([]byte(nil), d...))
		}
		c.late = append(c.late, lateAppend{after, copied})
		return eventlog.Position{}, unknown(after, "it is delayed")
	}
	return c.write(after, data)
}

func unknown(after eventlog.Position, why string) error {
	return fmt.Errorf("append after %v: %w: %s", after, eventlog.ErrUnknownOutcome, why)
}

// Head returns how far this replica is.
func (l *Log) Head() eventlog.Position {
	l.cluster.mu.Lock()
	defer l.cluster.mu.Unlock()
	return l.cluster.positionAt(l.applied)
}

// Barrier returns a head at least as new as every append acknowledged before the call. It waits while this replica
// knows no leader or the wrong one, and while it lags.
func (l *Log) Barrier(ctx context.Context) (eventlog.Position, error) {
	c := l.cluster
	target, asked := uint64(0), false
	for {
		c.mu.Lock()
		if l.isClosed {
			c.mu.Unlock()
			return eventlog.Position{}, eventlog.ErrClosed
		}
		if !asked && c.leader != 0 && l.leader == c.leader {
			target, asked = uint64(len(c.entries)), true
		}
		if asked && l.applied >= target {
			head := c.positionAt(l.applied)
			c.mu.Unlock()
			return head, nil
		}
		moved, led := l.moved, l.led
		c.mu.Unlock()
		select {
		case <-moved:
		case <-led:
		case <-l.closed:
		case <-ctx.Done():
			return eventlog.Position{}, fmt.Errorf("barrier: %w", ctx.Err())
		}
	}
}

// Tail returns a reader of this replica's copy.
func (l *Log) Tail(from uint64) *eventlog.Reader { return eventlog.NewReader(source{l}, from) }

// Leadership returns who leads, as far as this replica knows.
func (l *Log) Leadership() eventlog.Leadership {
	l.cluster.mu.Lock()
	defer l.cluster.mu.Unlock()
	return eventlog.Leadership{Leader: l.leader == l.id, LeaderID: l.leader, ReplicaID: l.id, Term: l.term}
}

// LeadershipChanged returns a channel that is closed at the next change of Leadership.
func (l *Log) LeadershipChanged() <-chan struct{} {
	l.cluster.mu.Lock()
	defer l.cluster.mu.Unlock()
	return l.led
}

// Verify walks this replica's copy.
func (l *Log) Verify(ctx context.Context, progress func(done, total uint64)) (eventlog.VerifyResult, error) {
	return eventlog.VerifySource(ctx, source{l}, l.Head(), progress)
}

// Damage changes a byte of a stored entry, as a bad disk would. The entry must have data.
func (c *Cluster) Damage(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data := append([]byte(nil), c.entries[index-1].Data...)
	data[len(data)/2] ^= 1
	c.entries[index-1].Data = data
}

// Failed returns a channel that is closed when this replica's disk fails: never.
func (l *Log) Failed() <-chan struct{} { return nil }

// Err returns why this replica's disk failed: always nil.
func (l *Log) Err() error { return nil }

// Close ends this replica's view. The history stays in the cluster: Reopen opens it again.
func (l *Log) Close() error {
	c := l.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.isClosed {
		l.isClosed = true
		close(l.closed)
	}
	return nil
}

// Reopen replaces a closed replica by a new view of the same history, as a restarted server has.
func (c *Cluster) Reopen(id uint64) *Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &Log{cluster: c, id: id, moved: make(chan struct{}), led: make(chan struct{}), closed: make(chan struct{})}
	l.apply(uint64(len(c.entries)))
	l.learn(c.term, c.leader)
	c.logs[id-1] = l
	return l
}

// source feeds the readers.
type source struct{ l *Log }

func (s source) Newest() (eventlog.Position, <-chan struct{}) {
	s.l.cluster.mu.Lock()
	defer s.l.cluster.mu.Unlock()
	return s.l.cluster.positionAt(s.l.applied), s.l.moved
}

// readEntriesMax keeps batches small, so that what depends on their bounds is met in tests.
const readEntriesMax = 16

func (s source) Read(from, last uint64) ([]eventlog.Entry, error) {
	s.l.cluster.mu.Lock()
	defer s.l.cluster.mu.Unlock()
	last = min(last, from+readEntriesMax-1)
	return append([]eventlog.Entry(nil), s.l.cluster.entries[from-1:last]...), nil
}

func (s source) HashAt(index uint64) (eventlog.Hash, error) {
	s.l.cluster.mu.Lock()
	defer s.l.cluster.mu.Unlock()
	return s.l.cluster.entries[index-1].Hash, nil
}

func (s source) Ended() <-chan struct{} { return s.l.closed }
func (s source) EndErr() error          { return eventlog.ErrClosed }
func (s source) Name() string           { return "memory" }
