package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// cluster is a log in memory and the state folded from it: real events in, real
// states out.
type cluster struct {
	t     testing.TB
	store *projections.Store
	state *projections.State

	mu      sync.Mutex
	records []*event.Record
	entries []projections.Entry
	grown   chan struct{}

	leaderless bool
}

// epochStart is the time of the first record; each command is a second later.
var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t, state: projections.New(), grown: make(chan struct{})}
	c.store = projections.NewStore(c.state)
	c.commit(&event.ClusterCreated{ClusterID: id(1), Region: "global"}, &event.CommitterStarted{Epoch: 1})
	return c
}

// id makes up an identifier: 00000007-....
func id(n int) event.ID {
	return event.MustParseID(fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n))
}

// commit appends one command's events, folds and publishes them.
func (c *cluster) commit(events ...event.Event) *projections.State {
	c.t.Helper()
	return c.commitAll(events)
}

// commitAll publishes several commands in one commit, as the committer does when
// they queue up.
func (c *cluster) commitAll(commands ...[]event.Event) *projections.State {
	c.t.Helper()
	draft := projections.NewDraft(c.state)
	var records []*event.Record
	for _, events := range commands {
		for i, e := range events {
			s := draft.State()
			index := s.Index() + 1
			r := &event.Record{Header: event.Header{
				Index: index, Time: epochStart.Add(time.Duration(index) * time.Second).UnixNano(), Kind: e.Kind(),
				Last: i == len(events)-1, Epoch: 1, CommandID: id(int(index)), Previous: s.Hash(),
			}, Event: e}
			data, err := event.AppendRecord(nil, r)
			if err != nil {
				c.t.Fatal(err)
			}
			previous := s.Hash()
			r.Hash = event.HashOf(append(previous[:], data...))
			draft.Apply(r)
			records = append(records, r)
			c.mu.Lock()
			c.records = append(c.records, r)
			c.entries = append(c.entries, projections.Entry{Index: index, Hash: r.Hash, Data: data})
			c.mu.Unlock()
		}
	}
	c.state = draft.Seal()
	c.store.Publish(records, c.state)
	c.mu.Lock()
	close(c.grown)
	c.grown = make(chan struct{})
	c.mu.Unlock()
	return c.state
}

// memTail reads the cluster's log.
type memTail struct {
	c    *cluster
	next uint64
}

