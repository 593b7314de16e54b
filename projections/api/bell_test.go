package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
)

// history commits random commands that a cluster could commit.
type history struct {
	rt       *rapid.T
	c        *cluster
	numbers  int // of evaluations
	sequence map[event.ID]uint64
	kinds    map[event.Kind]bool // that came
}

var historyJobs, historyNodes = []string{"x", "y"}, []event.ID{nodeA, nodeB}

func newHistory(t testing.TB, rt *rapid.T) *history {
	h := &history{rt: rt, c: newCluster(t), numbers: 0x1000, sequence: make(map[event.ID]uint64), kinds: make(map[event.Kind]bool)}
	h.c.commit(
		&event.NodeRegistered{NodeID: nodeA, Incarnation: 1, Node: nodeInfo(nodeA, "a", "10.0.0.1")},
		&event.NodeRegistered{NodeID: nodeB, Incarnation: 1, Node: nodeInfo(nodeB, "b", "10.0.0.2")})
	return h
}

// step commits something. Steps that are impossible at the moment commit nothing.
func (h *history) step() {
	name := rapid.SampledFrom(historyJobs).Draw(h.rt, "job")
	node := rapid.SampledFrom(historyNodes).Draw(h.rt, "node")
	steps := []string{"submit", "plan", "plan", "plan", "report", "report", "report", "report", "stop", "evaluate", "scale", "tag", "tag", "mark", "end", "unblock", "unblock", "node", "collect", "collect", "delete", "other", "other"}
	var commands [][]event.Event
	switch rapid.SampledFrom(steps).Draw(h.rt, "step") {
	case "submit":
		commands = append(commands, h.submit(name))
	case "stop":
		commands = append(commands, h.stop(name))
	case "scale":
		if h.c.state.Job(h.key(name)) != nil {
			commands = append(commands, []event.Event{&event.JobScaled{Namespace: "default", JobID: name, Group: "g", Message: "as it is"}})
		}
	case "tag":
		j := h.c.state.Job(h.key(name))
		switch {
		case j == nil:
		case j.HasTags():
			commands = append(commands, []event.Event{&event.JobVersionUntagged{Namespace: "default", JobID: name, Name: "golden"}})
		default:
			version := j.Version
			if len(j.Older) > 0 {
				version = j.Older[len(j.Older)-1].Version
			}
			commands = append(commands, []event.Event{&event.JobVersionTagged{Namespace: "default", JobID: name, Version: version, Name: "golden"}})
		}
	case "mark":
		if allocs := h.live(name); len(allocs) > 0 {
			a := rapid.SampledFrom(allocs).Draw(h.rt, "allocation")
			commands = append(commands, []event.Event{&event.AllocationsMarked{
				IDs: event.IDs{a.ID}, Migrate: true, NoShutdownDelay: rapid.Bool().Draw(h.rt, "hasty"),
			}})
		}
	case "plan":
		// Two commands in one commit, as they come when they queue up.
		create, eval := h.evaluate(name, event.EvalPending)
		commands = append(commands, create, h.plan(name, eval))
	case "report":
		commands = append(commands, h.report(name))
	case "collect":
		commands = append(commands, h.collect(name))
	case "evaluate":
		status := event.EvalPending
		if h.c.state.BlockedEvaluation(h.key(name)) == nil {
			status = rapid.SampledFrom([]event.EvalStatus{event.EvalPending, event.EvalBlocked}).Draw(h.rt, "status")
		}
		create, _ := h.evaluate(name, status)
		commands = append(commands, create)
	case "end":
		for e := range h.c.state.EvaluationsOf(h.key(name)) {
			if !e.Status.Terminal() {
				commands = append(commands, []event.Event{&event.EvaluationEnded{EvalID: e.ID, Status: event.EvalCanceled}})
				break
			}
		}
	case "unblock":
		if e := h.c.state.BlockedEvaluation(h.key(name)); e != nil {
			commands = append(commands, []event.Event{&event.EvaluationUnblocked{EvalID: e.ID}})
		}
	case "node":
		commands = append(commands, []event.Event{rapid.SampledFrom([]event.Event{
			&event.NodeRegistered{NodeID: node, Incarnation: h.c.state.Node(node).Incarnation + 1},
			&event.NodeChanged{NodeID: node, AttributesSet: map[string]string{"a": fmt.Sprint(h.c.state.Index())}},
			&event.NodeStatusChanged{NodeID: node, Status: event.NodeReady},
			&event.NodeStatusChanged{NodeID: node, Status: event.NodeDown},
			&event.NodeEligibilitySet{NodeID: node, Ineligible: true},
			&event.NodeEligibilitySet{NodeID: node},
		}).Draw(h.rt, "what of the node")})
	case "delete":
		var gone []event.Event
		if h.c.state.NodePool("gpu") != nil {
			gone = append(gone, &event.NodePoolDeleted{Name: "gpu"})
		}
		if h.c.state.Namespace("ops") != nil {
			gone = append(gone, &event.NamespaceDeleted{Name: "ops"})
		}
		commands = append(commands, gone)
	case "other":
		commands = append(commands, []event.Event{rapid.SampledFrom([]event.Event{
			&event.SchedulerConfigured{Algorithm: "binpack"}, &event.CheckpointTaken{At: 1, FoldVersion: 1},
			&event.NodePoolSet{Pool: event.NodePool{Name: "gpu"}}, &event.NamespaceSet{Namespace: event.Namespace{Name: "ops"}},
		}).Draw(h.rt, "what")})
	}
	commands = slices.DeleteFunc(commands, func(events []event.Event) bool { return len(events) == 0 })
	if len(commands) > 0 {
		h.c.commitAll(commands...)
	}
}

