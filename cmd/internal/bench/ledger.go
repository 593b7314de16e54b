package bench

import (
	"fmt"
	"slices"
	"time"

	"drover/eventlog/event"
)

// ledger is a walk over the log that keeps its own books: who asked for what, what
// was placed where, what each node has and holds. It shares no code with the fold
// (projections); what it finds wrong makes a run fail.
type ledger struct {
	blobs  map[event.Hash][]byte
	jobs   map[event.JobKey]*ledgerJob
	nodes  map[event.ID]*ledgerNode
	allocs map[event.ID]*ledgerAlloc

	wrong []string // what is wrong, at most wrongMax
	more  int      // what else

	facts logFacts
}

// logFacts is what the log says of a run.
type logFacts struct {
	records    uint64
	bytes      uint64 // of all records
	head       uint64
	evals      int // created
	plans      int // committed
	placements int
	stops      int
	// planBytes and planned are those of plans that placed something.
	planBytes     uint64
	blockedEvals  int
	failedEvals   int
	cutDown       int // plans of which nodes were left out
	dropped       int // placements left out
	reports       int
	unblocked     int
	declaredDown  map[event.ID]int // how often, by node
	marks         []mark           // one per plan that placed something
	firstSubmit   int64            // Unix nanoseconds; of the jobs of this run
	evalsByJob    map[event.JobKey]int
	latencyByPlan histogram // a job's first record to the plan that placed an allocation of it, per allocation
	largestRecord int
	checkpoints   int
	// When the first and the last node was declared down, and in how many commands.
	firstDown, lastDown int64
	downBatches         int
	downBatch           event.ID
}

// mark is a moment at which so many placements stood in the log.
type mark struct {
	at     int64 // Unix nanoseconds, record time
	placed int   // up to and with it
}

type ledgerJob struct {
	groups    map[string]*ledgerGroup
	submitted int64
	index     uint64 // of the record that submitted it first
	priority  int
	placed    int
	live      int
	wanted    int
	stopped   bool
}

type ledgerGroup struct {
	mhz, mb, diskMB int64
	ports           []event.Port
}

type ledgerNode struct {
	mhz, mb, diskMB             int64 // what tasks may have
	usedMHz, usedMB, usedDiskMB int64
	ports                       map[uint16]int
	status                      event.NodeStatus
	ineligible                  bool
}

type ledgerAlloc struct {
	job    *ledgerJob
	group  *ledgerGroup
	node   *ledgerNode
	ports  []uint16
	client event.ClientStatus
	holds  bool
	live   bool // wanted and not ended
}

// wrongMax is how many findings are told; the first ones tell the most.
const wrongMax = 10

func newLedger() *ledger {
	return &ledger{
		blobs: make(map[event.Hash][]byte), jobs: make(map[event.JobKey]*ledgerJob), nodes: make(map[event.ID]*ledgerNode),
		allocs: make(map[event.ID]*ledgerAlloc),
		facts:  logFacts{declaredDown: make(map[event.ID]int), evalsByJob: make(map[event.JobKey]int)},
	}
}

func (l *ledger) find(index uint64, format string, args ...any) {
	if len(l.wrong) == wrongMax {
		l.more++
		return
	}
	text := fmt.Sprintf(format, args...)
	if index > 0 {
		text = fmt.Sprintf("record %d: %s", index, text)
	}
	l.wrong = append(l.wrong, text)
}

