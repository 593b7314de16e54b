package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// cluster is a state that grows by records, as the log would make it.
type cluster struct {
	t     testing.TB
	state *projections.State
	now   int64
	evals uint64
	log   []*event.Record

	scheduler Scheduler
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t, state: projections.New(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()}
	c.apply(&event.ClusterCreated{ClusterID: event.DeriveID("cluster", event.ID{}), Region: "global"})
	c.apply(&event.CommitterStarted{Epoch: 1})
	return c
}

// apply folds the events of one command.
func (c *cluster) apply(events ...event.Event) {
	c.t.Helper()
	draft := projections.NewDraft(c.state)
	index, previous := c.state.Index(), c.state.Hash()
	c.now += int64(time.Millisecond)
	for i, e := range events {
		index++
		r := &event.Record{Header: event.Header{
			Index: index, Time: c.now, Kind: e.Kind(), Last: i == len(events)-1, Epoch: 1, Previous: previous,
		}, Event: e}
		encoded, err := event.AppendRecord(nil, r)
		if err != nil {
			c.t.Fatal(err)
		}
		r.Hash = event.HashOf(append(previous[:], encoded...))
		// What is folded is what was encoded, as after a restart.
		decoded, err := event.DecodeRecord(encoded)
		if err != nil {
			c.t.Fatal(err)
		}
		decoded.Hash = r.Hash
		draft.Apply(decoded)
		c.log = append(c.log, decoded)
		previous = r.Hash
	}
	c.state = draft.Seal()
}

// nodeID makes an ID that sorts as the name does.
func nodeID(name string) event.ID {
	var id event.ID
	copy(id[:], name)
	return id
}

func nodeName(id event.ID) string { return strings.TrimRight(string(id[:]), "\x00") }

// newNode is a plain node; change adjusts it before its class is computed.
func newNode(name string, cpu, memoryMB int64, change func(*event.Node)) *event.Node {
	n := &event.Node{
		ID: nodeID(name), Name: name, Datacenter: "dc1", NodePool: "default",
		Attributes: map[string]string{"kernel.name": "linux", "unique.hostname": name},
		Meta:       map[string]string{},
		Drivers:    map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: cpu}, Memory: event.NodeMemory{MemoryMB: memoryMB}, Disk: event.NodeDisk{DiskMB: 100_000},
		},
	}
	if change != nil {
		change(n)
	}
	n.ComputedClass = classOf(n)
	return n
}

// classOf stands for what the servers compute: everything but what is unique.
func classOf(n *event.Node) string {
	parts := []string{n.Datacenter, n.NodePool, n.NodeClass}
	for _, m := range []map[string]string{n.Attributes, n.Meta} {
		for k, v := range m {
			if !strings.HasPrefix(k, "unique.") {
				parts = append(parts, k+"="+v)
			}
		}
	}
	slices.Sort(parts[3:])
	return strings.Join(parts, ",")
}

func (c *cluster) addNode(n *event.Node) {
	c.t.Helper()
	c.apply(&event.NodeRegistered{NodeID: n.ID, Incarnation: 1, Node: n},
		&event.NodeStatusChanged{NodeID: n.ID, Status: event.NodeReady})
}

func (c *cluster) addNodes(count int, prefix string, cpu, memoryMB int64) {
	for i := range count {
		c.addNode(newNode(fmt.Sprintf("%s%d", prefix, i), cpu, memoryMB, nil))
	}
}

// newJob is a service of one group "g" with one task.
func newJob(id string, count int, cpu, memoryMB int) *event.Job {
	return &event.Job{
		ID: id, Name: id, Namespace: event.DefaultNamespace, Type: event.JobTypeService, Priority: 50,
		Datacenters: []string{"*"}, NodePool: "default",
		TaskGroups: []*event.TaskGroup{{
			Name: "g", Count: count,
			Tasks: []*event.Task{{
				Name: "t", Driver: "raw_exec", Config: map[string]any{"command": "sleep"},
				Resources: event.Resources{CPU: cpu, MemoryMB: memoryMB},
			}},
		}},
	}
}

func (c *cluster) submit(job *event.Job) {
	c.t.Helper()
	data, err := event.Marshal(job)
	if err != nil {
		c.t.Fatal(err)
	}
	version := uint64(0)
	if old := c.state.Job(event.JobKey{Namespace: job.Namespace, ID: job.ID}); old != nil {
		version = old.Version + 1
	}
	hash := event.HashOf(data)
	c.apply(&event.BlobStored{Blob: hash, Of: 1, Data: data},
		&event.JobSubmitted{Namespace: job.Namespace, JobID: job.ID, Version: version, Spec: hash})
}

// configure has nodes ranked by another algorithm from here on.
func (c *cluster) configure(evenly bool) {
	c.t.Helper()
	algorithm := event.AlgorithmBinpack
	if evenly {
		algorithm = event.AlgorithmSpread
	}
	c.apply(&event.SchedulerConfigured{Algorithm: algorithm})
}

func key(id string) event.JobKey { return event.JobKey{Namespace: event.DefaultNamespace, ID: id} }

// evaluate creates an evaluation of the job.
func (c *cluster) evaluate(id string, trigger event.Trigger) *event.Evaluation {
	c.t.Helper()
	c.evals++
	eval := event.Evaluation{
		ID: event.DeriveID("test-eval", event.ID{}, c.evals), Namespace: event.DefaultNamespace, JobID: id,
		Type: event.JobTypeService, Priority: 50, TriggeredBy: trigger, Status: event.EvalPending,
	}
	if j := c.state.Job(key(id)); j != nil {
		eval.Priority, eval.Type = j.Spec.Job.Priority, j.Spec.Job.Type
	}
	c.apply(&event.EvaluationCreated{Evaluation: eval})
	return c.state.Evaluation(eval.ID)
}

