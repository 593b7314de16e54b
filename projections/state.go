package projections

import (
	"cmp"
	"iter"
	"slices"

	"drover/eventlog/event"
)

// FoldVersion names the meaning of the fold. Checksums of states and checkpoints
// are compared within one fold version only.
const FoldVersion = 4

// Cluster is the identity of the cluster, from its first record.
type Cluster struct {
	ID      event.ID `cbor:"1,keyasint"`
	Region  string   `cbor:"2,keyasint,omitempty"`
	Created int64    `cbor:"3,keyasint,omitempty"` // Unix nanoseconds
}

// Table is a sort of object, for which the state keeps the last index at which
// one of them changed.
type Table int

// The tables that blocking queries wait on.
const (
	TableJobs Table = iota
	TableEvaluations
	TableAllocations
	TableNodes
	TableScalingPolicies
	TableNodePools
	TableNamespaces
	tableCount
)

// State is the cluster as of one index. It is immutable once handed out; see
// Draft for how the next one is made.
type State struct {
	index uint64
	hash  event.Hash
	time  int64
	epoch uint64

	cluster   Cluster
	scheduler Scheduler
	indexes   [tableCount]uint64

	jobs        table[event.JobKey, *Job]
	evaluations table[event.ID, *event.Evaluation]
	allocations vector[*Allocation] // by ordinal; nil where one has left the state
	nodes       table[event.ID, *Node]
	blobs       table[event.Hash, *blob] // by pointer: a leaf of the tree is copied for every change
	specs       table[event.Hash, *Spec]
	commands    table[event.ID, Remembered]
	pools       table[string, *NodePool]  // with those that every cluster has
	namespaces  table[string, *Namespace] // likewise

	// The rest are indexes: derived from the tables above, and rebuilt from
	// them when a checkpoint is read.
	allocationIDs    idIndex
	allocationCount  int
	allocationsOfJob table[event.JobKey, ordinals]
	evaluationsOfJob table[jobOrder, *event.Evaluation]
	evaluationAge    table[aged, event.ID] // by create index; the row never changes
	pending          table[queueOrder, *event.Evaluation]
	blocked          table[event.JobKey, *event.Evaluation]
	commandAge       table[agedCommand, event.ID]
	system           table[event.JobKey, struct{}] // jobs of that type that are not stopped
	scaled           table[event.JobKey, struct{}] // jobs with scaling policies that are not stopped
	fleet            vector[FleetRow]
	freeSlots        []uint32 // of the fleet; shared among states, never changed
	classes          feasibilityClasses

	ended endings

	// While a draft makes the state. Nothing of it is in a state that was handed out.
	owner   *owner
	touched []*Node // whose rows in the fleet are out of date
}

type blob struct {
	Hash   event.Hash `cbor:"1,keyasint"`
	Chunks [][]byte   `cbor:"2,keyasint"` // nil where a chunk has not come yet
	Stored int64      `cbor:"3,keyasint"` // Unix nanoseconds, of the last chunk
}

func (b blob) complete() bool {
	for _, c := range b.Chunks {
		if c == nil {
			return false
		}
	}
	return true
}

func (b blob) bytes() []byte {
	if len(b.Chunks) == 1 {
		return b.Chunks[0]
	}
	var all []byte
	for _, c := range b.Chunks {
		all = append(all, c...)
	}
	return all
}

// Remembered is where in the log a command took effect.
type Remembered struct {
	ID    event.ID `cbor:"1,keyasint"`
	First uint64   `cbor:"2,keyasint"` // index of its first record
	Last  uint64   `cbor:"3,keyasint"`
	Time  int64    `cbor:"4,keyasint"` // Unix nanoseconds
}

// Orders of the derived indexes.
type (
	jobOrder struct {
		job   event.JobKey
		index uint64 // create index
		id    event.ID
	}
	queueOrder struct {
		priority int // higher comes first
		index    uint64
		id       event.ID
	}
	agedCommand struct {
		time int64
		id   event.ID
	}
)

func compareJobOrder(a, b jobOrder) int {
	return cmp.Or(a.job.Compare(b.job), cmp.Compare(a.index, b.index), a.id.Compare(b.id))
}

func compareQueueOrder(a, b queueOrder) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.index, b.index), a.id.Compare(b.id))
}

