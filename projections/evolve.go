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
		s.scheduler = *e
	case *event.CheckpointTaken:
	case *event.BlobStored:
		s.blobStored(r, e)
	case *event.JobSubmitted:
		s.jobSubmitted(r, e)
	case *event.JobStopped:
		s.jobStopped(r, e)
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
	case *event.AllocationsReported:
		s.allocationsReported(r, e)
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
	b := &blob{Hash: e.Blob}
	if known, ok := s.blobs.get(e.Blob); ok {
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
		j := old.clone()
		j.ModifyIndex = r.Index
		s.putJob(j, r.Index)
		return
	}
	var j *Job
	if old == nil {
		j = s.newJob(key, r.Index)
	} else {
		j = old.nextVersion()
	}
	j.Spec = s.specOf(r, e.Spec)
	j.SpecHash, j.Source = e.Spec, e.Source
	j.Version, j.SubmitTime, j.Stopped = e.Version, e.SubmitTime, false
	j.ModifyIndex, j.JobModifyIndex, j.ChangeIndex = r.Index, r.Index, r.Index
	summary := maps.Clone(j.Summary)
	if summary == nil {
		summary = make(map[string]GroupSummary)
	}
	for _, g := range j.Spec.Job.TaskGroups {
		if _, ok := summary[g.Name]; !ok {
			summary[g.Name] = GroupSummary{}
		}
	}
	j.Summary, j.SummaryIndex = summary, r.Index
	s.putJob(j, r.Index)
}

