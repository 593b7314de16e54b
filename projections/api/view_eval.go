package api

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Evaluation is an evaluation with those that it led to or came from.
type Evaluation struct {
	event.Evaluation
	RelatedEvals            []*EvaluationStub
	PlanAnnotations         *struct{}
	MissingNonNodeResources []string
}

// EvaluationStub is an evaluation beside another one.
type EvaluationStub struct {
	ID                event.ID
	Priority          int
	Type              string
	TriggeredBy       event.Trigger
	Namespace         string
	JobID             string
	NodeID            event.ID
	DeploymentID      event.ID
	Status            event.EvalStatus
	StatusDescription string
	WaitUntil         event.Stamp
	NextEval          event.ID
	PreviousEval      event.ID
	BlockedEval       event.ID
	CreateIndex       uint64
	ModifyIndex       uint64
	CreateTime        int64 // Unix nanoseconds
	ModifyTime        int64 // Unix nanoseconds
}

// NewEvaluation shows an evaluation, with related ones when asked for.
func NewEvaluation(s *projections.State, e *event.Evaluation, related bool) *Evaluation {
	shown := &Evaluation{Evaluation: *e}
	if related {
		shown.RelatedEvals = relatedTo(s, e)
	}
	return shown
}

// relatedTo lists, oldest first, the evaluations of the same job that are linked
// with e, directly or over others.
func relatedTo(s *projections.State, e *event.Evaluation) []*EvaluationStub {
	links := make(map[event.ID][]event.ID)
	link := func(a, b event.ID) {
		if !b.IsZero() {
			links[a] = append(links[a], b)
			links[b] = append(links[b], a)
		}
	}
	for other := range s.EvaluationsOf(e.Job()) {
		link(other.ID, other.NextEval)
		link(other.ID, other.PreviousEval)
		link(other.ID, other.BlockedEval)
	}
	seen := map[event.ID]bool{e.ID: true}
	stubs := []*EvaluationStub{}
	for queue := []event.ID{e.ID}; len(queue) > 0; queue = queue[1:] {
		for _, id := range links[queue[0]] {
			if seen[id] {
				continue
			}
			seen[id] = true
			queue = append(queue, id)
			if other := s.Evaluation(id); other != nil {
				stubs = append(stubs, newEvaluationStub(other))
			}
		}
	}
	slices.SortFunc(stubs, func(a, b *EvaluationStub) int {
		if a.CreateIndex != b.CreateIndex {
			return int(a.CreateIndex) - int(b.CreateIndex)
		}
		return a.ID.Compare(b.ID)
	})
	return stubs
}

func newEvaluationStub(e *event.Evaluation) *EvaluationStub {
	return &EvaluationStub{
		ID: e.ID, Priority: e.Priority, Type: e.Type, TriggeredBy: e.TriggeredBy,
		Namespace: e.Namespace, JobID: e.JobID, NodeID: e.NodeID, DeploymentID: e.DeploymentID,
		Status: e.Status, StatusDescription: e.StatusDescription, WaitUntil: e.WaitUntil,
		NextEval: e.NextEval, PreviousEval: e.PreviousEval, BlockedEval: e.BlockedEval,
		CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex, CreateTime: e.CreateTime, ModifyTime: e.ModifyTime,
	}
}