func (h *history) key(name string) event.JobKey { return event.JobKey{Namespace: "default", ID: name} }

func (h *history) submit(name string) []event.Event {
	job, version := batchJob(name), uint64(0)
	if j := h.c.state.Job(h.key(name)); j != nil {
		version = j.Version + 1
	}
	job.Priority = 30 + int(version)
	if rapid.Bool().Draw(h.rt, "scaled") {
		job.TaskGroups[0].Scaling = &event.ScalingPolicy{Max: 9}
	}
	spec, hash := h.c.blob(job)
	create, _ := h.evaluate(name, event.EvalPending)
	return append([]event.Event{spec, &event.JobSubmitted{Namespace: "default", JobID: name, Version: version, Spec: hash}}, create...)
}

func (h *history) stop(name string) []event.Event {
	j := h.c.state.Job(h.key(name))
	if j == nil {
		return nil
	}
	return []event.Event{&event.JobStopped{Namespace: "default", JobID: name, Version: j.Version + 1, Purge: rapid.Bool().Draw(h.rt, "purge")}}
}

func (h *history) collect(name string) []event.Event {
	if j := h.c.state.Job(h.key(name)); j != nil && rapid.Bool().Draw(h.rt, "all of it") {
		if _, over := h.c.state.IsOver(j); over {
			return []event.Event{&event.Collected{Jobs: []event.CollectedJobs{{Namespace: "default", IDs: []string{name}}}}}
		}
	}
	ended := h.c.state.EndedWork(h.key(name))
	work := event.CollectedWork{Namespace: "default", JobID: name}
	for _, e := range ended.Evaluations {
		work.Evaluations = append(work.Evaluations, e.CreateIndex)
	}
	for _, a := range ended.Allocations {
		work.Allocations = append(work.Allocations, a.ID)
	}
	slices.SortFunc(work.Allocations, event.ID.Compare)
	if len(work.Evaluations)+len(work.Allocations) == 0 {
		return nil
	}
	return []event.Event{&event.Collected{Work: []event.CollectedWork{work}}}
}

func (h *history) evaluate(name string, status event.EvalStatus) ([]event.Event, event.ID) {
	h.numbers++
	e := id(h.numbers)
	return []event.Event{&event.EvaluationCreated{Evaluation: event.Evaluation{ID: e, Namespace: "default", JobID: name, Type: "batch", Status: status}}}, e
}

func (h *history) live(name string) (list []*projections.Allocation) {
	for a := range h.c.state.AllocationsOf(h.key(name)) {
		if !a.Client.Terminal() {
			list = append(list, a)
		}
	}
	return list
}

