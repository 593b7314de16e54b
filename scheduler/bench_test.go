package scheduler

import (
	"fmt"
	"testing"

	"drover/eventlog/event"
)

// BenchmarkSchedule decides one evaluation of a new job on nodes of four sizes.
func BenchmarkSchedule(b *testing.B) {
	ports := newJob("ports", 1000, 100, 64)
	ports.TaskGroups[0].Networks = []event.NetworkResource{{DynamicPorts: []event.Port{{Label: "a"}, {Label: "b"}}}}
	constrained := newJob("constrained", 1000, 100, 64)
	constrained.Constraints = []event.Constraint{{LTarget: "${meta.size}", Operand: "set_contains_any", RTarget: "1,2,3"}}
	for _, bench := range []struct {
		name string
		job  *event.Job
	}{
		{"6000", newJob("web", 6000, 100, 64)}, {"1000", newJob("web", 1000, 100, 64)}, {"10", newJob("web", 10, 100, 64)}, {"1000 with ports", ports}, {"1000 constrained", constrained},
	} {
		b.Run(bench.name+" on 5000", func(b *testing.B) {
			c := newCluster(b)
			for i := range 5000 {
				c.addNode(newNode(fmt.Sprintf("n%05d", i), int64(4000*(1+i%4)), int64(8192*(1+i%4)), func(n *event.Node) {
					n.Meta["size"] = fmt.Sprint(i % 4)
				}))
			}
			c.submit(bench.job)
			eval := c.evaluate(bench.job.ID, event.TriggerJobRegister)
			scheduler := new(Scheduler)
			b.ReportAllocs()
			placed := 0
			for b.Loop() {
				placed += len(scheduler.Schedule(c.state, eval).Groups[0].Placements)
			}
			b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "placements/s")
		})
	}
}

// BenchmarkScheduleSpread decides one evaluation of a job with spread and affinity.
func BenchmarkScheduleSpread(b *testing.B) {
	for _, bench := range []struct{ name, attribute string }{
		{"racks", "${meta.rack}"}, {"unique", "${node.unique.id}"},
	} {
		job := newJob("web", 1000, 100, 64)
		job.Spreads = []event.Spread{
			{Attribute: bench.attribute, Weight: 50},
			{Attribute: "${node.datacenter}", Weight: 50, SpreadTarget: []event.SpreadTarget{{Value: "dc1", Percent: 60}, {Value: "dc2", Percent: 40}}},
		}
		job.Affinities = []event.Affinity{{LTarget: "${meta.size}", Operand: "=", RTarget: "3", Weight: 50}}
		b.Run(bench.name+" on 10000", func(b *testing.B) {
			c := newCluster(b)
			for i := range 10000 {
				c.addNode(newNode(fmt.Sprintf("n%05d", i), int64(4000*(1+i%4)), int64(8192*(1+i%4)), func(n *event.Node) {
					n.Meta["size"], n.Meta["rack"] = fmt.Sprint(i%4), fmt.Sprint(i/4%40)
					n.Datacenter = fmt.Sprintf("dc%d", 1+i/160%2)
				}))
			}
			c.submit(job)
			eval := c.evaluate(job.ID, event.TriggerJobRegister)
			scheduler := new(Scheduler)
			b.ReportAllocs()
			placed := 0
			for b.Loop() {
				placed += len(scheduler.Schedule(c.state, eval).Groups[0].Placements)
			}
			b.ReportMetric(float64(placed)/b.Elapsed().Seconds(), "placements/s")
		})
	}
}

// BenchmarkScheduleUpdate decides an evaluation of a job that has run for long: its
// allocations go on in place, under rules about each other, and a third of them goes.
func BenchmarkScheduleUpdate(b *testing.B) {
	for _, count := range []int{750, 3000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			c := newCluster(b)
			for i := range count {
				c.addNode(newNode(fmt.Sprintf("n%05d", i), 4000, 8192, nil))
			}
			job := newJob("web", count, 100, 64)
			job.Constraints = []event.Constraint{{Operand: distinctHosts}, {LTarget: "${node.unique.name}", Operand: distinctProperty}}
			c.submit(job)
			c.schedule("web")
			job = newJob("web", count*2/3, 100, 64)
			job.Constraints = []event.Constraint{{Operand: distinctHosts}, {LTarget: "${node.unique.name}", Operand: distinctProperty}}
			job.Priority = 60
			c.submit(job)
			eval := c.evaluate("web", event.TriggerJobRegister)
			scheduler := new(Scheduler)
			for b.Loop() {
				if plan := scheduler.Schedule(c.state, eval); len(plan.InPlace) != count*2/3 || len(plan.Stops) != count-count*2/3 {
					b.Fatalf("%d go on, %d stop", len(plan.InPlace), len(plan.Stops))
				}
			}
		})
	}
}
