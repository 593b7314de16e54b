package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// A bell wakes those who wait for a change, and only those whose matter a commit
// may have touched. Its simple meaning is "wake everybody at every commit, they
// will look for themselves": with thousands of waiters and thousands of commits
// a second that would be most of the server's work. So one goroutine reads the
// records of each commit, while anybody waits, and rings for what they touch.
type bell struct {
	store *projections.Store

	mu      sync.Mutex
	waiting map[matter]map[*waiter]struct{}
	counts  [sortCount]int // waiters by the sort of their matters
	stop    context.CancelFunc
	at      uint64 // the commit that is being rung for
	paced   bool   // readers are rung a few at a time, by way of later
	later   []*waiter
}

// matter is something that can be waited for.
type matter struct {
	sort sort
	id   event.ID     // of a node, an allocation or an evaluation
	job  event.JobKey // of what belongs to a job
}

// sort is a sort of matter.
type sort uint8

const (
	// The tables, in the order of projections.Table.
	jobsTable sort = iota
	evaluationsTable
	allocationsTable
	nodesTable
	scalingPoliciesTable
	nodePoolsTable
	namespacesTable
	tableSorts

	// Single objects.
	oneJob sort = iota - 1 // its row and its summary
	oneEvaluation
	oneAllocation
	oneNode

	schedulerConfig

	// What belongs to one object.
	allocationsOfJob
	evaluationsOfJob
	allocationsOnNode
	ordersOfNode // and the node agent's right to them

	// What the event stream tells of, by topic.
	jobEvents
	evaluationEvents
	allocationEvents
	nodeEvents
	nodePoolEvents

	never // nothing touches it

	sortCount
)

// waiter waits for one or more matters.
type waiter struct {
	rung  chan struct{} // holds a signal when one of them may have changed
	later bool          // it stands in the bell's list of who is rung later

	mu     sync.Mutex
	orders []touchedOrder // of a waiter for a node's orders
	lost   bool           // orders does not list all of them
}

// touchedOrder is an allocation whose order a commit touched.
type touchedOrder struct {
	allocation event.ID
	at         uint64 // index of the commit's last record
}

func (w *waiter) ring() {
	select {
	case w.rung <- struct{}{}:
	default: // it is ringing already
	}
}

// order notes an allocation whose order was touched.
func (w *waiter) order(o touchedOrder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.orders) >= ordersNotedMax {
		w.orders, w.lost = nil, true
	}
	if !w.lost {
		w.orders = append(w.orders, o)
	}
}

func (w *waiter) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orders, w.lost = nil, true
}

// takeOrders hands out what was noted since the last time.
func (w *waiter) takeOrders() (touched []touchedOrder, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	touched, lost = w.orders, w.lost
	w.orders, w.lost = nil, false
	return touched, lost
}

// listen makes a waiter that is rung for changes of these matters in states that
// are newer than any snapshot taken before the call.
func (b *bell) listen(matters ...matter) (w *waiter, silence func()) {
	w = &waiter{rung: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		b.waiting, b.stop = make(map[matter]map[*waiter]struct{}), cancel
		go b.run(ctx, b.store.Snapshot())
	}
	for _, m := range matters {
		set := b.waiting[m]
		if set == nil {
			set = make(map[*waiter]struct{})
			b.waiting[m] = set
		}
		set[w] = struct{}{}
		b.counts[m.sort]++
	}
	return w, func() { b.silence(w, matters) }
}

func (b *bell) silence(w *waiter, matters []matter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range matters {
		set := b.waiting[m]
		delete(set, w)
		if len(set) == 0 {
			delete(b.waiting, m)
		}
		b.counts[m.sort]--
	}
	if len(b.waiting) == 0 {
		b.stop()
	}
}

// run rings for what comes after a state: for node agents at once, for readers a
// few at a time. A thousand who wait for the same change and are woken together
// would all stand before whatever else the server has to do, orders above all.
func (b *bell) run(ctx context.Context, before *projections.State) {
	seen := before.Index()
	pause := time.NewTimer(0)
	defer pause.Stop()
	b.mu.Lock()
	b.paced = true
	b.mu.Unlock()
	for {
		commits, changed := b.store.CommitsAfter(seen)
		for _, c := range commits {
			if ctx.Err() != nil {
				return
			}
			b.ring(seen, before, c)
			seen = c.Last()
			if c.State.Index() == seen {
				before = c.State
			}
		}
		var rest <-chan time.Time
		if b.ringSome() {
			pause.Reset(readersPause)
			rest = pause.C
		}
		select {
		case <-changed:
		case <-rest:
		case <-ctx.Done():
			return
		}
	}
}

// ringSome rings for the first few of the readers who are to be rung later, and
// reports whether there are more.
func (b *bell) ringSome() (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.later), readersTogether)
	for _, w := range b.later[:n] {
		w.later = false
		w.ring()
	}
	if b.later = b.later[n:]; len(b.later) == 0 {
		b.later = nil
	}
	return len(b.later) > 0
}