func (h *history) plan(name string, eval event.ID) []event.Event {
	plan := &event.PlanCommitted{EvalID: eval, Namespace: "default", JobID: name, Basis: h.c.state.Index(), Outcome: event.EvalComplete}
	job := h.c.state.Job(h.key(name))
	if job != nil {
		plan.JobVersion = job.Version
	}
	var previous []event.ID
	for _, a := range h.live(name) {
		switch rapid.SampledFrom([]string{"leave", "stop", "in place"}).Draw(h.rt, "what of it") {
		case "stop":
			plan.Stops = append(plan.Stops, event.PlannedStop{ID: a.ID})
		case "in place":
			if job != nil {
				plan.InPlace = append(plan.InPlace, a.ID)
			}
		default:
			previous = append(previous, a.ID)
		}
	}
	if job != nil && rapid.Bool().Draw(h.rt, "place") {
		p := event.Placement{Name: uint32(h.numbers)}
		if len(previous) > 0 && rapid.Bool().Draw(h.rt, "it replaces one") {
			p.Previous = previous[0]
		}
		plan.Nodes = []event.ID{rapid.SampledFrom(historyNodes).Draw(h.rt, "node")}
		plan.Groups = []event.PlannedGroup{{Name: "g", Placements: []event.Placement{p}}}
	}
	return []event.Event{plan}
}

func (h *history) report(name string) []event.Event {
	allocs := h.live(name)
	if len(allocs) == 0 {
		return nil
	}
	a := rapid.SampledFrom(allocs).Draw(h.rt, "allocation")
	h.sequence[a.NodeID]++
	delta := event.AllocDelta{ID: a.ID, Client: rapid.SampledFrom([]event.ClientStatus{0, event.ClientRunning, event.ClientComplete}).Draw(h.rt, "status")}
	if delta.Client == 0 {
		delta.Tasks = map[string]*event.TaskState{"t": {State: event.TaskRunning}}
	}
	return []event.Event{&event.AllocationsReported{
		NodeID: a.NodeID, Incarnation: h.c.state.Node(a.NodeID).Incarnation, Sequence: h.sequence[a.NodeID], Deltas: []event.AllocDelta{delta},
	}}
}

// touches notes all that commits touch.
type touches struct {
	matters map[matter]bool
	orders  map[event.ID][]touchedOrder // by node
	at      uint64                      // the commit that touches
	unsure  bool
}

func (t *touches) wants(sort) bool { return true }
func (t *touches) touch(m matter)  { t.matters[m] = true }
func (t *touches) touchOrder(node, allocation event.ID) {
	t.touch(matter{sort: ordersOfNode, id: node})
	if !allocation.IsZero() {
		t.orders[node] = append(t.orders[node], touchedOrder{allocation, t.at})
	}
}

// touchedBetween is what the bell would ring for up to an index. With late the
// bell comes so late that the commits have lost the states of their own.
func (c *cluster) touchedBetween(before *projections.State, upTo uint64, late bool) *touches {
	t := &touches{matters: make(map[matter]bool), orders: make(map[event.ID][]touchedOrder)}
	commits, _ := c.store.CommitsAfter(before.Index())
	commits = slices.DeleteFunc(commits, func(commit projections.Commit) bool { return commit.Last() > upTo })
	for _, commit := range commits {
		after := commit.State
		t.at = commit.Last()
		if late {
			after = c.state
		}
		for table := range projections.Table(tableSorts) {
			if after.TableIndex(table) > before.Index() {
				t.touch(matter{sort: sort(table)})
			}
		}
		for _, r := range commit.Records {
			if !(&touching{before: before, after: after, bell: t}).record(r) {
				t.unsure = true
			}
		}
	}
	return t
}

// questions asks everything that can be asked about what is in the states.
func questions(s *projections.State) map[string]*ask {
	all := make(map[string]*ask)
	add := func(views string, id string) {
		k := &ask{id: id}
		k.Namespace = "default"
		all[views+" "+id] = k
	}
	add("", "")
	for _, name := range append(historyJobs, "missing") {
		add("job", name)
	}
	for _, n := range historyNodes {
		add("node", n.String())
	}
	for e := range s.Evaluations() {
		add("evaluation", e.ID.String())
	}
	for a := range s.Allocations() {
		add("allocation", a.ID.String())
	}
	for _, kind := range []string{"node", "evaluation", "allocation"} {
		add(kind, id(0x1005).String()) // it comes later, or never
	}
	return all
}

