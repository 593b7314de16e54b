package scenario

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"drover/commands"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/checker"
	"drover/scheduler"
)

// Whatever has happened: once all that may leave the state has left, the
// scheduler decides as it would have with everything still there, for every job,
// and for every one that is submitted anew. Nothing that lives is gone, and a
// checkpoint gives the state back.
func TestCollectingChangesNoDecision(t *testing.T) {
	left := 0
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster()
		r := &randomLife{t, c}
		for _, name := range []string{"a", "b", "c"} {
			r.join(name)
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			r.step()
		}
		left += r.compare()
		c.verify(t)
	})
	if left == 0 {
		t.Error("no random life left anything to collect")
	}
}

type randomLife struct {
	*rapid.T
	*cluster
}

var lifeJobs = []string{"web", "sum", "api"}

func (r *randomLife) join(name string) {
	id := event.DeriveID("node "+name, event.ID{})
	if r.nodes[name] == nil {
		r.nodes[name] = &node{name: name, id: id, told: make(map[event.ID]event.ClientStatus)}
	}
	err := r.cluster.join(r.nodes[name], &event.Node{
		ID: id, Name: name, Datacenter: "dc1", NodePool: "default", ComputedClass: "class", Attributes: map[string]string{"kernel.name": "linux"},
		Drivers: map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: 1000}, Memory: event.NodeMemory{MemoryMB: 1000}, Disk: event.NodeDisk{DiskMB: 100_000},
			MinDynamicPort: 20000, MaxDynamicPort: 32000,
		},
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *randomLife) job(id string) *event.Job {
	job := &event.Job{
		Region: "global", Namespace: event.DefaultNamespace, ID: id, Name: id, Type: event.JobTypeService, Priority: 50,
		Datacenters: []string{"*"}, NodePool: "default",
		TaskGroups: []*event.TaskGroup{{
			Name: rapid.SampledFrom([]string{"g", "g", "h"}).Draw(r.T, "group"), Count: rapid.IntRange(0, 4).Draw(r.T, "count"),
			Tasks: []*event.Task{{
				Name: "t", Driver: "raw_exec", Config: map[string]any{"command": rapid.SampledFrom([]string{"x", "y"}).Draw(r.T, "command")},
				Resources: event.Resources{CPU: rapid.SampledFrom([]int{200, 400}).Draw(r.T, "cpu"), MemoryMB: 100},
			}},
		}},
	}
	if id == "sum" {
		job.Type = event.JobTypeBatch
	}
	return job
}

func (r *randomLife) submit(id string) {
	job := r.job(id)
	spec, err := commands.NewBlob(job)
	if err != nil {
		r.Fatal(err)
	}
	if rejection := r.do(event.CallerAnonymous, "", commands.SubmitJob{Job: job, Spec: spec}); rejection != nil {
		r.Fatal(rejection)
	}
}

func (r *randomLife) step() {
	job := rapid.SampledFrom(lifeJobs).Draw(r.T, "job")
	n := r.nodes[rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r.T, "node")]
	switch rapid.SampledFrom([]string{"submit", "submit", "end", "end", "end", "fail", "stop", "purge", "silence", "return", "collect"}).Draw(r.T, "step") {
	case "submit":
		r.submit(job)
	case "stop", "purge":
		r.do(event.CallerAnonymous, "", commands.StopJob{
			Key: event.JobKey{Namespace: event.DefaultNamespace, ID: job}, Purge: rapid.Bool().Draw(r.T, "purge"),
		})
	case "end", "fail":
		status := rapid.SampledFrom([]event.ClientStatus{event.ClientComplete, event.ClientFailed}).Draw(r.T, "status")
		var live []*projections.Allocation
		for a := range r.state.Allocations() {
			if a.Live() && !r.at(a.NodeID).silent {
				live = append(live, a)
			}
		}
		if len(live) > 0 {
			a := rapid.SampledFrom(live).Draw(r.T, "allocation")
			at := r.at(a.NodeID)
			if err := r.report(at, []event.AllocDelta{r.say(at, a, status, event.TaskEvent{Type: event.TaskTerminated})}); err != nil {
				r.Fatal(err)
			}
		}
	case "silence":
		n.silent = true
		r.pass(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour}).Draw(r.T, "for"))
	case "return":
		if n.silent {
			r.join(n.name)
		}
	case "collect":
		if err := r.collect(rapid.Bool().Draw(r.T, "force")); err != nil {
			r.Fatal(err)
		}
	}
	// Not every evaluation has been run, not every node has obeyed.
	if rapid.Bool().Draw(r.T, "settle") {
		if err := r.settle(); err != nil {
			r.Fatal(err)
		}
	}
	if rapid.IntRange(0, 9).Draw(r.T, "gone") == 0 {
		r.pass(25 * time.Hour)
	}
}

