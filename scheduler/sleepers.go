package scheduler

import (
	"cmp"
	"container/heap"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// sleepers says which blocked evaluations are to be woken. It has no clock and
// does nothing by itself; everything in it follows from the state, and it is kept
// up to date from the records so that a change costs what changed.
//
// Its meaning: room has come to a node at index Node.RoomIndex. An evaluation
// whose last decision is older has not seen that room. In order of priority, then
// first come, whoever has not seen a node's room, can run there and fits into what
// those before it leave is woken and counted as taking it: as many allocations as
// it wants and as fit. When nobody is left who fits, that is all. Who was woken
// and has not been decided again still holds what it was counted for.
//
// So a wake-up costs at most the evaluations that the new room can serve. When one
// of them does not use it after all, because of something that is not looked at
// here, it sleeps again with a snapshot that has seen the node, its claim falls,
// and the node is looked at for the next in order. The comparison is with the
// snapshot of the decision, not with the time of falling asleep: room that comes
// while the decision is on its way is not missed, however it goes to sleep.
type sleepers struct {
	state     *projections.State
	byID      map[event.ID]*sleeper
	contended map[event.ID]bool // blocked because their plans were refused too often: no room wakes them

	byKey   map[event.Hash]*demand
	demands []*demand // those of many; in no order
	singles []*demand // those that replace; in no order
	// smallest is not larger, in any dimension, than what any demand of many
	// asks for. It only grows when it is renewed.
	smallest  projections.Resources
	left      int // demands that went since it was renewed
	elsewhere int // sleepers whose demand is such

	nodes   map[event.ID]*stock
	came    []roomCame // by index; an entry counts while it is its node's newest
	classes map[string]int
	dirty   []event.ID // nodes to be looked at
	calls   []*sleeper // to be woken
}

// sleeper is an evaluation that waits for room, or was woken and is not decided yet.
type sleeper struct {
	id       event.ID
	job      event.JobKey
	priority int
	created  uint64
	modified uint64 // the evaluation's ModifyIndex when it was looked at
	seen     uint64 // index of the state that it was last decided on; 0 when awake, since it will be decided anew
	demand   *demand
	wants    []int      // by group of the demand: allocations that no room was found for
	claims   []event.ID // nodes on which it is counted
	inLine   bool
	called   bool // it is to be woken, or has been
	awake    bool // it has been, and is not decided yet
}

// stock is what is known of a node beyond its row.
type stock struct {
	room   uint64 // its RoomIndex
	claims []claim
	dirty  bool
}

// claim is room that one who was called is counted for.
type claim struct {
	by    *sleeper
	group *groupDemand
	count int
}

type roomCame struct {
	index uint64
	node  event.ID
}

// newSleepers derives everything from a state.
func newSleepers(s *projections.State) *sleepers {
	q := &sleepers{
		state: s, byID: make(map[event.ID]*sleeper), contended: make(map[event.ID]bool), byKey: make(map[event.Hash]*demand),
		nodes: make(map[event.ID]*stock, s.NodeCount()), classes: make(map[string]int),
	}
	var nodes []event.ID
	for n := range s.Nodes() {
		nodes = append(nodes, n.Info.ID)
	}
	q.roomOn(nodes)
	for eval := range s.BlockedEvaluations() {
		q.renew(eval.ID, false)
	}
	for eval := range s.PendingEvaluations() {
		q.renew(eval.ID, false)
	}
	return q
}

// Wakeable lists the blocked evaluations that are to be woken on a state at rest,
// the most urgent first.
func Wakeable(s *projections.State) []event.ID { return newSleepers(s).due() }

// follow takes in the commits after the state that it has. It reports false when
// they do not follow on it without a gap, and is of no use any more then.
func (q *sleepers) follow(commits []projections.Commit) bool {
	if len(commits) == 0 {
		return true
	}
	index := q.state.Index()
	touched := touched{state: commits[len(commits)-1].State, endings: q.elsewhere > 0}
	for _, c := range commits {
		for _, r := range c.Records {
			if r.Index <= index {
				continue
			}
			if r.Index != index+1 {
				return false
			}
			index = r.Index
			touched.note(r.Event)
		}
		if c.State.Index() != index {
			return false
		}
	}
	q.state = touched.state
	q.roomOn(touched.nodes)
	for _, id := range touched.evals {
		q.renew(id, false)
	}
	for _, key := range touched.jobs {
		if eval := q.state.BlockedEvaluation(key); eval != nil {
			q.renew(eval.ID, true)
		}
	}
	for _, key := range touched.ended {
		if eval := q.state.BlockedEvaluation(key); eval != nil {
			q.opened(q.byID[eval.ID])
		}
	}
	return true
}

// touched is what records may have changed. More than that does no harm.
type touched struct {
	state *projections.State
	nodes []event.ID
	evals []event.ID
	jobs  []event.JobKey // with another spec
	ended []event.JobKey // with an allocation that ended, if endings are asked for

	endings bool
}

func (t *touched) note(e event.Event) {
	switch e := e.(type) {
	case *event.EvaluationCreated:
		t.evals = append(t.evals, e.Evaluation.ID)
	case *event.EvaluationUnblocked:
		t.evals = append(t.evals, e.EvalID)
	case *event.EvaluationEnded:
		t.evals = append(t.evals, e.EvalID)
	case *event.PlanCommitted:
		t.evals = append(t.evals, e.EvalID)
		for _, stop := range e.Stops {
			if a := t.state.Allocation(stop.ID); a != nil && !a.HoldsRoom() {
				t.nodes = append(t.nodes, a.NodeID)
			}
		}
	case *event.AllocationsReported:
		for i := range e.Deltas {
			if !e.Deltas[i].Client.Terminal() {
				continue
			}
			t.nodes = append(t.nodes, e.NodeID)
			if a := t.state.Allocation(e.Deltas[i].ID); t.endings && a != nil {
				t.ended = append(t.ended, a.Job)
			}
		}
	case *event.NodeRegistered:
		t.nodes = append(t.nodes, e.NodeID)
	case *event.NodeChanged:
		t.nodes = append(t.nodes, e.NodeID)
	case *event.NodeStatusChanged:
		t.nodes = append(t.nodes, e.NodeID)
	case *event.NodeEligibilitySet:
		t.nodes = append(t.nodes, e.NodeID)
	case *event.Collected:
		t.nodes = append(t.nodes, e.Nodes...)
	case *event.JobSubmitted:
		t.jobs = append(t.jobs, event.JobKey{Namespace: e.Namespace, ID: e.JobID})
	case *event.JobStopped:
		t.jobs = append(t.jobs, event.JobKey{Namespace: e.Namespace, ID: e.JobID})
	}
}

// roomOn notes where room came.
func (q *sleepers) roomOn(nodes []event.ID) {
	before := len(q.came)
	for _, id := range nodes {
		n := q.state.Node(id)
		if n == nil {
			delete(q.nodes, id)
			continue
		}
		st := q.nodes[id]
		if st == nil {
			st = new(stock)
			q.nodes[id] = st
		}
		if st.room == n.RoomIndex {
			continue
		}
		st.room = n.RoomIndex
		q.came = append(q.came, roomCame{n.RoomIndex, id})
		q.mark(id)
	}
	slices.SortStableFunc(q.came[before:], func(a, b roomCame) int { return cmp.Compare(a.index, b.index) })
	if len(q.came) > 2*len(q.nodes)+cameSlack {
		q.came = slices.DeleteFunc(q.came, func(c roomCame) bool { return q.news(c) == nil })
	}
}

// news is what is known of the node, if the note is its newest; nil otherwise.
func (q *sleepers) news(c roomCame) *stock {
	if st := q.nodes[c.node]; st != nil && st.room == c.index {
		return st
	}
	return nil
}

// mark has a node looked at again.
func (q *sleepers) mark(id event.ID) {
	if st := q.nodes[id]; !st.dirty {
		st.dirty = true
		q.dirty = append(q.dirty, id)
	}
}

// renew brings what is known of one evaluation up to date; anew says that its job
// has changed.
func (q *sleepers) renew(id event.ID, anew bool) {
	eval, known := q.state.Evaluation(id), q.byID[id]
	delete(q.contended, id)
	waits := eval != nil && (eval.Status == event.EvalBlocked || eval.Status == event.EvalPending && eval.TriggeredBy == event.TriggerQueuedAllocs)
	switch {
	case waits && eval.TriggeredBy == event.TriggerMaxPlanAttempts:
		q.contended[id] = true
		waits = false
	case waits && known != nil && !anew && eval.Status == event.EvalPending:
		// Woken: it keeps what it is counted for until it is decided.
		known.modified = eval.ModifyIndex
		q.wake(known)
		return
	case waits && known != nil && !anew && known.modified == eval.ModifyIndex:
		return
	}
	if known != nil {
		q.drop(known)
	}
	if waits {
		q.add(eval)
	}
}

// wake notes that one was woken. Its next decision sees every node, so whatever
// it still wants it looks for on each.
func (q *sleepers) wake(e *sleeper) {
	if e.inLine {
		e.demand.line.remove(e)
	}
	e.seen, e.called, e.awake = 0, true, true
	if e.inLine {
		e.demand.line.add(e)
	}
}

// add lets an evaluation wait. One whose job is gone waits for nothing.
func (q *sleepers) add(eval *event.Evaluation) {
	job := q.state.Job(eval.Job())
	if job == nil || job.Stopped {
		return
	}
	failed, wanted := failedGroups(job.Spec.Job, eval)
	if len(failed) == 0 {
		return
	}
	e := &sleeper{
		id: eval.ID, job: job.Key, priority: eval.Priority, created: eval.CreateIndex, modified: eval.ModifyIndex,
		seen: eval.SnapshotIndex, wants: wanted, inLine: true,
	}
	if eval.Status == event.EvalPending {
		e.seen, e.called, e.awake = 0, true, true
	}
	var own event.ID
	if isReplacing(q.state, job) {
		own = eval.ID
	}
	e.demand = q.share(newDemand(job.Spec, failed, own))
	e.demand.refs++
	if e.demand.elsewhere {
		q.elsewhere++
	}
	e.demand.line.add(e)
	q.byID[e.id] = e
	q.opened(e)
	// Room that it has not seen came before it fell asleep.
	for i := len(q.came) - 1; i >= 0 && q.came[i].index > e.seen; i-- {
		if st := q.news(q.came[i]); st != nil && !st.dirty && q.couldServe(q.came[i].node, e.demand) {
			q.mark(q.came[i].node)
		}
	}
}

// couldServe is a quick look that errs on the side of yes.
func (q *sleepers) couldServe(id event.ID, d *demand) bool {
	n := q.state.Node(id)
	if n == nil || !n.Schedulable() {
		return false
	}
	free := projections.RoomOn(n).Free
	return d.replaces || slices.ContainsFunc(d.groups, func(g groupDemand) bool { return within(g.ask.Resources, free) })
}

// opened calls one for whom something else than room may have changed since it
// fell asleep: an allocation of its own job has ended, and its rules look at them.
func (q *sleepers) opened(e *sleeper) {
	if e == nil || !e.demand.elsewhere || e.called {
		return
	}
	if job := q.state.Job(e.job); job != nil && job.ChangeIndex > e.modified {
		q.call(e)
	}
}

// share is the demand of that likeness that is there already, or this one.
func (q *sleepers) share(d *demand) *demand {
	if known := q.byKey[d.key]; known != nil {
		return known
	}
	q.byKey[d.key] = d
	list := q.listOf(d)
	d.at = len(*list)
	*list = append(*list, d)
	if !d.replaces {
		for i := range d.groups {
			if ask := d.groups[i].ask.Resources; len(*list) == 1 && i == 0 {
				q.smallest = ask
			} else {
				q.smallest = smaller(q.smallest, ask)
			}
		}
	}
	return d
}

func (q *sleepers) listOf(d *demand) *[]*demand {
	if d.replaces {
		return &q.singles
	}
	return &q.demands
}

// forget drops a demand that nobody has any more.
func (q *sleepers) forget(d *demand) {
	delete(q.byKey, d.key)
	list := q.listOf(d)
	last := (*list)[len(*list)-1]
	(*list)[d.at], last.at = last, d.at
	(*list)[len(*list)-1] = nil
	*list = (*list)[:len(*list)-1]
	if q.left++; !d.replaces && q.left > len(q.demands)/2 && len(q.demands) > 0 {
		q.left, q.smallest = 0, q.demands[0].groups[0].ask.Resources
		for _, d := range q.demands {
			for i := range d.groups {
				q.smallest = smaller(q.smallest, d.groups[i].ask.Resources)
			}
		}
	}
}

func smaller(a, b projections.Resources) projections.Resources {
	return projections.Resources{CPU: min(a.CPU, b.CPU), MemoryMB: min(a.MemoryMB, b.MemoryMB), DiskMB: min(a.DiskMB, b.DiskMB), Allocs: min(a.Allocs, b.Allocs)}
}

// drop ends what is known of one who waited. What it was counted for is free for
// the next.
func (q *sleepers) drop(e *sleeper) {
	for _, id := range e.claims {
		if st := q.nodes[id]; st != nil {
			st.claims = slices.DeleteFunc(st.claims, func(c claim) bool { return c.by == e })
			q.mark(id)
		}
	}
	if e.inLine {
		e.demand.line.remove(e)
	}
	delete(q.byID, e.id)
	if e.demand.elsewhere {
		q.elsewhere--
	}
	if e.demand.refs--; e.demand.refs == 0 {
		q.forget(e.demand)
	}
	e.demand, e.called = nil, false
}

func (q *sleepers) call(e *sleeper) {
	if !e.called {
		e.called = true
		q.calls = append(q.calls, e)
	}
}

// due looks at the nodes that changed and lists who is to be woken, the most
// urgent first. They are listed until sent says that they were told.
func (q *sleepers) due() []event.ID {
	for _, id := range q.dirty {
		st := q.nodes[id]
		if st == nil {
			continue // the node is gone, and what was claimed there with it
		}
		st.dirty = false
		if n := q.state.Node(id); n != nil && n.Schedulable() {
			q.look(n, st)
		}
	}
	q.dirty = q.dirty[:0]
	q.calls = slices.DeleteFunc(q.calls, func(e *sleeper) bool { return !e.called || e.awake })
	slices.SortFunc(q.calls, byTurn)
	ids := make([]event.ID, len(q.calls))
	for i, e := range q.calls {
		ids[i] = e.id
	}
	return ids
}

// sent notes that the first n that were due have been told.
func (q *sleepers) sent(n int) { q.calls = slices.Delete(q.calls, 0, n) }

// blocked is how many evaluations sleep or have been woken and not decided.
func (q *sleepers) blocked() int { return len(q.byID) + len(q.contended) }

// look gives the room of one node to those who have not seen it, in turn.
func (q *sleepers) look(n *projections.Node, st *stock) {
	room := projections.RoomOn(n)
	for _, c := range st.claims {
		c.group.take(&room, c.count)
	}
	class := q.classOf(n.Info)
	var front turns
	if within(q.smallest, room.Free) {
		for _, d := range q.demands {
			if d.line.empty() {
				continue
			}
			if groups := d.usable(n.Info, class, &room); groups != nil {
				if e := d.line.first(nil, n.RoomIndex); e != nil {
					front = append(front, turn{e, groups})
				}
			}
		}
	}
	for _, d := range q.singles {
		if e := d.line.first(nil, n.RoomIndex); e != nil && q.servesReplacing(e, n, class, room) {
			front = append(front, turn{e, nil})
		}
	}
	heap.Init(&front)
	for len(front) > 0 {
		t := &front[0]
		e, d := t.sleeper, t.sleeper.demand
		if d.replaces {
			// What it will take is not known: it may be the room of its
			// predecessor. Whoever comes next is not held up.
			q.call(e)
			q.leave(e)
			heap.Pop(&front)
			continue
		}
		served, fits := q.serve(e, t.groups, n.Info.ID, &room, st)
		if served {
			q.call(e)
			if !slices.ContainsFunc(e.wants, func(n int) bool { return n > 0 }) {
				q.leave(e)
			}
		}
		if next := d.line.first(e, n.RoomIndex); fits && next != nil {
			t.sleeper = next
			heap.Fix(&front, 0)
		} else {
			heap.Pop(&front)
		}
	}
}

// leave takes one out of the line for whom room was found.
func (q *sleepers) leave(e *sleeper) {
	e.demand.line.remove(e)
	e.inLine = false
}

// serve counts one for as much of the room as it wants; fits reports whether any
// of the groups fitted, for this one or another of the same demand.
func (q *sleepers) serve(e *sleeper, groups []int, node event.ID, room *projections.Room, st *stock) (served, fits bool) {
	for _, i := range groups {
		g := &e.demand.groups[i]
		if g.fitting(room, 1) == 0 {
			continue
		}
		fits = true
		if e.wants[i] == 0 || g.crowded(q.state, e.job, node) {
			continue
		}
		if g.alone && slices.ContainsFunc(st.claims, func(c claim) bool { return c.by == e }) {
			continue
		}
		count := g.fitting(room, e.wants[i])
		g.take(room, count)
		e.wants[i] -= count
		st.claims = append(st.claims, claim{e, g, count})
		e.claims = append(e.claims, node)
		served = true
	}
	return served, fits
}

// servesReplacing reports whether the node can serve one whose placements get the
// room of their predecessors: all that its job has there is counted as given up.
func (q *sleepers) servesReplacing(e *sleeper, n *projections.Node, class int, room projections.Room) bool {
	for a := range q.state.AllocationsOn(n.Info.ID) {
		if a.Job == e.job && a.HoldsRoom() {
			room.Release(a)
		}
	}
	return e.demand.usable(n.Info, class, &room) != nil
}

// classOf numbers computed classes; -1 is none.
func (q *sleepers) classOf(n *event.Node) int {
	if n.ComputedClass == "" {
		return -1
	}
	number, known := q.classes[n.ComputedClass]
	if !known {
		number = len(q.classes)
		q.classes[n.ComputedClass] = number
	}
	return number
}

// turns is a heap of the first in line of each demand.
type turns []turn

type turn struct {
	*sleeper
	groups []int // of its demand, that can run on the node
}

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return byTurn(t[i].sleeper, t[j].sleeper) < 0 }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(turn)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}
