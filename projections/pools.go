package projections

import (
	"iter"

	"drover/eventlog/event"
)

// NodePool is a node pool.
type NodePool struct {
	event.NodePool `cbor:"1,keyasint"`
	CreateIndex    uint64 `cbor:"2,keyasint"`
	ModifyIndex    uint64 `cbor:"3,keyasint"`
}

// Namespace is a namespace.
type Namespace struct {
	event.Namespace `cbor:"1,keyasint"`
	CreateIndex     uint64 `cbor:"2,keyasint"`
	ModifyIndex     uint64 `cbor:"3,keyasint"`
}

// addBuiltIns adds what every cluster has from its first record on.
func (s *State) addBuiltIns() {
	for _, pool := range []event.NodePool{
		{Name: event.AllPools, Description: "Node pool with all nodes in the cluster."},
		{Name: event.DefaultPool, Description: "Default node pool."},
	} {
		s.pools.put(pool.Name, &NodePool{pool, 1, 1})
	}
	s.namespaces.put(event.DefaultNamespace, &Namespace{
		event.Namespace{Name: event.DefaultNamespace, Description: "Default shared namespace"}, 1, 1,
	})
}

// BuiltInPool reports whether every cluster has that pool.
func BuiltInPool(name string) bool { return name == event.AllPools || name == event.DefaultPool }

// NodePool looks up a node pool; nil when there is none.
func (s *State) NodePool(name string) *NodePool {
	p, _ := s.pools.get(name)
	return p
}

// NodePools visits all node pools by name.
func (s *State) NodePools() iter.Seq[*NodePool] { return s.pools.all() }

// NodePoolsDown visits all node pools in the opposite order.
func (s *State) NodePoolsDown() iter.Seq[*NodePool] { return s.pools.down() }

// Namespace looks up a namespace; nil when there is none.
func (s *State) Namespace(name string) *Namespace {
	n, _ := s.namespaces.get(name)
	return n
}

// Namespaces visits all namespaces by name.
func (s *State) Namespaces() iter.Seq[*Namespace] { return s.namespaces.all() }

// NamespacesDown visits all namespaces in the opposite order.
func (s *State) NamespacesDown() iter.Seq[*Namespace] { return s.namespaces.down() }

// Algorithm is how nodes are ranked for jobs of a pool.
func (s *State) Algorithm(pool string) string {
	if p := s.NodePool(event.PoolOf(pool)); p != nil && p.SchedulerConfiguration != nil && p.SchedulerConfiguration.SchedulerAlgorithm != "" {
		return p.SchedulerConfiguration.SchedulerAlgorithm
	}
	return s.scheduler.Algorithm
}

// MemoryOversubscribed reports whether tasks of a pool's jobs may use memory_max.
func (s *State) MemoryOversubscribed(pool string) bool {
	if p := s.NodePool(event.PoolOf(pool)); p != nil && p.SchedulerConfiguration != nil && p.SchedulerConfiguration.MemoryOversubscriptionEnabled != nil {
		return *p.SchedulerConfiguration.MemoryOversubscriptionEnabled
	}
	return s.scheduler.MemoryOversubscribed
}

func (s *State) nodePoolSet(r *event.Record, pool event.NodePool) {
	p := &NodePool{pool, r.Index, r.Index}
	if old := s.NodePool(pool.Name); old != nil {
		p.CreateIndex = old.CreateIndex
	}
	s.pools.put(pool.Name, p)
	s.indexes[TableNodePools] = r.Index
}

// joinPool makes the pool of a node that comes, if there is none of that name.
func (s *State) joinPool(r *event.Record, n *event.Node) {
	if name := event.PoolOf(n.NodePool); s.NodePool(name) == nil {
		s.nodePoolSet(r, event.NodePool{Name: name})
	}
}

func (s *State) nodePoolDeleted(r *event.Record, e *event.NodePoolDeleted) {
	if s.NodePool(e.Name) == nil || BuiltInPool(e.Name) {
		s.impossible(r, "there is no node pool %q that could go", e.Name)
	}
	s.pools.remove(e.Name)
	s.indexes[TableNodePools] = r.Index
}

func (s *State) namespaceSet(r *event.Record, e *event.NamespaceSet) {
	n := &Namespace{e.Namespace, r.Index, r.Index}
	if old := s.Namespace(n.Name); old != nil {
		n.CreateIndex = old.CreateIndex
	}
	s.namespaces.put(n.Name, n)
	s.indexes[TableNamespaces] = r.Index
}

func (s *State) namespaceDeleted(r *event.Record, e *event.NamespaceDeleted) {
	if s.Namespace(e.Name) == nil || e.Name == event.DefaultNamespace {
		s.impossible(r, "there is no namespace %q that could go", e.Name)
	}
	s.namespaces.remove(e.Name)
	s.indexes[TableNamespaces] = r.Index
}