// newJob is the row of a job that is not there. It may have been there before it
// was purged: what is left of that life, allocations that still run and
// evaluations that are still open, counts for this one too.
func (s *State) newJob(key event.JobKey, index uint64) *Job {
	j := &Job{Key: key, CreateIndex: index}
	for a := range s.AllocationsOf(key) {
		if !a.Client.Terminal() {
			j.count(a.Group, 0, a.Client, index)
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

// nextVersion is a copy of the job's row in which its present version has become
// an older one.
func (j *Job) nextVersion() *Job {
	next := j.clone()
	next.Older = append([]JobVersion{j.asVersion()}, j.Older...)
	if len(next.Older) > jobVersionsKept-1 {
		next.Older = next.Older[:jobVersionsKept-1]
	}
	return next
}

func (j *Job) asVersion() JobVersion {
	return JobVersion{
		Version: j.Version, SpecHash: j.SpecHash, Source: j.Source, SubmitTime: j.SubmitTime,
		Stopped: j.Stopped, JobModifyIndex: j.JobModifyIndex, Spec: j.Spec,
	}
}

func (s *State) jobStopped(r *event.Record, e *event.JobStopped) {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	old := s.Job(key)
	if old == nil {
		s.impossible(r, "there is no job %v", key)
	}
	if e.Purge {
		s.jobs.remove(key)
		s.indexes[TableJobs] = r.Index
		return
	}
	j := old.nextVersion()
	j.Version, j.Stopped, j.SubmitTime = e.Version, true, e.SubmitTime
	j.ModifyIndex, j.JobModifyIndex, j.ChangeIndex = r.Index, r.Index, r.Index
	s.putJob(j, r.Index)
}

func (s *State) putJob(j *Job, index uint64) {
	s.jobs.put(j.Key, j)
	s.indexes[TableJobs] = index
}

// withJob changes the row of a job, if the job is still there.
func (s *State) withJob(key event.JobKey, index uint64, change func(*Job)) {
	if old := s.Job(key); old != nil {
		j := old.clone()
		change(j)
		if j.Status() != old.Status() {
			j.ModifyIndex = index // who waits for the job to change waits for this too
		}
		s.putJob(j, index)
	}
}

func (s *State) evaluationCreated(r *event.Record, e *event.EvaluationCreated) {
	if s.Evaluation(e.Evaluation.ID) != nil {
		s.impossible(r, "evaluation %v exists", e.Evaluation.ID)
	}
	eval := e.Evaluation
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
			a.Desired, a.DesiredDescription = event.DesiredStop, stop.Description
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
	for _, id := range e.InPlace {
		s.allocationChanged(r, id, func(a *Allocation) {
			a.JobVersion, a.Spec, a.SpecHash = e.JobVersion, spec, spec.Hash
			a.AllocModifyIndex = r.Index
		})
	}
	for _, g := range e.Groups {
		for _, p := range g.Placements {
			s.place(r, e, &g, p, spec)
		}
	}
	s.planOutcome(r, e)
	s.withJob(key, r.Index, func(j *Job) {
		summary := maps.Clone(j.Summary)
		for name, sum := range summary {
			sum.Queued = e.Queued[name]
			summary[name] = sum
		}
		j.Summary, j.SummaryIndex, j.ChangeIndex = summary, r.Index, r.Index
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

func (s *State) place(r *event.Record, e *event.PlanCommitted, g *event.PlannedGroup, p event.Placement, spec *Spec) {
	ask := spec.Ask(g.Name)
	if ask == nil {
		s.impossible(r, "job %v has no group %q", spec.Job.ID, g.Name)
	}
	if int(p.Node) >= len(e.Nodes) || s.Node(e.Nodes[p.Node]) == nil {
		s.impossible(r, "placement %d points to no node", p.Ordinal)
	}
	if len(p.Ports) != len(ask.Ports) {
		s.impossible(r, "placement %d has %d ports, its group %d", p.Ordinal, len(p.Ports), len(ask.Ports))
	}
	a := &Allocation{
		ID: event.AllocationID(e.EvalID, e.Basis, p.Ordinal), EvalID: e.EvalID, NodeID: e.Nodes[p.Node],
		Job:        event.JobKey{Namespace: e.Namespace, ID: e.JobID},
		JobVersion: e.JobVersion, SpecHash: spec.Hash, Spec: spec, Ask: ask,
		Group: g.Name, NameIndex: p.Name,
		Desired: event.DesiredRun, Client: event.ClientPending,
		Previous: p.Previous, Metric: g.Metric, Score: p.Score,
		CreateIndex: r.Index, ModifyIndex: r.Index, AllocModifyIndex: r.Index,
		CreateTime: r.Time, ModifyTime: r.Time,
	}
	for i, port := range ask.Ports {
		to := port.To
		if to == -1 {
			to = int(p.Ports[i])
		}
		a.Ports = append(a.Ports, event.AssignedPort{Label: port.Label, Value: int(p.Ports[i]), To: to, HostNetwork: port.HostNetwork})
	}
	if !p.Previous.IsZero() {
		s.allocationChanged(r, p.Previous, func(prev *Allocation) {
			prev.Next = a.ID
			if prev.HandedOver && prev.NodeID == a.NodeID && !prev.Client.Terminal() {
				a.WaitFor = []event.ID{prev.ID}
			}
		})
	}
	if s.Allocation(a.ID) != nil {
		s.impossible(r, "allocation %v exists", a.ID)
	}
	s.putAllocation(nil, a, r.Index)
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

// allocationChanged replaces an allocation by a changed copy.
func (s *State) allocationChanged(r *event.Record, id event.ID, change func(*Allocation)) {
	old := s.Allocation(id)
	if old == nil {
		s.impossible(r, "there is no allocation %v", id)
	}
	a := *old
	change(&a)
	if old.Client.Terminal() && a.Client != old.Client {
		s.impossible(r, "allocation %v is already %v and cannot become %v", id, old.Client, a.Client)
	}
	a.ModifyIndex, a.ModifyTime = r.Index, r.Time
	if a.Spec != old.Spec {
		if a.Ask = a.Spec.Ask(a.Group); a.Ask == nil {
			s.impossible(r, "allocation %v is of group %q, which its job does not have any more", id, a.Group)
		}
	}
	s.putAllocation(old, &a, r.Index)
}

// putAllocation stores a row and keeps everything that is derived from
// allocations true: room, capacity, counts, indexes.
func (s *State) putAllocation(old, a *Allocation, index uint64) {
	s.allocations.put(a.ID, a)
	s.allocationsOfJob.put(jobOrder{a.Job, a.CreateIndex, a.ID}, a)
	s.allocationsOnNode.put(pair{a.NodeID, a.ID}, a)
	s.indexes[TableAllocations] = index

	held := old != nil && old.HoldsRoom()
	ordered := old == nil || old.AllocModifyIndex != a.AllocModifyIndex
	if node := s.Node(a.NodeID); node != nil && (held || a.HoldsRoom() || ordered) {
		n := node.clone()
		if held {
			n.release(old)
		}
		if a.HoldsRoom() {
			n.hold(a)
		} else if held {
			s.capacityCame(n, index)
		}
		if ordered {
			n.OrdersIndex = index
		}
		s.nodes.put(n.Info.ID, n)
	}

	var from event.ClientStatus
	wasLive := false
	if old != nil {
		from, wasLive = old.Client, old.Live()
	}
	if from != a.Client || wasLive != a.Live() {
		s.withJob(a.Job, index, func(j *Job) {
			if from != a.Client {
				j.count(a.Group, from, a.Client, index)
			}
			if wasLive && !a.Live() {
				j.LiveAllocs--
			} else if !wasLive && a.Live() {
				j.LiveAllocs++
			}
			if old == nil || a.Client.Terminal() || !a.Live() {
				j.ChangeIndex = index
			}
		})
	}
}

func (s *State) capacityCame(n *Node, index uint64) {
	s.capacity.put(n.Info.ComputedClass, classCapacity{n.Info.ComputedClass, index})
}

func (s *State) nodeRegistered(r *event.Record, e *event.NodeRegistered) {
	old := s.Node(e.NodeID)
	var n *Node
	switch {
	case old == nil:
		if e.Node == nil {
			s.impossible(r, "node %v is new and has no fingerprint", e.NodeID)
		}
		n = &Node{Info: e.Node, SecretHash: e.SecretHash, CreateIndex: r.Index}
		n.derive()
		n.note(r.Index, r.Time, "Cluster", "Node registered")
	default:
		n = old.clone()
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
	n := old.clone()
	n.Info = &info
	n.derive()
	s.capacityCame(n, r.Index)
	s.putNode(n, r.Index)
}

func (s *State) nodeStatusChanged(r *event.Record, e *event.NodeStatusChanged) {
	old := s.Node(e.NodeID)
	if old == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	n := old.clone()
	n.Status, n.StatusDescription, n.StatusTime = e.Status, e.Description, r.Time
	switch e.Status {
	case event.NodeReady:
		n.note(r.Index, r.Time, "Cluster", "Node is ready")
		s.capacityCame(n, r.Index)
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

func (s *State) putNode(n *Node, index uint64) {
	n.ModifyIndex = index
	s.nodes.put(n.Info.ID, n)
	s.indexes[TableNodes] = index
}

func (s *State) allocationsReported(r *event.Record, e *event.AllocationsReported) {
	node := s.Node(e.NodeID)
	if node == nil {
		s.impossible(r, "there is no node %v", e.NodeID)
	}
	n := node.clone()
	n.LastReport = e.Sequence
	s.nodes.put(e.NodeID, n)
	for i := range e.Deltas {
		delta := &e.Deltas[i]
		s.allocationChanged(r, delta.ID, func(a *Allocation) {
			if delta.Client != 0 && !a.Client.Terminal() {
				a.Client = delta.Client
			}
			a.Tasks = mergeTasks(a.Tasks, delta.Tasks)
		})
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
