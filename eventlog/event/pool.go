package event

import "time"

// NodePool is a set of nodes that jobs are kept to. A node is in one; which, its agent
// says.
type NodePool struct {
	Name        string            `cbor:"1,keyasint"`
	Description string            `cbor:"2,keyasint,omitempty"`
	Meta        map[string]string `cbor:"3,keyasint,omitempty"`
	// NodeIdentityTTL is for the identities of nodes, which do not exist yet.
	NodeIdentityTTL        time.Duration      `cbor:"4,keyasint,omitempty"`
	SchedulerConfiguration *NodePoolScheduler `cbor:"5,keyasint,omitempty"`
}

// NodePoolScheduler is what is otherwise for jobs of a pool than for the cluster.
type NodePoolScheduler struct {
	SchedulerAlgorithm            string `cbor:"1,keyasint,omitempty"` // "" = the cluster's
	MemoryOversubscriptionEnabled *bool  `cbor:"2,keyasint,omitempty"` // nil = the cluster's
}

// Namespace is a scope for the names of jobs, and what may be in it.
type Namespace struct {
	Name                  string                 `cbor:"1,keyasint"`
	Description           string                 `cbor:"2,keyasint,omitempty"`
	Meta                  map[string]string      `cbor:"3,keyasint,omitempty"`
	Capabilities          *NamespaceCapabilities `cbor:"4,keyasint,omitempty"`
	NodePoolConfiguration *NamespaceNodePools    `cbor:"5,keyasint,omitempty"`
}

// NamespaceCapabilities bounds what jobs of a namespace may ask for. An empty list of
// what is enabled enables everything.
type NamespaceCapabilities struct {
	EnabledTaskDrivers   []string `cbor:"1,keyasint,omitempty"`
	DisabledTaskDrivers  []string `cbor:"2,keyasint,omitempty"`
	EnabledNetworkModes  []string `cbor:"3,keyasint,omitempty"`
	DisabledNetworkModes []string `cbor:"4,keyasint,omitempty"`
}

// NamespaceNodePools bounds the node pools of a namespace's jobs, by patterns. At most
// one of the lists is set.
type NamespaceNodePools struct {
	Default string   `cbor:"1,keyasint,omitempty"` // allowed whatever the lists say
	Allowed []string `cbor:"2,keyasint,omitempty"`
	Denied  []string `cbor:"3,keyasint,omitempty"`
}

// NodePoolSet makes a node pool, or changes it: all of it.
type NodePoolSet struct {
	Pool NodePool `cbor:"1,keyasint"`
}

// NodePoolDeleted ends a node pool that nothing is in.
type NodePoolDeleted struct {
	Name string `cbor:"1,keyasint"`
}

// NamespaceSet makes a namespace, or changes it: all of it.
type NamespaceSet struct {
	Namespace Namespace `cbor:"1,keyasint"`
}

// NamespaceDeleted ends a namespace in which nothing runs.
type NamespaceDeleted struct {
	Name string `cbor:"1,keyasint"`
}

func (*NodePoolSet) Kind() Kind      { return KindNodePoolSet }
func (*NodePoolDeleted) Kind() Kind  { return KindNodePoolDeleted }
func (*NamespaceSet) Kind() Kind     { return KindNamespaceSet }
func (*NamespaceDeleted) Kind() Kind { return KindNamespaceDeleted }