func compareAged(a, b agedCommand) int {
	return cmp.Or(cmp.Compare(a.time, b.time), a.id.Compare(b.id))
}

func compareHash(a, b event.Hash) int {
	for i := range a {
		if a[i] != b[i] {
			return cmp.Compare(a[i], b[i])
		}
	}
	return 0
}

// New is the state before the first record.
func New() *State {
	s := &State{
		pools:            newTable[string, *NodePool](cmp.Compare[string]),
		namespaces:       newTable[string, *Namespace](cmp.Compare[string]),
		jobs:             newTable[event.JobKey, *Job](event.JobKey.Compare),
		evaluations:      newTable[event.ID, *event.Evaluation](event.ID.Compare),
		allocationIDs:    newIDIndex(),
		nodes:            newTable[event.ID, *Node](event.ID.Compare),
		blobs:            newTable[event.Hash, *blob](compareHash),
		specs:            newTable[event.Hash, *Spec](compareHash),
		commands:         newTable[event.ID, Remembered](event.ID.Compare),
		allocationsOfJob: newTable[event.JobKey, ordinals](event.JobKey.Compare),
		evaluationsOfJob: newTable[jobOrder, *event.Evaluation](compareJobOrder),
		evaluationAge:    newTable[aged, event.ID](compareAgedID),
		pending:          newTable[queueOrder, *event.Evaluation](compareQueueOrder),
		blocked:          newTable[event.JobKey, *event.Evaluation](event.JobKey.Compare),
		commandAge:       newTable[agedCommand, event.ID](compareAged),
		system:           newTable[event.JobKey, struct{}](event.JobKey.Compare),
		scaled:           newTable[event.JobKey, struct{}](event.JobKey.Compare),
		ended:            newEndings(),
		classes:          feasibilityClasses{numbers: newTable[string, feasibilityClass](cmp.Compare[string])},
	}
	s.addBuiltIns()
	return s
}

// clone is a state that can be changed without changing s. Only the one owner
// of s may call it (see table.copy).
func (s *State) clone() *State {
	c := *s
	c.jobs = s.jobs.copy()
	c.evaluations = s.evaluations.copy()
	c.nodes = s.nodes.copy()
	c.blobs = s.blobs.copy()
	c.specs = s.specs.copy()
	c.commands = s.commands.copy()
	c.pools = s.pools.copy()
	c.namespaces = s.namespaces.copy()
	c.allocationsOfJob = s.allocationsOfJob.copy()
	c.evaluationsOfJob = s.evaluationsOfJob.copy()
	c.evaluationAge = s.evaluationAge.copy()
	c.pending = s.pending.copy()
	c.blocked = s.blocked.copy()
	c.commandAge = s.commandAge.copy()
	c.system = s.system.copy()
	c.scaled = s.scaled.copy()
	c.ended = s.ended.copy()
	c.classes.numbers = s.classes.numbers.copy()
	c.owner, c.touched = new(owner), nil
	return &c
}

// Index is the index of the last record folded in; 0 before the first.
func (s *State) Index() uint64 { return s.index }

// Hash is the chained hash of that record.
func (s *State) Hash() event.Hash { return s.hash }

// Time is that record's time in Unix nanoseconds.
func (s *State) Time() int64 { return s.time }

// Epoch is the epoch of the last committer.
func (s *State) Epoch() uint64 { return s.epoch }

// Cluster is the identity of the cluster; zero before the first record.
func (s *State) Cluster() Cluster { return s.cluster }

// Scheduler is how jobs are taken and placed.
type Scheduler struct {
	event.SchedulerConfigured
	CreateIndex uint64
	ModifyIndex uint64
}

// Scheduler is the scheduler's configuration.
func (s *State) Scheduler() *Scheduler { return &s.scheduler }

// TableIndex is the last index at which an object of the table changed, and at
// least 1, since index 0 means "do not block" to a blocking query.
func (s *State) TableIndex(t Table) uint64 { return max(s.indexes[t], 1) }

// Job looks up a job; nil when there is none.
func (s *State) Job(key event.JobKey) *Job {
	j, _ := s.jobs.get(key)
	return j
}

// Jobs visits all jobs by namespace and ID.
func (s *State) Jobs() iter.Seq[*Job] { return s.jobs.all() }

// JobsSince visits jobs by namespace and ID, from one on.
func (s *State) JobsSince(key event.JobKey) iter.Seq[*Job] {
	return s.jobs.from(key, func(event.JobKey) bool { return true })
}

