package commands

import (
	"fmt"
	"time"

	"drover/eventlog/event"
)

// Command is a request with its circumstances, as resolved at its first hop.
type Command struct {
	// ID names the command. The same ID sent again within a while takes effect
	// once, if Remember is set.
	ID       event.ID
	Remember bool
	Caller   event.Caller
	// Deadline is when the caller stops waiting; a command that was not begun by
	// then is not begun at all. Zero is none.
	Deadline time.Time
	// Epoch is set by reactors: the epoch of the committer that they were born
	// under. In any other epoch their command is refused. Zero is any epoch.
	Epoch uint64
	// Cause is the index of the record that led to this command; zero is none.
	Cause uint64
	Body  Body
}

// Body is what a command asks for.
type Body interface {
	decide(*decision) *Rejection
}

// Blob is a content-addressed value that goes into the log before the record
// that names it.
type Blob struct {
	Hash event.Hash
	Data []byte
}

// NewBlob encodes a value and names it by its content.
func NewBlob(value any) (Blob, error) {
	data, err := event.Marshal(value)
	if err != nil {
		return Blob{}, err
	}
	return Blob{Hash: event.HashOf(data), Data: data}, nil
}

// StoreBlob puts a large blob into the log piece by piece, ahead of the command
// that needs it.
type StoreBlob struct {
	Hash      event.Hash
	Chunk, Of uint32
	Data      []byte
}

// SubmitJob registers a job or a new version of it.
type SubmitJob struct {
	Job  *event.Job // canonical and validated
	Spec Blob       // its encoding
	// Source is the encoding of the event.JobSubmission; the zero Blob when the
	// caller sent none.
	Source Blob
	// EnforceIndex asks that the job's JobModifyIndex is still this one; zero
	// means that the job must not exist.
	EnforceIndex   bool
	JobModifyIndex uint64
	EvalPriority   int  // 0 = the job's
	PreserveCounts bool // keep the counts of groups that the job already has
}

// StopJob takes a job out of service. Purge forgets it as well.
type StopJob struct {
	Key             event.JobKey
	Purge           bool
	EvalPriority    int  // 0 = the job's
	NoShutdownDelay bool // its nodes do not wait out shutdown delays
}

// EvaluateJob asks the scheduler to look at a job again.
type EvaluateJob struct {
	Key event.JobKey
}

// CommitPlan proposes a scheduler's decision. Dropped is empty; Decide fills it.
type CommitPlan struct {
	Plan *event.PlanCommitted
}

// FailEvaluation gives up on an evaluation whose plans were refused too often.
type FailEvaluation struct {
	EvalID      event.ID
	Description string
}

// UnblockEvaluations wakes blocked evaluations because capacity came.
type UnblockEvaluations struct {
	IDs []event.ID
}

// RegisterNode announces a node, or a new start of its agent.
type RegisterNode struct {
	Node        *event.Node
	SecretHash  event.Hash
	Incarnation uint64
	Ineligible  bool // when it is first known, until an operator says otherwise
}

// SetEligibility says whether new allocations may be placed on a node.
type SetEligibility struct {
	NodeID   event.ID
	Eligible bool
}

// EvaluateNode has all jobs of a node looked at: those that have allocations there, and those that want to be on every node.
type EvaluateNode struct{ NodeID event.ID }

// StopAllocation takes an allocation out of service and has its job looked at, which
// places another in its stead.
type StopAllocation struct {
	ID              event.ID
	NoShutdownDelay bool // its node does not wait out the shutdown delay
}

// ReportAllocations is a node's report of what it runs.
type ReportAllocations struct {
	NodeID      event.ID
	SecretHash  event.Hash
	Incarnation uint64
	Sequence    uint64
	Ready       bool
	Deltas      []event.AllocDelta
}

// MarkNodesDown declares nodes lost whose heartbeats stayed out.
type MarkNodesDown struct {
	IDs    []event.ID
	Reason string
	// Again declares nobody down. It has the jobs looked at that are on a node
	// which is down and did not fit into the append that declared it so. What is
	// done leads to nothing, so it may be sent until it does.
	Again bool
}

// RecordCheckpoint notes the digest of a checkpoint that was taken.
type RecordCheckpoint struct {
	At          uint64
	FoldVersion uint32
	SHA256      event.Hash
}

// Reason is why a command was refused. HTTP maps it to a status once.
type Reason int

const (
	// ReasonInvalid: the request can never be right as it stands.
	ReasonInvalid Reason = iota + 1
	// ReasonConflict: the request asked for a state of affairs that is not so.
	ReasonConflict
	// ReasonNotFound: the object that it is about does not exist.
	ReasonNotFound
	// ReasonForbidden: the caller may not do this.
	ReasonForbidden
	// ReasonStale: decided on a state that has moved on; refresh and decide again.
	ReasonStale
	// ReasonClosed: the evaluation is not open any more; there is nothing left to do.
	ReasonClosed
	// ReasonSuperseded: it comes from an earlier epoch, incarnation or sequence.
	ReasonSuperseded
	// ReasonNodeDown: the node was declared down; it must register again first.
	ReasonNodeDown
	// ReasonTooLarge: it would need a larger append than the log takes.
	ReasonTooLarge
)

// Rejection refuses a command. Nothing was written.
type Rejection struct {
	Reason  Reason
	Message string
	// RefreshIndex is, for ReasonStale, the index that a new decision must see.
	RefreshIndex uint64
}

func (r *Rejection) Error() string { return r.Message }

func reject(reason Reason, format string, args ...any) *Rejection {
	return &Rejection{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
