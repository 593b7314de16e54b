package projections

import (
	"fmt"
	"maps"
	"slices"

	"drover/eventlog/event"
)

// Evolve is the fold: the state after one more record. It cannot refuse, since a
// committed record is true; a record that cannot follow on s (a gap, an unknown
// object, an impossible transition) is a bug or damage, and Evolve panics with
// its index and kind.
//
// Only the owner of s may call it; it leaves s as it was.
func Evolve(s *State, r *event.Record) *State {
	d := NewDraft(s)
	d.Apply(r)
	return d.Seal()
}

// Draft folds many records at the price of one copy. Its meaning is Evolve,
// record by record.
type Draft struct{ s *State }

// NewDraft begins a draft on top of s. Only the owner of s may call it.
func NewDraft(s *State) *Draft { return &Draft{s.clone()} }

// State is the state so far. It changes with the next Apply: look, do not keep.
func (d *Draft) State() *State { return d.s }

// Seal ends the draft and hands out its state.
func (d *Draft) Seal() *State {
	s := d.s
	d.s = nil
	s.owner, s.touched = nil, nil
	return s
}

// Apply folds one record.
func (d *Draft) Apply(r *event.Record) {
	s := d.s
	if r.Index != s.index+1 {
		panic(fmt.Sprintf("fold record %d (%v) onto the state at index %d", r.Index, r.Kind, s.index))
	}
	if r.Previous != s.hash {
		panic(fmt.Sprintf("fold record %d (%v): it follows hash %v, the state has %v", r.Index, r.Kind, r.Previous, s.hash))
	}
	if r.Time < s.time {
		panic(fmt.Sprintf("fold record %d (%v): its time is before that of the record it follows", r.Index, r.Kind))
	}
	s.index, s.hash, s.time = r.Index, r.Hash, r.Time
	defer nameBug(r)
	s.remember(r)
	s.apply(r)
	s.updateFleet()
}

// nameBug gives a panic that does not say so itself the record that it met.
func nameBug(r *event.Record) {
	if bug := recover(); bug != nil {
		if text, ok := bug.(string); ok {
			panic(text)
		}
		panic(fmt.Sprintf("fold record %d (%v): %v", r.Index, r.Kind, bug))
	}
}

func (s *State) apply(r *event.Record) {
	switch e := r.Event.(type) {
	case *event.ClusterCreated:
		s.cluster = Cluster{ID: e.ClusterID, Region: e.Region, Created: r.Time}
	case *event.CommitterStarted:
		s.epoch = e.Epoch
	case *event.SchedulerConfigured:
		if s.scheduler.CreateIndex == 0 {
			s.scheduler.CreateIndex = r.Index
		}
		s.scheduler.SchedulerConfigured, s.scheduler.ModifyIndex = *e, r.Index
	case *event.CheckpointTaken:
	case *event.BlobStored:
		s.blobStored(r, e)
	case *event.JobSubmitted:
		s.jobSubmitted(r, e)
	case *event.JobStopped:
		s.jobStopped(r, e)
	case *event.JobScaled:
		s.jobScaled(r, e)
	case *event.JobVersionTagged:
		s.jobVersionTagged(r, e)
	case *event.JobVersionUntagged:
		s.jobVersionUntagged(r, e)
	case *event.EvaluationCreated:
		s.evaluationCreated(r, e)
	case *event.EvaluationUnblocked:
		s.evaluationChanged(r, e.EvalID, func(eval *event.Evaluation) {
			if eval.Status != event.EvalBlocked {
				s.impossible(r, "evaluation %v is %v, not blocked", e.EvalID, eval.Status)
			}
			eval.Status, eval.StatusDescription = event.EvalPending, e.Reason
		})
	case *event.EvaluationEnded:
		s.evaluationChanged(r, e.EvalID, func(eval *event.Evaluation) {
			eval.Status, eval.StatusDescription = e.Status, e.Description
		})
	case *event.PlanCommitted:
		s.planCommitted(r, e)
	case *event.NodeRegistered:
		s.nodeRegistered(r, e)
	case *event.NodeChanged:
		s.nodeChanged(r, e)
	case *event.NodeStatusChanged:
		s.nodeStatusChanged(r, e)
	case *event.NodeEligibilitySet:
		s.nodeEligibilitySet(r, e)
	case *event.AllocationsReported:
		s.allocationsReported(r, e)
	case *event.AllocationsMarked:
		s.allocationsMarked(r, e)
	case *event.Collected:
		s.collected(r, e)
	case *event.NodePoolSet:
		s.nodePoolSet(r, e.Pool)
	case *event.NodePoolDeleted:
		s.nodePoolDeleted(r, e)
	case *event.NamespaceSet:
		s.namespaceSet(r, e)
	case *event.NamespaceDeleted:
		s.namespaceDeleted(r, e)
	default:
		panic(fmt.Sprintf("fold record %d: no meaning for %v", r.Index, r.Kind))
	}
}

