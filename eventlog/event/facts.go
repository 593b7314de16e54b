package event

import "fmt"

// Event is one fact. Kind tells which.
type Event interface{ Kind() Kind }

// Kind names a type of event in a record. A number, once released, keeps its
// meaning for ever.
type Kind uint16

const (
	KindClusterCreated      Kind = 1
	KindCommitterStarted    Kind = 2
	KindBlobStored          Kind = 3
	KindCheckpointTaken     Kind = 4
	KindSchedulerConfigured Kind = 5

	KindJobSubmitted       Kind = 16
	KindJobStopped         Kind = 17
	KindJobScaled          Kind = 18
	KindJobVersionTagged   Kind = 19
	KindJobVersionUntagged Kind = 20

	KindEvaluationCreated   Kind = 32
	KindEvaluationUnblocked Kind = 33
	KindEvaluationEnded     Kind = 34
	KindPlanCommitted       Kind = 35

	KindNodeRegistered     Kind = 48
	KindNodeChanged        Kind = 49
	KindNodeStatusChanged  Kind = 50
	KindNodeEligibilitySet Kind = 51

	KindAllocationsReported Kind = 64
	KindAllocationsMarked   Kind = 65

	KindCollected Kind = 80

	KindNodePoolSet     Kind = 96
	KindNodePoolDeleted Kind = 97

	KindNamespaceSet     Kind = 112
	KindNamespaceDeleted Kind = 113
)

// kinds is the whole vocabulary: number, name, and how to make an empty one.
var kinds = map[Kind]struct {
	name string
	zero func() Event
}{
	KindClusterCreated:      {"ClusterCreated", func() Event { return new(ClusterCreated) }},
	KindCommitterStarted:    {"CommitterStarted", func() Event { return new(CommitterStarted) }},
	KindBlobStored:          {"BlobStored", func() Event { return new(BlobStored) }},
	KindCheckpointTaken:     {"CheckpointTaken", func() Event { return new(CheckpointTaken) }},
	KindSchedulerConfigured: {"SchedulerConfigured", func() Event { return new(SchedulerConfigured) }},
	KindJobSubmitted:        {"JobSubmitted", func() Event { return new(JobSubmitted) }},
	KindJobStopped:          {"JobStopped", func() Event { return new(JobStopped) }},
	KindJobScaled:           {"JobScaled", func() Event { return new(JobScaled) }},
	KindJobVersionTagged:    {"JobVersionTagged", func() Event { return new(JobVersionTagged) }},
	KindJobVersionUntagged:  {"JobVersionUntagged", func() Event { return new(JobVersionUntagged) }},
	KindEvaluationCreated:   {"EvaluationCreated", func() Event { return new(EvaluationCreated) }},
	KindEvaluationUnblocked: {"EvaluationUnblocked", func() Event { return new(EvaluationUnblocked) }},
	KindEvaluationEnded:     {"EvaluationEnded", func() Event { return new(EvaluationEnded) }},
	KindPlanCommitted:       {"PlanCommitted", func() Event { return new(PlanCommitted) }},
	KindNodeRegistered:      {"NodeRegistered", func() Event { return new(NodeRegistered) }},
	KindNodeChanged:         {"NodeChanged", func() Event { return new(NodeChanged) }},
	KindNodeStatusChanged:   {"NodeStatusChanged", func() Event { return new(NodeStatusChanged) }},
	KindNodeEligibilitySet:  {"NodeEligibilitySet", func() Event { return new(NodeEligibilitySet) }},
	KindAllocationsReported: {"AllocationsReported", func() Event { return new(AllocationsReported) }},
	KindAllocationsMarked:   {"AllocationsMarked", func() Event { return new(AllocationsMarked) }},
	KindCollected:           {"Collected", func() Event { return new(Collected) }},
	KindNodePoolSet:         {"NodePoolSet", func() Event { return new(NodePoolSet) }},
	KindNodePoolDeleted:     {"NodePoolDeleted", func() Event { return new(NodePoolDeleted) }},
	KindNamespaceSet:        {"NamespaceSet", func() Event { return new(NamespaceSet) }},
	KindNamespaceDeleted:    {"NamespaceDeleted", func() Event { return new(NamespaceDeleted) }},
}

