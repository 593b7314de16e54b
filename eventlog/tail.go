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

// newest returns the head and the channel that is closed at the next publish.
func (r *recent) newest() (Position, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head, r.changed
}

// get returns what is in memory from index on, bounded; nil if index is older.
func (r *recent) get(from uint64) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 || from < r.entries[0].Index || from > r.head.Index {
		return nil
	}
	rest := r.entries[from-r.entries[0].Index:]
	size, n := 0, 0
	for n < len(rest) && n < readBatchEntriesMax && size < readBatchBytesMax {
		size += len(rest[n].Data)
		n++
	}
	// Copied, because publish clears what it drops.
	return append([]Entry(nil), rest[:n]...)
}

// Source is what a Reader reads. Other logs (eventlog/memlog) implement it to hand out the same readers.
type Source interface {
	// Newest returns the head and a channel that is closed when the head moves.
	Newest() (Position, <-chan struct{})
	// Read returns at least one entry from index on, up to last, in a bounded batch. Entries before an error are good.
	Read(from, last uint64) ([]Entry, error)
	// HashAt returns the chained hash after the entry at index, 1 or more.
	HashAt(index uint64) (Hash, error)
	// Ended is closed when there will be no more; EndErr says why.
	Ended() <-chan struct{}
	EndErr() error
	// Name says where the entries are, for errors.
	Name() string
}

// Reader reads the log in order: first what is there, then what comes. It belongs to one goroutine; Close may be called
// from another.
type Reader struct {
	src  Source
	next uint64
	prev Hash // the hash before next, once known
	know bool
	done chan struct{}
	once sync.Once
}

// NewReader returns a reader of src that starts at the entry with index from, 1 or more.
func NewReader(src Source, from uint64) *Reader {
	if from == 0 {
		panic("eventlog: read from 0: the first entry is 1")
	}
	return &Reader{src: src, next: from, know: from == 1, done: make(chan struct{})}
}

// Tail returns a reader that starts at the entry with index from, 1 or more. The entry need not exist yet. Readers do not slow
// the log or each other: a slow one reads from the store what others were given from memory.
func (l *Log) Tail(from uint64) *Reader { return NewReader(logSource{l}, from) }

// Close ends the reader; a waiting Next returns ErrClosed.
func (r *Reader) Close() { r.once.Do(func() { close(r.done) }) }

// Next returns the next entries, at least one and at most about 1 MiB, and waits for one if there is none yet. It checks
// that each is chained to the one before; a *CorruptionError names the first that is not. Errors: the context's,
// ErrClosed after Close of reader or log, and what made the log fail.
func (r *Reader) Next(ctx context.Context) ([]Entry, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read entry %d: %w", r.next, ctx.Err())
		case <-r.done:
			return nil, ErrClosed
		case <-r.src.Ended():
			return nil, r.src.EndErr()
		default:
		}
		head, moved := r.src.Newest()
		if head.Index >= r.next {
			return r.take(head)
		}
		select {
		case <-moved:
		case <-ctx.Done():
		case <-r.done:
		case <-r.src.Ended():
		}
	}
}

func (r *Reader) take(head Position) ([]Entry, error) {
	if !r.know {
		h, err := r.src.HashAt(r.next - 1)
		if err != nil {
			return nil, err
		}
		r.prev, r.know = h, true
	}
	// What was read before the damage is good and is handed out; the next call meets the damage first.
	entries, err := r.src.Read(r.next, head.Index)
	if len(entries) == 0 {
		return nil, err
	}
	for i, e := range entries {
		if e.Index != r.next || Chain(r.prev, e.Index, e.Data) != e.Hash {
			if i > 0 {
				return entries[:i], nil
			}
			return nil, &CorruptionError{Path: r.src.Name(), Index: r.next, Reason: reasonChain}
		}
		r.prev = e.Hash
		r.next++
	}
	return entries, nil
}

// logSource reads a Log: the newest entries from memory, older ones from the store.
type logSource struct{ l *Log }

func (s logSource) Newest() (Position, <-chan struct{}) { return s.l.recent.newest() }
func (s logSource) Read(from, last uint64) ([]Entry, error) {
	if entries := s.l.recent.get(from); entries != nil {
		return entries, nil
	}
	return s.l.store.read(from, last)
}
func (s logSource) HashAt(index uint64) (Hash, error) { return s.l.store.hashAt(index) }
func (s logSource) Ended() <-chan struct{}            { return s.l.ended }
func (s logSource) EndErr() error {
	if err := s.l.Err(); err != nil {
		return err
	}
	return ErrClosed
}
func (s logSource) Name() string { return s.l.store.path }
