package event

// Orders and reports are what servers and node agents say to one another. They
// are not records: an order is derived from the state, a report becomes one
// record (AllocationsReported) when the committer accepts it.

// Generation fences orders: the restore incarnation of the cluster and the log
// index that the order was derived at. An agent refuses an older generation
// than the highest that it has seen.
type Generation struct {
	Incarnation uint64 `cbor:"1,keyasint,omitempty"`
	Index       uint64 `cbor:"2,keyasint,omitempty"`
}

// Less reports whether g is older than other.
func (g Generation) Less(other Generation) bool {
	if g.Incarnation != other.Incarnation {
		return g.Incarnation < other.Incarnation
	}
	return g.Index < other.Index
}

// AssignedPort is a host port that a placement holds.
type AssignedPort struct {
	Label       string `cbor:"1,keyasint,omitempty"`
	Value       int    `cbor:"2,keyasint,omitempty"` // host port
	To          int    `cbor:"3,keyasint,omitempty"` // port inside the task's network; 0 = the same
	HostNetwork string `cbor:"4,keyasint,omitempty"`
}

// Order is all that a node needs to know to run, or to stop, one allocation.
type Order struct {
	ID            ID             `cbor:"1,keyasint"`
	EvalID        ID             `cbor:"2,keyasint,omitzero"`
	Job           JobKey         `cbor:"3,keyasint,omitempty"`
	JobVersion    uint64         `cbor:"4,keyasint,omitempty"`
	Spec          Hash           `cbor:"5,keyasint,omitzero"` // names a job in OrderBatch.Specs, now or earlier on the stream
	Group         string         `cbor:"6,keyasint,omitempty"`
	NameIndex     uint32         `cbor:"7,keyasint,omitempty"` // the n of "job.group[n]"
	Desired       DesiredStatus  `cbor:"8,keyasint,omitempty"`
	ModifyIndex   uint64         `cbor:"9,keyasint,omitempty"` // AllocModifyIndex: last index at which the order changed
	Ports         []AssignedPort `cbor:"10,keyasint,omitempty"`
	Previous      ID             `cbor:"11,keyasint,omitzero"`
	WaitFor       []ID           `cbor:"12,keyasint,omitempty"` // allocations on this node whose room this one takes: start only after they ended
	CreateTime    int64          `cbor:"13,keyasint,omitempty"` // Unix nanoseconds, record time of the placement
	ClientStatus  ClientStatus   `cbor:"14,keyasint,omitempty"` // what the servers last recorded
	KnownTerminal bool           `cbor:"15,keyasint,omitempty"` // the servers already recorded a terminal client status
	// MemoryOversubscribed: tasks may use memory_max while the machine has it.
	MemoryOversubscribed bool `cbor:"16,keyasint,omitempty"`
	// NoShutdownDelay: when it is stopped, shutdown_delay is not waited out.
	NoShutdownDelay bool `cbor:"17,keyasint,omitempty"`
}

// OrderBatch is one message on a node's allocation stream. The first one of a
// stream is Full: an allocation that it does not list is not wanted any more.
// Later ones list what changed and what is gone. One with nothing in it is a
// sign of life.
type OrderBatch struct {
	Generation Generation    `cbor:"1,keyasint"`
	Full       bool          `cbor:"2,keyasint,omitempty"`
	Specs      map[Hash]*Job `cbor:"3,keyasint,omitempty"`
	Orders     []Order       `cbor:"4,keyasint,omitempty"`
	Gone       []ID          `cbor:"5,keyasint,omitempty"`
}

// NodeCredentials stand in every message of a node agent.
type NodeCredentials struct {
	NodeID      ID     `cbor:"1,keyasint"`
	Secret      ID     `cbor:"2,keyasint"`
	Incarnation uint64 `cbor:"3,keyasint,omitempty"` // grows with every start of the agent
}

// NodeRegistration announces a node and its whole fingerprint.
type NodeRegistration struct {
	NodeCredentials
	Node *Node `cbor:"4,keyasint"`
	// Ineligible has a node that was not known before get nothing to run until an operator wants it to.
	Ineligible bool `cbor:"5,keyasint,omitempty"`
}

// NodeHeartbeat says that a node agent is alive.
type NodeHeartbeat struct {
	NodeCredentials
}

// NodeReport carries what changed on a node since its last acknowledged report.
type NodeReport struct {
	NodeCredentials
	Sequence uint64       `cbor:"4,keyasint"`           // dense within an incarnation; older ones are refused
	Ready    bool         `cbor:"5,keyasint,omitempty"` // the agent has taken in its orders and reported all it runs
	Deltas   []AllocDelta `cbor:"6,keyasint,omitempty"`
}

// NodeAnswer is the servers' answer to any of the three.
type NodeAnswer struct {
	Index        uint64 `cbor:"1,keyasint,omitempty"` // head of the log that the answer stands on
	HeartbeatTTL int64  `cbor:"2,keyasint,omitempty"` // nanoseconds until the next heartbeat is due
	Eligibility  string `cbor:"3,keyasint,omitempty"`
	Register     bool   `cbor:"4,keyasint,omitempty"` // the node is unknown or down: register again
}

// AllocDelta is what changed of one allocation on its node. Tasks that did not
// change are absent; of a task that did, Events holds only the new ones.
type AllocDelta struct {
	ID     ID                    `cbor:"1,keyasint"`
	Client ClientStatus          `cbor:"2,keyasint,omitempty"`
	Tasks  map[string]*TaskState `cbor:"3,keyasint,omitempty"`
}
