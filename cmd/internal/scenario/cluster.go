package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover/cmd/internal/audit"
	"drover/commands"
	"drover/eventlog"
	"drover/eventlog/event"
	"drover/projections"
	"drover/scheduler"
)

// start is when every scenario begins.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// heartbeatsMissed is how long a node is silent before it is declared down.
const heartbeatsMissed = 30 * time.Second

// cluster is a server and its nodes, run by hand.
type cluster struct {
	state   *projections.State
	records []*event.Record
	now     time.Time
	drawn   uint64 // commands so far: their identifiers are derived from it
	nodes   map[string]*node
}

// node is a machine of the script: it does at once what it is ordered to, until
// it falls silent.
type node struct {
	name        string
	id          event.ID
	incarnation uint64
	sequence    uint64
	silent      bool
	told        map[event.ID]event.ClientStatus // what it last said of each allocation
}

func newCluster() *cluster {
	c := &cluster{state: projections.New(), now: start, nodes: make(map[string]*node)}
	c.append(&commands.Command{ID: c.draw(), Caller: event.Caller{Kind: event.CallerServer, Name: "s1"}}, []commands.Decided{
		{Event: &event.ClusterCreated{ClusterID: event.DeriveID("cluster", event.ID{}), Region: event.GlobalRegion}},
		{Event: &event.SchedulerConfigured{Algorithm: "binpack"}},
		{Event: &event.CommitterStarted{Epoch: 1, Server: "s1"}},
	})
	return c
}

func (c *cluster) draw() event.ID {
	c.drawn++
	return event.DeriveID("command", event.ID{}, c.drawn)
}

// do decides a command and folds what follows from it.
func (c *cluster) do(caller event.CallerKind, name string, body commands.Body) *commands.Rejection {
	cmd := &commands.Command{ID: c.draw(), Caller: event.Caller{Kind: caller, Name: name}, Body: body}
	decided, rejection := commands.Decide(c.state, c.now.UnixNano(), cmd)
	if rejection == nil && len(decided) > 0 {
		c.append(cmd, decided)
	}
	return rejection
}

// append stamps and chains events as the committer and the log do, by way of
// their bytes.
func (c *cluster) append(cmd *commands.Command, decided []commands.Decided) {
	draft := projections.NewDraft(c.state)
	for i, fact := range decided {
		s := draft.State()
		r := &event.Record{
			Header: event.Header{
				Index: s.Index() + 1, Time: c.now.UnixNano(), Kind: fact.Event.Kind(), Last: i == len(decided)-1,
				Epoch: 1, CommandID: cmd.ID, Caller: cmd.Caller, Cause: fact.Cause, EvalID: fact.EvalID, Previous: s.Hash(),
			},
			Event: fact.Event,
		}
		data, err := event.AppendRecord(nil, r)
		if err != nil {
			panic(err)
		}
		hash := eventlog.Chain(eventlog.Hash(r.Previous), r.Index, data)
		r, err = projections.DecodeEntry(projections.Entry{Index: r.Index, Hash: event.Hash(hash), Data: data})
		if err != nil {
			panic(err)
		}
		draft.Apply(r)
		c.records = append(c.records, r)
	}
	c.state = draft.Seal()
}

// settle lets the cluster come to rest: evaluations are run, nodes do what they
// are told and report it, room that came wakes what waits for it.
func (c *cluster) settle() error {
	for range 1000 {
		before := c.state.Index()
		if err := c.schedule(); err != nil {
			return err
		}
		for _, n := range c.inOrder() {
			if err := c.obey(n); err != nil {
				return err
			}
		}
		c.wake()
		if c.state.Index() == before {
			return nil
		}
	}
	return fmt.Errorf("the cluster does not come to rest")
}

func (c *cluster) schedule() error {
	for !c.state.Scheduler().PauseEvaluations {
		var next *event.Evaluation
		for e := range c.state.PendingEvaluations() {
			next = e
			break
		}
		if next == nil {
			return nil
		}
		plan := scheduler.Schedule(c.state, next)
		if again := scheduler.Schedule(c.state, next); string(encode(plan)) != string(encode(again)) {
			return fmt.Errorf("evaluation %v was decided in two ways on one state", next.ID)
		}
		if r := c.do(event.CallerWorker, "s1", commands.CommitPlan{Plan: plan}); r != nil {
			return fmt.Errorf("plan refused on the state that it was made on: %w", r)
		}
	}
	return nil
}

