package eventlog

import (
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
	hook func(Leadership)

	mu      sync.Mutex
	now     Leadership
	changed chan struct{}
}

func newLeadership(replicaID uint64, hook func(Leadership)) *leadership {
	return &leadership{hook: hook, now: Leadership{ReplicaID: replicaID}, changed: make(chan struct{})}
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
	if !same {
		l.now = next
		close(l.changed)
		l.changed = make(chan struct{})
	}
	l.mu.Unlock()
	if !same && l.hook != nil {
		l.hook(next)
	}
}

func (l *leadership) get() (Leadership, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.changed
}