// JobsDown visits all jobs in the opposite order.
func (s *State) JobsDown() iter.Seq[*Job] { return s.jobs.down() }

// SystemJobs visits the jobs of type system that are not stopped, by namespace and ID:
// those that want to be on every node that comes.
func (s *State) SystemJobs() iter.Seq[*Job] {
	return func(yield func(*Job) bool) {
		s.system.tree.Scan(func(r row[event.JobKey, struct{}]) bool { return yield(s.Job(r.key)) })
	}
}

// SystemJobCount is how many SystemJobs visits.
func (s *State) SystemJobCount() int { return s.system.len() }

// ScaledJobs visits the jobs that have scaling policies and are not stopped, by
// namespace and ID.
func (s *State) ScaledJobs() iter.Seq[*Job] {
	return func(yield func(*Job) bool) {
		s.scaled.tree.Scan(func(r row[event.JobKey, struct{}]) bool { return yield(s.Job(r.key)) })
	}
}

// Evaluation looks up an evaluation; nil when there is none.
func (s *State) Evaluation(id event.ID) *event.Evaluation {
	e, _ := s.evaluations.get(id)
	return e
}

// Evaluations visits all evaluations by ID.
func (s *State) Evaluations() iter.Seq[*event.Evaluation] { return s.evaluations.all() }

// EvaluationsSince visits evaluations in the order of their creation, from one
// index and ID on.
func (s *State) EvaluationsSince(index uint64, id event.ID) iter.Seq[*event.Evaluation] {
	return s.aged(s.evaluationAge.from(aged{index, id}, func(aged) bool { return true }))
}

// EvaluationsUntil visits evaluations in the opposite order, down from one index
// and ID.
func (s *State) EvaluationsUntil(index uint64, id event.ID) iter.Seq[*event.Evaluation] {
	return s.aged(s.evaluationAge.downFrom(aged{index, id}))
}

func (s *State) aged(ids iter.Seq[event.ID]) iter.Seq[*event.Evaluation] {
	return func(yield func(*event.Evaluation) bool) {
		for id := range ids {
			if !yield(s.Evaluation(id)) {
				return
			}
		}
	}
}

// EvaluationsOf visits a job's evaluations in the order of their creation.
func (s *State) EvaluationsOf(job event.JobKey) iter.Seq[*event.Evaluation] {
	return s.evaluationsOfJob.from(jobOrder{job: job}, func(k jobOrder) bool { return k.job == job })
}

// PendingEvaluations visits the evaluations that wait for a worker: highest
// priority first, then first come.
func (s *State) PendingEvaluations() iter.Seq[*event.Evaluation] { return s.pending.all() }

// PendingCount is how many evaluations wait for a worker.
func (s *State) PendingCount() int { return s.pending.len() }

// BlockedEvaluation is the evaluation of the job that waits for capacity; nil
// when there is none. A job has at most one.
func (s *State) BlockedEvaluation(job event.JobKey) *event.Evaluation {
	e, _ := s.blocked.get(job)
	return e
}

// BlockedEvaluations visits all blocked evaluations by job.
func (s *State) BlockedEvaluations() iter.Seq[*event.Evaluation] { return s.blocked.all() }

// Allocation looks up an allocation; nil when there is none.
func (s *State) Allocation(id event.ID) *Allocation {
	at, ok := s.allocationIDs.find(id)
	if !ok {
		return nil
	}
	// The index knows the future of this state and other futures too.
	if a := s.allocations.get(at); a != nil && a.ID == id {
		return a
	}
	return nil
}

// AllocationCount is the number of allocations.
func (s *State) AllocationCount() int { return s.allocationCount }

// JobCount and EvaluationCount are how many there are in the state, ended ones
// included.
func (s *State) JobCount() int        { return s.jobs.len() }
func (s *State) EvaluationCount() int { return s.evaluations.len() }

// AllocationsDown visits all allocations, the newest first.
func (s *State) AllocationsDown() iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		for _, rows := range s.allocations.pagesDown() {
			for _, a := range slices.Backward(rows) {
				if a != nil && !yield(a) {
					return
				}
			}
		}
	}
}

// Allocations visits all allocations in the order of their creation.
func (s *State) Allocations() iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		for _, rows := range s.allocations.pages() {
			for _, a := range rows {
				if a != nil && !yield(a) {
					return
				}
			}
		}
	}
}

