package commands

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/checker"
)

// cluster is Decide and Evolve with nothing around them: what a command leads to
// is encoded, decoded, folded, and held against a checker that shares no code
// with the fold.
type cluster struct {
	now     time.Time
	records []*event.Record
	state   *projections.State // folded from the events as Decide made them
	twin    *projections.State // folded from the same records as decoded
	check   *checker.Checker

	commands uint64
	epoch    uint64
}

func newCluster() *cluster {
	c := &cluster{
		now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), state: projections.New(), twin: projections.New(), check: checker.New(),
	}
	if err := c.fold(&Command{ID: c.commandID()}, []Decided{
		{Event: &event.ClusterCreated{ClusterID: named("cluster"), Region: "global"}},
		{Event: &event.SchedulerConfigured{Algorithm: "binpack"}},
	}); err != nil {
		panic(err)
	}
	c.newEpoch()
	return c
}

func (c *cluster) newEpoch() {
	c.epoch++
	if err := c.fold(&Command{ID: c.commandID()}, []Decided{{Event: &event.CommitterStarted{Epoch: c.epoch, Server: "s1"}}}); err != nil {
		panic(err)
	}
}

// named is the identifier that a word stands for.
func named(word string) event.ID { return event.DeriveID(word, event.ID{}) }

func (c *cluster) commandID() event.ID {
	c.commands++
	return event.DeriveID("command", event.ID{}, c.commands)
}

// do decides a command and folds what it leads to. The error is a *Rejection, or
// what the checker found.
func (c *cluster) do(cmd *Command) ([]*event.Record, error) {
	if cmd.ID.IsZero() {
		cmd.ID = c.commandID()
	}
	before := len(c.records)
	decided, rejection := Decide(c.state, c.now.UnixNano(), cmd)
	again, rejectionAgain := Decide(c.state, c.now.UnixNano(), cmd)
	if fmt.Sprint(rejection) != fmt.Sprint(rejectionAgain) || len(decided) != len(again) {
		return nil, fmt.Errorf("decided twice on one state: %v, %d events; then %v, %d events", rejection, len(decided), rejectionAgain, len(again))
	}
	for i := range decided {
		if a, b := mustMarshal(decided[i].Event), mustMarshal(again[i].Event); string(a) != string(b) {
			return nil, fmt.Errorf("decided twice on one state: event %d is %x, then %x", i, a, b)
		}
	}
	if rejection != nil {
		return nil, rejection
	}
	if err := c.fold(cmd, decided); err != nil {
		return nil, err
	}
	return c.records[before:], nil
}

func mustMarshal(v any) []byte {
	data, err := event.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func (c *cluster) fold(cmd *Command, decided []Decided) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = fmt.Errorf("the fold cannot take what was decided: %v", bug)
		}
	}()
	for i, fact := range decided {
		r := &event.Record{Header: event.Header{
			Index: c.state.Index() + 1, Time: max(c.now.UnixNano(), c.state.Time()), Kind: fact.Event.Kind(), Last: i == len(decided)-1,
			Remember: cmd.Remember, Epoch: c.epoch, CommandID: cmd.ID, Caller: cmd.Caller, Cause: fact.Cause, EvalID: fact.EvalID,
			Previous: c.state.Hash(),
		}, Event: fact.Event}
		data, err := event.AppendRecord(nil, r)
		if err != nil {
			return err
		}
		r.Hash = event.HashOf(append(r.Previous[:], data...))
		decoded, err := event.DecodeRecord(data)
		if err != nil {
			return err
		}
		decoded.Hash = r.Hash
		c.state = projections.Evolve(c.state, r)
		c.twin = projections.Evolve(c.twin, decoded)
		c.records = append(c.records, decoded)
		if err := c.check.Apply(decoded); err != nil {
			return err
		}
	}
	if len(decided) == 0 {
		return nil
	}
	if err := c.check.Compare(c.state); err != nil {
		return err
	}
	if c.state.Checksum() != c.twin.Checksum() {
		return fmt.Errorf("at %d, the state folded from what was decided differs from the one folded from what was written", c.state.Index())
	}
	return nil
}

// testGroup is a task group in a few words.
type testGroup struct {
	name           string
	count          int
	cpu, mem, disk int
	static         []int
	dynamic        int
}

