package eventlog

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/raftio"
)

// registry tells Dragonboat where the other replicas are. Dragonboat's membership names them by host ID, which never
// changes, and not by address, which does; that choice is made at birth and cannot be changed, so it is made here even
// while all addresses come from the configuration.
type registry struct {
	mu    sync.RWMutex
	addrs map[uint64]string // replica ID -> host:port
}

func newRegistry(members map[uint64]string) *registry {
	r := &registry{addrs: map[uint64]string{}}
	for id, addr := range members {
		r.addrs[id] = addr
	}
	return r
}

func (r *registry) set(replicaID uint64, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs[replicaID] = addr
}

// Create implements config.NodeRegistryFactory.
func (r *registry) Create(string, uint64, config.TargetValidator) (raftio.INodeRegistry, error) {
	return r, nil
}

// Close, Add, Remove and RemoveShard implement raftio.INodeRegistry. Membership is not ours to learn here: only addresses
// are, and those are set by the owner of the log.
func (r *registry) Close() error               { return nil }
func (r *registry) Add(_, _ uint64, _ string)  {}
func (r *registry) Remove(_, _ uint64)         {}
func (r *registry) RemoveShard(shardID uint64) {}

// Resolve returns the address of a replica and the key under which its connection is kept.
func (r *registry) Resolve(shardID, replicaID uint64) (string, string, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	addr, ok := r.addrs[replicaID]
	if !ok {
		return "", "", fmt.Errorf("address of replica %d is not known", replicaID)
	}
	return addr, addr, nil
}

// hostIDSpace makes host IDs: any fixed value does, it must never change.
var hostIDSpace = uuid.MustParse("6f1d2a52-3a0e-5c1b-9d0c-64726f766572")

// hostID is what Dragonboat calls a NodeHostID. Deriving it lets every member know the others' without asking.
func hostID(cluster string, replicaID uint64) string {
	return uuid.NewSHA1(hostIDSpace, fmt.Appendf(nil, "%s\x00%d", cluster, replicaID)).String()
}