func (s *State) impossible(r *event.Record, format string, args ...any) {
	panic(fmt.Sprintf("fold record %d (%v): %s", r.Index, r.Kind, fmt.Sprintf(format, args...)))
}

// remember keeps the IDs of commands that ask for it, and forgets old ones.
func (s *State) remember(r *event.Record) {
	if r.Remember && !r.CommandID.IsZero() {
		known, ok := s.commands.get(r.CommandID)
		if !ok {
			known = Remembered{ID: r.CommandID, First: r.Index, Time: r.Time}
			s.commandAge.put(agedCommand{r.Time, r.CommandID}, r.CommandID)
		}
		known.Last = r.Index
		s.commands.put(r.CommandID, known)
	}
	for {
		oldest, ok := s.commandAge.tree.Min()
		if !ok || oldest.key.time > r.Time-int64(rememberFor) {
			return
		}
		s.commandAge.remove(oldest.key)
		s.commands.remove(oldest.value)
	}
}

func (s *State) blobStored(r *event.Record, e *event.BlobStored) {
	b := &blob{Hash: e.Blob, Stored: r.Time}
	known, ok := s.blobs.get(e.Blob)
	if ok {
		b.Chunks = slices.Clone(known.Chunks)
	} else {
		b.Chunks = make([][]byte, e.Of)
	}
	if len(b.Chunks) != int(e.Of) || int(e.Chunk) >= len(b.Chunks) {
		s.impossible(r, "chunk %d of %d of a blob with %d", e.Chunk, e.Of, len(b.Chunks))
	}
	b.Chunks[e.Chunk] = e.Data
	if e.Data == nil {
		b.Chunks[e.Chunk] = []byte{}
	}
	s.blobs.put(e.Blob, b)
	s.noteBlob(known, b)
}

// specOf decodes a spec once; every later use shares it.
func (s *State) specOf(r *event.Record, hash event.Hash) *Spec {
	if spec, ok := s.specs.get(hash); ok {
		return spec
	}
	data, ok := s.Blob(hash)
	if !ok {
		s.impossible(r, "spec %v is not in the log before it", hash)
	}
	job := new(event.Job)
	if err := event.Unmarshal(data, job); err != nil {
		s.impossible(r, "spec %v: %v", hash, err)
	}
	spec := newSpec(hash, job)
	s.specs.put(hash, spec)
	return spec
}