func testJob(id string, groups ...testGroup) *event.Job {
	job := &event.Job{
		Region: "global", Namespace: "default", ID: id, Name: id, Type: event.JobTypeService, Priority: 50,
		Datacenters: []string{"*"}, NodePool: "default",
	}
	for _, g := range groups {
		group := &event.TaskGroup{
			Name: g.name, Count: g.count, EphemeralDisk: event.EphemeralDisk{SizeMB: g.disk},
			Tasks: []*event.Task{{Name: "main", Driver: "raw_exec", Resources: event.Resources{CPU: g.cpu, MemoryMB: g.mem}}},
		}
		var network event.NetworkResource
		for i, value := range g.static {
			network.ReservedPorts = append(network.ReservedPorts, event.Port{Label: fmt.Sprintf("static%d", i), Value: value})
		}
		for i := range g.dynamic {
			network.DynamicPorts = append(network.DynamicPorts, event.Port{Label: fmt.Sprintf("dynamic%d", i), To: -1})
		}
		if len(g.static)+g.dynamic > 0 {
			group.Networks = []event.NetworkResource{network}
		}
		job.TaskGroups = append(job.TaskGroups, group)
	}
	return job
}

func submission(job *event.Job) SubmitJob {
	spec, err := NewBlob(job)
	if err != nil {
		panic(err)
	}
	return SubmitJob{Job: job, Spec: spec}
}

func testNode(name string, cpu, mem, disk int64) *event.Node {
	return &event.Node{
		ID: named("node " + name), Name: name, Datacenter: "dc1", NodePool: "default", ComputedClass: "class of " + name,
		Attributes: map[string]string{"kernel.name": "linux"},
		Drivers:    map[string]*event.DriverInfo{"raw_exec": {Detected: true, Healthy: true}},
		NodeResources: &event.NodeResources{
			Cpu: event.NodeCpu{CpuShares: cpu}, Memory: event.NodeMemory{MemoryMB: mem}, Disk: event.NodeDisk{DiskMB: disk},
			MinDynamicPort: 20000, MaxDynamicPort: 32000,
		},
	}
}

// secretOf is the hash of the secret that a node has in these tests.
func secretOf(name string) event.Hash { return event.HashOf([]byte("secret of " + name)) }

// Names that people read: evaluations are e1, e2 and so on in the order of
// their creation, allocations are a1, a2.

func (c *cluster) evalName(id event.ID) string {
	n := 0
	for _, r := range c.records {
		if e, ok := r.Event.(*event.EvaluationCreated); ok {
			n++
			if e.Evaluation.ID == id {
				return "e" + strconv.Itoa(n)
			}
		}
	}
	return "e?"
}

func (c *cluster) evalNamed(name string) (event.ID, error) {
	n := 0
	for _, r := range c.records {
		if e, ok := r.Event.(*event.EvaluationCreated); ok {
			n++
			if name == "e"+strconv.Itoa(n) {
				return e.Evaluation.ID, nil
			}
		}
	}
	if name == "none" {
		return named("no evaluation"), nil
	}
	return event.ID{}, fmt.Errorf("there is no evaluation %s", name)
}

// evalCreatedAt is the index of the record that created an evaluation.
func (c *cluster) evalCreatedAt(name string) (uint64, error) {
	id, err := c.evalNamed(name)
	if err != nil {
		return 0, err
	}
	for _, r := range c.records {
		if e, ok := r.Event.(*event.EvaluationCreated); ok && e.Evaluation.ID == id {
			return r.Index, nil
		}
	}
	return 1, nil
}

func (c *cluster) collectedLine(e *event.Collected) string {
	var parts []string
	for _, jobs := range e.Jobs {
		parts = append(parts, "job "+strings.Join(jobs.IDs, ", job "))
	}
	for _, work := range e.Work {
		for _, index := range work.Evaluations {
			parts = append(parts, c.evalName(c.records[index-1].Event.(*event.EvaluationCreated).Evaluation.ID))
		}
		for _, id := range work.Allocations {
			parts = append(parts, c.allocName(id))
		}
		parts[len(parts)-1] += " of " + work.JobID
	}
	for _, id := range e.Nodes {
		for _, r := range c.records {
			if n, ok := r.Event.(*event.NodeRegistered); ok && n.NodeID == id && n.Node != nil {
				parts = append(parts, "node "+n.Node.Name)
				break
			}
		}
	}
	if n := len(e.Blobs); n > 0 {
		parts = append(parts, fmt.Sprintf("%d blobs", n))
	}
	return strings.Join(parts, ", ")
}

