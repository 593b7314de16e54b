package eventlog

import (
	"errors"
	"io"
	"time"

	"github.com/lni/dragonboat/v4/statemachine"
)

// Outcomes of a command, in the result that Raft carries back to the proposer. The result's data is the head after it.
const (
	resultAppended = 1
	resultStale    = 2
	resultFailed   = 3 // this replica cannot write any more; says nothing about the others
)

// machine is the replicated state machine: it compares and writes. Dragonboat calls it from its own goroutines, never two
// writers at once.
type machine struct {
	store   *store
	recent  *recent
	onApply func(time.Duration, Position)
	onSync  func(time.Duration, error)

	meta    meta          // as written; owned by the calling writer
	closing chan struct{} // closed when the log closes

	sinceCut int           // bytes of commands since Raft's log was cut last
	cutAt    int           // bytes after which to ask for a cut
	cut      chan struct{} // asks for it
}

var _ statemachine.IOnDiskStateMachine = (*machine)(nil)

// Open returns the index of the last Raft entry in the store. The store was opened and checked before, where an error can
// still be returned to whoever opened the log.
func (m *machine) Open(<-chan struct{}) (uint64, error) { return m.meta.applied, nil }

// Update applies committed commands: all of them in one batch with the index of the last.
//
// If the store fails, Update does not return until the log is closed: the entry is committed, so to go on without having
// written it would make this replica differ, and to return an error would end the process from inside Dragonboat.
func (m *machine) Update(entries []statemachine.Entry) ([]statemachine.Entry, error) {
	start := time.Now()
	next := m.meta
	var written []Entry
	for i := range entries {
		cmd, err := decodeCommand(entries[i].Cmd)
		if err != nil {
			m.store.fail(err)
			return m.abandon(entries), nil
		}
		next.applied = entries[i].Index
		m.sinceCut += len(entries[i].Cmd)
		result := uint64(resultStale)
		if cmd.after == next.head {
			result = resultAppended
			for _, d := range cmd.data {
				// Copied: Dragonboat keeps its buffers.
				e := Entry{Index: next.head.Index + 1, Data: append(make([]byte, 0, len(d)), d...)}
				e.Hash = Chain(next.head.Hash, e.Index, e.Data)
				written = append(written, e)
				next.head = e.Position()
			}
		}
		entries[i].Result = statemachine.Result{Value: result, Data: appendPosition(nil, next.head)}
	}
	if err := m.store.write(written, next); err != nil {
		return m.abandon(entries), nil
	}
	m.meta = next
	m.recent.publish(written, next.head)
	if m.sinceCut >= m.cutAt {
		select {
		case m.cut <- struct{}{}:
			m.sinceCut = 0
		default:
		}
	}
	if m.onApply != nil {
		m.onApply(time.Since(start), next.head)
	}
	return entries, nil
}

func (m *machine) abandon(entries []statemachine.Entry) []statemachine.Entry {
	<-m.closing
	for i := range entries {
		entries[i].Result = statemachine.Result{Value: resultFailed}
	}
	return entries
}

// Lookup is not used: reads go to the store.
func (m *machine) Lookup(any) (any, error) { return nil, errors.New("the log has no queries") }

// Sync makes what Update wrote durable, so that Raft's log may be cut. After a failure it may not, so the cut is aborted.
func (m *machine) Sync() error {
	start := time.Now()
	err := m.store.sync()
	if m.onSync != nil {
		m.onSync(time.Since(start), err)
	}
	if err != nil {
		return statemachine.ErrSnapshotAborted
	}
	return nil
}

// PrepareSnapshot takes a view of the store that later writes do not change; it costs nothing.
func (m *machine) PrepareSnapshot() (any, error) {
	select {
	case <-m.store.failedC:
		return nil, statemachine.ErrSnapshotAborted
	default:
	}
	return &storeView{path: m.store.path, snap: m.store.db.NewSnapshot(), meta: m.meta}, nil
}

// SaveSnapshot streams a view to a replica that is too far behind for Raft's log. No lock is held meanwhile.
func (m *machine) SaveSnapshot(ctx any, w io.Writer, stop <-chan struct{}) error {
	v := ctx.(*storeView)
	defer v.snap.Close()
	return v.stream(w, stop)
}

// RecoverFromSnapshot replaces what this replica has by a leader's stream.
func (m *machine) RecoverFromSnapshot(r io.Reader, stop <-chan struct{}) error {
	next, err := m.store.restore(r, m.meta, stop)
	if err != nil {
		return err
	}
	m.meta = next
	m.recent.reset(next.head)
	return nil
}

// Close is called when the replica is unloaded. The store belongs to the log, which closes it later.
func (m *machine) Close() error { return nil }
