package scheduler

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// TestLineIsASortedList compares a line with the list that it stands for.
func TestLineIsASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l line
		var list []*sleeper
		for n := range uint64(rapid.SampledFrom([]int{20, 3 * lineBlockMax}).Draw(t, "at first")) {
			e := &sleeper{priority: int(n % 3), created: n * 7 % 1000, id: event.DeriveID("s", event.ID{}, n), seen: n * 13 % 50}
			l.add(e)
			list = append(list, e)
		}
		slices.SortFunc(list, byTurn)
		number := uint64(1 << 20)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				number++
				e := &sleeper{
					priority: rapid.IntRange(0, 3).Draw(t, "priority"), created: rapid.Uint64Range(0, 1000).Draw(t, "created"),
					seen: rapid.Uint64Range(0, 50).Draw(t, "seen"), id: event.DeriveID("s", event.ID{}, number),
				}
				l.add(e)
				at, _ := slices.BinarySearchFunc(list, e, byTurn)
				list = slices.Insert(list, at, e)
			},
			"remove": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "many") {
					if len(list) == 0 {
						return
					}
					at := rapid.IntRange(0, len(list)-1).Draw(t, "which")
					l.remove(list[at])
					list = slices.Delete(list, at, at+1)
				}
			},
			"": func(t *rapid.T) {
				index := rapid.Uint64Range(0, 60).Draw(t, "index")
				var after *sleeper
				from := 0
				if len(list) > 0 && rapid.Bool().Draw(t, "after one") {
					from = rapid.IntRange(0, len(list)-1).Draw(t, "after")
					after = list[from]
					from++
				}
				var want *sleeper
				for _, e := range list[from:] {
					if e.seen < index {
						want = e
						break
					}
				}
				if got := l.first(after, index); got != want {
					t.Fatalf("first after %v below %d is %v, want %v", after, index, got, want)
				}
				if l.empty() != (len(list) == 0) {
					t.Fatalf("empty: %v, with %d in it", l.empty(), len(list))
				}
			},
		})
	})
}

// fleetStory is a cluster at work, by chance, with somebody who wakes what is
// blocked. Plans are decided and committed at different times.
type fleetStory struct {
	*cluster
	asleep  *sleepers
	told    int // records that asleep has taken in
	held    []*event.PlanCommitted
	version int
	nodes   int
	woken   int
}

// commit does what the committer does with a plan, as far as blocked evaluations
// are concerned: a plan on a basis that is gone is refused.
func (f *fleetStory) commit(p *event.PlanCommitted) {
	eval, job := f.state.Evaluation(p.EvalID), f.state.Job(key(p.JobID))
	if eval.Status != event.EvalPending || job.ChangeIndex > p.Basis {
		return
	}
	for _, n := range p.Nodes {
		if !f.state.Node(n).Schedulable() {
			return
		}
	}
	for _, g := range p.Groups {
		rooms := make(map[event.ID]*projections.Room)
		for _, stop := range p.Stops {
			if a := f.state.Allocation(stop.ID); stop.HandsOver && a.HoldsRoom() {
				f.room(rooms, a.NodeID).Release(a)
			}
		}
		for _, placement := range g.Placements {
			room, ask := f.room(rooms, p.Nodes[placement.Node]), job.Spec.Ask(g.Name)
			if _, ok := room.Fits(ask, placement.Ports); !ok {
				return
			}
			room.Take(ask, placement.Ports)
		}
	}
	failed := slices.ContainsFunc(p.Groups, func(g event.PlannedGroup) bool { return g.Failed != nil })
	var events []event.Event
	if blocked := f.state.BlockedEvaluation(key(p.JobID)); blocked != nil && p.Outcome == event.EvalComplete {
		events = append(events, &event.EvaluationEnded{EvalID: blocked.ID, Status: event.EvalCanceled})
	}
	committed := *p
	events = append(events, &committed)
	if failed && p.Outcome == event.EvalComplete {
		if eval.TriggeredBy == event.TriggerQueuedAllocs {
			committed.Outcome = event.EvalBlocked
		} else {
			follow := event.Evaluation{
				ID: event.DeriveID("blocked", eval.ID, p.Basis), Namespace: eval.Namespace, JobID: eval.JobID, Type: eval.Type,
				Priority: eval.Priority, TriggeredBy: event.TriggerQueuedAllocs, Status: event.EvalBlocked, SnapshotIndex: p.Basis,
				QueuedAllocations: p.Queued, FailedTGAllocs: make(map[string]*event.AllocMetric),
			}
			for _, g := range p.Groups {
				if g.Failed != nil {
					follow.FailedTGAllocs[g.Name] = g.Failed
				}
			}
			committed.BlockedEval = follow.ID
			events = append(events, &event.EvaluationCreated{Evaluation: follow})
		}
	}
	f.apply(events...)
}