func encode(v any) []byte {
	data, err := event.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func (c *cluster) wake() {
	if ids := scheduler.Wakeable(c.state); len(ids) > 0 {
		c.do(event.CallerReactor, "unblocker", commands.UnblockEvaluations{IDs: ids})
	}
}

// obey has a node start what it should run, end what it should not, and report
// both in one report.
func (c *cluster) obey(n *node) error {
	if n.silent {
		return nil
	}
	var deltas []event.AllocDelta
	for a := range c.state.AllocationsOn(n.id) {
		was := n.told[a.ID]
		switch {
		case was.Terminal():
		case a.Desired == event.DesiredStop && a.Client == event.ClientLost && was == 0:
		case a.Desired == event.DesiredStop:
			deltas = append(deltas, c.say(n, a, event.ClientComplete, event.TaskEvent{Type: event.TaskKilled}))
		case was == 0 && n.mayStart(a):
			deltas = append(deltas, c.say(n, a, event.ClientRunning, event.TaskEvent{Type: event.TaskStarted}))
		}
	}
	if len(deltas) == 0 {
		return nil
	}
	return c.report(n, deltas)
}

// mayStart: what an allocation takes the room of must have ended before.
func (n *node) mayStart(a *projections.Allocation) bool {
	return !slices.ContainsFunc(a.WaitFor(), func(id event.ID) bool { return !n.told[id].Terminal() })
}

func (c *cluster) say(n *node, a *projections.Allocation, status event.ClientStatus, what event.TaskEvent) event.AllocDelta {
	n.told[a.ID] = status
	delta := event.AllocDelta{ID: a.ID, Client: status, Tasks: make(map[string]*event.TaskState)}
	what.Time = c.now.UnixNano() + int64(c.state.Index()) // no two events of a task are at the same time, though the clock stands still
	for _, t := range a.Spec.Job.LookupGroup(a.Group).Tasks {
		state := &event.TaskState{State: event.TaskRunning, StartedAt: event.StampOf(c.now), Events: []event.TaskEvent{what}}
		if status.Terminal() {
			state.State, state.FinishedAt, state.Failed = event.TaskDead, event.StampOf(c.now), status == event.ClientFailed
		}
		delta.Tasks[t.Name] = state
	}
	return delta
}

func (c *cluster) report(n *node, deltas []event.AllocDelta) error {
	n.sequence++
	if r := c.do(event.CallerNode, n.name, commands.ReportAllocations{
		NodeID: n.id, SecretHash: event.HashOf(n.id[:]), Incarnation: n.incarnation, Sequence: n.sequence, Ready: true, Deltas: deltas,
	}); r != nil {
		return fmt.Errorf("report of node %s: %w", n.name, r)
	}
	return nil
}

// join registers a node, or registers it again, and has it report ready.
func (c *cluster) join(n *node, info *event.Node) error {
	n.incarnation++
	n.sequence, n.silent = 0, false
	if r := c.do(event.CallerNode, n.name, commands.RegisterNode{Node: info, SecretHash: event.HashOf(n.id[:]), Incarnation: n.incarnation}); r != nil {
		return r
	}
	return c.report(n, nil)
}

// pass lets time go by; nodes that are silent for too long are declared down.
func (c *cluster) pass(d time.Duration) {
	c.now = c.now.Add(d)
	var down []event.ID
	for _, n := range c.inOrder() {
		if row := c.state.Node(n.id); n.silent && row != nil && d >= heartbeatsMissed && row.Status != event.NodeDown {
			down = append(down, n.id)
		}
	}
	if len(down) > 0 {
		c.do(event.CallerReactor, "heartbeats", commands.MarkNodesDown{IDs: down, Reason: "heartbeat missed"})
	}
}

func (c *cluster) inOrder() []*node {
	var list []*node
	for _, name := range slices.Sorted(maps.Keys(c.nodes)) {
		list = append(list, c.nodes[name])
	}
	return list
}

// Snapshot, Await and Collect show the cluster to the collector. It is asked by
// the script, in between all else, so that there is never anything to wait for.
func (c *cluster) Snapshot() *projections.State { return c.state }

func (c *cluster) Await(context.Context, uint64) (*projections.State, error) { return c.state, nil }

func (c *cluster) Collect(_ context.Context, _ uint64, proposed *event.Collected) error {
	if r := c.do(event.CallerReactor, "collector", commands.Collect{Proposed: proposed}); r != nil {
		return r
	}
	return nil
}

// collect lets the collector look once.
func (c *cluster) collect(force bool) error {
	collector, err := scheduler.NewCollector(scheduler.CollectorConfig{
		Source: c, Remover: c, Epoch: 1, Now: func() time.Time { return c.now },
	})
	if err != nil {
		return err
	}
	return collector.Sweep(context.Background(), force)
}

// trace shows records one a line, with names in the place of identifiers where
// the script gave some.
func (c *cluster) trace(records []*event.Record) string {
	var b strings.Builder
	for _, r := range records {
		summary := audit.Summary(r)
		for name, n := range c.nodes {
			summary = strings.ReplaceAll(summary, n.id.Short(), name)
		}
		for a := range c.state.Allocations() {
			summary = strings.ReplaceAll(summary, a.ID.Short(), fmt.Sprintf("%s.%s[%d]", a.Job.ID, a.Group, a.NameIndex))
		}
		fmt.Fprintf(&b, "%3d %-20s %s\n", r.Index, r.Kind, strings.TrimSpace(summary))
	}
	return b.String()
}