// ring wakes whom a commit concerns, or everybody when commits between it and the
// index seen are missing. before is a state from before the commit.
func (b *bell) ring(seen uint64, before *projections.State, c projections.Commit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = c.Last()
	if c.Records[0].Index != seen+1 {
		b.ringAll()
		return
	}
	for table := range projections.Table(tableSorts) {
		if b.wants(sort(table)) && c.State.TableIndex(table) > seen {
			b.touch(matter{sort: sort(table)})
		}
	}
	t := &touching{before: before, after: c.State, bell: b}
	for _, r := range c.Records {
		if !t.record(r) {
			b.ringAll()
			return
		}
	}
}

func (b *bell) ringAll() {
	for m, set := range b.waiting {
		for w := range set {
			if m.sort == ordersOfNode {
				w.lose()
			}
			w.ring()
		}
	}
}

// wants reports whether anybody waits for a matter of that sort.
func (b *bell) wants(s sort) bool { return b.counts[s] > 0 }

func (b *bell) touch(m matter) {
	for w := range b.waiting[m] {
		switch {
		case !b.paced:
			w.ring()
		case !w.later:
			w.later = true
			b.later = append(b.later, w)
		}
	}
}

// touchOrder is touch for the orders of a node: the zero allocation stands for
// its registration.
func (b *bell) touchOrder(node, allocation event.ID) {
	for w := range b.waiting[matter{sort: ordersOfNode, id: node}] {
		if !allocation.IsZero() {
			w.order(touchedOrder{allocation, b.at})
		}
		w.ring()
	}
}

// toucher is told what records touch.
type toucher interface {
	wants(sort) bool
	touch(matter)
	touchOrder(node, allocation event.ID)
}

// touching finds what the records of a commit touch. What a record only names is
// looked up in a state after the commit or, when it is not there any more, in one
// before it.
type touching struct {
	before, after *projections.State
	bell          toucher
}

// record tells the bell of all that one record touches. It returns false when it
// cannot tell, which may be anything.
func (t *touching) record(r *event.Record) (known bool) {
	switch e := r.Event.(type) {
	case *event.ClusterCreated, *event.CommitterStarted, *event.BlobStored, *event.CheckpointTaken:
	case *event.SchedulerConfigured:
		t.bell.touch(matter{sort: schedulerConfig})
	case *event.JobSubmitted:
		t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID})
		t.bell.touch(matter{sort: jobEvents})
	case *event.JobStopped:
		t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID})
		t.bell.touch(matter{sort: jobEvents})
	case *event.JobScaled:
		t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID})
	case *event.JobVersionTagged:
		t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID})
	case *event.JobVersionUntagged:
		t.job(event.JobKey{Namespace: e.Namespace, ID: e.JobID})
	case *event.EvaluationCreated:
		t.evaluation(&e.Evaluation)
	case *event.EvaluationUnblocked:
		return t.evaluationID(e.EvalID)
	case *event.EvaluationEnded:
		return t.evaluationID(e.EvalID)
	case *event.PlanCommitted:
		return t.plan(e)
	case *event.NodePoolSet, *event.NodePoolDeleted:
		t.bell.touch(matter{sort: nodePoolEvents})
	case *event.NamespaceSet, *event.NamespaceDeleted: // only lists of them are waited for
	case *event.NodeRegistered:
		t.bell.touch(matter{sort: nodePoolEvents}) // it may have made its pool
		t.node(e.NodeID)
		t.bell.touchOrder(e.NodeID, event.ID{})
	case *event.NodeChanged:
		t.bell.touch(matter{sort: nodePoolEvents}) // likewise
		t.node(e.NodeID)
	case *event.NodeStatusChanged:
		t.node(e.NodeID)
	case *event.NodeEligibilitySet:
		t.node(e.NodeID)
	case *event.AllocationsReported:
		for i := range e.Deltas {
			if !t.allocationID(e.Deltas[i].ID, false) {
				return false
			}
		}
	case *event.AllocationsMarked:
		for _, id := range e.IDs {
			if !t.allocationID(id, false) {
				return false
			}
		}
	case *event.Collected:
		return t.collected(e)
	default:
		return false
	}
	return true
}

func (t *touching) job(key event.JobKey) {
	t.bell.touch(matter{sort: oneJob, job: key})
}

func (t *touching) node(id event.ID) {
	t.bell.touch(matter{sort: oneNode, id: id})
	t.bell.touch(matter{sort: nodeEvents})
}

func (t *touching) evaluation(e *event.Evaluation) {
	t.bell.touch(matter{sort: oneEvaluation, id: e.ID})
	t.bell.touch(matter{sort: evaluationsOfJob, job: e.Job()})
	t.bell.touch(matter{sort: evaluationEvents})
	t.job(e.Job()) // its status follows from its evaluations too
}

func (t *touching) evaluationID(id event.ID) (known bool) {
	e := t.after.Evaluation(id)
	if e == nil {
		e = t.before.Evaluation(id)
	}
	if e != nil {
		t.evaluation(e)
	}
	return e != nil
}