func (s *State) jobSubmitted(r *event.Record, e *event.JobSubmitted) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	old := s.Job(key)
	if e.SameSpec {
		if old == nil {
			s.impossible(r, "job %v has no spec to keep", key)
		}
		j := s.ownJob(key)
		j.ModifyIndex = r.Index
		s.noteJob(j)
		s.indexes[TableJobs] = r.Index
		return
	}
	j := s.ownJob(key)
	var named []event.Hash
	if j == nil {
		j = s.newJob(key, r.Index)
	} else {
		named = j.blobs()
		j.nextVersion()
	}
	j.Spec = s.specOf(r, e.Spec)
	j.SpecHash, j.Source = e.Spec, e.Source
	j.Version, j.SubmitTime, j.Stopped = e.Version, e.SubmitTime, false
	j.ModifyIndex, j.JobModifyIndex, j.ChangeIndex = r.Index, r.Index, r.Index
	j.keepScaling()
	summary := j.summary(s.owner)
	for _, g := range j.Spec.Job.TaskGroups {
		if _, ok := summary[g.Name]; !ok {
			summary[g.Name] = GroupSummary{}
		}
	}
	j.SummaryIndex = r.Index
	s.noteVersions(key, named, j.blobs())
	s.noteJob(j)
	s.indexes[TableJobs] = r.Index
}

// newJob is the row of a job that is not there. It may have been there before it
// was purged: what is left of that life, allocations that still run and
// evaluations that are still open, counts for this one too.
func (s *State) newJob(key event.JobKey, index uint64) *Job {
	j := &Job{Key: key, CreateIndex: index, owner: s.owner}
	s.jobs.put(key, j)
	for a := range s.AllocationsOf(key) {
		if !a.Client.Terminal() {
			j.count(s.owner, a.Group, 0, a.Client, 1, index)
		}
		if a.Live() {
			j.LiveAllocs++
		}
	}
	for e := range s.EvaluationsOf(key) {
		j.Evaluated = true
		if !e.Status.Terminal() {
			j.OpenEvals++
		}
	}
	return j
}

// nextVersion makes the job's present version an older one.
func (j *Job) nextVersion() {
	j.Older = append([]JobVersion{j.asVersion()}, j.Older...)
	j.Tag = nil
	j.forgetOlder()
}

func (j *Job) asVersion() JobVersion {
	return JobVersion{
		Version: j.Version, SpecHash: j.SpecHash, Source: j.Source, SubmitTime: j.SubmitTime,
		Stopped: j.Stopped, JobModifyIndex: j.JobModifyIndex, Tag: j.Tag, Spec: j.Spec,
	}
}

func (s *State) jobStopped(r *event.Record, e *event.JobStopped) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	old := s.Job(key)
	if old == nil {
		s.impossible(r, "there is no job %v", key)
	}
	if e.Purge {
		s.removeJob(r, old)
		return
	}
	j := s.ownJob(key)
	named := j.blobs()
	j.nextVersion()
	j.Version, j.Stopped, j.SubmitTime = e.Version, true, e.SubmitTime
	j.ModifyIndex, j.JobModifyIndex, j.ChangeIndex = r.Index, r.Index, r.Index
	s.noteVersions(key, named, j.blobs())
	s.noteJob(j)
	s.indexes[TableJobs] = r.Index
}

// ownJob is the job's row, to be changed in place: the draft copies a row once,
// however many of its records change it. nil when there is no such job.
func (s *State) ownJob(key event.JobKey) *Job {
	j := s.Job(key)
	if j == nil || j.owner == s.owner {
		return j
	}
	c := *j
	c.owner = s.owner
	s.jobs.put(key, &c)
	return &c
}

// ownNode is likewise the node's row.
func (s *State) ownNode(id event.ID) *Node {
	n := s.Node(id)
	if n == nil || n.owner == s.owner {
		return n
	}
	c := *n
	c.owner, c.dirty = s.owner, false
	s.nodes.put(id, &c)
	s.touch(&c) // the fleet points to the row
	return &c
}

// withJob changes the row of a job, if the job is still there.
func (s *State) withJob(key event.JobKey, index uint64, change func(*Job)) {
	if j := s.ownJob(key); j != nil {
		before := j.Status()
		change(j)
		if j.Status() != before {
			j.ModifyIndex = index // who waits for the job to change waits for this too
			s.noteJob(j)
		}
		s.indexes[TableJobs] = index
	}
}

