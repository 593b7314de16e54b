// Package checker reads the log a second time, in the dumbest way there is, and
// compares. It is what tests and simulations hold against package projections.
//
// The promise of this package: it shares no code with the fold. It keeps plain
// maps, adds up every allocation anew at every plan, and says of the first record
// after which something is wrong what that is.
package checker

import (
	"fmt"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Checker walks the records of one log from the first on.
type Checker struct {
	index   uint64
	hash    event.Hash
	time    int64
	chunks  map[event.Hash]map[uint32][]byte
	of      map[event.Hash]uint32
	jobs    map[event.JobKey]*job
	evals   map[event.ID]*evaluation
	allocs  map[event.ID]*allocation
	nodes   map[event.ID]*node
	applied map[event.ID]uint64 // last record of each command
	pools   map[string]event.NodePool
	spaces  map[string]event.Namespace
}

type job struct {
	spec    *event.Job
	version uint64
	stopped bool
	begun   bool // it ever had an evaluation; those may have left since
	batch   bool
	since   uint64              // the record that created it
	scaling map[string][]uint64 // by group: the records that speak of its count, oldest first
	tags    map[string]tagged   // by name
	gone    map[uint64]bool     // versions that are not kept
}

type evaluation struct {
	job     event.JobKey
	status  event.EvalStatus
	created uint64
}

type allocation struct {
	job     event.JobKey
	eval    event.ID
	version uint64
	created uint64
	group   string
	name    uint32
	node    event.ID
	every   bool // of a job that runs on every node, where the name is one of each
	ask     ask
	ports   []port
	client  event.ClientStatus
	desired event.DesiredStatus
	given   bool // handed its room over
	marked  bool // to be migrated
	hasty   bool // to be stopped without its shutdown delay
}

func (a *allocation) ended() bool {
	return a.client == event.ClientComplete || a.client == event.ClientFailed || a.client == event.ClientLost
}
func (a *allocation) holds() bool { return !a.ended() && !a.given }
func (a *allocation) live() bool  { return a.desired == event.DesiredRun && !a.ended() }

type port struct {
	number uint16
	shared bool // may be held by others too
}

type ask struct{ cpu, memory, disk, allocs int64 }

type node struct {
	info        *event.Node
	status      event.NodeStatus
	ineligible  bool
	incarnation uint64
	sequence    uint64
}

// New is a checker of an empty log.
func New() *Checker {
	return &Checker{
		chunks: make(map[event.Hash]map[uint32][]byte), of: make(map[event.Hash]uint32),
		jobs: make(map[event.JobKey]*job), evals: make(map[event.ID]*evaluation),
		allocs: make(map[event.ID]*allocation), nodes: make(map[event.ID]*node),
		applied: make(map[event.ID]uint64), pools: make(map[string]event.NodePool), spaces: make(map[string]event.Namespace),
	}
}

// Apply reads one record and says what is wrong after it.
func (c *Checker) Apply(r *event.Record) error {
	if err := c.apply(r); err != nil {
		return fmt.Errorf("record %d (%v): %w", r.Index, r.Kind, err)
	}
	return nil
}

func (c *Checker) apply(r *event.Record) error {
	switch {
	case r.Index != c.index+1:
		return fmt.Errorf("it follows record %d", c.index)
	case r.Previous != c.hash:
		return fmt.Errorf("it names another record before it than the one there is")
	case r.Time < c.time:
		return fmt.Errorf("its time is %d ns before that of the record before it", c.time-r.Time)
	}
	if last, ok := c.applied[r.CommandID]; ok && r.Remember && last != r.Index-1 {
		return fmt.Errorf("command %v took effect before, up to record %d", r.CommandID, last)
	}
	c.index, c.hash, c.time = r.Index, r.Hash, r.Time
	c.applied[r.CommandID] = r.Index
	switch e := r.Event.(type) {
	case *event.BlobStored:
		if c.chunks[e.Blob] == nil {
			c.chunks[e.Blob], c.of[e.Blob] = make(map[uint32][]byte), e.Of
		}
		if c.of[e.Blob] != e.Of || e.Chunk >= e.Of {
			return fmt.Errorf("chunk %d of %d, the blob has %d", e.Chunk, e.Of, c.of[e.Blob])
		}
		c.chunks[e.Blob][e.Chunk] = e.Data
	case *event.JobSubmitted:
		return c.submitted(e)
	case *event.JobStopped:
		key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
		if c.jobs[key] == nil {
			return fmt.Errorf("there is no job %v", key)
		}
		was := *c.jobs[key]
		was.version, was.stopped = e.Version, true
		was.forget()
		c.jobs[key] = &was
		if e.Purge {
			delete(c.jobs, key)
		}
	case *event.JobScaled:
		return c.scaled(e)
	case *event.JobVersionTagged:
		return c.tagged(e)
	case *event.JobVersionUntagged:
		return c.untagged(e)
	case *event.EvaluationCreated:
		if c.evals[e.Evaluation.ID] != nil {
			return fmt.Errorf("evaluation %v exists", e.Evaluation.ID)
		}
		c.evals[e.Evaluation.ID] = &evaluation{e.Evaluation.Job(), e.Evaluation.Status, r.Index}
		if j := c.jobs[e.Evaluation.Job()]; j != nil {
			j.begun = true
		}
		return c.oneBlocked(e.Evaluation.Job())
	case *event.EvaluationUnblocked:
		return c.evaluationBecomes(e.EvalID, event.EvalPending, event.EvalBlocked)
	case *event.EvaluationEnded:
		if e.Status != event.EvalFailed && e.Status != event.EvalCanceled {
			return fmt.Errorf("an evaluation ended as %v", e.Status)
		}
		return c.evaluationBecomes(e.EvalID, e.Status, event.EvalPending, event.EvalBlocked)
	case *event.PlanCommitted:
		return c.planned(e)
	case *event.NodeRegistered:
		n := c.nodes[e.NodeID]
		if n == nil {
			n = &node{info: e.Node}
			c.joined(e.Node)
			c.nodes[e.NodeID] = n
		}
		if n.info == nil {
			return fmt.Errorf("node %v is new and has no fingerprint", e.NodeID)
		}
		if e.Incarnation < n.incarnation {
			return fmt.Errorf("node %v goes back from incarnation %d to %d", e.NodeID, n.incarnation, e.Incarnation)
		}
		if e.Incarnation > n.incarnation {
			n.sequence = 0
		}
		n.status, n.incarnation = event.NodeInitializing, e.Incarnation
	case *event.NodeChanged:
		if e.Rest != nil {
			c.nodes[e.NodeID].info = e.Rest
			c.joined(e.Rest)
		}
	case *event.NodeStatusChanged:
		c.nodes[e.NodeID].status = e.Status
	case *event.NodeEligibilitySet:
		c.nodes[e.NodeID].ineligible = e.Ineligible
	case *event.AllocationsReported:
		return c.reported(e)
	case *event.AllocationsMarked:
		for _, id := range e.IDs {
			a := c.allocs[id]
			if a == nil || !a.live() {
				return fmt.Errorf("marks allocation %v, which is no live one", id)
			}
			a.marked, a.hasty = a.marked || e.Migrate, a.hasty || e.NoShutdownDelay
		}
	case *event.Collected:
		return c.collected(e)
	case *event.NodePoolSet:
		if e.Pool.Name == "default" || e.Pool.Name == "all" || e.Pool.Name == "" {
			return fmt.Errorf("it changes the node pool %q", e.Pool.Name)
		}
		c.pools[e.Pool.Name] = e.Pool
	case *event.NodePoolDeleted:
		return c.poolDeleted(e.Name)
	case *event.NamespaceSet:
		if e.Namespace.Name == "" {
			return fmt.Errorf("a namespace without a name")
		}
		c.spaces[e.Namespace.Name] = e.Namespace
	case *event.NamespaceDeleted:
		return c.namespaceDeleted(e.Name)
	}
	return nil
}

func (c *Checker) submitted(e *event.JobSubmitted) error {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	old := c.jobs[key]
	if e.SameSpec {
		if old == nil || old.version != e.Version {
			return fmt.Errorf("the same spec as version %d, which is not there", e.Version)
		}
		return nil
	}
	var data []byte
	for i := range c.of[e.Spec] {
		data = append(data, c.chunks[e.Spec][i]...)
	}
	if event.HashOf(data) != e.Spec {
		return fmt.Errorf("the log does not hold spec %v", e.Spec)
	}
	spec := new(event.Job)
	if err := event.Unmarshal(data, spec); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if old != nil && e.Version != old.version+1 || old == nil && e.Version != 0 {
		return fmt.Errorf("version %d does not follow", e.Version)
	}
	begun := old != nil && old.begun
	for _, eval := range c.evals {
		begun = begun || eval.job == key
	}
	since := c.index
	if old != nil {
		since = old.since
	}
	next := &job{spec: spec, version: e.Version, begun: begun, batch: spec.Type == event.JobTypeBatch || spec.Type == event.JobTypeSysBatch,
		since: since, scaling: scalingLeft(old, spec)}
	if old != nil {
		next.tags, next.gone = old.tags, old.gone
	}
	next.forget()
	c.jobs[key] = next
	return nil
}

func (c *Checker) evaluationBecomes(id event.ID, to event.EvalStatus, from ...event.EvalStatus) error {
	eval := c.evals[id]
	if eval == nil {
		return fmt.Errorf("there is no evaluation %v", id)
	}
	if !slices.Contains(from, eval.status) {
		return fmt.Errorf("evaluation %v goes from %v to %v", id, eval.status, to)
	}
	eval.status = to
	return c.oneBlocked(eval.job)
}

func (c *Checker) oneBlocked(key event.JobKey) error {
	blocked := 0
	for _, eval := range c.evals {
		if eval.job == key && eval.status == event.EvalBlocked {
			blocked++
		}
	}
	if blocked > 1 {
		return fmt.Errorf("job %v has %d blocked evaluations", key, blocked)
	}
	return nil
}

func (c *Checker) planned(e *event.PlanCommitted) error {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	switch e.Outcome {
	case event.EvalPending, event.EvalBlocked, event.EvalComplete, event.EvalFailed:
	default:
		return fmt.Errorf("outcome %v", e.Outcome)
	}
	if err := c.evaluationBecomes(e.EvalID, e.Outcome, event.EvalPending); err != nil {
		return err
	}
	touched := make(map[event.ID]bool)
	for _, stop := range e.Stops {
		a := c.allocs[stop.ID]
		if a == nil || a.job != key {
			return fmt.Errorf("stops allocation %v, which is none of job %v", stop.ID, key)
		}
		a.desired, a.given = event.DesiredStop, a.given || stop.HandsOver
		if stop.Client != 0 {
			if a.ended() && a.client != stop.Client {
				return fmt.Errorf("allocation %v ended as %v and becomes %v", stop.ID, a.client, stop.Client)
			}
			a.client = stop.Client
		}
		if stop.HandsOver && !c.succeeds(e, stop.ID, a.node) {
			return fmt.Errorf("allocation %v hands its room over to nobody", stop.ID)
		}
	}
	j := c.jobs[key]
	for _, id := range e.InPlace {
		a := c.allocs[id]
		if a == nil || a.job != key || !a.live() {
			return fmt.Errorf("updates allocation %v in place, which is no live one of job %v", id, key)
		}
		group := groupOf(j, a.group)
		if group == nil {
			return fmt.Errorf("allocation %v goes on as one of group %q, which is gone", id, a.group)
		}
		a.version = e.JobVersion
		// A node may have shrunk below what it holds; what goes on as it is is no
		// fault of the plan.
		if next := askOf(group); next != a.ask {
			a.ask, touched[a.node] = next, true
		}
	}
	for _, g := range e.Groups {
		for _, p := range g.Placements {
			group := groupOf(j, g.Name)
			if group == nil || j.stopped || j.version != e.JobVersion {
				return fmt.Errorf("places version %d of %v.%s, which is not wanted", e.JobVersion, key, g.Name)
			}
			id, at := event.AllocationID(e.EvalID, e.Basis, p.Ordinal), e.Nodes[p.Node]
			if c.allocs[id] != nil {
				return fmt.Errorf("allocation %v exists", id)
			}
			n := c.nodes[at]
			if n == nil || n.status != event.NodeReady {
				return fmt.Errorf("places on node %v, which is not ready", at)
			}
			a := &allocation{
				job: key, eval: e.EvalID, version: e.JobVersion, created: c.index, group: g.Name, name: p.Name, node: at, every: event.EveryNode(c.jobs[key].spec.Type), ask: askOf(group),
				client: event.ClientPending, desired: event.DesiredRun,
			}
			for i, asked := range portsOf(group) {
				if asked.Value != 0 && int(p.Ports[i]) != asked.Value {
					return fmt.Errorf("port %s has number %d instead of %d", asked.Label, p.Ports[i], asked.Value)
				}
				a.ports = append(a.ports, port{p.Ports[i], asked.IgnoreCollision})
			}
			c.allocs[id] = a
			touched[at] = true
		}
	}
	if err := c.oneOfEachName(key); err != nil {
		return err
	}
	for id := range touched {
		if err := c.roomOn(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *Checker) succeeds(e *event.PlanCommitted, previous, node event.ID) bool {
	for _, g := range e.Groups {
		for _, p := range g.Placements {
			if p.Previous == previous && e.Nodes[p.Node] == node {
				return true
			}
		}
	}
	return false
}

func groupOf(j *job, name string) *event.TaskGroup {
	if j == nil {
		return nil
	}
	for _, g := range j.spec.TaskGroups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// askOf adds up what the group needs at its widest moment.
func askOf(g *event.TaskGroup) ask {
	var widest ask
	for _, moment := range [][]string{{"prestart", "prestart sidecar"}, {"", "prestart sidecar", "poststart", "poststart sidecar"}, {"poststop", "poststop sidecar"}} {
		var sum ask
		for _, t := range g.Tasks {
			when := ""
			if t.Lifecycle != nil {
				when = t.Lifecycle.Hook
				if t.Lifecycle.Sidecar {
					when += " sidecar"
				}
			}
			if slices.Contains(moment, when) {
				sum.cpu += int64(t.Resources.CPU)
				sum.memory += int64(t.Resources.MemoryMB) + int64(t.Resources.SecretsMB)
			}
		}
		widest.cpu, widest.memory = max(widest.cpu, sum.cpu), max(widest.memory, sum.memory)
	}
	widest.disk = int64(g.EphemeralDisk.SizeMB)
	return widest
}

func portsOf(g *event.TaskGroup) []event.Port {
	if len(g.Networks) == 0 {
		return nil
	}
	return append(append([]event.Port(nil), g.Networks[0].ReservedPorts...), g.Networks[0].DynamicPorts...)
}

func (c *Checker) oneOfEachName(key event.JobKey) error {
	type instance struct {
		group string
		name  uint32
		node  event.ID // of those that have a place on every node
	}
	seen := make(map[instance]event.ID)
	for id, a := range c.allocs {
		if a.job != key || !a.live() {
			continue
		}
		name := instance{a.group, a.name, event.ID{}}
		if a.every {
			name.node = a.node
		}
		if other, ok := seen[name]; ok {
			return fmt.Errorf("%s.%s[%d] lives twice, as %v and %v", key.ID, a.group, a.name, other, id)
		}
		seen[name] = id
	}
	return nil
}

// roomOn adds up all that holds room on a node.
func (c *Checker) roomOn(id event.ID) error {
	n := c.nodes[id]
	used, ports := c.used(id)
	total := ask{n.info.NodeResources.Cpu.CpuShares, n.info.NodeResources.Memory.MemoryMB, n.info.NodeResources.Disk.DiskMB, int64(n.info.NodeMaxAllocs)}
	if r := n.info.ReservedResources; r != nil {
		total.cpu -= r.Cpu.CpuShares
		total.memory -= r.Memory.MemoryMB
		total.disk -= r.Disk.DiskMB
	}
	if used.cpu > total.cpu || used.memory > total.memory || used.disk > total.disk || total.allocs > 0 && used.allocs > total.allocs {
		return fmt.Errorf("node %v is overcommitted: %+v used of %+v", id, used, total)
	}
	slices.SortFunc(ports, func(a, b port) int { return int(a.number) - int(b.number) })
	for i, p := range ports {
		if p.number == 0 {
			return fmt.Errorf("node %v: an allocation holds port 0", id)
		}
		if i > 0 && ports[i-1].number == p.number && !p.shared && !ports[i-1].shared {
			return fmt.Errorf("node %v: port %d is held twice", id, p.number)
		}
	}
	return nil
}

func (c *Checker) used(id event.ID) (sum ask, ports []port) {
	for _, a := range c.allocs {
		if a.node == id && a.holds() {
			sum.cpu += a.ask.cpu
			sum.memory += a.ask.memory
			sum.disk += a.ask.disk
			sum.allocs++
			ports = append(ports, a.ports...)
		}
	}
	return sum, ports
}

func (c *Checker) reported(e *event.AllocationsReported) error {
	n := c.nodes[e.NodeID]
	if n == nil {
		return fmt.Errorf("node %v is not registered", e.NodeID)
	}
	if e.Incarnation != n.incarnation || e.Sequence != n.sequence+1 {
		return fmt.Errorf("report %d of incarnation %d after report %d of incarnation %d", e.Sequence, e.Incarnation, n.sequence, n.incarnation)
	}
	n.sequence = e.Sequence
	for _, d := range e.Deltas {
		a := c.allocs[d.ID]
		if a == nil || a.node != e.NodeID {
			return fmt.Errorf("node %v speaks of allocation %v, which is not its own", e.NodeID, d.ID)
		}
		if d.Client != 0 && !a.ended() {
			a.client = d.Client
		}
	}
	return nil
}

// Compare says where a state that was folded from the same records disagrees.
func (c *Checker) Compare(s *projections.State) error {
	if s.Index() != c.index || s.Hash() != c.hash || s.Time() != c.time {
		return fmt.Errorf("the state stands at %d %v, the records at %d %v", s.Index(), s.Hash(), c.index, c.hash)
	}
	for _, compare := range []func(*projections.State) error{c.compareJobs, c.compareEvaluations, c.compareAllocations, c.compareNodes, c.comparePools, c.compareNamespaces} {
		if err := compare(s); err != nil {
			return fmt.Errorf("state at %d: %w", c.index, err)
		}
	}
	return nil
}

func (c *Checker) compareJobs(s *projections.State) error {
	count := 0
	for j := range s.Jobs() {
		count++
		mine := c.jobs[j.Key]
		if mine == nil || mine.version != j.Version || mine.stopped != j.Stopped {
			return fmt.Errorf("job %v: version %d, stopped %v; expected %+v", j.Key, j.Version, j.Stopped, mine)
		}
		if err := compareTags(mine, j); err != nil {
			return err
		}
		if err := compareScaling(mine, j); err != nil {
			return err
		}
		live, open := 0, 0
		counts := make(map[string]projections.GroupSummary)
		for _, a := range c.allocs {
			if a.job != j.Key {
				continue
			}
			if a.live() {
				live++
			}
			sum := counts[a.group]
			switch a.client {
			case event.ClientPending:
				sum.Starting++
			case event.ClientRunning:
				sum.Running++
			case event.ClientUnknown:
				sum.Unknown++
			}
			counts[a.group] = sum
		}
		for _, e := range c.evals {
			if e.job == j.Key {
				if e.status == event.EvalPending || e.status == event.EvalBlocked {
					open++
				}
			}
		}
		status := "pending"
		switch {
		case live > 0:
			status = "running"
		case !j.Stopped && mine.spec.Type == event.JobTypeSystem:
			status = "running" // it waits for nodes
		case open == 0 && (j.Stopped || mine.begun):
			status = "dead"
		}
		if j.LiveAllocs != live || j.OpenEvals != open || j.Status() != status {
			return fmt.Errorf("job %v is %s with %d live allocations and %d open evaluations; expected %s, %d and %d",
				j.Key, j.Status(), j.LiveAllocs, j.OpenEvals, status, live, open)
		}
		for group, sum := range j.Summary {
			want := counts[group]
			if sum.Starting != want.Starting || sum.Running != want.Running || sum.Unknown != want.Unknown {
				return fmt.Errorf("job %v group %s: summary %+v; expected %+v", j.Key, group, sum, want)
			}
		}
	}
	if count != len(c.jobs) {
		return fmt.Errorf("%d jobs, expected %d", count, len(c.jobs))
	}
	return c.compareScaled(s)
}

func (c *Checker) compareEvaluations(s *projections.State) error {
	count, pending, blocked := 0, 0, 0
	for e := range s.Evaluations() {
		count++
		if mine := c.evals[e.ID]; mine == nil || mine.status != e.Status || mine.job != e.Job() {
			return fmt.Errorf("evaluation %v is %v; expected %+v", e.ID, e.Status, mine)
		}
		switch e.Status {
		case event.EvalPending:
			pending++
		case event.EvalBlocked:
			blocked++
			if found := s.BlockedEvaluation(e.Job()); found != e {
				return fmt.Errorf("blocked evaluation %v is not found by its job", e.ID)
			}
		}
	}
	if count != len(c.evals) {
		return fmt.Errorf("%d evaluations, expected %d", count, len(c.evals))
	}
	priority := 1 << 30
	for e := range s.PendingEvaluations() {
		pending--
		if e.Status != event.EvalPending || e.Priority > priority {
			return fmt.Errorf("evaluation %v stands in the wrong place of the queue", e.ID)
		}
		priority = e.Priority
	}
	for e := range s.BlockedEvaluations() {
		blocked--
		if e.Status != event.EvalBlocked {
			return fmt.Errorf("evaluation %v is listed as blocked and is %v", e.ID, e.Status)
		}
	}
	if pending != 0 || blocked != 0 {
		return fmt.Errorf("the queue lacks %d pending and %d blocked evaluations", pending, blocked)
	}
	return nil
}

func (c *Checker) compareAllocations(s *projections.State) error {
	count := 0
	for a := range s.Allocations() {
		count++
		mine := c.allocs[a.ID]
		if mine == nil || mine.client != a.Client || mine.desired != a.Desired || mine.given != a.HandedOver || mine.node != a.NodeID ||
			mine.marked != a.Migrates() || mine.hasty != a.NoShutdownDelay() {
			return fmt.Errorf("allocation %v is wanted to %v and is %v; expected %+v", a.ID, a.Desired, a.Client, mine)
		}
	}
	if count != len(c.allocs) {
		return fmt.Errorf("%d allocations, expected %d", count, len(c.allocs))
	}
	byJob := 0
	for key := range c.keys() {
		for a := range s.AllocationsOf(key) {
			if byJob++; s.Allocation(a.ID) != a {
				return fmt.Errorf("allocation %v is listed for job %v as it was", a.ID, key)
			}
		}
	}
	if byJob != count {
		return fmt.Errorf("%d allocations by job, expected %d", byJob, count)
	}
	return nil
}

func (c *Checker) keys() map[event.JobKey]bool {
	keys := make(map[event.JobKey]bool)
	for _, a := range c.allocs {
		keys[a.job] = true
	}
	return keys
}

func (c *Checker) compareNodes(s *projections.State) error {
	if s.NodeCount() != len(c.nodes) {
		return fmt.Errorf("%d nodes, expected %d", s.NodeCount(), len(c.nodes))
	}
	listed := 0
	for n := range s.Nodes() {
		mine := c.nodes[n.Info.ID]
		if mine == nil || mine.status != n.Status || mine.incarnation != n.Incarnation || mine.sequence != n.LastReport ||
			mine.ineligible != n.Ineligible {
			return fmt.Errorf("node %v is %v at report %d of incarnation %d; expected %+v", n.Info.ID, n.Status, n.LastReport, n.Incarnation, mine)
		}
		used, ports := c.used(n.Info.ID)
		if (ask{n.Used.CPU, n.Used.MemoryMB, n.Used.DiskMB, n.Used.Allocs}) != used {
			return fmt.Errorf("node %v: %+v used, expected %+v", n.Info.ID, n.Used, used)
		}
		numbers := make([]uint16, 0, len(ports))
		for _, p := range ports {
			numbers = append(numbers, p.number)
		}
		slices.Sort(numbers)
		if !slices.Equal(numbers, n.UsedPorts) {
			return fmt.Errorf("node %v: ports %v held, expected %v", n.Info.ID, n.UsedPorts, numbers)
		}
		for a := range s.AllocationsOn(n.Info.ID) {
			if s.Allocation(a.ID) != a || a.NodeID != n.Info.ID {
				return fmt.Errorf("allocation %v is listed on node %v as it was", a.ID, n.Info.ID)
			}
			listed++
		}
	}
	if listed != len(c.allocs) {
		return fmt.Errorf("%d allocations on nodes, expected %d", listed, len(c.allocs))
	}
	return compareFleet(s)
}

// compareFleet holds the flat rows against the nodes that they stand for.
func compareFleet(s *projections.State) error {
	rows := 0
	for first, page := range s.Fleet().Pages() {
		for i, row := range page {
			if row.Node == nil {
				continue
			}
			rows++
			n := s.Node(row.Node.Info.ID)
			if n != row.Node || int(n.Slot()) != first+i || s.Fleet().Row(first+i) != row {
				return fmt.Errorf("the row at slot %d of the fleet is of another node than it says, or of node %v as it was", first+i, row.Node.Info.ID)
			}
			if row.Free != n.Available.Minus(n.Used) || row.AvailCPU != n.Available.CPU || row.AvailMemoryMB != n.Available.MemoryMB ||
				row.Schedulable != n.Schedulable() || row.Class != n.Class() || int(row.Class) >= s.Fleet().Classes() {
				return fmt.Errorf("the fleet's row of node %v is out of date: %+v", n.Info.ID, row)
			}
		}
	}
	if rows != s.NodeCount() || s.Fleet().Slots() < rows {
		return fmt.Errorf("%d rows of the fleet for %d nodes", rows, s.NodeCount())
	}
	return nil
}