func (f *fleetStory) room(rooms map[event.ID]*projections.Room, id event.ID) *projections.Room {
	if rooms[id] == nil {
		room := projections.RoomOn(f.state.Node(id))
		rooms[id] = &room
	}
	return rooms[id]
}

func (f *fleetStory) submitRandom(t *rapid.T) {
	f.version++
	job := randomJob(t, fmt.Sprintf("j%d", rapid.IntRange(0, 5).Draw(t, "job")), f.version)
	job.Type = event.JobTypeService
	job.Priority = rapid.SampledFrom([]int{20, 50, 80}).Draw(t, "priority")
	job.AllAtOnce = rapid.IntRange(0, 7).Draw(t, "all at once") == 0
	f.submit(job)
	f.evaluate(job.ID, event.TriggerJobRegister)
}

func (f *fleetStory) randomNode(t *rapid.T, name string) *event.Node {
	return newNode(name, rapid.SampledFrom([]int64{500, 1000, 2000}).Draw(t, "cpu"), rapid.SampledFrom([]int64{512, 1024, 4096}).Draw(t, "memory"), func(n *event.Node) {
		n.Attributes["cpu.arch"] = rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(t, "arch")
		if rack := rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "rack"); rack != "" {
			n.Meta["rack"] = rack
		}
		n.NodeMaxAllocs = max(rapid.IntRange(-4, 3).Draw(t, "most allocations"), 0)
		n.Drivers["raw_exec"].Healthy = rapid.IntRange(0, 5).Draw(t, "driver") > 0
		n.NodeResources.MinDynamicPort, n.NodeResources.MaxDynamicPort = 20000, 20000+rapid.IntRange(0, 4).Draw(t, "ports")
	})
}

func (f *fleetStory) anyNode(t *rapid.T) *projections.Node {
	return f.state.Node(nodeID(fmt.Sprintf("n%d", rapid.IntRange(0, f.nodes-1).Draw(t, "node"))))
}

func (f *fleetStory) anyPending(t *rapid.T) *event.Evaluation {
	list := slices.Collect(f.state.PendingEvaluations())
	if len(list) == 0 {
		return nil
	}
	return rapid.SampledFrom(list).Draw(t, "evaluation")
}

func (f *fleetStory) end(t *rapid.T) {
	var list []*projections.Allocation
	for a := range f.state.Allocations() {
		if a.HoldsRoom() && f.state.Node(a.NodeID).Status == event.NodeReady {
			list = append(list, a)
		}
	}
	if len(list) > 0 {
		f.report(rapid.SampledFrom(list).Draw(t, "allocation"), rapid.SampledFrom([]event.ClientStatus{event.ClientComplete, event.ClientFailed}).Draw(t, "end"))
	}
}

// wake does one step of the Unblocker.
func (f *fleetStory) wake(t *rapid.T) {
	if !f.asleep.follow([]projections.Commit{{Records: f.log[f.told:], State: f.state}}) && f.told < len(f.log) {
		t.Fatal("the records do not follow on one another")
	}
	f.told = len(f.log)
	due := f.asleep.due()
	for _, id := range due {
		if eval := f.state.Evaluation(id); eval.Status != event.EvalBlocked {
			t.Fatalf("%s is %v and is to be woken", eval.JobID, eval.Status)
		}
		f.apply(&event.EvaluationUnblocked{EvalID: id})
	}
	f.asleep.sent(len(due))
	f.woken += len(due)
}

