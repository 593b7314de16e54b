package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// storeFormat is the format of Pebble's files. It can only go up. Its write-ahead log can tell a torn tail, which is normal after
// power loss, from damage below what was synced, which is not.
const storeFormat = pebble.FormatTableFormatV6

// Keys of the store. The records ascend; the one key that is rewritten sorts after them all, so that the files of
// different ranges of records never overlap because of it and compaction moves them without rewriting.
const (
	recordPrefix = 'r'
	metaKey      = "z"
)

// meta is what the store knows of itself; it is written in the same batch as the records it speaks of.
type meta struct {
	applied uint64   // index of the last Raft entry applied
	head    Position // the head after it
}

const metaFormat = 1

func (m meta) encode() []byte {
	b := make([]byte, 0, 1+8+positionSize)
	b = append(b, metaFormat)
	b = binary.BigEndian.AppendUint64(b, m.applied)
	return appendPosition(b, m.head)
}

func decodeMeta(b []byte) (meta, bool) {
	if len(b) != 1+8+positionSize || b[0] != metaFormat {
		return meta{}, false
	}
	return meta{applied: binary.BigEndian.Uint64(b[1:]), head: readPosition(b[9:])}, true
}

func recordKey(index uint64) []byte {
	b := make([]byte, 0, 9)
	return binary.BigEndian.AppendUint64(append(b, recordPrefix), index)
}

// store holds the records: key by index, value the chained hash and the data.
type store struct {
	path string
	log  *slog.Logger

	mu     sync.RWMutex // held for reading by whoever uses db, for writing by close
	db     *pebble.DB
	closed bool

	failOnce sync.Once
	failedC  chan struct{} // closed at the first failure; the store takes no write after it
	failure  error
}

// openStore opens or, if create is set, creates the store in path. It does not check the records.
func openStore(fs vfs.FS, path string, create, readOnly bool, log *slog.Logger) (*store, error) {
	s := &store{path: path, log: log, failedC: make(chan struct{})}
	cache := pebble.NewCache(storeCacheBytes)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                 fs,
		Cache:              cache,
		Logger:             storeLogger{s},
		FormatMajorVersion: storeFormat,
		MemTableSize:       storeMemtableBytes,
		ErrorIfNotExists:   !create,
		ReadOnly:           readOnly,
		EventListener: &pebble.EventListener{
			// Pebble retries a failed flush for ever while writers wait. A disk that fails once is not trusted again.
			BackgroundError: func(err error) { s.fail(fmt.Errorf("%s: background write: %w", path, err)) },
			// The reader that hit the damage reports it, with the entry.
			DataCorruption: func(pebble.DataCorruptionInfo) {},
		},
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	err := s.guard(func() (err error) {
		s.db, err = pebble.Open(path, opts)
		return err
	})
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, pebble.ErrDBDoesNotExist):
		return nil, &CorruptionError{Path: path, Reason: "the store of records is missing"}
	case pebble.IsCorruptionError(err):
		return nil, &CorruptionError{Path: path, Reason: err.Error()}
	default:
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
}

// storeLogger passes Pebble's lines on. Pebble calls Fatalf where it cannot go on and expects it not to return; ending the
// goroutine lets the server stop in order, with the reason, instead of dying on the spot.
type storeLogger struct{ s *store }

func (storeLogger) Infof(string, ...any) {}
func (l storeLogger) Errorf(format string, args ...any) {
	l.s.log.Log(context.Background(), slog.LevelDebug, fmt.Sprintf(format, args...), "store", l.s.path)
}
func (l storeLogger) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf("%s: %s", l.s.path, fmt.Sprintf(format, args...)))
	runtime.Goexit()
}

func (s *store) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		close(s.failedC)
	})
}

// guard runs f, which calls Pebble, and returns its error, or the store's failure if that comes first: Pebble may have
// ended f's goroutine, or f may be waiting for a flush that will never come.
func (s *store) guard(f func() error) error {
	select {
	case <-s.failedC:
		return s.failure
	default:
	}
	done := make(chan error, 1)
	go func() {
		// Pebble panics when its own log cannot be written. Its locks stay held, so the store is given up as after Fatalf.
		defer func() {
			if r := recover(); r != nil {
				s.fail(fmt.Errorf("%s: %v", s.path, r))
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-s.failedC:
		return s.failure
	}
}

// meta reads the store's own account; zero if nothing was written yet.
func (s *store) meta() (meta, error) {
	v, closer, err := s.db.Get([]byte(metaKey))
	if errors.Is(err, pebble.ErrNotFound) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, s.readError(0, err)
	}
	defer closer.Close()
	m, ok := decodeMeta(v)
	if !ok {
		return meta{}, &CorruptionError{Path: s.path, Reason: "the head cannot be read"}
	}
	return m, nil
}

// write stores entries and what they lead to, in one batch, without waiting for the disk.
func (s *store) write(entries []Entry, m meta) error {
	b := s.db.NewBatch()
	if err := putRecords(b, entries); err != nil {
		return err
	}
	if err := b.Set([]byte(metaKey), m.encode(), nil); err != nil {
		return err
	}
	err := s.guard(func() error { return b.Commit(pebble.NoSync) })
	if err != nil {
		err = fmt.Errorf("write up to entry %d: %w", m.head.Index, err)
		s.fail(err)
	}
	return err
}

func putRecords(b *pebble.Batch, entries []Entry) error {
	for _, e := range entries {
		op := b.SetDeferred(1+8, len(e.Hash)+len(e.Data))
		copy(op.Key, recordKey(e.Index))
		copy(op.Value[copy(op.Value, e.Hash[:]):], e.Data)
		if err := op.Finish(); err != nil {
			return fmt.Errorf("write entry %d: %w", e.Index, err)
		}
	}
	return nil
}

// sync makes everything written so far survive a loss of power.
func (s *store) sync() error {
	err := s.guard(func() error { return s.db.LogData(nil, pebble.Sync) })
	if err != nil {
		err = fmt.Errorf("sync: %w", err)
		s.fail(err)
	}
	return err
}

// read returns the entries from index on, up to last, bounded by the batch limits; at least one. The chain is not checked.
func (s *store) read(from, last uint64) ([]Entry, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	return readRecords(s.path, s.db, from, last)
}

func readRecords(path string, r pebble.Reader, from, last uint64) ([]Entry, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: recordKey(from), UpperBound: recordKey(last + 1)})
	if err != nil {
		return nil, readError(path, from, err)
	}
	defer it.Close()
	var out []Entry
	next, size := from, 0
	for ok := it.First(); ok; ok = it.Next() {
		e, reason := decodeRecord(it, next)
		if reason != "" {
			return out, &CorruptionError{Path: path, Index: next, Reason: reason}
		}
		out = append(out, e)
		next++
		if size += len(e.Data); size >= readBatchBytesMax || len(out) >= readBatchEntriesMax {
			return out, nil
		}
	}
	if err := it.Error(); err != nil {
		return out, readError(path, next, err)
	}
	if next <= last {
		return out, &CorruptionError{Path: path, Index: next, Reason: "the entry is missing"}
	}
	return out, nil
}