var viewsOf = map[string]map[string]view{
	"": {"jobs": jobsView, "allocations": allocationsView, "evaluations": evaluationsView, "count": evaluationsCountView, "nodes": nodesView, "scaling policies": scalingPoliciesView, "scheduler": schedulerConfigView, "node pools": nodePoolsView, "namespaces": namespacesView},
	"job": {
		"job": jobView, "summary": jobSummaryView, "versions": jobVersionsView, "submission": jobSubmissionView, "scale": jobScaleView,
		"allocations of job": jobAllocationsView, "evaluations of job": jobEvaluationsView,
	},
	"node":       {"node": nodeView, "allocations on node": nodeAllocationsView},
	"evaluation": {"evaluation": evaluationView, "allocations of evaluation": evaluationAllocationsView},
	"allocation": {"allocation": allocationView},
}

// A waiter that is woken only for what it waits for misses nothing that one sees
// who looks after every commit.
func TestNobodyMissesAChange(t *testing.T) {
	kinds := make(map[event.Kind]bool)
	missing := func() (list []event.Kind) {
		for _, kind := range event.Kinds() {
			if !kinds[kind] && kind != event.KindClusterCreated && kind != event.KindCommitterStarted {
				list = append(list, kind)
			}
		}
		return list
	}
	check := func(rt *rapid.T) {
		h := newHistory(t, rt)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			before, known := h.c.state, len(h.c.records)
			h.step()
			for _, r := range h.c.records[known:] {
				kinds[r.Kind] = true
			}
			touched := h.c.touchedBetween(before, h.c.state.Index(), rapid.Bool().Draw(rt, "late"))
			if touched.unsure {
				rt.Fatalf("a record of %v wakes everybody", h.c.records[known:])
			}
			for name, k := range questions(before) {
				var sort string
				fmt.Sscan(name, &sort)
				if k.id == "" {
					sort = ""
				}
				for title, v := range viewsOf[sort] {
					k.state = before
					index, awaited := v.index(k), v.matter(k)
					k.state = h.c.state
					if v.index(k) > index && !touched.matters[awaited] {
						rt.Fatalf("%s of %q went from %d to %d and %+v was not rung for", title, name, index, v.index(k), awaited)
					}
				}
			}
			for n := range h.c.state.Nodes() {
				old := before.Node(n.Info.ID)
				if (n.OrdersIndex != old.OrdersIndex || n.Incarnation != old.Incarnation) && !touched.matters[matter{sort: ordersOfNode, id: n.Info.ID}] {
					rt.Fatalf("the orders of node %v changed and nothing rang", n.Info.Name)
				}
			}
		}
	}
	// Some kinds take several steps to come about, so that a round may have none of them; twenty rounds have.
	rapid.Check(t, check)
	for range 19 {
		if len(missing()) > 0 && !t.Failed() {
			rapid.Check(t, check)
		}
	}
	for _, kind := range missing() {
		t.Errorf("the random histories of this test have no %v: add a step", kind)
	}
}

