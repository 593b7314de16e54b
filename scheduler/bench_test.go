package scheduler

import (
	"fmt"
	"testing"

	"drover/eventlog/event"
	"drover/projections"
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

// BenchmarkWakeUp is one small task that ends on a full fleet for which 180,000
// evaluations wait: what it costs to find the one to wake, and to see it settle.
// Jobs of one kind ask alike; of many kinds, each in its own way.
func BenchmarkWakeUp(b *testing.B) {
	const nodes, waiting = 1000, 180_000
	for _, kinds := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%d kinds", kinds), func(b *testing.B) {
			c := newCluster(b)
			c.addNodes(nodes, "n", 1000, 100_000)
			c.submit(newJob("old", nodes*10, 100, 64))
			c.apply(Schedule(c.state, c.evaluate("old", event.TriggerJobRegister)))
			jobs := make([]event.Event, 0, 3*waiting)
			for i := range waiting {
				job := newJob(fmt.Sprintf("j%06d", i), 1, 100, 64+i%kinds)
				data, err := event.Marshal(job)
				if err != nil {
					b.Fatal(err)
				}
				eval := event.Evaluation{
					ID: event.DeriveID("waiting", event.ID{}, uint64(i)), Namespace: job.Namespace, JobID: job.ID, Priority: 50,
					TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, SnapshotIndex: c.state.Index(),
				}
				jobs = append(jobs, &event.BlobStored{Blob: event.HashOf(data), Of: 1, Data: data},
					&event.JobSubmitted{Namespace: job.Namespace, JobID: job.ID, Spec: event.HashOf(data)}, &event.EvaluationCreated{Evaluation: eval})
			}
			c.apply(jobs...)
			asleep := newSleepers(c.state)
			follow := func() []event.ID {
				if !asleep.follow([]projections.Commit{{Records: c.log, State: c.state}}) {
					b.Fatal("a gap")
				}
				c.log = c.log[:0]
				due := asleep.due()
				asleep.sent(len(due))
				return due
			}
			c.log = c.log[:0]
			if due := follow(); len(due) > 0 {
				b.Fatalf("%d are woken by nothing", len(due))
			}
			old := c.live("old")
			woken, steps := 0, 0
			for b.Loop() {
				b.StopTimer()
				c.report(old[steps%len(old)], event.ClientComplete)
				steps++
				b.StartTimer()
				due := follow()
				b.StopTimer()
				woken += len(due)
				for _, id := range due {
					c.apply(&event.EvaluationUnblocked{EvalID: id})
					c.apply(Schedule(c.state, c.state.Evaluation(id)))
				}
				b.StartTimer()
				follow()
			}
			b.ReportMetric(float64(woken)/float64(steps), "woken/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/wake-up")
		})
	}
}

// BenchmarkNewLeader derives who waits from a state in which 180,000 do.
func BenchmarkNewLeader(b *testing.B) {
	c := newCluster(b)
	c.addNodes(1000, "n", 1000, 100_000)
	c.submit(newJob("j", 1, 2000, 64))
	spec := c.state.Job(key("j")).Spec.Hash
	var events []event.Event
	for i := range 180_000 {
		id := fmt.Sprintf("j%06d", i)
		events = append(events, &event.JobSubmitted{Namespace: event.DefaultNamespace, JobID: id, Spec: spec}, &event.EvaluationCreated{Evaluation: event.Evaluation{
			ID: event.DeriveID("waiting", event.ID{}, uint64(i)), Namespace: event.DefaultNamespace, JobID: id, Priority: 50,
			TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, SnapshotIndex: c.state.Index(),
		}})
	}
	c.apply(events...)
	for b.Loop() {
		newSleepers(c.state)
	}
}

// BenchmarkScheduleWide decides one evaluation of a job of many groups.
func BenchmarkScheduleWide(b *testing.B) {
	c := newCluster(b)
	for i := range 1000 {
		c.addNode(newNode(fmt.Sprintf("n%05d", i), 16000, 32768, nil))
	}
	job := newJob("wide", 1, 100, 64)
	for i := range 1999 {
		g := *job.TaskGroups[0]
		g.Name = fmt.Sprint("g", i)
		job.TaskGroups = append(job.TaskGroups, &g)
	}
	c.submit(job)
	eval := c.evaluate("wide", event.TriggerJobRegister)
	scheduler := new(Scheduler)
	b.ReportAllocs()
	for b.Loop() {
		scheduler.Schedule(c.state, eval)
	}
}
