package eventlog

import (
	"log/slog"
	"sync"

	"github.com/lni/dragonboat/v4/raftio"
)

// Leadership is who leads the log, as far as this replica knows. Knowing is not proof: a leader learns of its deposition late. Only
// Append and Barrier prove anything.
type Leadership struct {
	Leader    bool   // this replica leads
	LeaderID  uint64 // 0: unknown
	ReplicaID uint64 // this replica
	Term      uint64 // the term this belongs to; it only grows
}

// leadership is told of changes by Dragonboat's event goroutine.
type leadership struct {
	log  *slog.Logger
	hook func(Leadership)

	mu      sync.Mutex
	now     Leadership
	changed chan struct{}
}

func newLeadership(replicaID uint64, log *slog.Logger, hook func(Leadership)) *leadership {
	return &leadership{log: log, hook: hook, now: Leadership{ReplicaID: replicaID}, changed: make(chan struct{})}
}

// LeaderUpdated implements raftio.IRaftEventListener.
func (l *leadership) LeaderUpdated(info raftio.LeaderInfo) {
	l.mu.Lock()
	next := Leadership{
		Leader:    info.LeaderID == l.now.ReplicaID,
		LeaderID:  info.LeaderID,
		ReplicaID: l.now.ReplicaID,
		Term:      info.Term,
	}
	same := next == l.now
	worth := next.LeaderID != l.now.LeaderID // of a line in the log; terms come and go during an election
	if !same {
		l.now = next
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()
	if same {
		return
	}
	if worth {
		l.log.Info("the log's leader changed", "leader", next.LeaderID, "term", next.Term, "replica", next.ReplicaID)
	}
	if l.hook != nil {
		l.hook(next)
	}
}

func (l *leadership) get() (Leadership, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed
}
