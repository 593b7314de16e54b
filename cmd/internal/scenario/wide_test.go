package scenario

import (
	"fmt"
	"testing"

	"drover/commands"
	"drover/eventlog/event"
)

// appendBytesMax is the most that the committer appends at once (commands/limits.go).
const appendBytesMax = 512 << 10

// TestAWideJobFitsItsAppends runs jobs of two thousand groups, whose plans explain
// each group on its own, through scheduler, rules and codec.
func TestAWideJobFitsItsAppends(t *testing.T) {
	const groups, count = 2000, 3
	for _, test := range []struct {
		name   string
		cpu    int64 // of each of 40 nodes
		change func(i int, g *event.TaskGroup)
		placed int // of groups*count
	}{
		{"all placed", 1_000_000, func(int, *event.TaskGroup) {}, groups * count},
		{"none placed, one reason", 3, func(int, *event.TaskGroup) {}, 0},
		{"none placed, a reason each", 1_000_000, func(i int, g *event.TaskGroup) {
			g.Constraints = []event.Constraint{{LTarget: "${attr.an.attribute.of.a.very.long.name.that.no.node.has.at.all}", Operand: "=", RTarget: fmt.Sprintf("%0200d", i)}}
		}, 0},
		{"half placed", 1_000_000, func(i int, g *event.TaskGroup) {
			if i%2 == 0 {
				g.Constraints = []event.Constraint{{LTarget: "${attr.x}", Operand: "=", RTarget: fmt.Sprintf("%0100d", i)}}
			}
		}, groups * count / 2},
		{"some placed", 1000, func(int, *event.TaskGroup) {}, 40 * 1000 / 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster()
			for i := range 40 {
				n := &node{name: fmt.Sprint("n", i), id: event.DeriveID("node", event.ID{}, uint64(i)), silent: true, told: make(map[event.ID]event.ClientStatus)}
				c.nodes[n.name] = n
				if err := c.join(n, &event.Node{
					ID: n.id, Name: n.name, Datacenter: "dc1", NodePool: "default", ComputedClass: fmt.Sprint("class", i%4),
					Drivers: map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true}},
					NodeResources: &event.NodeResources{
						Cpu: event.NodeCpu{CpuShares: test.cpu + int64(i%7)}, Memory: event.NodeMemory{MemoryMB: 1_000_000}, Disk: event.NodeDisk{DiskMB: 1_000_000},
					},
				}); err != nil {
					t.Fatal(err)
				}
				n.silent = true
			}
			job := &event.Job{ID: "wide", Name: "wide", Namespace: event.DefaultNamespace, Type: event.JobTypeService, Priority: 50, Datacenters: []string{"dc1"}, NodePool: "default"}
			for i := range groups {
				g := &event.TaskGroup{Name: fmt.Sprintf("a-group-of-a-wide-job-%04d", i), Count: count, Tasks: []*event.Task{{
					Name: "t", Driver: "raw_exec", Resources: event.Resources{CPU: 10, MemoryMB: 10},
				}}}
				test.change(i, g)
				job.TaskGroups = append(job.TaskGroups, g)
			}
			spec, err := commands.NewBlob(job)
			if err != nil {
				t.Fatal(err)
			}
			if r := c.do(event.CallerAnonymous, "", commands.SubmitJob{Job: job, Spec: spec}); r != nil {
				t.Fatal(r)
			}
			seen := len(c.records)
			if err := c.schedule(); err != nil {
				t.Fatal(err)
			}
			bytes, plans := make(map[event.ID]int), 0
			for _, r := range c.records[seen:] {
				data, err := event.AppendRecord(nil, r)
				if err != nil {
					t.Fatal(err)
				}
				if bytes[r.CommandID] += len(data); bytes[r.CommandID] > appendBytesMax {
					t.Fatalf("the command of record %d, a %v, takes %d bytes", r.Index, r.Kind, bytes[r.CommandID])
				}
				if _, ok := r.Event.(*event.PlanCommitted); ok {
					plans++
				}
			}
			placed := 0
			for a := range c.state.AllocationsOf(event.JobKey{Namespace: event.DefaultNamespace, ID: "wide"}) {
				if a.Live() {
					placed++
				}
			}
			if placed != test.placed {
				t.Errorf("%d allocations, want %d", placed, test.placed)
			}
			blocked := c.state.BlockedEvaluation(event.JobKey{Namespace: event.DefaultNamespace, ID: "wide"})
			if (blocked != nil) != (placed < groups*count) {
				t.Fatalf("%d placed, and the blocked evaluation is %v", placed, blocked)
			}
			if blocked != nil {
				queued := 0
				for _, n := range blocked.QueuedAllocations {
					queued += n
				}
				if queued != groups*count-placed || len(blocked.FailedTGAllocs) == 0 || len(blocked.ClassEligibility) != 4 {
					t.Errorf("the blocked evaluation has %d queued, %d groups explained, %d classes", queued, len(blocked.FailedTGAllocs), len(blocked.ClassEligibility))
				}
			}
			if plans > 5 {
				t.Errorf("%d plans", plans)
			}
			c.check(t)
		})
	}
}
