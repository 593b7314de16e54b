package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"drover/eventlog"
	"drover/eventlog/event"
	"drover/eventlog/memlog"
	"drover/projections"
	"drover/projections/checker"
)

// memLog is the log in memory as the committer sees it.
type memLog struct{ *memlog.Log }

func (l memLog) Append(ctx context.Context, after Position, entries [][]byte) (Outcome, error) {
	_, err := l.Log.Append(ctx, eventlog.Position{Index: after.Index, Hash: eventlog.Hash(after.Hash)}, entries)
	switch {
	case err == nil:
		return Committed, nil
	case errors.Is(err, eventlog.ErrUnknownOutcome):
		return Unknown, err
	}
	return Refused, err
}

func (l memLog) Barrier(ctx context.Context) (Position, error) {
	p, err := l.Log.Barrier(ctx)
	return Position{Index: p.Index, Hash: event.Hash(p.Hash)}, err
}

func (l memLog) Tail(from uint64) projections.Tail { return memTail{l.Log.Tail(from)} }

func (l memLog) Leads() (bool, <-chan struct{}) {
	changed := l.LeadershipChanged()
	return l.Leadership().Leader, changed
}

func (l memLog) Chain(previous event.Hash, index uint64, entry []byte) event.Hash {
	return event.Hash(eventlog.Chain(eventlog.Hash(previous), index, entry))
}

type memTail struct{ *eventlog.Reader }

func (t memTail) Next(ctx context.Context) ([]projections.Entry, error) {
	entries, err := t.Reader.Next(ctx)
	out := make([]projections.Entry, len(entries))
	for i, e := range entries {
		out[i] = projections.Entry{Index: e.Index, Hash: event.Hash(e.Hash), Data: e.Data}
	}
	return out, err
}

// server is one replica's committer and follower.
type server struct {
	*Committer
	log   *memlog.Log
	store *projections.Store
	clock *clock

	mu      sync.Mutex
	appends []AppendInfo
	epochs  []uint64

	cancel context.CancelFunc
	done   chan error
}

// clock can be set.
type clock struct {
	mu   sync.Mutex
	skew time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.skew)
}

func (c *clock) set(skew time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = skew
}

func newServer(log *memlog.Log, name string, logger *slog.Logger) *server {
	s := &server{log: log, store: projections.NewStore(projections.New()), clock: &clock{}, done: make(chan error, 2)}
	s.Committer = NewCommitter(CommitterConfig{
		Log: memLog{log}, Store: s.store, Now: s.clock.now, ServerName: name, Version: "test", ReplicaID: log.Leadership().ReplicaID,
		Region: "global", ClusterID: func() event.ID { return named("cluster") }, Logger: logger,
		Hooks: CommitterHooks{
			Leading: func(epoch uint64) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.epochs = append(s.epochs, epoch)
			},
			Appended: func(i AppendInfo) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.appends = append(s.appends, i)
			},
		},
	})
	return s
}

func (s *server) start() *server {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- s.Run(ctx) }()
	go func() {
		err := projections.Follow(ctx, s.store, memLog{s.log}.Tail)
		if ctx.Err() != nil {
			err = nil
		}
		s.done <- err
	}()
	return s
}

func (s *server) stop(t testing.TB) {
	s.cancel()
	for range 2 {
		if err := <-s.done; err != nil {
			t.Errorf("server stopped: %v", err)
		}
	}
}

// send has a command decided by a goroutine of its own.
func (s *server) send(cmd Command) <-chan reply {
	answer := make(chan reply, 1)
	go func() {
		result, err := s.Do(context.Background(), cmd)
		answer <- reply{result, err}
	}()
	return answer
}

type reply struct {
	Result
	err error
}

func answered(c <-chan reply) (reply, bool) {
	select {
	case r := <-c:
		return r, true
	default:
		return reply{}, false
	}
}

// history decodes and checks a whole log, and folds it from zero.
func history(log *memlog.Log) ([]*event.Record, *projections.State, error) {
	tail := memLog{log}.Tail(1)
	defer tail.Close()
	check, state := checker.New(), projections.New()
	var records []*event.Record
	for state.Index() < log.Head().Index {
		entries, err := tail.Next(context.Background())
		if err != nil {
			return nil, nil, err
		}
		for _, entry := range entries {
			r, err := projections.DecodeEntry(entry)
			if err != nil {
				return nil, nil, err
			}
			if err := check.Apply(r); err != nil {
				return nil, nil, err
			}
			state = projections.Evolve(state, r)
			records = append(records, r)
		}
	}
	if len(records) > 0 {
		if err := check.Compare(state); err != nil {
			return nil, nil, err
		}
	}
	return records, state, nil
}

// effects counts the records of each command.
func effects(records []*event.Record) map[event.ID]int {
	times := make(map[event.ID]int)
	for _, r := range records {
		if r.Last {
			times[r.CommandID]++
		}
	}
	return times
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// Bodies that only tests have.

// note leads to one record with about this many bytes.
type note struct {
	name  string
	bytes int
}

func (n note) decide(d *decision) *Rejection {
	data := make([]byte, n.bytes)
	copy(data, n.name)
	d.emit(&event.BlobStored{Blob: event.HashOf([]byte(n.name)), Of: 1, Data: data}, event.ID{})
	return nil
}

// refusal is always refused.
type refusal struct{}

func (refusal) decide(*decision) *Rejection { return reject(ReasonConflict, "not so") }

// impossible leads to a record that cannot be folded.
type impossible struct{}

func (impossible) decide(d *decision) *Rejection {
	d.emit(&event.BlobStored{Blob: event.HashOf([]byte("half")), Of: 2, Data: []byte("x")}, event.ID{})
	d.emit(&event.JobStopped{JobID: "nobody"}, event.ID{})
	return nil
}

// broken has a bug.
type broken struct{}

func (broken) decide(*decision) *Rejection { panic("a bug") }

func command(word string, body Body) Command {
	return Command{ID: named("command " + word), Remember: true, Body: body}
}

func noteCommand(word string) Command { return command(word, note{name: word}) }

func describeReply(r reply) string {
	if r.err != nil {
		return r.err.Error()
	}
	return fmt.Sprintf("%d records up to %d", len(r.Records), r.Index)
}

func testLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
