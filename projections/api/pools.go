package api

import (
	"net/http"
	"strings"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// NodePool is a set of nodes that jobs are kept to.
type NodePool struct {
	Name                   string
	Description            string
	Meta                   map[string]string
	NodeIdentityTTL        string // a duration, "" for none
	SchedulerConfiguration *NodePoolScheduler
	CreateIndex            uint64
	ModifyIndex            uint64
}

// NodePoolScheduler is what is otherwise for jobs of a pool than for the cluster.
type NodePoolScheduler struct {
	SchedulerAlgorithm            string
	MemoryOversubscriptionEnabled *bool `json:",omitempty"`
}

// NewNodePool shows a node pool.
func NewNodePool(p *projections.NodePool) *NodePool {
	shown := &NodePool{Name: p.Name, Description: p.Description, Meta: p.Meta, CreateIndex: p.CreateIndex, ModifyIndex: p.ModifyIndex}
	if p.NodeIdentityTTL != 0 {
		shown.NodeIdentityTTL = p.NodeIdentityTTL.String()
	}
	if s := p.SchedulerConfiguration; s != nil {
		shown.SchedulerConfiguration = &NodePoolScheduler{s.SchedulerAlgorithm, s.MemoryOversubscriptionEnabled}
	}
	return shown
}

var (
	nodePoolsIndex   = tableIndex(projections.TableNodePools)
	nodePoolsMatter  = table(nodePoolsTable)
	namespacesIndex  = tableIndex(projections.TableNamespaces)
	namespacesMatter = table(namespacesTable)
)

var nodePoolsView = view{
	index: nodePoolsIndex, matter: nodePoolsMatter,
	show: func(k *ask) (any, error) {
		pools := where(either(k, k.state.NodePools(), k.state.NodePoolsDown()), func(p *projections.NodePool) bool { return strings.HasPrefix(p.Name, k.Prefix) })
		return list(k, rest.KeyID, pools,
			func(p *projections.NodePool) rest.Key { return rest.Key{ID: p.Name} },
			func(p *projections.NodePool) any { return NewNodePool(p) }, NewNodePool)
	},
}

var nodePoolView = view{
	index: func(k *ask) uint64 {
		if p := k.state.NodePool(k.id); p != nil {
			return p.ModifyIndex
		}
		return nodePoolsIndex(k)
	},
	matter: nodePoolsMatter,
	show: func(k *ask) (any, error) {
		if p := k.state.NodePool(k.id); p != nil {
			return NewNodePool(p), nil
		}
		return nil, notFound("node pool")
	},
}

// inPool checks a question about what is in a pool.
func (k *ask) inPool() error {
	if k.Prefix != "" {
		return rest.Errorf(http.StatusBadRequest, "prefix is not allowed")
	}
	if k.state.NodePool(k.id) == nil {
		return notFound("node pool")
	}
	return nil
}

var nodePoolNodesView = view{
	index: nodesIndex, matter: nodesMatter,
	show: func(k *ask) (any, error) {
		if err := k.inPool(); err != nil {
			return nil, err
		}
		return listNodes(k, where(either(k, k.state.Nodes(), k.state.NodesDown()), func(n *projections.Node) bool { return event.PoolCovers(k.id, n.Info.NodePool) }))
	},
}

var nodePoolJobsView = view{
	index: jobsIndex, matter: jobsMatter,
	show: func(k *ask) (any, error) {
		if err := k.inPool(); err != nil {
			return nil, err
		}
		return listJobs(k, where(jobsIn(k), func(j *projections.Job) bool { return event.PoolOf(j.Spec.Job.NodePool) == k.id }))
	},
}

// Namespace is a scope for the names of jobs.
type Namespace struct {
	Name                  string
	Description           string
	Quota                 string
	Capabilities          *event.NamespaceCapabilities
	NodePoolConfiguration *event.NamespaceNodePools
	VaultConfiguration    *struct{}
	ConsulConfiguration   *struct{}
	Meta                  map[string]string
	CreateIndex           uint64
	ModifyIndex           uint64
}

// NewNamespace shows a namespace.
func NewNamespace(n *projections.Namespace) *Namespace {
	return &Namespace{
		Name: n.Name, Description: n.Description, Capabilities: n.Capabilities, NodePoolConfiguration: n.NodePoolConfiguration,
		Meta: n.Meta, CreateIndex: n.CreateIndex, ModifyIndex: n.ModifyIndex,
	}
}

var namespacesView = view{
	index: namespacesIndex, matter: namespacesMatter,
	show: func(k *ask) (any, error) {
		spaces := where(either(k, k.state.Namespaces(), k.state.NamespacesDown()), func(n *projections.Namespace) bool { return strings.HasPrefix(n.Name, k.Prefix) })
		return list(k, rest.KeyID, spaces,
			func(n *projections.Namespace) rest.Key { return rest.Key{ID: n.Name} },
			func(n *projections.Namespace) any { return NewNamespace(n) }, NewNamespace)
	},
}

var namespaceView = view{
	index: func(k *ask) uint64 {
		if n := k.state.Namespace(k.id); n != nil {
			return n.ModifyIndex
		}
		return namespacesIndex(k)
	},
	matter: namespacesMatter,
	show: func(k *ask) (any, error) {
		if n := k.state.Namespace(k.id); n != nil {
			return NewNamespace(n), nil
		}
		return nil, notFound("namespace")
	},
}
