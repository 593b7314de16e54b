package audit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"drover/eventlog/event"

	"github.com/google/go-cmp/cmp"
)

var (
	evalID  = event.MustParseID("e1000000-0000-4000-8000-000000000001")
	nodeID  = event.MustParseID("a1000000-0000-4000-8000-000000000001")
	nodeID2 = event.MustParseID("a2000000-0000-4000-8000-000000000002")
	allocID = event.MustParseID("c1000000-0000-4000-8000-000000000001")
	three   = int64(3)
)

// summaries has at least one event of every kind, and what a person reads.
var summaries = []struct {
	event event.Event
	want  string
}{
	{&event.ClusterCreated{ClusterID: evalID, Region: "global", Version: "0.1.0"}, "cluster e1000000 region global version 0.1.0"},
	{&event.CommitterStarted{Epoch: 2, ReplicaID: 1, Server: "alpha"}, "epoch 2 on alpha"},
	{&event.BlobStored{Blob: event.HashOf([]byte("x")), Chunk: 0, Of: 2, Data: []byte("abc")}, "blob 2d711642 chunk 1 of 2, 3 bytes"},
	{&event.CheckpointTaken{At: 41, FoldVersion: 1, SHA256: event.HashOf([]byte("x"))}, "state at 41, sha256 2d711642, fold version 1"},
	{&event.SchedulerConfigured{Algorithm: "binpack"}, "algorithm binpack"},
	{&event.SchedulerConfigured{Algorithm: "spread", RejectJobs: true, PreemptSystem: true, NodeLimit: 7}, "algorithm spread, jobs rejected, preemption by system, node limit 7"},
	{&event.JobSubmitted{Namespace: "default", JobID: "web", Version: 0}, "web version 0"},
	{&event.JobSubmitted{Namespace: "prod", JobID: "web", Version: 3, SameSpec: true}, "prod/web version 3 (unchanged)"},
	{&event.JobStopped{Namespace: "default", JobID: "web", Version: 1, Purge: true}, "web version 1 (purged)"},
	{&event.EvaluationCreated{Evaluation: event.Evaluation{ID: evalID, Namespace: "default", JobID: "web", TriggeredBy: event.TriggerJobRegister, Status: event.EvalPending}},
		"e1000000 web trigger=job-register"},
	{&event.EvaluationCreated{Evaluation: event.Evaluation{ID: evalID, Namespace: "default", JobID: "web", TriggeredBy: event.TriggerNodeUpdate, Status: event.EvalBlocked, NodeID: nodeID}},
		"e1000000 web trigger=node-update status=blocked node=a1000000"},
	{&event.EvaluationUnblocked{EvalID: evalID, Reason: "node a1000000 became ready"}, "e1000000 node a1000000 became ready"},
	{&event.EvaluationEnded{EvalID: evalID, Status: event.EvalCanceled, Description: "a newer one exists"}, "e1000000 canceled (a newer one exists)"},
	{&event.PlanCommitted{EvalID: evalID, Namespace: "default", JobID: "web", Nodes: []event.ID{nodeID, nodeID2}, Outcome: event.EvalComplete,
		Groups: []event.PlannedGroup{{Name: "front", Placements: []event.Placement{{Node: 0, Name: 0}, {Node: 1, Name: 1}}}},
		Stops:  []event.PlannedStop{{ID: allocID, Client: event.ClientLost, Description: "node is down"}}},
		"e1000000 web, lost c1000000 (node is down), front[0]->a1000000 front[1]->a2000000"},
	{&event.PlanCommitted{EvalID: evalID, JobID: "web", Outcome: event.EvalComplete}, "e1000000 web, nothing to change"},
	{&event.PlanCommitted{EvalID: evalID, JobID: "web", Outcome: event.EvalPending, Description: "try again",
		Groups:  []event.PlannedGroup{{Name: "front", Failed: &event.AllocMetric{CoalescedFailures: 4}}},
		InPlace: []event.ID{allocID}, Dropped: []event.DroppedNode{{NodeID: nodeID, Reason: "memory", Placements: 2}}, BlockedEval: nodeID2},
		"e1000000 web, 1 updated in place, front: 5 not placed, 2 dropped on a1000000 (memory), pending (try again), blocked evaluation a2000000"},
	{&event.PlanCommitted{EvalID: evalID, JobID: "web", Outcome: event.EvalComplete, Nodes: []event.ID{nodeID},
		Groups: []event.PlannedGroup{{Name: "g", Placements: []event.Placement{{Name: 0}, {Name: 1}, {Name: 2}, {Name: 3}, {Name: 4}, {Name: 5}, {Name: 6}, {Name: 7}}}}},
		"e1000000 web, g[0]->a1000000 g[1]->a1000000 g[2]->a1000000 g[3]->a1000000 g[4]->a1000000 g[5]->a1000000 and 2 more"},
	{&event.NodeRegistered{NodeID: nodeID, Incarnation: 1, Node: &event.Node{ID: nodeID, Name: "alpha", Datacenter: "dc1", NodePool: "default", NodeClass: "big"}},
		"a1000000 alpha datacenter=dc1 pool=default class=big incarnation=1"},
	{&event.JobScaled{Namespace: "default", JobID: "web", Group: "g", Count: &three, PreviousCount: 1, Message: "rush hour"}, "web.g from 1 to 3 (rush hour)"},
	{&event.JobScaled{Namespace: "ops", JobID: "web", Group: "g", PreviousCount: 1, Error: true, Message: "no metrics"}, "ops/web.g error (no metrics)"},
	{&event.JobVersionTagged{Namespace: "default", JobID: "web", Version: 3, Name: "golden", Description: "before the move"}, `web version 3 as "golden" (before the move)`},
	{&event.JobVersionUntagged{Namespace: "ops", JobID: "web", Name: "golden"}, `ops/web tag "golden"`},
	{&event.NodeRegistered{NodeID: nodeID, Incarnation: 2}, "a1000000 incarnation=2"},
	{&event.NodeChanged{NodeID: nodeID, AttributesSet: map[string]string{"b": "2", "a": "1"}, AttributesRemoved: []string{"z"}}, "a1000000 a=1, b=2, z removed"},
	{&event.NodeStatusChanged{NodeID: nodeID, Status: event.NodeDown, Description: "no heartbeat for 30s"}, "a1000000 down (no heartbeat for 30s)"},
	{&event.NodeEligibilitySet{NodeID: nodeID, Ineligible: true}, "a1000000 ineligible"},
	{&event.NodeEligibilitySet{NodeID: nodeID}, "a1000000 eligible"},
	{&event.NodePoolSet{Pool: event.NodePool{Name: "gpu", Description: "with cards", SchedulerConfiguration: &event.NodePoolScheduler{SchedulerAlgorithm: "spread"}}}, "gpu (with cards) algorithm spread"},
	{&event.NodePoolDeleted{Name: "gpu"}, "gpu"},
	{&event.NamespaceSet{Namespace: event.Namespace{Name: "ops", Description: "for operators"}}, "ops (for operators)"},
	{&event.NamespaceDeleted{Name: "ops"}, "ops"},
	{&event.AllocationsReported{NodeID: nodeID, Sequence: 3, Deltas: []event.AllocDelta{{ID: allocID, Client: event.ClientRunning,
		Tasks: map[string]*event.TaskState{"web": {State: event.TaskRunning, Events: []event.TaskEvent{{Type: event.TaskReceived}, {Type: event.TaskStarted}}}}}}},
		"node a1000000: c1000000 running (web: Started)"},
	{&event.AllocationsMarked{IDs: event.IDs{allocID}, Migrate: true}, "c1000000 migrate"},
	{&event.AllocationsMarked{IDs: event.IDs{allocID}, NoShutdownDelay: true}, "c1000000 without shutdown delay"},
	{&event.Collected{Jobs: []event.CollectedJobs{{Namespace: "default", IDs: []string{"nightly"}}, {Namespace: "prod", IDs: []string{"import"}}},
		Work:  []event.CollectedWork{{Namespace: "default", JobID: "web", Evaluations: event.Indexes{12, 19}, Allocations: []event.ID{allocID}}},
		Nodes: []event.ID{nodeID}, Blobs: []event.Hash{event.HashOf([]byte("x"))}},
		"job nightly, prod/import, 2 evaluations, 1 allocation of web, node a1000000, 1 blob that no job named"},
}