// apply takes in the next record of the log, which took so many bytes there.
func (l *ledger) apply(r *event.Record, size int) {
	f := &l.facts
	if r.Index != f.head+1 {
		l.find(r.Index, "it follows record %d", f.head)
	}
	f.head = r.Index
	f.records++
	f.bytes += uint64(size)
	f.largestRecord = max(f.largestRecord, size)
	switch e := r.Event.(type) {
	case *event.BlobStored:
		l.blobs[e.Blob] = append(l.blobs[e.Blob], e.Data...)
	case *event.JobSubmitted:
		l.submitted(r, e)
	case *event.JobStopped:
		if j := l.jobs[event.JobKey{Namespace: e.Namespace, ID: e.JobID}]; j != nil {
			j.stopped, j.wanted = true, 0
		}
	case *event.NodeRegistered:
		l.registered(e.NodeID, e.Node)
	case *event.NodeChanged:
		if e.Rest != nil {
			l.registered(e.NodeID, e.Rest)
		}
	case *event.NodeStatusChanged:
		if n := l.nodes[e.NodeID]; n != nil {
			n.status = e.Status
		}
		if e.Status == event.NodeDown {
			f.declaredDown[e.NodeID]++
			if f.firstDown == 0 {
				f.firstDown = r.Time
			}
			if f.lastDown = r.Time; r.CommandID != f.downBatch {
				f.downBatch = r.CommandID
				f.downBatches++
			}
		}
	case *event.NodeEligibilitySet:
		if n := l.nodes[e.NodeID]; n != nil {
			n.ineligible = e.Ineligible
		}
	case *event.EvaluationCreated:
		f.evals++
		f.evalsByJob[e.Evaluation.Job()]++
	case *event.EvaluationUnblocked:
		f.unblocked++
	case *event.EvaluationEnded:
		if e.Status == event.EvalFailed {
			f.failedEvals++
		}
	case *event.PlanCommitted:
		l.planned(r, e, size)
	case *event.AllocationsReported:
		f.reports++
		for i := range e.Deltas {
			l.reported(r, &e.Deltas[i])
		}
	case *event.CheckpointTaken:
		f.checkpoints++
	}
}

func (l *ledger) submitted(r *event.Record, e *event.JobSubmitted) {
	if e.SameSpec {
		return
	}
	var spec event.Job
	data := l.blobs[e.Spec]
	if event.HashOf(data) != e.Spec {
		l.find(r.Index, "the log does not hold the spec of job %q", e.JobID)
		return
	}
	if err := event.Unmarshal(data, &spec); err != nil {
		l.find(r.Index, "the spec of job %q cannot be read: %v", e.JobID, err)
		return
	}
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := l.jobs[key]
	if j == nil {
		j = &ledgerJob{submitted: r.Time, index: r.Index}
		l.jobs[key] = j
		if l.facts.firstSubmit == 0 {
			l.facts.firstSubmit = r.Time
		}
	}
	j.priority = spec.Priority
	j.groups, j.wanted, j.stopped = make(map[string]*ledgerGroup), 0, false
	for _, g := range spec.TaskGroups {
		j.wanted += g.Count
		group := &ledgerGroup{diskMB: int64(g.EphemeralDisk.SizeMB)}
		for _, t := range g.Tasks {
			if t.Lifecycle != nil {
				continue // the jobs of a bench have none; others are counted by their main tasks
			}
			group.mhz += int64(t.Resources.CPU)
			group.mb += int64(t.Resources.MemoryMB)
		}
		for _, n := range g.Networks {
			group.ports = slices.Concat(group.ports, n.ReservedPorts, n.DynamicPorts)
		}
		j.groups[g.Name] = group
	}
}

func (l *ledger) registered(id event.ID, info *event.Node) {
	n := l.nodes[id]
	if n == nil {
		n = &ledgerNode{ports: make(map[uint16]int)}
		l.nodes[id] = n
	}
	if info == nil || info.NodeResources == nil {
		return
	}
	n.mhz, n.mb, n.diskMB = info.NodeResources.Cpu.CpuShares, info.NodeResources.Memory.MemoryMB, info.NodeResources.Disk.DiskMB
	if r := info.ReservedResources; r != nil {
		n.mhz, n.mb, n.diskMB = n.mhz-r.Cpu.CpuShares, n.mb-r.Memory.MemoryMB, n.diskMB-r.Disk.DiskMB
	}
}