func (s *State) evaluationCreated(r *event.Record, e *event.EvaluationCreated) {
	if s.Evaluation(e.Evaluation.ID) != nil {
		s.impossible(r, "evaluation %v exists", e.Evaluation.ID)
	}
	eval := e.Evaluation
	if before := s.Evaluation(eval.PreviousEval); before != nil && before.BlockedEval == eval.ID {
		// It waits for what the plan before could not place.
		eval.FailedTGAllocs, eval.QueuedAllocations = before.FailedTGAllocs, before.QueuedAllocations
		eval.ClassEligibility, eval.EscapedComputedClass = before.ClassEligibility, before.EscapedComputedClass
	}
	eval.CreateIndex, eval.ModifyIndex = r.Index, r.Index
	eval.CreateTime, eval.ModifyTime = r.Time, r.Time
	s.putEvaluation(r, nil, &eval)
}

// evaluationChanged replaces an evaluation by a changed copy.
func (s *State) evaluationChanged(r *event.Record, id event.ID, change func(*event.Evaluation)) {
	old := s.Evaluation(id)
	if old == nil {
		s.impossible(r, "there is no evaluation %v", id)
	}
	if old.Status.Terminal() {
		s.impossible(r, "evaluation %v is already %v", id, old.Status)
	}
	eval := *old
	change(&eval)
	eval.ModifyIndex, eval.ModifyTime = r.Index, r.Time
	s.putEvaluation(r, old, &eval)
}

func (s *State) putEvaluation(r *event.Record, old, eval *event.Evaluation) {
	key, index := eval.Job(), r.Index
	if old != nil && old.Status == event.EvalPending && eval.Status != event.EvalPending {
		s.pending.remove(queueOrderOf(old))
	}
	if old != nil && old.Status == event.EvalBlocked && eval.Status != event.EvalBlocked {
		s.blocked.remove(key)
	}
	s.evaluations.put(eval.ID, eval)
	s.evaluationsOfJob.put(jobOrder{key, eval.CreateIndex, eval.ID}, eval)
	if old == nil {
		s.evaluationAge.put(aged{eval.CreateIndex, eval.ID}, eval.ID)
	}
	s.noteEvaluation(eval)
	switch eval.Status {
	case event.EvalPending:
		s.pending.put(queueOrderOf(eval), eval)
	case event.EvalBlocked:
		if other := s.BlockedEvaluation(key); other != nil && other.ID != eval.ID {
			s.impossible(r, "job %v has the blocked evaluation %v already", key, other.ID)
		}
		s.blocked.put(key, eval)
	}
	s.indexes[TableEvaluations] = index
	opened, closed := old == nil && !eval.Status.Terminal(), old != nil && eval.Status.Terminal()
	if old == nil || closed {
		s.withJob(key, index, func(j *Job) {
			j.Evaluated = true
			if opened {
				j.OpenEvals++
			} else if closed {
				j.OpenEvals--
			}
		})
	}
}

func queueOrderOf(e *event.Evaluation) queueOrder {
	return queueOrder{e.Priority, e.CreateIndex, e.ID}
}

func (s *State) planCommitted(r *event.Record, e *event.PlanCommitted) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	for _, stop := range e.Stops {
		s.allocationChanged(r, stop.ID, func(a *Allocation) {
			a.Desired = event.DesiredStop
			a.withRest(func(rest *allocRest) { rest.Description = stop.Description })
			a.HandedOver = a.HandedOver || stop.HandsOver
			if stop.Client != 0 {
				a.Client = stop.Client
			}
			a.AllocModifyIndex = r.Index
		})
	}
	var spec *Spec
	if j := s.Job(key); j != nil && j.Version == e.JobVersion {
		spec = j.Spec
	}
	if spec == nil && len(e.Groups)+len(e.InPlace) > 0 && plannedAnything(e) {
		s.impossible(r, "it places version %d of job %v, which is not its version", e.JobVersion, key)
	}
	s.updateInPlace(r, e, spec)
	s.place(r, e, spec)
	s.planOutcome(r, e)
	s.withJob(key, r.Index, func(j *Job) {
		summary := j.summary(s.owner)
		for name, sum := range summary {
			sum.Queued = e.Queued[name]
			summary[name] = sum
		}
		j.SummaryIndex, j.ChangeIndex = r.Index, r.Index
	})
}

