package commands

import (
	"bytes"
	"fmt"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Decided is one event that a command leads to, with what its header needs to
// know beyond the command itself.
type Decided struct {
	Event  event.Event
	Cause  uint64
	EvalID event.ID
}

// decision collects the events of one command. Its state is the head that the
// command is decided on and does not change meanwhile.
type decision struct {
	state *projections.State
	now   int64 // Unix nanoseconds: the time that the records will carry
	cmd   *Command
	out   []Decided
}

// Decide answers a command with the events that follow from it, or refuses it.
// It is pure: the same state, time and command give the same answer. No events
// and no rejection mean that what was asked for is already so.
func Decide(s *projections.State, now int64, cmd *Command) ([]Decided, *Rejection) {
	if cmd.Epoch != 0 && cmd.Epoch != s.Epoch() {
		return nil, reject(ReasonSuperseded, "command of epoch %d refused: the epoch is %d", cmd.Epoch, s.Epoch())
	}
	d := &decision{state: s, now: now, cmd: cmd}
	if rejection := cmd.Body.decide(d); rejection != nil {
		return nil, rejection
	}
	return d.out, nil
}

// emit adds an event and returns the index that its record will have.
func (d *decision) emit(e event.Event, eval event.ID) uint64 {
	d.out = append(d.out, Decided{Event: e, Cause: d.cmd.Cause, EvalID: eval})
	return d.state.Index() + uint64(len(d.out))
}

// next is the index that the next emitted record will have.
func (d *decision) next() uint64 { return d.state.Index() + uint64(len(d.out)) + 1 }

// newID derives the n-th identifier that this command makes up.
func (d *decision) newID(space string, n uint64) event.ID {
	return event.DeriveID(space, d.cmd.ID, n)
}

// createEvaluation adds an evaluation that is to be run. Its ID is derived from
// the command's: one that exists means that the command took effect before, so
// long ago that its ID is not remembered any more.
func (d *decision) createEvaluation(eval event.Evaluation) *Rejection {
	if d.state.Evaluation(eval.ID) != nil {
		return reject(ReasonSuperseded, "command %v took effect before: evaluation %v exists", d.cmd.ID, eval.ID)
	}
	if eval.Status == 0 {
		eval.Status = event.EvalPending
	}
	d.emit(&event.EvaluationCreated{Evaluation: eval}, eval.ID)
	return nil
}

// evaluate is createEvaluation for a job that was changed. One that runs nothing
// itself has nothing to evaluate.
func (d *decision) evaluate(job *event.Job, eval event.Evaluation) *Rejection {
	if job.Template() {
		return nil
	}
	return d.createEvaluation(eval)
}

func (c StoreBlob) decide(d *decision) *Rejection {
	if c.Of == 0 || c.Of > blobChunksMax || c.Chunk >= c.Of || len(c.Data) > chunkBytesMax {
		return reject(ReasonInvalid, "blob %v: chunk %d of %d with %d bytes", c.Hash, c.Chunk, c.Of, len(c.Data))
	}
	chunks := slices.Clone(d.state.BlobChunks(c.Hash))
	if chunks == nil {
		chunks = make([][]byte, c.Of)
	}
	if len(chunks) != int(c.Of) {
		return reject(ReasonConflict, "blob %v: it is stored in %d chunks, not %d", c.Hash, len(chunks), c.Of)
	}
	if chunks[c.Chunk] != nil {
		return nil
	}
	if chunks[c.Chunk] = c.Data; c.Data == nil {
		chunks[c.Chunk] = []byte{}
	}
	missing := func(chunk []byte) bool { return chunk == nil }
	if !slices.ContainsFunc(chunks, missing) && event.HashOf(slices.Concat(chunks...)) != c.Hash {
		return reject(ReasonInvalid, "blob %v: its content has another hash", c.Hash)
	}
	d.emit(&event.BlobStored{Blob: c.Hash, Chunk: c.Chunk, Of: c.Of, Data: c.Data}, event.ID{})
	return nil
}

// storeBlob adds the chunks of a blob that the log does not have yet. A blob
// without data must have been stored ahead.
func (d *decision) storeBlob(what string, b Blob) *Rejection {
	if len(b.Data) == 0 {
		if _, whole := d.state.Blob(b.Hash); !whole {
			return reject(ReasonInvalid, "%s %v is not in the log yet", what, b.Hash)
		}
		return nil
	}
	if event.HashOf(b.Data) != b.Hash {
		return reject(ReasonInvalid, "%s %v: its content has another hash", what, b.Hash)
	}
	chunks := slices.Collect(slices.Chunk(b.Data, chunkBytesMax))
	stored := d.state.BlobChunks(b.Hash)
	if stored != nil && len(stored) != len(chunks) {
		return reject(ReasonConflict, "%s %v: it is stored in %d chunks, not %d", what, b.Hash, len(stored), len(chunks))
	}
	for i, data := range chunks {
		switch {
		case stored == nil || stored[i] == nil:
			d.emit(&event.BlobStored{Blob: b.Hash, Chunk: uint32(i), Of: uint32(len(chunks)), Data: data}, event.ID{})
		case !bytes.Equal(stored[i], data):
			return reject(ReasonConflict, "%s %v: other bytes are stored for its chunk %d", what, b.Hash, i)
		}
	}
	return nil
}

func (c SubmitJob) decide(d *decision) *Rejection {
	if r := takesJobs(d.state); r != nil {
		return r
	}
	job, spec := c.Job, c.Spec
	key := event.JobKey{Namespace: job.Namespace, ID: job.ID}
	old := d.state.Job(key)
	if c.EnforceIndex {
		switch {
		case c.JobModifyIndex == 0 && old != nil:
			return reject(ReasonConflict, "Enforcing job modify index 0: job already exists")
		case c.JobModifyIndex != 0 && old == nil:
			return reject(ReasonConflict, "Enforcing job modify index %d: job does not exist", c.JobModifyIndex)
		case old != nil && old.JobModifyIndex != c.JobModifyIndex:
			return reject(ReasonConflict, "Enforcing job modify index %d: job exists with conflicting job modify index: %d", c.JobModifyIndex, old.JobModifyIndex)
		}
	}
	if old != nil && c.PreserveCounts {
		var err error
		if job, spec, err = withCounts(job, old.Spec.Job); err != nil {
			return reject(ReasonInvalid, "keep the counts of job %v: %v", key, err)
		}
	}
	if r := admit(d.state, job); r != nil {
		return r
	}
	if r := checkVersion(d.state, old, job); r != nil {
		return r
	}
	evalID := d.newID("evaluation", 0)
	submitted := &event.JobSubmitted{Namespace: key.Namespace, JobID: key.ID, Spec: spec.Hash, Source: c.Source.Hash, SubmitTime: d.now}
	var modifyIndex uint64
	switch {
	case old != nil && old.SpecHash == spec.Hash && !old.Stopped:
		submitted.SameSpec, submitted.Version, submitted.SubmitTime, submitted.Source = true, old.Version, old.SubmitTime, old.Source
		d.emit(submitted, evalID)
		modifyIndex = old.JobModifyIndex
	default:
		if old != nil {
			submitted.Version = old.Version + 1
		}
		if r := d.storeBlob("spec", spec); r != nil {
			return r
		}
		if !c.Source.Hash.IsZero() {
			if r := d.storeBlob("source", c.Source); r != nil {
				return r
			}
		}
		modifyIndex = d.emit(submitted, evalID)
	}
	priority := job.Priority
	if c.EvalPriority > 0 {
		priority = c.EvalPriority
	}
	return d.evaluate(job, event.Evaluation{
		ID: evalID, Namespace: key.Namespace, JobID: key.ID, Type: job.Type, Priority: priority,
		TriggeredBy: event.TriggerJobRegister, JobModifyIndex: modifyIndex,
	})
}

// checkVersion refuses what cannot be the next version of a job; old is nil when
// there is none yet.
func checkVersion(s *projections.State, old *projections.Job, job *event.Job) *Rejection {
	key := event.JobKey{Namespace: job.Namespace, ID: job.ID}
	if old == nil && job.Type == event.JobTypeSystem && s.SystemJobCount() >= systemJobsMax {
		return reject(ReasonInvalid, "job %v is one system job too many; the limit is %d", key, systemJobsMax)
	}
	if old != nil && old.Spec.Job.Type != job.Type {
		return reject(ReasonInvalid, "cannot update job from type %q to %q", old.Spec.Job.Type, job.Type)
	}
	if old != nil {
		switch was := old.Spec.Job; {
		case (was.Periodic != nil) != (job.Periodic != nil):
			return reject(ReasonInvalid, "cannot update a periodic job to be one that is not, or the other way round: job %v; purge it first", key)
		case (was.ParameterizedJob != nil) != (job.ParameterizedJob != nil):
			return reject(ReasonInvalid, "cannot update a parameterized job to be one that is not, or the other way round: job %v; purge it first", key)
		}
	}
	total := 0
	for _, g := range job.TaskGroups {
		if g.Count < 0 || g.Count > jobCountMax {
			return reject(ReasonInvalid, "job %v asks for %d allocations of group %q; the limit is %d", key, g.Count, g.Name, jobCountMax)
		}
		total += g.Count
	}
	if total > jobCountMax {
		return reject(ReasonInvalid, "job %v asks for %d allocations; the limit is %d", key, total, jobCountMax)
	}
	return nil
}

// withCounts is the job with the counts of the groups that old has too.
func withCounts(job, old *event.Job) (*event.Job, Blob, error) {
	changed := *job
	changed.TaskGroups = slices.Clone(job.TaskGroups)
	for i, g := range changed.TaskGroups {
		if was := old.LookupGroup(g.Name); was != nil && was.Count != g.Count {
			group := *g
			group.Count = was.Count
			changed.TaskGroups[i] = &group
		}
	}
	blob, err := NewBlob(&changed)
	return &changed, blob, err
}

func (c StopJob) decide(d *decision) *Rejection {
	old := d.state.Job(c.Key)
	if old == nil {
		return nil // what is not there is stopped already
	}
	evalID := d.newID("evaluation", 0)
	if c.NoShutdownDelay {
		if r := d.hurry(old, evalID); r != nil {
			return r
		}
	}
	modifyIndex := old.JobModifyIndex
	if c.Purge || !old.Stopped {
		modifyIndex = d.emit(&event.JobStopped{
			Namespace: c.Key.Namespace, JobID: c.Key.ID, Version: old.Version + 1, SubmitTime: d.now, Purge: c.Purge,
		}, evalID)
	}
	priority := old.Spec.Job.Priority
	if c.EvalPriority > 0 {
		priority = c.EvalPriority
	}
	return d.evaluate(old.Spec.Job, event.Evaluation{
		ID: evalID, Namespace: c.Key.Namespace, JobID: c.Key.ID, Type: event.JobTypeService, Priority: priority,
		TriggeredBy: event.TriggerJobDeregister, JobModifyIndex: modifyIndex,
	})
}

func (c EvaluateJob) decide(d *decision) *Rejection {
	job := d.state.Job(c.Key)
	if job == nil {
		return reject(ReasonNotFound, "job not found")
	}
	switch spec := job.Spec.Job; {
	case spec.Periodic != nil:
		return reject(ReasonInvalid, "can't evaluate periodic job")
	case spec.Template():
		return reject(ReasonInvalid, "can't evaluate parameterized job")
	}
	if r := admit(d.state, job.Spec.Job); r != nil && !job.Stopped {
		return r
	}
	return d.createEvaluation(event.Evaluation{
		ID: d.newID("evaluation", 0), Namespace: c.Key.Namespace, JobID: c.Key.ID,
		Type: job.Spec.Job.Type, Priority: job.Spec.Job.Priority,
		TriggeredBy: event.TriggerJobRegister, JobModifyIndex: job.JobModifyIndex,
	})
}

func (c StopAllocation) decide(d *decision) *Rejection {
	a := d.state.Allocation(c.ID)
	if a == nil {
		return reject(ReasonNotFound, "alloc not found")
	}
	evalID := d.newID("evaluation", 0)
	// What has ended, or is to end for another reason, needs no mark.
	if a.Live() && !(a.Migrates() && (a.NoShutdownDelay() || !c.NoShutdownDelay)) {
		d.emit(&event.AllocationsMarked{IDs: event.IDs{c.ID}, Migrate: true, NoShutdownDelay: c.NoShutdownDelay}, evalID)
	}
	eval := event.Evaluation{
		ID: evalID, Namespace: a.Job.Namespace, JobID: a.Job.ID, Type: a.Spec.Job.Type, Priority: a.Spec.Job.Priority,
		TriggeredBy: event.TriggerAllocStop,
	}
	if job := d.state.Job(a.Job); job != nil {
		eval.Priority, eval.JobModifyIndex = job.Spec.Job.Priority, job.JobModifyIndex
	}
	return d.createEvaluation(eval)
}

func (c FailEvaluation) decide(d *decision) *Rejection {
	eval := d.state.Evaluation(c.EvalID)
	if eval == nil {
		return reject(ReasonNotFound, "evaluation %v does not exist", c.EvalID)
	}
	if eval.Status != event.EvalPending {
		return reject(ReasonClosed, "evaluation %v is %v", c.EvalID, eval.Status)
	}
	d.emit(&event.EvaluationEnded{EvalID: eval.ID, Status: event.EvalFailed, Description: c.Description}, eval.ID)
	if blocked := d.state.BlockedEvaluation(eval.Job()); blocked != nil {
		if blocked.TriggeredBy == event.TriggerMaxPlanAttempts {
			return nil
		}
		// It waits for room for what was wanted when it was decided. What this
		// one was for has come since, and must be tried though no room comes.
		d.emit(&event.EvaluationEnded{
			EvalID: blocked.ID, Status: event.EvalCanceled, Description: fmt.Sprintf("existing blocked evaluation exists for job %q", eval.JobID),
		}, blocked.ID)
	}
	return d.createEvaluation(event.Evaluation{
		ID: event.DeriveID("blocked", eval.ID, d.next()), Namespace: eval.Namespace, JobID: eval.JobID,
		Type: eval.Type, Priority: eval.Priority, TriggeredBy: event.TriggerMaxPlanAttempts,
		Status: event.EvalBlocked, StatusDescription: "created due to placement conflicts",
		JobModifyIndex: eval.JobModifyIndex, PreviousEval: eval.ID, EscapedComputedClass: true,
	})
}

func (c UnblockEvaluations) decide(d *decision) *Rejection {
	woken := make(map[event.ID]bool, len(c.IDs))
	for _, id := range c.IDs {
		if eval := d.state.Evaluation(id); eval != nil && eval.Status == event.EvalBlocked && !woken[id] {
			woken[id] = true
			d.emit(&event.EvaluationUnblocked{EvalID: id}, id)
		}
	}
	return nil
}

func (c RecordCheckpoint) decide(d *decision) *Rejection {
	if c.At > d.state.Index() {
		return reject(ReasonInvalid, "checkpoint at %d is ahead of the log, which ends at %d", c.At, d.state.Index())
	}
	d.emit(&event.CheckpointTaken{At: c.At, FoldVersion: c.FoldVersion, SHA256: c.SHA256}, event.ID{})
	return nil
}

// validateNode checks what Evolve and the scheduler take for granted.
func validateNode(n *event.Node) error {
	switch {
	case n == nil || n.ID.IsZero():
		return fmt.Errorf("it has no ID")
	case n.Name == "":
		return fmt.Errorf("it has no name")
	case n.Datacenter == "":
		return fmt.Errorf("it has no datacenter")
	case n.NodePool == "all":
		return fmt.Errorf("node is not allowed to register in node pool %q", n.NodePool)
	case n.NodeResources == nil:
		return fmt.Errorf("it has no resources")
	}
	r := n.NodeResources
	if r.Cpu.CpuShares < 0 || r.Memory.MemoryMB < 0 || r.Disk.DiskMB < 0 {
		return fmt.Errorf("it has negative resources")
	}
	if n.NodeMaxAllocs < 0 {
		return fmt.Errorf("it takes %d allocations at most", n.NodeMaxAllocs)
	}
	first, last := r.MinDynamicPort, r.MaxDynamicPort
	if first == 0 {
		first = projections.DefaultMinDynamicPort
	}
	if last == 0 {
		last = projections.DefaultMaxDynamicPort
	}
	if first < 0 || last > 65535 || first > last {
		return fmt.Errorf("invalid dynamic port range: min_dynamic_port=%d and max_dynamic_port=%d", r.MinDynamicPort, r.MaxDynamicPort)
	}
	for _, network := range r.NodeNetworks {
		for _, a := range network.Addresses {
			if _, err := projections.ParsePortRanges(a.ReservedPorts); err != nil {
				return fmt.Errorf("reserved_ports %q invalid: %v", a.ReservedPorts, err)
			}
		}
	}
	for _, driver := range n.Drivers {
		if driver == nil {
			return fmt.Errorf("it names a driver and says nothing of it")
		}
	}
	if res := n.ReservedResources; res != nil {
		if res.Cpu.CpuShares < 0 || res.Memory.MemoryMB < 0 || res.Disk.DiskMB < 0 {
			return fmt.Errorf("it keeps back negative resources")
		}
		if _, err := projections.ParsePortRanges(res.Networks.ReservedHostPorts); err != nil {
			return fmt.Errorf("reserved.reserved_ports %q invalid: %v", res.Networks.ReservedHostPorts, err)
		}
	}
	return nil
}
