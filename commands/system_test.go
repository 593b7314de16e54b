package commands

import (
	"errors"
	"testing"

	"drover/eventlog/event"
)

// systemCluster is one with a system job, and without nodes.
type systemCluster struct {
	*cluster
	t *testing.T
}

func newSystemCluster(t *testing.T) *systemCluster {
	s := &systemCluster{newCluster(), t}
	job := testJob("agent", testGroup{name: "g", count: 1, cpu: 10, mem: 10})
	job.Type = event.JobTypeSystem
	blob, err := NewBlob(job)
	if err != nil {
		t.Fatal(err)
	}
	s.must(SubmitJob{Job: job, Spec: blob})
	return s
}

// must decides a command and lists the evaluations that it creates.
func (s *systemCluster) must(body Body) (created []event.Evaluation) {
	s.t.Helper()
	records, err := s.do(&Command{Body: body})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range records {
		if e, ok := r.Event.(*event.EvaluationCreated); ok {
			created = append(created, e.Evaluation)
		}
	}
	return created
}

// join has a node come, and returns the evaluations that this creates.
func (s *systemCluster) join(name string) []event.Evaluation {
	s.t.Helper()
	n := testNode(name, 1000, 1000, 1000)
	s.must(RegisterNode{Node: n, SecretHash: secretOf(name), Incarnation: 1})
	return s.must(ReportAllocations{NodeID: n.ID, SecretHash: secretOf(name), Incarnation: 1, Sequence: 1, Ready: true})
}

// plan decides the job's pending evaluation for the nodes, on the state at an index.
func (s *systemCluster) plan(basis uint64, nodes ...string) *event.PlanCommitted {
	p := &event.PlanCommitted{Namespace: "default", JobID: "agent", Basis: basis, Outcome: event.EvalComplete, Groups: []event.PlannedGroup{{Name: "g"}}}
	for e := range s.state.PendingEvaluations() {
		p.EvalID = e.ID
	}
	for i, name := range nodes {
		p.Nodes = append(p.Nodes, nodeNamed(name))
		p.Groups[0].Placements = append(p.Groups[0].Placements, event.Placement{Ordinal: uint32(i), Node: uint32(i)})
	}
	return p
}

// Nodes that come together cost a system job one evaluation, and a plan that was
// decided before one of them came leaves it open, so that none is forgotten.
func TestNodesThatComeTogetherCostOneEvaluation(t *testing.T) {
	s := newSystemCluster(t)
	if got := s.join("n1"); len(got) != 0 {
		t.Errorf("the evaluation of the registration is pending, and the node made %v", got)
	}
	basis := s.state.Index()
	if got := s.join("n2"); len(got) != 0 {
		t.Errorf("the second node made %v", got)
	}
	first := s.plan(basis, "n1")
	s.must(CommitPlan{Plan: first})
	if eval := s.state.Evaluation(first.EvalID); eval.Status != event.EvalPending {
		t.Fatalf("a plan that has not seen n2 left its evaluation %v", eval.Status)
	}
	s.must(CommitPlan{Plan: s.plan(s.state.Index(), "n2")})
	if eval := s.state.Evaluation(first.EvalID); eval.Status != event.EvalComplete {
		t.Fatalf("the evaluation is %v after all nodes have theirs", eval.Status)
	}
	got := s.join("n3")
	if len(got) != 1 || got[0].TriggeredBy != event.TriggerNodeUpdate || got[0].NodeID != nodeNamed("n3") {
		t.Errorf("a node that comes later made %+v", got)
	}
}

// A name stands for a place on each node, and for one only.
func TestOnePlaceOnEachNode(t *testing.T) {
	s := newSystemCluster(t)
	s.join("n1")
	s.must(CommitPlan{Plan: s.plan(s.state.Index(), "n1")})
	s.must(EvaluateJob{Key: event.JobKey{Namespace: "default", ID: "agent"}})
	var refused *Rejection
	if _, err := s.do(&Command{Body: CommitPlan{Plan: s.plan(s.state.Index(), "n1")}}); !errors.As(err, &refused) || refused.Reason != ReasonInvalid {
		t.Errorf("a second allocation of one name on one node: %v", err)
	}
}

// Only a change is recorded, and only a node that can be used has jobs looked at.
func TestEligibility(t *testing.T) {
	s := newSystemCluster(t)
	s.join("n1")
	s.must(CommitPlan{Plan: s.plan(s.state.Index(), "n1")})
	id := nodeNamed("n1")
	head := s.state.Index()
	s.must(SetEligibility{NodeID: id, Eligible: true})
	if s.state.Index() != head {
		t.Error("an eligible node was made eligible, and that was recorded")
	}
	if got := s.must(SetEligibility{NodeID: id}); len(got) != 0 || s.state.Node(id).Schedulable() {
		t.Errorf("made ineligible: schedulable %v, evaluations %v", s.state.Node(id).Schedulable(), got)
	}
	if got := s.must(SetEligibility{NodeID: id, Eligible: true}); len(got) != 1 || !s.state.Node(id).Schedulable() {
		t.Errorf("made eligible again: schedulable %v, evaluations %v", s.state.Node(id).Schedulable(), got)
	}
	var refused *Rejection
	if _, err := s.do(&Command{Body: SetEligibility{NodeID: named("nobody")}}); !errors.As(err, &refused) || refused.Reason != ReasonNotFound {
		t.Errorf("a node that is not there: %v", err)
	}
}

// An operator has the jobs of a node looked at: those with allocations there that have not ended, and those that want to be
// on every node; none twice, and none that will be looked at anyway.
func TestANodesJobsAreLookedAt(t *testing.T) {
	s := newSystemCluster(t)
	s.join("n1")
	s.must(CommitPlan{Plan: s.plan(s.state.Index(), "n1")})
	id := nodeNamed("n1")
	web := testJob("web", testGroup{name: "g", count: 1, cpu: 10, mem: 10})
	blob, err := NewBlob(web)
	if err != nil {
		t.Fatal(err)
	}
	pending := s.must(SubmitJob{Job: web, Spec: blob})
	plan := s.plan(s.state.Index(), "n1")
	plan.JobID = "web"
	if len(pending) != 1 || plan.EvalID != pending[0].ID {
		t.Fatalf("pending %+v", pending)
	}
	if got := s.must(EvaluateNode{NodeID: id}); len(got) != 1 || got[0].JobID != "agent" {
		t.Errorf("before web is there: %+v", got)
	}
	if got := s.must(EvaluateNode{NodeID: id}); len(got) != 0 {
		t.Errorf("while all are pending: %+v", got)
	}
	s.must(CommitPlan{Plan: plan})
	got := s.must(EvaluateNode{NodeID: id})
	if len(got) != 1 || got[0].JobID != "web" || got[0].TriggeredBy != event.TriggerNodeUpdate || got[0].NodeID != id ||
		got[0].NodeModifyIndex != s.state.Node(id).ModifyIndex || got[0].Type != event.JobTypeService {
		t.Errorf("with web there: %+v", got)
	}
	s.join("n2")
	if got := s.must(EvaluateNode{NodeID: nodeNamed("n2")}); len(got) != 0 {
		t.Errorf("of an empty node, while its system job is pending: %+v", got)
	}
	var refused *Rejection
	if _, err := s.do(&Command{Body: EvaluateNode{NodeID: named("nobody")}}); !errors.As(err, &refused) || refused.Reason != ReasonNotFound {
		t.Errorf("a node that is not there: %v", err)
	}
}
