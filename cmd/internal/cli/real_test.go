package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/api"
	"drover/projections/rest"
)

// history is a log in memory, folded: what the commands show of a real state.
type history struct {
	t       *testing.T
	state   *projections.State
	store   *projections.Store
	entries []projections.Entry
}

func newHistory(t *testing.T) *history {
	h := &history{t: t, state: projections.New()}
	h.store = projections.NewStore(h.state)
	return h
}

// commit appends the events of one command, a second after the one before.
func (h *history) commit(events ...event.Event) {
	draft := projections.NewDraft(h.state)
	var records []*event.Record
	for i, e := range events {
		s := draft.State()
		r := &event.Record{Header: event.Header{
			Index: s.Index() + 1, Time: testNow.Add(time.Duration(len(h.entries))*time.Second - time.Minute).UnixNano(), Kind: e.Kind(),
			Last: i == len(events)-1, Epoch: 1, Previous: s.Hash(),
		}, Event: e}
		data, err := event.AppendRecord(nil, r)
		if err != nil {
			h.t.Fatal(err)
		}
		previous := s.Hash()
		r.Hash = event.HashOf(append(previous[:], data...))
		draft.Apply(r)
		records = append(records, r)
		h.entries = append(h.entries, projections.Entry{Index: r.Index, Hash: r.Hash, Data: data})
	}
	h.state = draft.Seal()
	h.store.Publish(records, h.state)
}

func (h *history) blob(value any) (*event.BlobStored, event.Hash) {
	data, err := event.Marshal(value)
	if err != nil {
		h.t.Fatal(err)
	}
	return &event.BlobStored{Blob: event.HashOf(data), Of: 1, Data: data}, event.HashOf(data)
}

type historyTail struct {
	h    *history
	next uint64
}

func (t *historyTail) Close() {}
func (t *historyTail) Next(ctx context.Context) ([]projections.Entry, error) {
	if t.next > uint64(len(t.h.entries)) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	batch := t.h.entries[t.next-1:]
	t.next += uint64(len(batch))
	return batch, nil
}

// onlyHandlers is an agent of which nothing is known.
type onlyHandlers struct{}

func (onlyHandlers) Self() api.Self {
	return api.Self{Stats: map[string]map[string]string{"client": {"node_id": realNode.String()}}}
}
func (onlyHandlers) Members() api.Members { return api.Members{} }
func (onlyHandlers) Health() api.Health   { return api.Health{} }
func (onlyHandlers) Leader() string       { return "" }
func (onlyHandlers) Peers() []string      { return nil }
func (onlyHandlers) Regions() []string    { return []string{"global"} }