// String is the name of the kind, as the audit tail shows it.
func (k Kind) String() string {
	if known, ok := kinds[k]; ok {
		return known.name
	}
	return fmt.Sprintf("kind(%d)", uint16(k))
}

// MarshalText is the name; JSON uses it.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// ParseKind is the kind of that name.
func ParseKind(name string) (Kind, error) {
	for k, known := range kinds {
		if known.name == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("unknown kind of event %q", name)
}

// Kinds lists the whole vocabulary in ascending order of number.
func Kinds() []Kind {
	var list []Kind
	for k := Kind(0); k < 1<<10; k++ {
		if _, ok := kinds[k]; ok {
			list = append(list, k)
		}
	}
	return list
}

// New makes an empty event of the kind, or nil when the kind is unknown.
func New(k Kind) Event {
	if known, ok := kinds[k]; ok {
		return known.zero()
	}
	return nil
}

// ClusterCreated is record 1 of every log. It seeds the chain with the identity
// of the cluster.
type ClusterCreated struct {
	ClusterID ID     `cbor:"1,keyasint"`
	Region    string `cbor:"2,keyasint,omitempty"`
	Version   string `cbor:"3,keyasint,omitempty"` // of the software that created it
}

// CommitterStarted opens an epoch: a new committer has folded the whole log
// before this record and serves from here on. Commands of reactors carry the
// epoch they were born in and are refused in any other.
type CommitterStarted struct {
	Epoch     uint64 `cbor:"1,keyasint"`
	ReplicaID uint64 `cbor:"2,keyasint,omitempty"`
	Server    string `cbor:"3,keyasint,omitempty"` // name of the server
	Version   string `cbor:"4,keyasint,omitempty"` // of its software
}

// BlobStored holds one chunk of a content-addressed value: a job's spec or its
// source. All chunks stand in the log before the record that names the blob.
type BlobStored struct {
	Blob  Hash   `cbor:"1,keyasint"` // SHA-256 of the whole value
	Chunk uint32 `cbor:"2,keyasint,omitempty"`
	Of    uint32 `cbor:"3,keyasint"` // number of chunks
	Data  []byte `cbor:"4,keyasint,omitempty"`
}

// CheckpointTaken says that folding records 1 to Index with the given version
// of the fold gives a state whose canonical encoding has this digest.
type CheckpointTaken struct {
	At          uint64 `cbor:"1,keyasint"`
	FoldVersion uint32 `cbor:"2,keyasint"`
	SHA256      Hash   `cbor:"3,keyasint"`
}

// The algorithms by which nodes are ranked: those with the least room left first, or
// those with the most.
const (
	AlgorithmBinpack = "binpack"
	AlgorithmSpread  = "spread"
)

// SchedulerConfigured sets how jobs are taken and placed from here on: all of it, what
// did not change included.
type SchedulerConfigured struct {
	Algorithm string `cbor:"1,keyasint,omitempty"` // AlgorithmBinpack or AlgorithmSpread
	// MemoryOversubscribed lets tasks use memory_max where their node has it.
	MemoryOversubscribed bool `cbor:"2,keyasint,omitempty" json:",omitempty"`
	RejectJobs           bool `cbor:"3,keyasint,omitempty" json:",omitempty"` // no job is registered, reverted or scaled
	PauseEvaluations     bool `cbor:"4,keyasint,omitempty" json:",omitempty"` // nothing is decided until this is set back
	// Which types of job may take the room of lower priorities. Nothing acts on it yet.
	PreemptSystem   bool `cbor:"5,keyasint,omitempty" json:",omitempty"`
	PreemptSysBatch bool `cbor:"6,keyasint,omitempty" json:",omitempty"`
	PreemptBatch    bool `cbor:"7,keyasint,omitempty" json:",omitempty"`
	PreemptService  bool `cbor:"8,keyasint,omitempty" json:",omitempty"`
	// NodeLimit bounds, elsewhere, the nodes that are looked at for one placement. Here
	// all of them are, so nothing acts on it.
	NodeLimit uint `cbor:"9,keyasint,omitempty" json:",omitempty"`
}

// JobSubmitted gives a job a new version of its spec, or confirms the one it
// has (SameSpec).
type JobSubmitted struct {
	Namespace  string `cbor:"1,keyasint"`
	JobID      string `cbor:"2,keyasint"`
	Version    uint64 `cbor:"3,keyasint,omitempty"`
	Spec       Hash   `cbor:"4,keyasint"`           // blob: canonical encoding of the Job
	Source     Hash   `cbor:"5,keyasint,omitzero"`  // blob: encoding of the JobSubmission
	SubmitTime int64  `cbor:"6,keyasint,omitempty"` // Unix nanoseconds
	SameSpec   bool   `cbor:"7,keyasint,omitempty"`
}

// JobStopped ends a job; Purge also forgets it.
type JobStopped struct {
	Namespace  string `cbor:"1,keyasint"`
	JobID      string `cbor:"2,keyasint"`
	Version    uint64 `cbor:"3,keyasint,omitempty"`
	SubmitTime int64  `cbor:"4,keyasint,omitempty"` // Unix nanoseconds
	Purge      bool   `cbor:"5,keyasint,omitempty"`
}

// JobScaled notes what a person or an autoscaler asked for, or said, about the count
// of one of a job's groups. The count itself is in the spec that was submitted by the
// same command.
type JobScaled struct {
	Namespace     string         `cbor:"1,keyasint"`
	JobID         string         `cbor:"2,keyasint"`
	Group         string         `cbor:"3,keyasint"`
	Count         *int64         `cbor:"4,keyasint,omitempty"` // asked for; nil = only something was said
	PreviousCount int64          `cbor:"5,keyasint,omitempty"`
	Message       string         `cbor:"6,keyasint,omitempty"`
	Error         bool           `cbor:"7,keyasint,omitempty"` // what was said is about a failure
	Meta          map[string]any `cbor:"8,keyasint,omitempty"` // the caller's own
	EvalID        ID             `cbor:"9,keyasint,omitzero"`  // that deals with the count
}

// JobVersionTagged gives a version of a job a name, in the place of one that it has. A
// version with a name is kept when others of its age are forgotten.
type JobVersionTagged struct {
	Namespace   string `cbor:"1,keyasint"`
	JobID       string `cbor:"2,keyasint"`
	Version     uint64 `cbor:"3,keyasint,omitempty"`
	Name        string `cbor:"4,keyasint"` // no other version of the job has it
	Description string `cbor:"5,keyasint,omitempty"`
}

// JobVersionUntagged takes the name of a version away.
type JobVersionUntagged struct {
	Namespace string `cbor:"1,keyasint"`
	JobID     string `cbor:"2,keyasint"`
	Name      string `cbor:"3,keyasint"`
}

// EvaluationCreated asks the scheduler to look at a job. The evaluation's
// indexes and times are those of the record.
type EvaluationCreated struct {
	Evaluation Evaluation `cbor:"1,keyasint"`
}

// EvaluationUnblocked makes a blocked evaluation pending again: capacity came.
type EvaluationUnblocked struct {
	EvalID ID     `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint,omitempty"`
}

// EvaluationEnded ends an evaluation without a plan: canceled in favour of a
// newer one, or failed.
type EvaluationEnded struct {
	EvalID      ID         `cbor:"1,keyasint"`
	Status      EvalStatus `cbor:"2,keyasint"`
	Description string     `cbor:"3,keyasint,omitempty"`
}

// PlanCommitted is a scheduling decision as it was accepted: what it was decided
// on, what was decided and why, and the outcome of the evaluation. A decision
// that changes nothing is recorded too.
type PlanCommitted struct {
	EvalID           ID     `cbor:"1,keyasint"`
	Namespace        string `cbor:"2,keyasint,omitempty"`
	JobID            string `cbor:"3,keyasint,omitempty"`
	JobVersion       uint64 `cbor:"4,keyasint,omitempty"`
	Basis            uint64 `cbor:"5,keyasint"` // index of the snapshot it was decided on
	Seed             uint64 `cbor:"6,keyasint"`
	SchedulerVersion uint32 `cbor:"7,keyasint"`

	// Nodes lists each node that the plan places on once; placements point
	// into it.
	Nodes  IDs           `cbor:"8,keyasint,omitzero"`
	Groups PlannedGroups `cbor:"9,keyasint,omitzero"` // in the order of the spec
	Stops  Stops         `cbor:"10,keyasint,omitzero"`
	// InPlace lists allocations that go on running under JobVersion.
	InPlace IDs `cbor:"11,keyasint,omitzero"`
	// Dropped names the nodes whose part of the plan did not fit at the head
	// any more and was left out (a partial commit).
	Dropped []DroppedNode `cbor:"12,keyasint,omitempty"`

	// Outcome of the evaluation. EvalPending means that it stays open, because
	// a part was dropped and the worker will try again.
	Outcome     EvalStatus     `cbor:"13,keyasint"`
	Description string         `cbor:"14,keyasint,omitempty"`
	Queued      map[string]int `cbor:"15,keyasint,omitempty"` // by group: wanted and not placed
	BlockedEval ID             `cbor:"16,keyasint,omitzero"`  // created in the same command for what failed
	// ClassEligibility and EscapedComputedClass are those of the decision; the
	// blocked evaluation inherits them.
	ClassEligibility     map[string]bool `cbor:"17,keyasint,omitempty"`
	EscapedComputedClass bool            `cbor:"18,keyasint,omitempty"`
}

// PlannedGroup is what a plan decided for one task group.
type PlannedGroup struct {
	Name       string
	Placements Placements
	Metric     *AllocMetric // the funnel of nodes, and the scores, of the first placement
	Failed     *AllocMetric // set when at least one placement failed
}

// Placement puts one allocation on one node. Its ID is
// AllocationID(EvalID, Basis, Ordinal).
type Placement struct {
	Ordinal  uint32   // position among the plan's decisions; dense before parts are dropped
	Node     uint32   // position in PlanCommitted.Nodes
	Name     uint32   // the n of "job.group[n]"
	Score    Score    // why this node: its normalized score
	Ports    []uint16 // host ports, in the order of the group's ports (see GroupPorts)
	Previous ID       // the allocation that it replaces
}

// PlannedStop takes an allocation out of service.
type PlannedStop struct {
	ID          ID
	Client      ClientStatus // set to lost when its node is down
	Description string
	// HandsOver: its successor stands in this plan on the same node; it gives
	// up its room now and the successor waits for it there.
	HandsOver bool
}

// DroppedNode is a node whose part of a plan did not fit at the head.
type DroppedNode struct {
	NodeID     ID     `cbor:"1,keyasint"`
	Reason     string `cbor:"2,keyasint,omitempty"`
	Placements uint32 `cbor:"3,keyasint,omitempty"`
}

// NodeRegistered adds a node, or gives a known one a new incarnation of its
// agent. Node is nil when the fingerprint is the one already known, and a
// difference comes as NodeChanged.
type NodeRegistered struct {
	NodeID      ID     `cbor:"1,keyasint"`
	SecretHash  Hash   `cbor:"2,keyasint,omitzero"` // SHA-256 of the secret's bytes; only in the first registration
	Incarnation uint64 `cbor:"3,keyasint,omitempty"`
	Node        *Node  `cbor:"4,keyasint,omitempty"`
}

// NodeChanged is the difference between a node's known fingerprint and a new
// one: attributes one by one, everything else whole.
type NodeChanged struct {
	NodeID            ID                `cbor:"1,keyasint"`
	AttributesSet     map[string]string `cbor:"2,keyasint,omitempty"`
	AttributesRemoved []string          `cbor:"3,keyasint,omitempty"`
	Rest              *Node             `cbor:"4,keyasint,omitempty"` // the new node without attributes; nil when only those changed
	ComputedClass     string            `cbor:"5,keyasint,omitempty"`
}

// NodeStatusChanged says that a node became ready, or was declared down.
type NodeStatusChanged struct {
	NodeID      ID         `cbor:"1,keyasint"`
	Status      NodeStatus `cbor:"2,keyasint"`
	Description string     `cbor:"3,keyasint,omitempty"`
}

// NodeEligibilitySet says whether new allocations may be placed on a node, as its
// operators want it. It holds until it is set again, whatever becomes of the node.
type NodeEligibilitySet struct {
	NodeID     ID   `cbor:"1,keyasint"`
	Ineligible bool `cbor:"2,keyasint,omitempty"`
}

// AllocationsReported is one report of a node.
type AllocationsReported struct {
	NodeID      ID           `cbor:"1,keyasint"`
	Incarnation uint64       `cbor:"2,keyasint,omitempty"`
	Sequence    uint64       `cbor:"3,keyasint,omitempty"`
	Deltas      []AllocDelta `cbor:"4,keyasint,omitempty"`
}

// AllocationsMarked says what the next decision about their jobs is to do with
// allocations that run. A mark is never taken back.
type AllocationsMarked struct {
	IDs     IDs  `cbor:"1,keyasint,omitzero"`
	Migrate bool `cbor:"2,keyasint,omitempty"` // stop them and place others in their stead
	// NoShutdownDelay has their nodes kill them without waiting out shutdown_delay.
	NoShutdownDelay bool `cbor:"3,keyasint,omitempty"`
}

func (*ClusterCreated) Kind() Kind      { return KindClusterCreated }
func (*CommitterStarted) Kind() Kind    { return KindCommitterStarted }
func (*BlobStored) Kind() Kind          { return KindBlobStored }
func (*CheckpointTaken) Kind() Kind     { return KindCheckpointTaken }
func (*SchedulerConfigured) Kind() Kind { return KindSchedulerConfigured }
func (*JobSubmitted) Kind() Kind        { return KindJobSubmitted }
func (*JobStopped) Kind() Kind          { return KindJobStopped }
func (*JobScaled) Kind() Kind           { return KindJobScaled }
func (*JobVersionTagged) Kind() Kind    { return KindJobVersionTagged }
func (*JobVersionUntagged) Kind() Kind  { return KindJobVersionUntagged }
func (*EvaluationCreated) Kind() Kind   { return KindEvaluationCreated }
func (*EvaluationUnblocked) Kind() Kind { return KindEvaluationUnblocked }
func (*EvaluationEnded) Kind() Kind     { return KindEvaluationEnded }
func (*PlanCommitted) Kind() Kind       { return KindPlanCommitted }
func (*NodeRegistered) Kind() Kind      { return KindNodeRegistered }
func (*NodeChanged) Kind() Kind         { return KindNodeChanged }
func (*NodeStatusChanged) Kind() Kind   { return KindNodeStatusChanged }
func (*NodeEligibilitySet) Kind() Kind  { return KindNodeEligibilitySet }
func (*AllocationsReported) Kind() Kind { return KindAllocationsReported }
func (*AllocationsMarked) Kind() Kind   { return KindAllocationsMarked }
