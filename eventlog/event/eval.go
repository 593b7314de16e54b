package event

import "time"

// Evaluation is a request to bring one job's allocations in line with its spec.
// Its JSON names are those of the HTTP API.
type Evaluation struct {
	ID                ID            `cbor:"1,keyasint"`
	Namespace         string        `cbor:"2,keyasint,omitempty"`
	JobID             string        `cbor:"3,keyasint,omitempty"`
	Type              string        `cbor:"4,keyasint,omitempty"` // the scheduler: service, batch
	Priority          int           `cbor:"5,keyasint,omitempty"`
	TriggeredBy       Trigger       `cbor:"6,keyasint,omitempty"`
	Status            EvalStatus    `cbor:"7,keyasint,omitempty"`
	StatusDescription string        `cbor:"8,keyasint,omitempty"`
	JobModifyIndex    uint64        `cbor:"9,keyasint,omitempty"`
	NodeID            ID            `cbor:"10,keyasint,omitzero"`
	NodeModifyIndex   uint64        `cbor:"11,keyasint,omitempty"`
	DeploymentID      ID            `cbor:"12,keyasint,omitzero"`
	Wait              time.Duration `cbor:"-"`
	WaitUntil         Stamp         `cbor:"13,keyasint,omitempty"`
	NextEval          ID            `cbor:"14,keyasint,omitzero"`
	PreviousEval      ID            `cbor:"15,keyasint,omitzero"`
	BlockedEval       ID            `cbor:"16,keyasint,omitzero"`

	// FailedTGAllocs explains, by task group, what could not be placed.
	FailedTGAllocs map[string]*AllocMetric `cbor:"17,keyasint,omitempty"`
	// ClassEligibility says by computed node class whether the job can run
	// there; a class that is absent was never seen. It decides which new
	// capacity wakes a blocked evaluation.
	ClassEligibility     map[string]bool `cbor:"18,keyasint,omitempty"`
	EscapedComputedClass bool            `cbor:"19,keyasint,omitempty"`
	QueuedAllocations    map[string]int  `cbor:"20,keyasint,omitempty"`

	// SnapshotIndex is the index of the state on which the evaluation was run.
	SnapshotIndex uint64 `cbor:"21,keyasint,omitempty"`

	QuotaLimitReached string `cbor:"-"`
	AnnotatePlan      bool   `cbor:"-"`

	CreateIndex uint64 `cbor:"22,keyasint,omitempty"`
	ModifyIndex uint64 `cbor:"23,keyasint,omitempty"`
	CreateTime  int64  `cbor:"24,keyasint,omitempty"` // Unix nanoseconds
	ModifyTime  int64  `cbor:"25,keyasint,omitempty"` // Unix nanoseconds
}

// Job is the key of the evaluation's job.
func (e *Evaluation) Job() JobKey { return JobKey{Namespace: e.Namespace, ID: e.JobID} }

// AllocMetric explains one walk over the nodes: how many were looked at, what
// filtered them, what was exhausted, and how the best of them scored. Filtered
// and exhausted are kept apart: exhausted means that every filter passed.
type AllocMetric struct {
	NodesEvaluated     int              `cbor:"1,keyasint,omitempty"`
	NodesFiltered      int              `cbor:"2,keyasint,omitempty"`
	NodesInPool        int              `cbor:"3,keyasint,omitempty"`
	NodePool           string           `cbor:"4,keyasint,omitempty"`
	NodesAvailable     map[string]int   `cbor:"5,keyasint,omitempty"` // by datacenter
	ClassFiltered      map[string]int   `cbor:"6,keyasint,omitempty"`
	ConstraintFiltered map[string]int   `cbor:"7,keyasint,omitempty"` // by the constraint's text
	NodesExhausted     int              `cbor:"8,keyasint,omitempty"`
	ClassExhausted     map[string]int   `cbor:"9,keyasint,omitempty"`
	DimensionExhausted map[string]int   `cbor:"10,keyasint,omitempty"`
	QuotaExhausted     []string         `cbor:"-"`
	ResourcesExhausted map[string]any   `cbor:"-"`
	Scores             map[string]int64 `cbor:"-"`
	ScoreMetaData      NodeScores       `cbor:"11,keyasint,omitzero"`  // best first, at most 5
	AllocationTime     time.Duration    `cbor:"-"`                     // not a fact about the decision: never in the log
	CoalescedFailures  int              `cbor:"12,keyasint,omitempty"` // further placements of the group that were not tried
}

// ScoreScale is the fixed point of scores: 1.0 is ScoreScale. Scores are
// integers because floating point is not the same on every processor.
const ScoreScale = 1_000_000

// NodeScore is how one node ranked. Values are in units of 1/ScoreScale; JSON
// shows them as fractions.
type NodeScore struct {
	NodeID    ID
	Scores    map[string]Score // by scorer
	NormScore Score            // their mean
}