func plannedAnything(e *event.PlanCommitted) bool {
	if len(e.InPlace) > 0 {
		return true
	}
	for _, g := range e.Groups {
		if len(g.Placements) > 0 {
			return true
		}
	}
	return false
}

// updateInPlace gives allocations that go on as they are the job's new version.
func (s *State) updateInPlace(r *event.Record, e *event.PlanCommitted, spec *Spec) {
	updated := make(map[*Placed]*Placed) // so that they go on sharing
	for _, id := range e.InPlace {
		s.allocationChanged(r, id, func(a *Allocation) {
			next := updated[a.Placed]
			if next == nil {
				c := *a.Placed
				c.JobVersion, c.Spec, c.SpecHash = e.JobVersion, spec, spec.Hash
				if c.Ask = spec.Ask(c.Group); c.Ask == nil {
					s.impossible(r, "allocation %v is of group %q, which its job does not have any more", id, c.Group)
				}
				next = &c
				updated[a.Placed] = next
			}
			a.Placed = next
			a.AllocModifyIndex = r.Index
		})
	}
	var left leaving
	for was := range updated {
		left.specs = append(left.specs, usedSpec{was.Job, was.SpecHash})
	}
	s.releaseSpecs(&left)
}

// place adds the allocations of a plan. What is the same for all of them, the
// nodes' and the job's rows above all, is done once.
func (s *State) place(r *event.Record, e *event.PlanCommitted, spec *Spec) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	nodes := make([]*Node, len(e.Nodes))
	for i := range e.Groups {
		g := &e.Groups[i]
		if len(g.Placements) == 0 {
			continue
		}
		ask := spec.Ask(g.Name)
		if ask == nil {
			s.impossible(r, "job %v has no group %q", spec.Job.ID, g.Name)
		}
		placed := &Placed{
			EvalID: e.EvalID, Job: key, JobVersion: e.JobVersion, SpecHash: spec.Hash, Group: g.Name,
			Metric: g.Metric, CreateIndex: r.Index, CreateTime: r.Time, Spec: spec, Ask: ask,
		}
		of, _ := s.allocationsOfJob.get(key)
		rows := make([]Allocation, min(len(g.Placements), rowsTogether))
		for _, p := range g.Placements {
			if int(p.Node) < len(nodes) && nodes[p.Node] == nil {
				nodes[p.Node] = s.ownNode(e.Nodes[p.Node])
			}
			if int(p.Node) >= len(nodes) || nodes[p.Node] == nil {
				s.impossible(r, "placement %d points to no node", p.Ordinal)
			}
			if len(p.Ports) != len(ask.Ports) {
				s.impossible(r, "placement %d has %d ports, its group %d", p.Ordinal, len(p.Ports), len(ask.Ports))
			}
			if len(rows) == 0 {
				rows = make([]Allocation, rowsTogether)
			}
			a := &rows[0]
			rows = rows[1:]
			*a = Allocation{
				ID: event.AllocationID(e.EvalID, e.Basis, p.Ordinal), Placed: placed, NodeID: e.Nodes[p.Node],
				NameIndex: p.Name, Desired: event.DesiredRun, Client: event.ClientPending, Score: p.Score,
				ModifyIndex: r.Index, AllocModifyIndex: r.Index, ModifyTime: r.Time, ports: p.Ports,
			}
			if !p.Previous.IsZero() {
				s.succeed(r, a, p.Previous)
			}
			s.addAllocation(r, a, nodes[p.Node])
			of.append(a.ordinal)
		}
		s.allocationsOfJob.put(key, of)
		s.withJob(key, r.Index, func(j *Job) {
			j.count(s.owner, g.Name, 0, event.ClientPending, len(g.Placements), r.Index)
			j.LiveAllocs += len(g.Placements)
		})
	}
}