func (m *memTail) Close() {}
func (m *memTail) Next(ctx context.Context) ([]projections.Entry, error) {
	for {
		m.c.mu.Lock()
		entries, grown := m.c.entries, m.c.grown
		m.c.mu.Unlock()
		if m.next <= uint64(len(entries)) {
			batch := entries[m.next-1:]
			m.next += uint64(len(batch))
			return batch, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *cluster) api() *API {
	a, err := New(Config{
		Store: c.store, Region: "global",
		Barrier: func(context.Context) (uint64, error) {
			if c.leaderless {
				return 0, fmt.Errorf("ask for the head: %w", rest.ErrNoLeader)
			}
			return c.store.Snapshot().Index(), nil
		},
		Contact: func() (time.Duration, bool) { return 3 * time.Millisecond, true },
		OpenLog: func(from uint64) projections.Tail { return &memTail{c, from} },
		Verify: func(_ context.Context, progress func(done, total uint64)) (Verified, error) {
			s := c.store.Snapshot()
			progress(s.Index()/2, s.Index())
			return Verified{Records: s.Index(), Index: s.Index(), Hash: s.Hash()}, nil
		},
		Agent: testAgent{},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *cluster) handler() *rest.Router {
	rt := rest.NewRouter()
	a := c.api()
	a.Register(rt)
	a.RegisterNodeAgent(rt)
	RegisterSelf(rt, testAgent{})
	rt.FillUnbuilt()
	return rt
}

// serve runs the handlers behind a real server and connects the official client.
func (c *cluster) serve() (*nomad.Client, string) {
	server := httptest.NewServer(c.handler())
	c.t.Cleanup(server.Close)
	client, err := nomad.NewClient(&nomad.Config{Address: server.URL})
	if err != nil {
		c.t.Fatal(err)
	}
	return client, server.URL
}

type testAgent struct{}

func (testAgent) Self() Self {
	return Self{
		Config: map[string]any{"Region": "global", "Version": map[string]any{"Version": "2.0.5"}},
		Member: Member{Name: "s1.global"},
		Stats:  map[string]map[string]string{"nomad": {"leader": "true"}},
	}
}
func (testAgent) Members() Members {
	return Members{ServerName: "s1", ServerRegion: "global", ServerDC: "dc1", Members: []Member{{
		Name: "s1.global", Addr: "10.0.0.9", Port: 4648, Status: "alive", Tags: map[string]string{"port": "4647", "region": "global"},
	}}}
}
func (testAgent) Health() Health {
	return Health{Client: &HealthOf{Ok: true, Message: "ok"}, Server: &HealthOf{Ok: false, Message: "no leader"}}
}
func (testAgent) Leader() string    { return "10.0.0.9:4647" }
func (testAgent) Peers() []string   { return []string{"10.0.0.9:4647"} }
func (testAgent) Regions() []string { return []string{"global"} }

// A small town: node a runs two allocations of the job web, whose third found
// no room; the job old was stopped.

var (
	nodeA, nodeB        = id(0xa), id(0xb)
	secretA             = id(0x5ec)
	evalWeb             = id(0xe1)
	evalBlocked         = id(0xe2)
	evalOld             = id(0xe3)
	evalOldStop         = id(0xe4)
	basisWeb     uint64 = 7
)

func nodeInfo(nid event.ID, name, ip string) *event.Node {
	return &event.Node{
		ID: nid, Name: name, Datacenter: "dc1", NodePool: "default", NodeClass: "small", ComputedClass: "v1:1",
		HTTPAddr:   ip + ":4646",
		Attributes: map[string]string{"nomad.version": "2.0.5", "os.name": "debian", "kernel.name": "linux"},
		Drivers:    map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true, HealthDescription: "Healthy"}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: 4000, TotalCpuCores: 2}, Memory: event.NodeMemory{MemoryMB: 8000}, Disk: event.NodeDisk{DiskMB: 100000},
			NodeNetworks: []event.NodeNetwork{{Mode: "host", Device: "eth0", Addresses: []event.NodeNetworkAddress{
				{Family: "ipv4", Alias: "default", Address: ip}, {Family: "ipv4", Alias: "public", Address: "192.0.2.7"},
			}}},
		},
		ReservedResources: &event.NodeReservedResources{Cpu: event.ReservedCpu{CpuShares: 100}},
	}
}

func webJob() *event.Job {
	return &event.Job{
		Region: "global", Namespace: "default", ID: "web", Name: "web", Type: "service", Priority: 50,
		Datacenters: []string{"dc1"}, NodePool: "default", Meta: map[string]string{"team": "shop"},
		TaskGroups: []*event.TaskGroup{{
			Name: "front", Count: 3, EphemeralDisk: event.EphemeralDisk{SizeMB: 300},
			Networks: []event.NetworkResource{{
				Mode:          "host",
				ReservedPorts: []event.Port{{Label: "admin", Value: 9090, HostNetwork: "public"}},
				DynamicPorts:  []event.Port{{Label: "http", To: 8080}},
			}},
			Tasks: []*event.Task{
				{Name: "server", Driver: "raw_exec", Config: map[string]any{"command": "/bin/sleep", "args": []any{"1h"}}, Resources: event.Resources{CPU: 500, MemoryMB: 256, MemoryMaxMB: 512}},
				{Name: "log", Driver: "raw_exec", Resources: event.Resources{CPU: 100, MemoryMB: 64}, Lifecycle: &event.TaskLifecycle{Hook: "poststart", Sidecar: true}},
			},
		}},
	}
}

func batchJob(name string) *event.Job {
	return &event.Job{
		Region: "global", Namespace: "default", ID: name, Name: name, Type: "batch", Priority: 30, Datacenters: []string{"*"}, NodePool: "default",
		TaskGroups: []*event.TaskGroup{{Name: "g", Count: 1, Tasks: []*event.Task{{Name: "t", Driver: "raw_exec", Resources: event.Resources{CPU: 100, MemoryMB: 64}}}}},
	}
}

// blob is the record that stores a value.
func (c *cluster) blob(value any) (*event.BlobStored, event.Hash) {
	data, err := event.Marshal(value)
	if err != nil {
		c.t.Fatal(err)
	}
	return &event.BlobStored{Blob: event.HashOf(data), Of: 1, Data: data}, event.HashOf(data)
}

// submit commits a version of a job and its evaluation.
func (c *cluster) submit(job *event.Job, version uint64, eval event.ID) {
	spec, hash := c.blob(job)
	source, sourceHash := c.blob(&event.JobSubmission{Source: "job \"" + job.ID + "\" {}", Format: "hcl2"})
	c.commit(spec, source,
		&event.JobSubmitted{
			Namespace: job.Namespace, JobID: job.ID, Version: version, Spec: hash, Source: sourceHash,
			SubmitTime: epochStart.UnixNano(),
		},
		&event.EvaluationCreated{Evaluation: event.Evaluation{
			ID: eval, Namespace: job.Namespace, JobID: job.ID, Type: job.Type, Priority: job.Priority,
			TriggeredBy: event.TriggerJobRegister, Status: event.EvalPending,
		}})
}

// webAlloc is the n-th allocation of the job web.
func webAlloc(n uint32) event.ID { return event.AllocationID(evalWeb, basisWeb, n) }

// town commits the whole story.
func town(t testing.TB) *cluster {
	c := newCluster(t)
	c.commit(&event.NodeRegistered{NodeID: nodeA, SecretHash: event.HashOf(secretA[:]), Incarnation: 1, Node: nodeInfo(nodeA, "a", "10.0.0.1")})
	c.commit(&event.NodeStatusChanged{NodeID: nodeA, Status: event.NodeReady})
	c.commit(&event.NodeRegistered{NodeID: nodeB, SecretHash: event.HashOf(secretA[:]), Incarnation: 1, Node: nodeInfo(nodeB, "b", "10.0.0.2")})
	c.submit(webJob(), 0, evalWeb)
	metric := &event.AllocMetric{
		NodesEvaluated: 2, NodesFiltered: 1, NodesInPool: 2, NodePool: "default", NodesAvailable: map[string]int{"dc1": 2},
		ConstraintFiltered: map[string]int{"missing drivers": 1},
		ScoreMetaData:      []event.NodeScore{{NodeID: nodeA, Scores: map[string]event.Score{"binpack": 512345}, NormScore: 512345}},
	}
	failed := &event.AllocMetric{NodesEvaluated: 2, NodesExhausted: 1, DimensionExhausted: map[string]int{"memory": 1}, NodePool: "default"}
	c.commit(
		&event.PlanCommitted{
			EvalID: evalWeb, Namespace: "default", JobID: "web", Basis: basisWeb, Nodes: []event.ID{nodeA},
			Groups: []event.PlannedGroup{{Name: "front", Metric: metric, Failed: failed, Placements: []event.Placement{
				{Ordinal: 0, Name: 0, Score: 512345, Ports: []uint16{9090, 20001}},
				{Ordinal: 1, Name: 1, Score: 512345, Ports: []uint16{9091, 20002}},
			}}},
			Outcome: event.EvalComplete, Queued: map[string]int{"front": 1}, BlockedEval: evalBlocked,
		},
		&event.EvaluationCreated{Evaluation: event.Evaluation{
			ID: evalBlocked, Namespace: "default", JobID: "web", Type: "service", Priority: 50,
			TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, PreviousEval: evalWeb,
		}})
	c.running(webAlloc(0), 1)
	c.submit(batchJob("old"), 0, evalOld)
	c.commit(&event.PlanCommitted{EvalID: evalOld, Namespace: "default", JobID: "old", Basis: 12, Outcome: event.EvalComplete})
	c.commit(
		&event.JobStopped{Namespace: "default", JobID: "old", Version: 1},
		&event.EvaluationCreated{Evaluation: event.Evaluation{
			ID: evalOldStop, Namespace: "default", JobID: "old", Type: "batch", TriggeredBy: event.TriggerJobDeregister, Status: event.EvalPending,
		}})
	return c
}

// running commits node a's report that an allocation runs.
func (c *cluster) running(alloc event.ID, sequence uint64) {
	at := event.Stamp(epochStart.Add(time.Minute).UnixNano())
	c.commit(&event.AllocationsReported{NodeID: nodeA, Incarnation: 1, Sequence: sequence, Deltas: []event.AllocDelta{{
		ID: alloc, Client: event.ClientRunning, Tasks: map[string]*event.TaskState{
			"server": {State: event.TaskRunning, StartedAt: at, Restarts: 1, LastRestart: at, Events: []event.TaskEvent{
				{Type: event.TaskReceived, Time: int64(at)},
				{Type: event.TaskTerminated, Time: int64(at), Details: map[string]string{event.DetailExitCode: "3", event.DetailSignal: "0"}},
				{Type: event.TaskRestarting, Time: int64(at), Details: map[string]string{event.DetailReason: "Restart within policy", event.DetailStartDelay: "15000000000"}},
				{Type: event.TaskStarted, Time: int64(at)},
			}},
		},
	}}})
}

// get reads a path and returns status, headers and body.
func (c *cluster) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}