// decodeRecord copies the record under the iterator, which must be that of index.
func decodeRecord(it *pebble.Iterator, index uint64) (e Entry, reason string) {
	key := it.Key()
	if len(key) != 9 || binary.BigEndian.Uint64(key[1:]) != index {
		return e, fmt.Sprintf("the entry is missing, key %x follows", key)
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return e, err.Error()
	}
	if len(v) < len(e.Hash) {
		return e, fmt.Sprintf("the record has %d bytes, fewer than its hash", len(v))
	}
	e.Index = index
	n := copy(e.Hash[:], v)
	e.Data = append(make([]byte, 0, len(v)-n), v[n:]...)
	return e, ""
}

// hashAt returns the chained hash stored with the entry at index; the zero hash for index 0.
func (s *store) hashAt(index uint64) (Hash, error) {
	if index == 0 {
		return Hash{}, nil
	}
	entries, err := s.read(index, index)
	if err != nil {
		return Hash{}, err
	}
	return entries[0].Hash, nil
}

// cutAfter removes records after the head, left by a restore that did not finish.
func (s *store) cutAfter(index uint64) error {
	return s.guard(func() error {
		return s.db.DeleteRange(recordKey(index+1), []byte{recordPrefix + 1}, pebble.NoSync)
	})
}

// checkTail checks the chain of the last entries up to head, reading at most the limits for a start.
func (s *store) checkTail(head Position) error {
	if head.Index == 0 {
		if head.Hash != (Hash{}) {
			return &CorruptionError{Path: s.path, Reason: "the log is empty but its head has a hash"}
		}
		return nil
	}
	// Walk back within the limits, so that a log of large entries does not make a start slow.
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(1), UpperBound: []byte{recordPrefix + 1}})
	if err != nil {
		return s.readError(head.Index, err)
	}
	defer it.Close()
	cur, err := s.recordUnder(it, it.Last(), head.Index)
	if err != nil {
		return err
	}
	if cur.Hash != head.Hash {
		return &CorruptionError{Path: s.path, Index: cur.Index, Reason: fmt.Sprintf("its hash is %v, the head's is %v", cur.Hash, head.Hash)}
	}
	for size, n := 0, 0; n < tailCheckEntriesMax && size < tailCheckBytesMax; n++ {
		var prev Entry
		if cur.Index > 1 {
			if prev, err = s.recordUnder(it, it.Prev(), cur.Index-1); err != nil {
				return err
			}
		}
		if Chain(prev.Hash, cur.Index, cur.Data) != cur.Hash {
			return &CorruptionError{Path: s.path, Index: cur.Index, Reason: reasonChain}
		}
		if prev.Index == 0 {
			return nil
		}
		size += len(cur.Data)
		cur = prev
	}
	return nil
}

// reasonChain is why an entry that can be read is damaged all the same.
const reasonChain = "its hash does not follow from its data and the entry before"

// recordUnder returns the record under the iterator, which must be that of index; ok is what the last move said.
func (s *store) recordUnder(it *pebble.Iterator, ok bool, index uint64) (Entry, error) {
	if !ok {
		if err := it.Error(); err != nil {
			return Entry{}, s.readError(index, err)
		}
		return Entry{}, &CorruptionError{Path: s.path, Index: index, Reason: "the entry is missing"}
	}
	e, reason := decodeRecord(it, index)
	if reason != "" {
		return Entry{}, &CorruptionError{Path: s.path, Index: index, Reason: reason}
	}
	return e, nil
}

func (s *store) readError(index uint64, err error) error { return readError(s.path, index, err) }

func readError(path string, index uint64, err error) error {
	if pebble.IsCorruptionError(err) {
		return &CorruptionError{Path: path, Index: index, Reason: err.Error()}
	}
	return fmt.Errorf("read entry %d from %s: %w", index, path, err)
}

// close releases the store. A store that failed is abandoned as it is: Pebble cannot be closed after a fatal error.
func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.guard(s.db.Close); err != nil {
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}
