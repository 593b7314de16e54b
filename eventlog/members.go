package eventlog

import (
	"context"
	"fmt"

	"github.com/lni/dragonboat/v4"
)

// AddReplica makes a replica a member of the log; it is then opened with Config.Join in an empty directory. Its ID must
// never have been a member before, not even on a disk that was lost: a replica that forgot its votes could elect a second
// leader. A leader must be reachable; addr is where this server reaches the new one, the others are told by SetAddress.
func (l *Log) AddReplica(ctx context.Context, replicaID uint64, addr string) error {
	l.SetAddress(replicaID, addr)
	err := l.change(ctx, func(ctx context.Context) error {
		return l.host.SyncRequestAddReplica(ctx, l.cfg.ShardID, replicaID, hostID(l.cfg.ClusterName, replicaID), 0)
	})
	if err != nil {
		return fmt.Errorf("add replica %d at %s: %w", replicaID, addr, err)
	}
	return nil
}

// RemoveReplica ends a replica's membership for good.
func (l *Log) RemoveReplica(ctx context.Context, replicaID uint64) error {
	err := l.change(ctx, func(ctx context.Context) error {
		return l.host.SyncRequestDeleteReplica(ctx, l.cfg.ShardID, replicaID, 0)
	})
	if err != nil {
		return fmt.Errorf("remove replica %d: %w", replicaID, err)
	}
	return nil
}

// Replicas returns the IDs of the voting members, sorted, as of a read-index round.
func (l *Log) Replicas(ctx context.Context) ([]uint64, error) {
	var m *dragonboat.Membership
	err := l.change(ctx, func(ctx context.Context) (err error) {
		m, err = l.host.SyncGetShardMembership(ctx, l.cfg.ShardID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the members: %w", err)
	}
	return memberIDs(m.Nodes), nil
}

// TransferLeadership asks the leader to hand over to a replica that is up to date. It is a wish: whether it came true is
// for Leadership to tell.
func (l *Log) TransferLeadership(replicaID uint64) error {
	err := l.withHost(func() error { return l.host.RequestLeaderTransfer(l.cfg.ShardID, replicaID) })
	if err != nil {
		return fmt.Errorf("hand leadership to replica %d: %w", replicaID, err)
	}
	return nil
}

// change runs a call of Dragonboat that waits, within appendTimeout, and gives it up when the log closes.
func (l *Log) change(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	go func() {
		select {
		case <-l.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return l.withHost(func() error { return f(ctx) })
}