func (h *history) serve() *httptest.Server {
	handlers, err := api.New(api.Config{
		Store: h.store, Region: "global", Agent: onlyHandlers{},
		Barrier: func(context.Context) (uint64, error) { return h.store.Snapshot().Index(), nil },
		Contact: func() (time.Duration, bool) { return 0, true },
		OpenLog: func(from uint64) projections.Tail { return &historyTail{h, from} },
		Verify: func(_ context.Context, progress func(done, total uint64)) (api.Verified, error) {
			s := h.store.Snapshot()
			progress(s.Index(), s.Index())
			return api.Verified{Records: s.Index(), Index: s.Index(), Hash: s.Hash()}, nil
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	rt := rest.NewRouter()
	handlers.Register(rt)
	api.RegisterSelf(rt, onlyHandlers{})
	rt.FillUnbuilt()
	return httptest.NewServer(rt)
}

var (
	realNode    = event.MustParseID("a1000000-0000-4000-8000-000000000001")
	realEval    = event.MustParseID("e1000000-0000-4000-8000-000000000001")
	realBlocked = event.MustParseID("b1000000-0000-4000-8000-000000000009")
)

// aDay is a short life of a cluster: one node, a job of which one of two
// allocations fits.
func aDay(t *testing.T) *history {
	h := newHistory(t)
	h.commit(&event.ClusterCreated{ClusterID: event.MustParseID("c0000000-0000-4000-8000-000000000000"), Region: "global", Version: "0.1.0"},
		&event.CommitterStarted{Epoch: 1, Server: "alpha"})
	h.commit(&event.NodeRegistered{NodeID: realNode, Incarnation: 1, Node: &event.Node{
		ID: realNode, Name: "alpha", Datacenter: "dc1", NodePool: "default", NodeClass: "big", ComputedClass: "v1:1",
		Attributes: map[string]string{"nomad.version": "2.0.5", "os.name": "debian"}, Meta: map[string]string{"rack": "r1"},
		Drivers: map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true, HealthDescription: "Healthy"}},
		NodeResources: &event.NodeResources{Cpu: event.NodeCpu{CpuShares: 4000, TotalCpuCores: 2}, Memory: event.NodeMemory{MemoryMB: 8192}, Disk: event.NodeDisk{DiskMB: 102400},
			NodeNetworks: []event.NodeNetwork{{Mode: "host", Device: "eth0", Addresses: []event.NodeNetworkAddress{{Family: "ipv4", Alias: "default", Address: "10.0.0.1"}}}}},
		ReservedResources: &event.NodeReservedResources{},
	}})
	h.commit(&event.NodeStatusChanged{NodeID: realNode, Status: event.NodeReady})
	spec, hash := h.blob(&event.Job{
		Region: "global", Namespace: "default", ID: "web", Name: "web", Type: "service", Priority: 50, Datacenters: []string{"*"}, NodePool: "default",
		TaskGroups: []*event.TaskGroup{{Name: "front", Count: 2, EphemeralDisk: event.EphemeralDisk{SizeMB: 300},
			Networks: []event.NetworkResource{{DynamicPorts: []event.Port{{Label: "http", To: 8080}}}},
			Tasks:    []*event.Task{{Name: "server", Driver: "raw_exec", Resources: event.Resources{CPU: 500, MemoryMB: 256}}}}},
	})
	h.commit(spec,
		&event.JobSubmitted{Namespace: "default", JobID: "web", Spec: hash, SubmitTime: testNow.Add(-time.Minute).UnixNano()},
		&event.EvaluationCreated{Evaluation: event.Evaluation{ID: realEval, Namespace: "default", JobID: "web", Type: "service", Priority: 50,
			TriggeredBy: event.TriggerJobRegister, Status: event.EvalPending}})
	basis := h.state.Index()
	h.commit(
		&event.PlanCommitted{EvalID: realEval, Namespace: "default", JobID: "web", Basis: basis, Nodes: []event.ID{realNode},
			Groups: []event.PlannedGroup{{Name: "front",
				Placements: []event.Placement{{Score: 512345, Ports: []uint16{20001}}},
				Metric: &event.AllocMetric{NodesEvaluated: 1, NodesInPool: 1, NodePool: "default", NodesAvailable: map[string]int{"dc1": 1},
					ScoreMetaData: []event.NodeScore{{NodeID: realNode, Scores: map[string]event.Score{"binpack": 512345}, NormScore: 512345}}},
				Failed: &event.AllocMetric{NodesEvaluated: 1, NodesExhausted: 1, DimensionExhausted: map[string]int{"memory": 1}, NodePool: "default"}}},
			Outcome: event.EvalComplete, Queued: map[string]int{"front": 1}, BlockedEval: realBlocked},
		&event.EvaluationCreated{Evaluation: event.Evaluation{ID: realBlocked, Namespace: "default", JobID: "web", Type: "service", Priority: 50,
			TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, PreviousEval: realEval}})
	at := event.Stamp(testNow.Add(-30 * time.Second).UnixNano())
	h.commit(&event.AllocationsReported{NodeID: realNode, Incarnation: 1, Sequence: 1, Deltas: []event.AllocDelta{{
		ID: event.AllocationID(realEval, basis, 0), Client: event.ClientRunning, Tasks: map[string]*event.TaskState{
			"server": {State: event.TaskRunning, StartedAt: at, Events: []event.TaskEvent{
				{Type: event.TaskReceived, Time: int64(at)}, {Type: event.TaskStarted, Time: int64(at)}}}},
	}}})
	return h
}

// TestAgainstTheRealHandlers runs commands against the handlers that a server
// has, over a state folded from events: both ends agree on every shape.
func TestAgainstTheRealHandlers(t *testing.T) {
	server := aDay(t).serve()
	defer server.Close()
	datadriven.RunTest(t, "testdata/real.txt", func(t *testing.T, d *datadriven.TestData) string {
		var stdout, stderr bytes.Buffer
		p := &Program{
			Version: "0.1.0", Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
			Environ: []string{"DROVER_ADDR=" + server.URL}, Now: func() time.Time { return testNow }, Zone: time.UTC,
		}
		code := p.Run(words(d.Input))
		out := fmt.Sprintf("exit %d\n%s", code, stdout.String())
		if stderr.Len() > 0 {
			out += "-- stderr\n" + stderr.String()
		}
		return digests.ReplaceAllString(out, "<digest>")
	})
}

// digests are what changes with every change of an encoding.
var digests = regexp.MustCompile(`[0-9a-f]{64}|blob [0-9a-f]{8} chunk 1 of 1, \d+ bytes`)