func TestEveryKindHasASummary(t *testing.T) {
	seen := map[event.Kind]bool{}
	for _, c := range summaries {
		r := &event.Record{Header: event.Header{Index: 7, Kind: c.event.Kind()}, Event: c.event}
		seen[c.event.Kind()] = true
		if got := Summary(r); got != c.want {
			t.Errorf("%v:\n got %s\nwant %s", c.event.Kind(), got, c.want)
		}
	}
	for _, k := range event.Kinds() {
		if !seen[k] {
			t.Errorf("no summary is shown for %v", k)
		}
	}
}

func TestALineReadsBackAsItWasWritten(t *testing.T) {
	for _, c := range summaries {
		want := &event.Record{
			Header: event.Header{
				Index: 12, Time: 1767366000123456789, Kind: c.event.Kind(), Last: true, Epoch: 3, CommandID: allocID,
				Caller: event.Caller{Kind: event.CallerNode, Name: "n", Address: "10.0.0.1:1"}, Cause: 11, EvalID: evalID,
				Previous: event.HashOf([]byte("before")),
			},
			Event: c.event, Hash: event.HashOf([]byte("now")),
		}
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Encode(entry.Record)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, again) {
			t.Errorf("%v changed on its way:\n%s\n%s", c.event.Kind(), data, again)
		}
		if diff := cmp.Diff(want.Header, entry.Record.Header); diff != "" {
			t.Errorf("%v: header changed:\n%s", c.event.Kind(), diff)
		}
	}
}

func TestAnUnknownKindIsStillALine(t *testing.T) {
	entry, err := Decode([]byte(`{"Index":9,"Time":"2026-01-02T15:04:05.678Z","Kind":"MoonLanded","Caller":{"Kind":"alien"},"Event":{"Site":"sea"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := entry.Line(time.UTC), `     9  2026-01-02T15:04:05.678Z  MoonLanded            {"Site":"sea"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range summaries {
		data, err := Encode(&event.Record{Header: event.Header{Index: 1, Kind: c.event.Kind()}, Event: c.event})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := Decode(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("took %q, which is no JSON", data)
		}
		entry.Line(time.UTC) // any record has a line
	})
}
