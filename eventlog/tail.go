package eventlog

import (
	"context"
	"fmt"
	"sync"
)

// recent is the newest stretch of the log in memory, and the bell that tells readers of more. One per log, shared by all readers.
type recent struct {
	mu      sync.Mutex
	head    Position
	entries []Entry // dense, ending at head; may be empty
	bytes   int
	changed chan struct{} // closed at the next publish
}

func newRecent(head Position) *recent { return &recent{head: head, changed: make(chan struct{})} }

// publish adds entries, which end at head, and wakes all who wait. It never waits for a reader.
func (r *recent) publish(entries []Entry, head Position) {
	if len(entries) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, entries...)
	for _, e := range entries {
		r.bytes += len(e.Data)
	}
	drop := 0
	for r.bytes > recentBytesMax {
		r.bytes -= len(r.entries[drop].Data)
		drop++
	}
	if drop > 0 {
		clear(r.entries[:drop]) // let go of the data now; append moves the rest when it grows
		r.entries = r.entries[drop:]
	}
	r.head = head
	r.ring()
}

// reset says that the log jumped to head by a restore.
func (r *recent) reset(head Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.bytes, r.head = nil, 0, head
	r.ring()
}

func (r *recent) ring() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// get returns the head and what of the stretch from index on is in memory, bounded; nil if index is older. The channel is closed at the
// next publish.
func (r *recent) get(from uint64) (Position, []Entry, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 || from < r.entries[0].Index || from > r.head.Index {
		return r.head, nil, r.changed
	}
	rest := r.entries[from-r.entries[0].Index:]
	size, n := 0, 0
	for n < len(rest) && n < readBatchEntriesMax && size < readBatchBytesMax {
		size += len(rest[n].Data)
		n++
	}
	// Copied, because publish clears what it drops.
	return r.head, append([]Entry(nil), rest[:n]...), r.changed
}

// Reader reads the log in order: first what is there, then what comes. It belongs to one goroutine; Close may be called
// from another.
type Reader struct {
	log  *Log
	next uint64
	prev Hash // the hash before next, once known
	know bool
	done chan struct{}
	once sync.Once
}

// Tail returns a reader that starts at the entry with index from, 1 or more. The entry need not exist yet. Readers do not slow
// the log or each other: a slow one reads from the store what others were given from memory.
func (l *Log) Tail(from uint64) *Reader {
	if from == 0 {
		panic("eventlog: Tail from 0: the first entry is 1")
	}
	return &Reader{log: l, next: from, know: from == 1, done: make(chan struct{})}
}

// Close ends the reader; a waiting Next returns ErrClosed.
func (r *Reader) Close() { r.once.Do(func() { close(r.done) }) }

// Next returns the next entries, at least one and at most about 1 MiB, and waits for one if there is none yet. It checks
// that each is chained to the one before; a *CorruptionError names the first that is not. Errors: the context's,
// ErrClosed after Close of reader or log, and what made the log fail.
func (r *Reader) Next(ctx context.Context) ([]Entry, error) {
	for {
		head, entries, changed := r.log.recent.get(r.next)
		if head.Index < r.next {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for entry %d: %w", r.next, ctx.Err())
			case <-r.done:
				return nil, ErrClosed
			case <-r.log.closing:
				return nil, ErrClosed
			case <-r.log.store.failedC:
				return nil, r.log.store.failure
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read entry %d: %w", r.next, ctx.Err())
		case <-r.done:
			return nil, ErrClosed
		default:
		}
		return r.take(head, entries)
	}
}

func (r *Reader) take(head Position, entries []Entry) ([]Entry, error) {
	if !r.know {
		h, err := r.log.store.hashAt(r.next - 1)
		if err != nil {
			return nil, err
		}
		r.prev, r.know = h, true
	}
	if entries == nil {
		var err error
		// What was read before the damage is good and is handed out; the next call meets the damage first.
		if entries, err = r.log.store.read(r.next, head.Index); len(entries) == 0 {
			return nil, err
		}
	}
	for i, e := range entries {
		if Chain(r.prev, e.Index, e.Data) != e.Hash {
			if i > 0 {
				return r.advance(entries[:i]), nil
			}
			return nil, &CorruptionError{Path: r.log.store.path, Index: e.Index, Reason: reasonChain}
		}
		r.prev = e.Hash
	}
	return r.advance(entries), nil
}

func (r *Reader) advance(entries []Entry) []Entry {
	r.next += uint64(len(entries))
	return entries
}