func (l *ledger) planned(r *event.Record, e *event.PlanCommitted, size int) {
	f := &l.facts
	f.plans++
	if len(e.Dropped) > 0 {
		f.cutDown++
		for _, d := range e.Dropped {
			f.dropped += int(d.Placements)
		}
	}
	if e.Outcome == event.EvalFailed {
		f.failedEvals++
	}
	if !e.BlockedEval.IsZero() || e.Outcome == event.EvalBlocked {
		f.blockedEvals++
	}
	for i := range e.Stops {
		l.stopped(r, &e.Stops[i])
	}
	job := l.jobs[event.JobKey{Namespace: e.Namespace, ID: e.JobID}]
	if job == nil {
		l.find(r.Index, "it plans for job %q, which was never submitted", e.JobID)
		return
	}
	placed := 0
	for gi := range e.Groups {
		g := &e.Groups[gi]
		group := job.groups[g.Name]
		if group == nil && len(g.Placements) > 0 {
			l.find(r.Index, "it places group %q, which job %q does not have", g.Name, e.JobID)
			continue
		}
		for pi := range g.Placements {
			l.place(r, e, job, group, &g.Placements[pi])
			placed++
		}
	}
	if placed > 0 {
		f.placements += placed
		f.planBytes += uint64(size)
		f.marks = append(f.marks, mark{r.Time, f.placements})
		for range placed {
			f.latencyByPlan.add(time.Duration(r.Time - job.submitted))
		}
	}
	for _, id := range e.Nodes {
		if n := l.nodes[id]; n != nil && (n.usedMHz > n.mhz || n.usedMB > n.mb || n.usedDiskMB > n.diskMB) {
			l.find(r.Index, "node %v is overcommitted: %d MHz, %d MB and %d MB of disk in use of %d, %d and %d",
				id, n.usedMHz, n.usedMB, n.usedDiskMB, n.mhz, n.mb, n.diskMB)
		}
	}
}

func (l *ledger) place(r *event.Record, e *event.PlanCommitted, job *ledgerJob, group *ledgerGroup, p *event.Placement) {
	id := event.AllocationID(e.EvalID, e.Basis, p.Ordinal)
	if l.allocs[id] != nil {
		l.find(r.Index, "allocation %v is placed a second time", id)
		return
	}
	if int(p.Node) >= len(e.Nodes) {
		l.find(r.Index, "allocation %v is placed on node %d of %d", id, p.Node, len(e.Nodes))
		return
	}
	at := e.Nodes[p.Node]
	n := l.nodes[at]
	if n == nil || n.status != event.NodeReady || n.ineligible {
		l.find(r.Index, "allocation %v is placed on node %v, which is not ready for new ones", id, at)
		return
	}
	a := &ledgerAlloc{job: job, group: group, node: n, ports: p.Ports, client: event.ClientPending, holds: true, live: true}
	l.allocs[id] = a
	job.placed++
	job.live++
	n.usedMHz += group.mhz
	n.usedMB += group.mb
	n.usedDiskMB += group.diskMB
	if len(p.Ports) != len(group.ports) {
		l.find(r.Index, "allocation %v has %d ports, its group asks for %d", id, len(p.Ports), len(group.ports))
	}
	for _, port := range p.Ports {
		if n.ports[port]++; n.ports[port] > 1 || port == 0 {
			l.find(r.Index, "node %v: port %d is held %d times", at, port, n.ports[port])
		}
	}
}

func (l *ledger) stopped(r *event.Record, s *event.PlannedStop) {
	a := l.allocs[s.ID]
	if a == nil {
		l.find(r.Index, "it stops allocation %v, which was never placed", s.ID)
		return
	}
	l.facts.stops++
	a.unwanted()
	if s.Client.Terminal() {
		a.client = s.Client
		a.free()
	}
	if s.HandsOver {
		a.free()
	}
}

func (l *ledger) reported(r *event.Record, d *event.AllocDelta) {
	a := l.allocs[d.ID]
	if a == nil {
		l.find(r.Index, "a node reports allocation %v, which was never placed", d.ID)
		return
	}
	if d.Client == 0 || a.client.Terminal() {
		return
	}
	if a.client = d.Client; a.client.Terminal() {
		a.unwanted()
		a.free()
	}
}

func (a *ledgerAlloc) unwanted() {
	if a.live {
		a.live = false
		a.job.live--
	}
}

func (a *ledgerAlloc) free() {
	if !a.holds {
		return
	}
	a.holds = false
	a.node.usedMHz -= a.group.mhz
	a.node.usedMB -= a.group.mb
	a.node.usedDiskMB -= a.group.diskMB
	for _, port := range a.ports {
		if a.node.ports[port]--; a.node.ports[port] == 0 {
			delete(a.node.ports, port)
		}
	}
}

// rate is placements per second between the first plan after which at least from
// placements stood in the log, and the first after which at least to did. from 0
// is the first job's submission.
func (f *logFacts) rate(from, to int) float64 {
	begin, below := f.firstSubmit, 0
	for _, m := range f.marks {
		if from > 0 && below < from && m.placed >= from {
			begin, below = m.at, m.placed
		}
		if m.placed >= to {
			if m.at <= begin {
				return 0
			}
			return float64(m.placed-below) / time.Duration(m.at-begin).Seconds()
		}
	}
	return 0
}