// AllocationsOf visits a job's allocations in the order of their creation.
func (s *State) AllocationsOf(job event.JobKey) iter.Seq[*Allocation] {
	of, _ := s.allocationsOfJob.get(job)
	return s.listed(of)
}

// AllocationsIn visits the allocations of a namespace, job by job.
func (s *State) AllocationsIn(namespace string) iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		inside := func(key event.JobKey) bool { return key.Namespace == namespace }
		for of := range s.allocationsOfJob.from(event.JobKey{Namespace: namespace}, inside) {
			for a := range s.listed(of) {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// AllocationsOn visits a node's allocations in the order of their creation.
func (s *State) AllocationsOn(node event.ID) iter.Seq[*Allocation] {
	n := s.Node(node)
	if n == nil {
		return func(func(*Allocation) bool) {}
	}
	return s.listed(n.allocs)
}

func (s *State) listed(l ordinals) iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		for _, at := range l.list {
			if !yield(s.allocations.get(at)) {
				return
			}
		}
	}
}

// Node looks up a node; nil when there is none.
func (s *State) Node(id event.ID) *Node {
	n, _ := s.nodes.get(id)
	return n
}

// Nodes visits all nodes by ID.
func (s *State) Nodes() iter.Seq[*Node] { return s.nodes.all() }

// NodesDown visits all nodes in the opposite order.
func (s *State) NodesDown() iter.Seq[*Node] { return s.nodes.down() }

// NodeCount is the number of nodes.
func (s *State) NodeCount() int { return s.nodes.len() }

// Blob is a content-addressed value; false when it is not, or not wholly, there.
func (s *State) Blob(hash event.Hash) ([]byte, bool) {
	b, ok := s.blobs.get(hash)
	if !ok || !b.complete() {
		return nil, false
	}
	return b.bytes(), true
}

// HasBlobChunk reports whether one chunk of a blob is there.
func (s *State) HasBlobChunk(hash event.Hash, chunk, of uint32) bool {
	b, ok := s.blobs.get(hash)
	return ok && len(b.Chunks) == int(of) && chunk < of && b.Chunks[chunk] != nil
}

// BlobChunks is what is there of a blob: a piece is nil that has not come yet.
// The whole is nil when nothing has.
func (s *State) BlobChunks(hash event.Hash) [][]byte {
	if b, ok := s.blobs.get(hash); ok {
		return b.Chunks
	}
	return nil
}

// Spec looks up a job's spec by its hash; nil when no job had it.
func (s *State) Spec(hash event.Hash) *Spec {
	spec, _ := s.specs.get(hash)
	return spec
}

// Command tells where a remembered command took effect.
func (s *State) Command(id event.ID) (Remembered, bool) { return s.commands.get(id) }

// prefixRange visits the values of an ID-keyed table whose ID begins with these
// bytes.
func prefixRange[V any](t table[event.ID, V], prefix []byte) iter.Seq[V] {
	var start event.ID
	if copy(start[:], prefix) < len(prefix) {
		return func(func(V) bool) {} // longer than any ID
	}
	return t.from(start, func(id event.ID) bool { return string(id[:len(prefix)]) == string(prefix) })
}

// AllocationsByPrefix visits the allocations whose ID begins with these bytes. It
// looks at every allocation, unless the prefix is a whole ID.
func (s *State) AllocationsByPrefix(prefix []byte) iter.Seq[*Allocation] {
	return func(yield func(*Allocation) bool) {
		if len(prefix) >= len(event.ID{}) {
			if len(prefix) == len(event.ID{}) {
				if a := s.Allocation(event.ID(prefix)); a != nil {
					yield(a)
				}
			}
			return
		}
		for a := range s.Allocations() {
			if string(a.ID[:len(prefix)]) == string(prefix) && !yield(a) {
				return
			}
		}
	}
}

// NodesByPrefix visits the nodes whose ID begins with these bytes.
func (s *State) NodesByPrefix(prefix []byte) iter.Seq[*Node] { return prefixRange(s.nodes, prefix) }

// EvaluationsByPrefix visits the evaluations whose ID begins with these bytes.
func (s *State) EvaluationsByPrefix(prefix []byte) iter.Seq[*event.Evaluation] {
	return prefixRange(s.evaluations, prefix)
}