// schedule decides an evaluation, checks that deciding again gives the same
// bytes, and commits the plan.
func (c *cluster) schedule(id string) *event.PlanCommitted {
	c.t.Helper()
	plan := c.decide(c.evaluate(id, event.TriggerJobRegister))
	c.apply(plan)
	return plan
}

func (c *cluster) decide(eval *event.Evaluation) *event.PlanCommitted {
	c.t.Helper()
	plan := Schedule(c.state, eval)
	first, err := event.Marshal(plan)
	if err != nil {
		c.t.Fatal(err)
	}
	// A scheduler that has decided before decides the same.
	second, err := event.Marshal(c.scheduler.Schedule(c.state, eval))
	if err != nil {
		c.t.Fatal(err)
	}
	if string(first) != string(second) {
		c.t.Fatal("the same snapshot and evaluation gave two plans")
	}
	c.checkForeseen(eval, plan)
	return plan
}

// checkForeseen compares what Foresee wants with what the plan does and leaves undone.
func (c *cluster) checkForeseen(eval *event.Evaluation, plan *event.PlanCommitted) {
	c.t.Helper()
	_, wanted := Foresee(c.state, eval)
	done := make(map[string]uint64)
	updated := make(map[event.ID]bool)
	for _, g := range plan.Groups {
		done[g.Name] = uint64(len(g.Placements))
		for _, p := range g.Placements {
			updated[p.Previous] = true
		}
	}
	stops := uint64(0)
	for _, stop := range plan.Stops {
		a := c.state.Allocation(stop.ID)
		lost := stop.Client == event.ClientLost
		if a.Desired == event.DesiredRun && (lost || !updated[a.ID]) && stop.Description != describeMigrated {
			stops++
		}
	}
	if plan.Outcome == event.EvalPending {
		return // only the first part of the decision
	}
	stopping, updating := uint64(0), uint64(0)
	for name, w := range wanted {
		if at := done[name] + uint64(plan.Queued[name]); w.Place+w.DestructiveUpdate+w.Migrate != at {
			c.t.Errorf("group %q: %+v is foreseen, the plan places %d and leaves %d", name, w, done[name], plan.Queued[name])
		}
		stopping, updating = stopping+w.Stop, updating+w.InPlaceUpdate
	}
	if stopping != stops || updating != uint64(len(plan.InPlace)) {
		c.t.Errorf("%d stops and %d updates in place are foreseen: %+v; the plan has %d and %d", stopping, updating, wanted, stops, len(plan.InPlace))
	}
}

// report says what became of an allocation on its node.
func (c *cluster) report(a *projections.Allocation, status event.ClientStatus) {
	c.t.Helper()
	node := c.state.Node(a.NodeID)
	c.apply(&event.AllocationsReported{
		NodeID: a.NodeID, Incarnation: node.Incarnation, Sequence: node.LastReport + 1,
		Deltas: []event.AllocDelta{{ID: a.ID, Client: status}},
	})
}

func (c *cluster) setNode(name string, status event.NodeStatus) {
	c.t.Helper()
	c.apply(&event.NodeStatusChanged{NodeID: nodeID(name), Status: status})
}

// live lists a job's live allocations by name.
func (c *cluster) live(id string) []*projections.Allocation {
	var list []*projections.Allocation
	for a := range c.state.AllocationsOf(key(id)) {
		if a.Live() {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *projections.Allocation) int {
		return strings.Compare(a.Name(), b.Name())
	})
	return list
}

// checkSound fails the test when a node holds more than it has, or a port twice.
// It adds up from the allocations and shares nothing with the scheduler.
func (c *cluster) checkSound() {
	c.t.Helper()
	for n := range c.state.Nodes() {
		var cpu, memoryMB, diskMB int64
		ports := make(map[int]string)
		for a := range c.state.AllocationsOn(n.Info.ID) {
			if a.Client.Terminal() || a.HandedOver {
				continue
			}
			for _, g := range a.Spec.Job.TaskGroups {
				if g.Name != a.Group {
					continue
				}
				diskMB += int64(g.EphemeralDisk.SizeMB)
				for _, t := range g.Tasks {
					cpu += int64(t.Resources.CPU)
					memoryMB += int64(t.Resources.MemoryMB)
				}
			}
			for _, p := range a.Ports() {
				if other, held := ports[p.Value]; held {
					c.t.Fatalf("port %d of node %s is held by %s and %s", p.Value, n.Info.Name, other, a.Name())
				}
				ports[p.Value] = a.Name()
			}
		}
		res := n.Info.NodeResources
		if cpu > res.Cpu.CpuShares || memoryMB > res.Memory.MemoryMB || diskMB > res.Disk.DiskMB {
			c.t.Fatalf("node %s holds cpu %d of %d, memory %d of %d, disk %d of %d", n.Info.Name,
				cpu, res.Cpu.CpuShares, memoryMB, res.Memory.MemoryMB, diskMB, res.Disk.DiskMB)
		}
	}
	seen := make(map[string]bool)
	for a := range c.state.Allocations() {
		name := a.Job.String() + "/" + a.Name()
		if event.EveryNode(a.Spec.Job.Type) {
			name += " on " + nodeName(a.NodeID)
		}
		if a.Live() && seen[name] {
			c.t.Fatalf("%s is live twice", name)
		}
		if a.Live() {
			seen[name] = true
		}
	}
}