// Nothing sleeps for ever that could be placed, whatever happens between a
// decision and its commit; and nothing is woken again and again for nothing.
func TestNothingSleepsForEver(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		f := &fleetStory{cluster: newCluster(outer), nodes: rapid.IntRange(1, 4).Draw(t, "nodes")}
		for i := range f.nodes {
			f.addNode(f.randomNode(t, fmt.Sprintf("n%d", i)))
		}
		f.asleep, f.told = newSleepers(f.state), len(f.log)
		f.submitRandom(t)
		t.Repeat(map[string]func(*rapid.T){
			"submit": f.submitRandom,
			"end":    f.end,
			"end2":   f.end,
			"wake":   f.wake,
			"decide": func(t *rapid.T) {
				if eval := f.anyPending(t); eval != nil {
					f.held = append(f.held, Schedule(f.state, eval))
				}
			},
			"commit": func(t *rapid.T) {
				if len(f.held) > 0 {
					at := rapid.IntRange(0, len(f.held)-1).Draw(t, "plan")
					f.commit(f.held[at])
					f.held = slices.Delete(f.held, at, at+1)
				}
			},
			"decide and commit": func(t *rapid.T) {
				if eval := f.anyPending(t); eval != nil {
					f.commit(Schedule(f.state, eval))
				}
			},
			"down": func(t *rapid.T) {
				if n := f.anyNode(t); n.Status == event.NodeReady {
					f.setNode(n.Info.Name, event.NodeDown)
					for a := range f.state.AllocationsOn(n.Info.ID) {
						if !a.Client.Terminal() {
							f.evaluate(a.Job.ID, event.TriggerNodeUpdate)
						}
					}
				}
			},
			"up": func(t *rapid.T) {
				if n := f.anyNode(t); n.Status == event.NodeDown {
					f.setNode(n.Info.Name, event.NodeReady)
				}
			},
			"change": func(t *rapid.T) {
				next := f.randomNode(t, f.anyNode(t).Info.Name)
				used := f.state.Node(next.ID).Used
				next.NodeResources.Cpu.CpuShares = max(next.NodeResources.Cpu.CpuShares, used.CPU)
				next.NodeResources.Memory.MemoryMB = max(next.NodeResources.Memory.MemoryMB, used.MemoryMB)
				f.apply(&event.NodeChanged{NodeID: next.ID, AttributesSet: next.Attributes, Rest: next, ComputedClass: next.ComputedClass})
			},
			"new leader": func(*rapid.T) { f.asleep, f.told = newSleepers(f.state), len(f.log) },
		})

		// Let it come to rest.
		woken := f.woken
		for rounds := 0; ; rounds++ {
			if rounds > 1000 {
				t.Fatal("it does not come to rest")
			}
			before := f.state.Index()
			for eval := range f.state.PendingEvaluations() {
				f.commit(Schedule(f.state, eval))
				break
			}
			f.wake(t)
			if f.state.Index() == before {
				break
			}
		}
		// Each may have been woken once for each node, and a job's own endings, but
		// not more often: the snapshots of all that sleep are newer than that.
		if most := 8 * (f.nodes + 3) * 10; f.woken-woken > most {
			t.Fatalf("%d were woken until it came to rest", f.woken-woken)
		}
		for eval := range f.state.BlockedEvaluations() {
			plan := Schedule(f.state, eval)
			for _, g := range plan.Groups {
				// Another group may have lost an allocation since: that is not what
				// this evaluation waits for.
				if waits := eval.FailedTGAllocs[g.Name] != nil; waits && len(g.Placements) > 0 {
					t.Fatalf("%s sleeps, decided at %d, and %d of %s could be placed on %s", eval.JobID, eval.SnapshotIndex, len(g.Placements), g.Name, nodeName(plan.Nodes[0]))
				}
			}
		}
		if due := newSleepers(f.state).due(); len(due) > 0 {
			t.Fatalf("a new leader would wake %d", len(due))
		}
	})
}