// rowsTogether is how many allocations are made room for at a time: enough to be
// cheap, few enough that rows which are replaced one by one are not kept for long.
const rowsTogether = 32

// succeed links an allocation with the one that it replaces.
func (s *State) succeed(r *event.Record, a *Allocation, previous event.ID) {
	a.withRest(func(rest *allocRest) { rest.Previous = previous })
	s.allocationChanged(r, previous, func(prev *Allocation) {
		prev.withRest(func(rest *allocRest) { rest.Next = a.ID })
		if prev.HandedOver && prev.NodeID == a.NodeID && !prev.Client.Terminal() {
			a.withRest(func(rest *allocRest) { rest.WaitFor = []event.ID{prev.ID} })
		}
	})
}

// addAllocation gives a new allocation its ordinal and its room; its job's row and
// list are the caller's.
func (s *State) addAllocation(r *event.Record, a *Allocation, n *Node) {
	if s.Allocation(a.ID) != nil {
		s.impossible(r, "allocation %v exists", a.ID)
	}
	s.enter(a, n)
	n.OrdersIndex = r.Index
	s.indexes[TableAllocations] = r.Index
}

// enter puts an allocation into the table and on its node.
func (s *State) enter(a *Allocation, n *Node) {
	a.ordinal = s.allocations.append(s.owner, a)
	s.allocationCount++
	if *s.allocationIDs.next != a.ordinal {
		s.forkIDs(a.ordinal)
	}
	s.allocationIDs.add(a.ID, a.ordinal, func(at uint64) bool { return s.allocations.get(at) != nil })
	n.allocs.append(a.ordinal)
	if a.HoldsRoom() {
		n.hold(s.owner, a)
	}
	s.noteAllocation(nil, a)
	s.touch(n)
}

// forkIDs makes an index of IDs of this state's own: another future of the state
// that it was made from has added to the shared one.
func (s *State) forkIDs(end uint64) {
	s.allocationIDs = newIDIndex()
	for first, rows := range s.allocations.pages() {
		for i, a := range rows {
			if at := first + uint64(i); a != nil && at < end {
				s.allocationIDs.add(a.ID, at, func(uint64) bool { return true })
			}
		}
	}
	*s.allocationIDs.next = end
}

// dropAllocations takes allocations out of the state, with every trace of them in
// the indexes. None of them may hold room.
func (s *State) dropAllocations(gone []*Allocation) {
	jobs := make(map[event.JobKey]bool)
	nodes := make(map[event.ID]bool)
	for _, a := range gone {
		if a.HoldsRoom() {
			panic("allocation " + a.ID.String() + " leaves the state and holds room")
		}
		s.allocations.set(s.owner, a.ordinal, nil)
		s.allocationCount--
		jobs[a.Job], nodes[a.NodeID] = true, true
	}
	for _, a := range gone {
		if !slices.ContainsFunc(s.allocations.leaf(a.ordinal), func(a *Allocation) bool { return a != nil }) && a.ordinal|fanMask < s.allocations.len {
			s.allocations.cut(s.owner, a.ordinal)
		}
	}
	isGone := func(at uint64) bool { return s.allocations.get(at) == nil }
	for key := range jobs {
		of, _ := s.allocationsOfJob.get(key)
		if of = of.without(isGone); len(of.list) == 0 {
			s.allocationsOfJob.remove(key)
		} else {
			s.allocationsOfJob.put(key, of)
		}
	}
	for id := range nodes {
		if n := s.ownNode(id); n != nil {
			n.allocs = n.allocs.without(isGone)
		}
	}
}

