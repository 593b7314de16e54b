package eventlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/raftio"
)

// raftLogFactory gives Dragonboat its Tan log and keeps hold of it, so that it can be compared with the store before the
// replica starts.
type raftLogFactory struct{ db raftio.ILogDB }

// Create implements config.LogDBFactory.
func (f *raftLogFactory) Create(cfg config.NodeHostConfig, cb config.LogDBCallback, dirs, wals []string) (raftio.ILogDB, error) {
	db, err := tan.Factory.Create(cfg, cb, dirs, wals)
	if err == nil {
		f.db = db
	}
	return db, err
}

// Name implements config.LogDBFactory.
func (f *raftLogFactory) Name() string { return tan.Factory.Name() }

// check compares Raft's log with the store. Dragonboat trusts both blindly: it would take new entries under indexes that
// the store has passed already and never write them, or die in a goroutine of its own.
func (f *raftLogFactory) check(cfg Config, m meta) error {
	path := filepath.Join(cfg.Dir, raftDir)
	snap, err := f.db.GetSnapshot(cfg.ShardID, cfg.ReplicaID)
	if err != nil {
		return unreadable(path, err)
	}
	last := snap.Index
	state, err := f.db.ReadRaftState(cfg.ShardID, cfg.ReplicaID, snap.Index)
	switch {
	case errors.Is(err, raftio.ErrNoSavedLog):
	case err != nil:
		return unreadable(path, err)
	case state.EntryCount > 0:
		last = state.FirstIndex + state.EntryCount - 1
		if err := f.read(cfg, state.FirstIndex, last); err != nil {
			return unreadable(path, err)
		}
	}
	if last < m.applied {
		return &CorruptionError{Path: path, Reason: fmt.Sprintf(
			"Raft's log ends at its entry %d, but %d had been applied: its end was lost, and maybe votes with it; "+
				"this replica must join again with an empty directory and a new replica ID", last, m.applied)}
	}
	if snap.Dummy && snap.OnDiskIndex > m.applied {
		return &CorruptionError{Path: cfg.FS.PathJoin(cfg.Dir, storeDir), Reason: fmt.Sprintf(
			"the store ends at Raft's entry %d, but %d had been synced: records were lost; "+
				"this replica must join again with an empty directory and a new replica ID", m.applied, snap.OnDiskIndex)}
	}
	return nil
}

func unreadable(path string, err error) error {
	return &CorruptionError{Path: path, Reason: fmt.Sprintf("Raft's log cannot be read to its end: %v; "+
		"what was applied is in the store, which can be verified; "+
		"this replica must join again with an empty directory and a new replica ID", err)}
}

// read reads every entry since the last cut. Dragonboat will do the same a moment later, but in a goroutine of its own,
// where damage ends the process.
func (f *raftLogFactory) read(cfg Config, from, last uint64) error {
	for from <= last {
		entries, _, err := f.db.IterateEntries(nil, 0, cfg.ShardID, cfg.ReplicaID, from, last+1, restoreBatchBytes)
		if err != nil {
			return err
		}
		if len(entries) == 0 || entries[0].Index != from {
			return fmt.Errorf("its entry %d is missing", from)
		}
		from = entries[len(entries)-1].Index + 1
	}
	return nil
}

// protect turns a panic of Dragonboat, its way to report files it cannot make sense of, into an error.
func protect(cfg Config, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			reason, _, _ := strings.Cut(fmt.Sprint(r), "\n")
			path := filepath.Join(cfg.Dir, raftDir)
			if isDiskFull(r, reason) {
				err = fmt.Errorf("%s: %w: %s", path, ErrDiskFull, reason)
				return
			}
			err = &CorruptionError{Path: path, Reason: "Raft's log cannot be opened: " + reason}
		}
	}()
	return f()
}

// isDiskFull tells a full disk, which is nobody's damage, from the other reasons for a panic.
func isDiskFull(r any, reason string) bool {
	err, ok := r.(error)
	return ok && errors.Is(err, syscall.ENOSPC) || strings.HasSuffix(reason, syscall.ENOSPC.Error())
}