// With the real goroutines: every change reaches who waits for it, a change of
// something else does not, and a bell that lost track rings for everybody.
func TestTheBell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town(t)
		b := &bell{store: c.store}
		job, quiet := matter{sort: oneJob, job: event.JobKey{Namespace: "default", ID: "web"}}, matter{sort: oneNode, id: nodeB}
		rung := func(w *waiter) bool {
			synctest.Wait()
			select {
			case <-w.rung:
				return true
			default:
				return false
			}
		}
		one, silenceOne := b.listen(job, matter{sort: allocationsOnNode, id: nodeA})
		other, silenceOther := b.listen(quiet)
		orders, silenceOrders := b.listen(matter{sort: ordersOfNode, id: nodeA})
		c.running(webAlloc(1), 2)
		if !rung(one) || rung(other) || rung(orders) {
			t.Error("a report wakes who waits for its job, and nobody else")
		}
		c.commit(&event.NodeChanged{NodeID: nodeB, AttributesSet: map[string]string{"a": "b"}})
		if rung(one) || !rung(other) || rung(orders) {
			t.Error("a node wakes who waits for it, and nobody else")
		}
		// The store has forgotten what the bell has not read yet.
		c.commit(&event.SchedulerConfigured{Algorithm: "binpack"})
		commits, _ := c.store.CommitsAfter(c.state.Index() - 1)
		b.ring(c.state.Index()-2, c.state, commits[0])
		if !rung(one) || !rung(other) || !rung(orders) {
			t.Error("a bell that lost track is silent")
		}
		if touched, lost := orders.takeOrders(); !lost || len(touched) > 0 {
			t.Error("a bell that lost track names the orders that changed")
		}
		silenceOne()
		silenceOther()
		silenceOrders()
		// It begins anew with the next one.
		again, silence := b.listen(job)
		c.running(webAlloc(1), 3)
		if !rung(again) {
			t.Error("a bell that rested is silent")
		}
		silence()
		if len(b.waiting) != 0 || slices.Max(b.counts[:]) != 0 {
			t.Errorf("nobody waits any more: %v %v", slices.Collect(maps.Keys(b.waiting)), b.counts)
		}
	})
}

// Who asks while a question is under way shares the next one, not that one.
func TestSharedBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answers := make(chan error)
		s := &sharedBarrier{ask: func(ctx context.Context) error {
			asked.Add(1)
			select {
			case err := <-answers:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		var passed atomic.Int32
		pass := func(ctx context.Context, n int) {
			for range n {
				go func() {
					if s.pass(ctx) == nil {
						passed.Add(1)
					}
				}()
			}
			synctest.Wait()
		}
		expect := func(what string, wantAsked, wantPassed int32) {
			t.Helper()
			synctest.Wait()
			if asked.Load() != wantAsked || passed.Load() != wantPassed {
				t.Errorf("%s: asked %d times, %d passed; want %d and %d", what, asked.Load(), passed.Load(), wantAsked, wantPassed)
			}
		}
		pass(t.Context(), 1)
		pass(t.Context(), 100)
		expect("one under way, many wait for the next", 1, 0)
		answers <- nil
		expect("the next has begun", 2, 1)
		answers <- nil
		expect("they share it", 2, 101)

		// Who gives up leaves the others alone; the last one ends the asking.
		hasty, giveUp := context.WithCancel(t.Context())
		pass(hasty, 1)
		pass(hasty, 2)
		giveUp()
		synctest.Wait()
		before := asked.Load()
		pass(t.Context(), 1)
		expect("a later one asks for itself", before+1, 101)
		answers <- nil
		expect("and passes", before+1, 102)

		failure := fmt.Errorf("no leader")
		done := make(chan error, 1)
		go func() { done <- s.pass(t.Context()) }()
		synctest.Wait()
		answers <- failure
		if err := <-done; err != failure {
			t.Errorf("the error of the asking became %v", err)
		}
	})
}

// Clients that each wait for a job of their own, while another job's allocation
// is reported: what a publication costs with them and without.
func BenchmarkPublishWith1000Waiters(b *testing.B) {
	for _, waiters := range []int{0, 1000} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) { benchmarkPublish(b, waiters) })
	}
}

func benchmarkPublish(b *testing.B, waiters int) {
	c := town(b)
	for i := range waiters {
		c.submit(batchJob(fmt.Sprintf("job-%d", i)), 0, id(0x2000+i))
	}
	h, a := rest.NewRouter(), c.api()
	a.Register(h)
	ctx, cancel := context.WithCancel(b.Context())
	var clients sync.WaitGroup
	for i := range waiters {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("/v1/job/job-%d?index=%d", i, c.state.Index()), nil)
		clients.Go(func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	for waiting := 0; waiting < waiters; runtime.Gosched() {
		a.bell.mu.Lock()
		waiting = a.bell.counts[oneJob]
		a.bell.mu.Unlock()
	}
	sequence := uint64(1)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		sequence++
		c.running(webAlloc(1), sequence)
	}
	b.StopTimer()
	cancel()
	clients.Wait()
}
