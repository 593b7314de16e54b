package bench

import (
	"strings"
	"testing"

	"drover/eventlog/event"
)

// books is a log of one node and one job, and what may come after it.
type books struct {
	*ledger
	eval  event.ID
	nodes []event.ID
}

// newBooks has a node for two tasks of the job web, which asks for a port.
func newBooks(t *testing.T) *books {
	b := &books{ledger: newLedger(), eval: event.DeriveID("eval", event.ID{})}
	for i := range 2 {
		info := newNodeInfo(i, nodeSize{mhz: 2 * taskMHz, mb: 2 * taskMB, diskMB: 2 * taskDiskMB})
		b.nodes = append(b.nodes, info.ID)
		b.add(&event.NodeRegistered{NodeID: info.ID, Incarnation: 1, Node: info})
		b.add(&event.NodeStatusChanged{NodeID: info.ID, Status: event.NodeReady})
	}
	spec, err := event.Marshal(&event.Job{ID: "web", TaskGroups: []*event.TaskGroup{{
		Name: "g", Count: 3, EphemeralDisk: event.EphemeralDisk{SizeMB: taskDiskMB},
		Networks: []event.NetworkResource{{DynamicPorts: []event.Port{{Label: "http"}}}},
		Tasks:    []*event.Task{{Name: task, Resources: event.Resources{CPU: taskMHz, MemoryMB: taskMB}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	b.add(&event.BlobStored{Blob: event.HashOf(spec), Of: 1, Data: spec})
	b.add(&event.JobSubmitted{Namespace: "default", JobID: "web", Spec: event.HashOf(spec)})
	return b
}

func (b *books) add(e event.Event) {
	index := b.facts.head + 1
	b.apply(&event.Record{Header: event.Header{Index: index, Time: int64(index) * 1e6, Kind: e.Kind()}, Event: e}, 100)
}

// place plans one allocation on a node.
func (b *books) place(ordinal uint32, node event.ID, port uint16) event.ID {
	b.add(&event.PlanCommitted{
		EvalID: b.eval, Namespace: "default", JobID: "web", Basis: 1, Nodes: []event.ID{node}, Outcome: event.EvalComplete,
		Groups: []event.PlannedGroup{{Name: "g", Placements: []event.Placement{{Ordinal: ordinal, Name: ordinal, Ports: []uint16{port}}}}},
	})
	return event.AllocationID(b.eval, 1, ordinal)
}

func (b *books) report(node, alloc event.ID, status event.ClientStatus) {
	b.add(&event.AllocationsReported{NodeID: node, Deltas: []event.AllocDelta{{ID: alloc, Client: status}}})
}

// TestLedger plants what a log must not hold, and expects it to be found.
func TestLedger(t *testing.T) {
	for _, test := range []struct {
		name string
		plot func(b *books)
		want string // "" = nothing is wrong
	}{
		{"two fit", func(b *books) { b.place(0, b.nodes[0], 20000); b.place(1, b.nodes[0], 20001) }, ""},
		{"three do not", func(b *books) {
			b.place(0, b.nodes[0], 20000)
			b.place(1, b.nodes[0], 20001)
			b.place(2, b.nodes[0], 20002)
		}, "is overcommitted: 60 MHz, 30 MB and 30 MB of disk in use of 40, 20 and 20"},
		{"room of one that ended", func(b *books) {
			a := b.place(0, b.nodes[0], 20000)
			b.place(1, b.nodes[0], 20001)
			b.report(b.nodes[0], a, event.ClientComplete)
			b.place(2, b.nodes[0], 20000)
		}, ""},
		{"room of one that still stops", func(b *books) {
			a := b.place(0, b.nodes[0], 20000)
			b.place(1, b.nodes[0], 20001)
			b.add(&event.PlanCommitted{EvalID: b.eval, Namespace: "default", JobID: "web", Stops: []event.PlannedStop{{ID: a}}})
			b.place(2, b.nodes[0], 20002)
		}, "is overcommitted"},
		{"one port twice", func(b *books) { b.place(0, b.nodes[0], 20000); b.place(1, b.nodes[0], 20000) }, "port 20000 is held 2 times"},
		{"one port on two nodes", func(b *books) { b.place(0, b.nodes[0], 20000); b.place(1, b.nodes[1], 20000) }, ""},
		{"one allocation twice", func(b *books) { b.place(0, b.nodes[0], 20000); b.place(0, b.nodes[1], 20000) }, "is placed a second time"},
		{"a node that is down", func(b *books) {
			b.add(&event.NodeStatusChanged{NodeID: b.nodes[0], Status: event.NodeDown})
			b.place(0, b.nodes[0], 20000)
		}, "which is not ready"},
		{"a node that is ineligible", func(b *books) {
			b.add(&event.NodeEligibilitySet{NodeID: b.nodes[0], Ineligible: true})
			b.place(0, b.nodes[0], 20000)
		}, "which is not ready"},
		{"a job that is not there", func(b *books) {
			b.add(&event.PlanCommitted{Namespace: "default", JobID: "other"})
		}, `job "other", which was never submitted`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBooks(t)
			test.plot(b)
			found := strings.Join(b.wrong, "\n")
			if test.want == "" && found != "" || !strings.Contains(found, test.want) {
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}