// allocationID is an allocation that was there; ordered tells whether its order
// may have changed.
func (t *touching) allocationID(id event.ID, ordered bool) (known bool) {
	if !ordered && !t.wantsAllocations() {
		return true
	}
	a := t.after.Allocation(id)
	if a == nil {
		a = t.before.Allocation(id)
	}
	if a == nil {
		return false
	}
	if ordered {
		t.bell.touchOrder(a.NodeID, a.ID)
	}
	t.bell.touch(matter{sort: oneAllocation, id: id})
	t.bell.touch(matter{sort: allocationsOfJob, job: a.Job})
	t.bell.touch(matter{sort: allocationsOnNode, id: a.NodeID})
	t.bell.touch(matter{sort: allocationEvents})
	t.job(a.Job) // its summary and its status count allocations
	return true
}

// wantsAllocations reports whether anybody waits for what an allocation touches,
// orders apart: looking one up costs more than all else here.
func (t *touching) wantsAllocations() bool {
	for _, s := range []sort{oneAllocation, allocationsOfJob, allocationsOnNode, allocationEvents, oneJob} {
		if t.bell.wants(s) {
			return true
		}
	}
	return false
}

func (t *touching) plan(e *event.PlanCommitted) (known bool) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	for i := range e.Stops {
		if !t.allocationID(e.Stops[i].ID, true) {
			return false
		}
	}
	for _, id := range e.InPlace {
		if !t.allocationID(id, true) {
			return false
		}
	}
	placed := false
	orders, lists := t.bell.wants(ordersOfNode), t.bell.wants(allocationsOnNode)
	for g := range e.Groups {
		placements := e.Groups[g].Placements
		placed = placed || len(placements) > 0
		for i := range placements {
			p := &placements[i]
			if int(p.Node) >= len(e.Nodes) {
				return false
			}
			// Nobody can wait for the allocation itself, it was not there.
			if orders {
				t.bell.touchOrder(e.Nodes[p.Node], event.AllocationID(e.EvalID, e.Basis, p.Ordinal))
			}
			if lists {
				t.bell.touch(matter{sort: allocationsOnNode, id: e.Nodes[p.Node]})
			}
			if !p.Previous.IsZero() && !t.allocationID(p.Previous, false) {
				return false
			}
		}
	}
	if placed {
		t.bell.touch(matter{sort: allocationsOfJob, job: key})
		t.bell.touch(matter{sort: allocationEvents})
	}
	t.job(key)
	return t.evaluationID(e.EvalID)
}

// collected finds what left in the state before. What is not there in the way in
// which it left came after that state, so that nothing can be said of it.
func (t *touching) collected(e *event.Collected) (known bool) {
	for i := range e.Jobs {
		for _, id := range e.Jobs[i].IDs {
			key := event.JobKey{Namespace: e.Jobs[i].Namespace, ID: id}
			job := t.before.Job(key)
			if job == nil {
				return false
			}
			if _, over := t.before.IsOver(job); !over {
				return false
			}
			t.job(key)
			for eval := range t.before.EvaluationsOf(key) {
				t.evaluationLeft(eval)
			}
			for a := range t.before.AllocationsOf(key) {
				t.left(a)
			}
		}
	}
	for i := range e.Work {
		if !t.workCollected(&e.Work[i]) {
			return false
		}
	}
	for _, id := range e.Nodes {
		t.node(id)
		t.bell.touchOrder(id, event.ID{})
	}
	return true
}

func (t *touching) workCollected(w *event.CollectedWork) (known bool) {
	evals := make(map[event.ID]bool, len(w.Evaluations))
	if len(w.Evaluations) > 0 {
		for eval := range t.before.EvaluationsOf(w.Job()) {
			if _, named := slices.BinarySearch(w.Evaluations, eval.CreateIndex); named && eval.Status.Terminal() {
				evals[eval.ID] = true
				t.evaluationLeft(eval)
			}
		}
		if len(evals) < len(w.Evaluations) {
			return false
		}
		for a := range t.before.AllocationsOf(w.Job()) {
			if evals[a.EvalID] {
				t.left(a)
			}
		}
	}
	for _, id := range w.Allocations {
		a := t.before.Allocation(id)
		if a == nil {
			return false
		}
		t.left(a)
	}
	return true
}

// evaluationLeft is an evaluation that is not there any more, nor the list of what
// it made.
func (t *touching) evaluationLeft(e *event.Evaluation) {
	t.evaluation(e)
	t.bell.touch(matter{sort: allocationsOfJob, job: e.Job()})
}

// left is an allocation that is not there any more: its node may forget it.
func (t *touching) left(a *projections.Allocation) {
	t.bell.touchOrder(a.NodeID, a.ID)
	t.bell.touch(matter{sort: oneAllocation, id: a.ID})
	t.bell.touch(matter{sort: allocationsOfJob, job: a.Job})
	t.bell.touch(matter{sort: allocationsOnNode, id: a.NodeID})
	t.job(a.Job)
}