func (r *randomLife) at(id event.ID) *node {
	for _, n := range r.nodes {
		if n.id == id {
			return n
		}
	}
	r.Fatalf("there is no node %v", id)
	return nil
}

// compare decides about every job with and without what may leave, and returns
// how much left.
func (r *randomLife) compare() (left int) {
	with := *r.cluster
	with.records = slices.Clone(r.records)
	// A branch of its own: the state that it stands on is the decoded one.
	with.state = r.copyOf(r.state)
	before := r.state.EndedAllocations() + r.state.EndedEvaluations()
	if err := r.collect(true); err != nil {
		r.Fatal(err)
	}
	left = before - r.state.EndedAllocations() - r.state.EndedEvaluations()
	basis := r.state.Index() + 20 // where both branches decide: a decision depends on the index
	for _, id := range lifeJobs {
		job := r.job(id)
		spec, err := commands.NewBlob(job)
		if err != nil {
			r.Fatal(err)
		}
		again := commands.SubmitJob{Job: job, Spec: spec}
		key := event.JobKey{Namespace: event.DefaultNamespace, ID: id}
		if r.state.Job(key) == nil && with.state.Job(key) != nil {
			// It left whole. It must have wanted nothing.
			for _, plan := range with.decide(r.T, key, basis, commands.EvaluateJob{Key: key}) {
				if len(plan.Groups)+len(plan.Stops)+len(plan.InPlace) > 0 {
					r.Fatalf("job %s left the state and would have been given %+v", id, plan)
				}
			}
			continue
		}
		for _, ask := range []commands.Body{commands.EvaluateJob{Key: key}, again, commands.StopJob{Key: key}} {
			a, b := words(with.decide(r.T, key, basis, ask)), words(r.decide(r.T, key, basis, ask))
			if a != b {
				r.Fatalf("%T of job %s: decided with everything\n%sand without what left\n%s", ask, id, a, b)
			}
		}
	}
	return left
}

// copyOf is the state again, from its checkpoint.
func (r *randomLife) copyOf(s *projections.State) *projections.State {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		r.Fatal(err)
	}
	again, err := projections.Decode(&b)
	if err != nil {
		r.Fatal(err)
	}
	if again.Checksum() != s.Checksum() {
		r.Fatal("a checkpoint gives another state back")
	}
	return again
}

// decide asks for something and has every evaluation of the job that is then
// pending decided at the index basis, on a branch that is given up afterwards.
func (c *cluster) decide(t *rapid.T, key event.JobKey, basis uint64, ask commands.Body) []*event.PlanCommitted {
	branch := *c
	branch.records = slices.Clone(c.records)
	branch.state = (&randomLife{t, c}).copyOf(c.state)
	branch.drawn = 1_000_000 // the same identifiers on both branches
	branch.do(event.CallerAnonymous, "", ask)
	for branch.state.Index() < basis {
		branch.do(event.CallerServer, "s1", commands.RecordCheckpoint{At: 1, FoldVersion: 1})
	}
	var plans []*event.PlanCommitted
	for e := range branch.state.PendingEvaluations() {
		if e.Job() == key {
			plans = append(plans, scheduler.Schedule(branch.state, e))
		}
	}
	return plans
}

// words is what plans decide, to the last byte and for people.
func words(plans []*event.PlanCommitted) string {
	var b bytes.Buffer
	for _, p := range plans {
		fmt.Fprintf(&b, "job %s, %v, queued %v, stops %+v\n%x\n", p.JobID, p.Outcome, p.Queued, p.Stops, encode(p))
	}
	return b.String()
}

// verify is check for a random life: a second, naive reading of all records, and
// a fold from zero.
func (c *cluster) verify(t *rapid.T) {
	draft := projections.NewDraft(projections.New())
	w := checker.New()
	for _, r := range c.records {
		draft.Apply(r)
		if err := w.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	again := draft.Seal()
	if again.Checksum() != c.state.Checksum() {
		t.Fatal("folding from zero gives another state")
	}
	if err := w.Compare(again); err != nil {
		t.Fatal(err)
	}
}