func (s *State) planOutcome(r *event.Record, e *event.PlanCommitted) {
	s.evaluationChanged(r, e.EvalID, func(eval *event.Evaluation) {
		eval.Status, eval.StatusDescription = e.Outcome, e.Description
		eval.SnapshotIndex = e.Basis
		eval.BlockedEval = e.BlockedEval
		eval.QueuedAllocations = e.Queued
		eval.ClassEligibility, eval.EscapedComputedClass = e.ClassEligibility, e.EscapedComputedClass
		eval.FailedTGAllocs = nil
		for _, g := range e.Groups {
			if g.Failed != nil {
				if eval.FailedTGAllocs == nil {
					eval.FailedTGAllocs = make(map[string]*event.AllocMetric)
				}
				eval.FailedTGAllocs[g.Name] = g.Failed
			}
		}
	})
}

// allocationChanged replaces an allocation by a changed copy, and keeps everything
// that is derived from allocations true: room, capacity, counts.
func (s *State) allocationChanged(r *event.Record, id event.ID, change func(*Allocation)) {
	old := s.Allocation(id)
	if old == nil {
		s.impossible(r, "there is no allocation %v", id)
	}
	a := new(Allocation)
	*a = *old
	change(a)
	if old.Client.Terminal() && a.Client != old.Client {
		s.impossible(r, "allocation %v is already %v and cannot become %v", id, old.Client, a.Client)
	}
	a.ModifyIndex, a.ModifyTime = r.Index, r.Time
	s.allocations.set(s.owner, a.ordinal, a)
	s.noteAllocation(old, a)
	s.indexes[TableAllocations] = r.Index

	held, holds := old.HoldsRoom(), a.HoldsRoom()
	ordered := old.AllocModifyIndex != a.AllocModifyIndex
	if held != holds || holds && old.Ask != a.Ask || ordered {
		if n := s.ownNode(a.NodeID); n != nil {
			if held {
				n.release(s.owner, old)
			}
			if holds {
				n.hold(s.owner, a)
			} else if held {
				n.RoomIndex = r.Index
			}
			if ordered {
				n.OrdersIndex = r.Index
			}
			s.touch(n)
		}
	}
	if old.Client != a.Client || old.Live() != a.Live() {
		s.withJob(a.Job, r.Index, func(j *Job) {
			if old.Client != a.Client {
				j.count(s.owner, a.Group, old.Client, a.Client, 1, r.Index)
			}
			if old.Live() && !a.Live() {
				j.LiveAllocs--
			} else if !old.Live() && a.Live() {
				j.LiveAllocs++
			}
			if a.Client.Terminal() || !a.Live() {
				j.ChangeIndex = r.Index
			}
		})
	}
}

func (s *State) nodeRegistered(r *event.Record, e *event.NodeRegistered) {
	n := s.ownNode(e.NodeID)
	if n == nil {
		if e.Node == nil {
			s.impossible(r, "node %v is new and has no fingerprint", e.NodeID)
		}
		n = &Node{Info: e.Node, SecretHash: e.SecretHash, CreateIndex: r.Index, owner: s.owner}
		n.derive()
		s.nodes.put(e.NodeID, n)
		s.enterFleet(n)
		s.joinPool(r, n.Info)
		n.note(r.Index, r.Time, "Cluster", "Node registered")
	} else {
		n.note(r.Index, r.Time, "Cluster", "Node re-registered")
	}
	if e.Incarnation != n.Incarnation {
		n.LastReport = 0 // the numbers of reports start again with the agent, not with a registration
	}
	n.Incarnation = e.Incarnation
	n.Status, n.StatusDescription, n.StatusTime = event.NodeInitializing, "", r.Time
	s.putNode(n, r.Index)
}

func (s *State) nodeChanged(r *event.Record, e *event.NodeChanged) {
	old := s.Node(e.NodeID)
	if old == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	info := *old.Info
	if e.Rest != nil {
		info = *e.Rest
	}
	info.Attributes = maps.Clone(old.Info.Attributes)
	if info.Attributes == nil {
		info.Attributes = make(map[string]string)
	}
	maps.Copy(info.Attributes, e.AttributesSet)
	for _, key := range e.AttributesRemoved {
		delete(info.Attributes, key)
	}
	info.ComputedClass = e.ComputedClass
	n := s.ownNode(e.NodeID)
	was := n.Info
	n.Info = &info
	n.derive()
	s.reclass(n, was)
	s.joinPool(r, n.Info)
	n.RoomIndex = r.Index
	s.putNode(n, r.Index)
}