func (c *cluster) allocations() []event.ID {
	var ids []event.ID
	for _, r := range c.records {
		if e, ok := r.Event.(*event.PlanCommitted); ok {
			for _, g := range e.Groups {
				for _, p := range g.Placements {
					ids = append(ids, event.AllocationID(e.EvalID, e.Basis, p.Ordinal))
				}
			}
		}
	}
	return ids
}

func (c *cluster) allocName(id event.ID) string {
	if n := slices.Index(c.allocations(), id); n >= 0 {
		return "a" + strconv.Itoa(n+1)
	}
	return "a?"
}

func (c *cluster) allocNamed(name string) (event.ID, error) {
	if name == "none" {
		return named("no allocation"), nil
	}
	n, err := strconv.Atoi(strings.TrimPrefix(name, "a"))
	if ids := c.allocations(); err == nil && n > 0 && n <= len(ids) {
		return ids[n-1], nil
	}
	return event.ID{}, fmt.Errorf("there is no allocation %s", name)
}

func (c *cluster) nodeName(id event.ID) string {
	if n := c.state.Node(id); n != nil {
		return n.Info.Name
	}
	return "an unknown node"
}

func nodeNamed(name string) event.ID { return named("node " + name) }

// describe tells what a command led to, a line for each record.
func (c *cluster) describe(records []*event.Record, err error) string {
	var rejection *Rejection
	switch {
	case errors.As(err, &rejection):
		text := c.words(rejection.Message)
		if rejection.RefreshIndex != 0 {
			text += fmt.Sprintf(" [refresh to %d]", rejection.RefreshIndex)
		}
		return fmt.Sprintf("refused (%s): %s", reasonWords[rejection.Reason], text)
	case err != nil:
		return "WRONG: " + c.words(err.Error())
	case len(records) == 0:
		return "so already"
	}
	var out strings.Builder
	for _, r := range records {
		fmt.Fprintf(&out, "%d %s %s\n", r.Index, r.Kind, c.words(c.line(r)))
	}
	return out.String()
}

var reasonWords = map[Reason]string{
	ReasonInvalid: "invalid", ReasonConflict: "conflict", ReasonNotFound: "not found", ReasonForbidden: "forbidden",
	ReasonStale: "stale", ReasonClosed: "closed", ReasonSuperseded: "superseded", ReasonNodeDown: "node down", ReasonTooLarge: "too large",
}

// words puts names in the place of identifiers.
func (c *cluster) words(text string) string {
	for _, r := range c.records {
		if e, ok := r.Event.(*event.EvaluationCreated); ok {
			text = strings.ReplaceAll(text, e.Evaluation.ID.String(), c.evalName(e.Evaluation.ID))
		}
	}
	for i, id := range c.allocations() {
		text = strings.ReplaceAll(text, id.String(), "a"+strconv.Itoa(i+1))
	}
	for n := range c.state.Nodes() {
		text = strings.ReplaceAll(text, n.Info.ID.String(), n.Info.Name)
	}
	return text
}

func (c *cluster) line(r *event.Record) string {
	switch e := r.Event.(type) {
	case *event.CommitterStarted:
		return fmt.Sprintf("epoch %d", e.Epoch)
	case *event.BlobStored:
		return fmt.Sprintf("chunk %d of %d", e.Chunk+1, e.Of)
	case *event.JobSubmitted:
		if e.SameSpec {
			return fmt.Sprintf("%s version %d as before", e.JobID, e.Version)
		}
		return fmt.Sprintf("%s version %d", e.JobID, e.Version)
	case *event.JobStopped:
		if e.Purge {
			return fmt.Sprintf("%s version %d, forgotten", e.JobID, e.Version)
		}
		return fmt.Sprintf("%s version %d", e.JobID, e.Version)
	case *event.SchedulerConfigured:
		return fmt.Sprintf("%+v", *e)
	case *event.NodePoolSet:
		return fmt.Sprintf("%s %q", e.Pool.Name, e.Pool.Description)
	case *event.NodePoolDeleted:
		return e.Name
	case *event.NamespaceSet:
		return fmt.Sprintf("%s %q", e.Namespace.Name, e.Namespace.Description)
	case *event.NamespaceDeleted:
		return e.Name
	case *event.JobVersionTagged:
		return fmt.Sprintf("%s version %d as %q (%s)", e.JobID, e.Version, e.Name, e.Description)
	case *event.JobVersionUntagged:
		return fmt.Sprintf("%s %q", e.JobID, e.Name)
	case *event.JobScaled:
		text := e.JobID + "." + e.Group
		if e.Count != nil {
			text += fmt.Sprintf(" from %d to %d", e.PreviousCount, *e.Count)
		}
		return fmt.Sprintf("%s, error %v: %q", text, e.Error, e.Message)
	case *event.EvaluationCreated:
		v := &e.Evaluation
		text := fmt.Sprintf("%s of %s: %v, %v, %s, priority %d", c.evalName(v.ID), v.JobID, v.TriggeredBy, v.Status, v.Type, v.Priority)
		if v.StatusDescription != "" {
			text += fmt.Sprintf(" (%s)", v.StatusDescription)
		}
		return text
	case *event.EvaluationUnblocked:
		return c.evalName(e.EvalID)
	case *event.EvaluationEnded:
		return fmt.Sprintf("%s %v: %s", c.evalName(e.EvalID), e.Status, e.Description)
	case *event.PlanCommitted:
		return c.planLine(e)
	case *event.NodeRegistered:
		if e.Node == nil {
			return fmt.Sprintf("%s again, incarnation %d", c.nodeName(e.NodeID), e.Incarnation)
		}
		return fmt.Sprintf("%s incarnation %d", c.nodeName(e.NodeID), e.Incarnation)
	case *event.NodeChanged:
		text := c.nodeName(e.NodeID)
		for _, key := range slices.Sorted(mapKeys(e.AttributesSet)) {
			text += fmt.Sprintf(" %s=%s", key, e.AttributesSet[key])
		}
		for _, key := range e.AttributesRemoved {
			text += fmt.Sprintf(" -%s", key)
		}
		if e.Rest != nil {
			text += " and more"
		}
		return text
	case *event.NodeEligibilitySet:
		word := event.Eligible
		if e.Ineligible {
			word = event.Ineligible
		}
		return c.nodeName(e.NodeID) + " " + word
	case *event.NodeStatusChanged:
		if e.Description != "" {
			return fmt.Sprintf("%s %v: %s", c.nodeName(e.NodeID), e.Status, e.Description)
		}
		return fmt.Sprintf("%s %v", c.nodeName(e.NodeID), e.Status)
	case *event.AllocationsMarked:
		var names []string
		for _, id := range e.IDs {
			names = append(names, c.allocName(id))
		}
		return fmt.Sprintf("%s migrate %v, without delay %v", strings.Join(names, " "), e.Migrate, e.NoShutdownDelay)
	case *event.AllocationsReported:
		text := fmt.Sprintf("%s report %d", c.nodeName(e.NodeID), e.Sequence)
		for _, d := range e.Deltas {
			text += fmt.Sprintf(", %s", c.allocName(d.ID))
			if d.Client != 0 {
				text += " " + d.Client.String()
			}
			for _, name := range slices.Sorted(mapKeys(d.Tasks)) {
				text += fmt.Sprintf(" %s %v", name, d.Tasks[name].State)
			}
		}
		return text
	case *event.Collected:
		return c.collectedLine(e)
	case *event.CheckpointTaken:
		return fmt.Sprintf("at %d", e.At)
	}
	return ""
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (c *cluster) planLine(e *event.PlanCommitted) string {
	var parts []string
	for _, stop := range e.Stops {
		text := "stop " + c.allocName(stop.ID)
		if stop.HandsOver {
			text += " (hands over)"
		}
		if stop.Client != 0 {
			text += " (" + stop.Client.String() + ")"
		}
		parts = append(parts, text)
	}
	for _, id := range e.InPlace {
		parts = append(parts, "keep "+c.allocName(id))
	}
	for _, g := range e.Groups {
		for _, p := range g.Placements {
			text := fmt.Sprintf("%s[%d]=%s on %s", g.Name, p.Name, c.allocName(event.AllocationID(e.EvalID, e.Basis, p.Ordinal)), c.nodeName(e.Nodes[p.Node]))
			if len(p.Ports) > 0 {
				text += fmt.Sprintf(" ports %v", p.Ports)
			}
			if !p.Previous.IsZero() {
				text += " for " + c.allocName(p.Previous)
			}
			parts = append(parts, text)
		}
		if g.Failed != nil {
			parts = append(parts, g.Name+" failed")
		}
	}
	for _, d := range e.Dropped {
		parts = append(parts, fmt.Sprintf("%d on %s dropped (%s)", d.Placements, c.nodeName(d.NodeID), d.Reason))
	}
	outcome := fmt.Sprintf("%s %v", c.evalName(e.EvalID), e.Outcome)
	if e.Description != "" {
		outcome += ": " + e.Description
	}
	return strings.Join(append(parts, outcome), "; ")
}