func (s *State) nodeStatusChanged(r *event.Record, e *event.NodeStatusChanged) {
	n := s.ownNode(e.NodeID)
	if n == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	n.Status, n.StatusDescription, n.StatusTime = e.Status, e.Description, r.Time
	switch e.Status {
	case event.NodeReady:
		n.note(r.Index, r.Time, "Cluster", "Node is ready")
		n.RoomIndex = r.Index
	case event.NodeDown:
		n.note(r.Index, r.Time, "Cluster", "Node heartbeat missed")
	}
	s.putNode(n, r.Index)
	if e.Status == event.NodeDown || e.Status == event.NodeReady {
		// What was decided while the node had another status may be wrong now.
		var last event.JobKey
		seen := make(map[event.JobKey]bool)
		for a := range s.AllocationsOn(e.NodeID) {
			if a.Job != last && !seen[a.Job] && !a.Client.Terminal() {
				seen[a.Job], last = true, a.Job
			}
		}
		keys := slices.SortedFunc(maps.Keys(seen), event.JobKey.Compare)
		for _, key := range keys {
			s.withJob(key, r.Index, func(j *Job) { j.ChangeIndex = r.Index })
		}
	}
}

func (s *State) nodeEligibilitySet(r *event.Record, e *event.NodeEligibilitySet) {
	n := s.ownNode(e.NodeID)
	if n == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	n.Ineligible = e.Ineligible
	if !e.Ineligible {
		n.RoomIndex = r.Index
	}
	n.note(r.Index, r.Time, "Cluster", "Node marked as "+n.Eligibility()+" for scheduling")
	s.putNode(n, r.Index)
}

func (s *State) putNode(n *Node, index uint64) {
	n.ModifyIndex = index
	s.touch(n)
	s.indexes[TableNodes] = index
}

func (s *State) allocationsReported(r *event.Record, e *event.AllocationsReported) {
	n := s.ownNode(e.NodeID)
	if n == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	n.LastReport = e.Sequence
	for i := range e.Deltas {
		delta := &e.Deltas[i]
		s.allocationChanged(r, delta.ID, func(a *Allocation) {
			if delta.Client != 0 && !a.Client.Terminal() {
				a.Client = delta.Client
			}
			if len(delta.Tasks) > 0 {
				a.tasks = encodeTasks(mergeTasks(a.Tasks(), delta.Tasks))
			}
		})
	}
}

func (s *State) allocationsMarked(r *event.Record, e *event.AllocationsMarked) {
	for _, id := range e.IDs {
		var key event.JobKey
		s.allocationChanged(r, id, func(a *Allocation) {
			key = a.Job
			a.withRest(func(rest *allocRest) {
				rest.Migrate = rest.Migrate || e.Migrate
				rest.NoDelay = rest.NoDelay || e.NoShutdownDelay
			})
		})
		// A plan that was decided before did not know of it.
		s.withJob(key, r.Index, func(j *Job) { j.ChangeIndex = r.Index })
	}
}

// mergeTasks takes what a report says of tasks: the newest state, and its new
// events after the ones already known.
func mergeTasks(known, news map[string]*event.TaskState) map[string]*event.TaskState {
	if len(news) == 0 {
		return known
	}
	merged := maps.Clone(known)
	if merged == nil {
		merged = make(map[string]*event.TaskState, len(news))
	}
	for name, task := range news {
		next := *task
		if old := known[name]; old != nil {
			next.Events = slices.Concat(old.Events, task.Events)
		}
		if extra := len(next.Events) - event.TaskEventsKept; extra > 0 {
			next.Events = slices.Clone(next.Events[extra:])
		}
		merged[name] = &next
	}
	return merged
}
