package commands

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"drover/eventlog/event"
)

// The rules of Decide as stories. Each line of a plan's or report's body is one
// of its parts; see parsePlan and parseReport. -rewrite writes the answers anew:
// keep only differences that you understand and want.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if filepath.Ext(path) != ".txt" {
			return
		}
		c := newCluster()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "cluster" {
				c = newCluster()
				return ""
			}
			if d.Cmd == "show" {
				return c.show()
			}
			if d.Cmd == "wait" {
				by, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				c.now = c.now.Add(by)
				return ""
			}
			if d.Cmd == "new-epoch" {
				c.newEpoch()
				return fmt.Sprintf("epoch %d", c.epoch)
			}
			cmd, err := c.parse(d)
			if err != nil {
				d.Fatalf(t, "%v", err)
			}
			got := c.describe(c.do(cmd))
			if strings.HasPrefix(got, "WRONG") {
				t.Errorf("%s: %s", d.Pos, got)
			}
			return got
		})
	})
}

// args are the words after a command: bare ones and key=value ones.
type args struct {
	bare []string
	set  map[string][]string
}

func (a args) has(key string) bool { _, ok := a.set[key]; return ok || slices.Contains(a.bare, key) }

func (a args) number(key string, otherwise int) int {
	if v := a.set[key]; len(v) > 0 {
		n, err := strconv.Atoi(v[0])
		if err != nil {
			panic(err)
		}
		return n
	}
	return otherwise
}

func (a args) word(key, otherwise string) string {
	if v := a.set[key]; len(v) > 0 {
		return v[0]
	}
	return otherwise
}

func (a args) numbers(key string) (list []int) {
	for _, v := range a.set[key] {
		for _, s := range strings.Split(v, "+") {
			n, err := strconv.Atoi(s)
			if err != nil {
				panic(err)
			}
			list = append(list, n)
		}
	}
	return list
}

func lineArgs(line string) args {
	a := args{set: make(map[string][]string)}
	for _, w := range strings.Fields(line) {
		if key, value, ok := strings.Cut(w, "="); ok {
			a.set[key] = append(a.set[key], value)
		} else {
			a.bare = append(a.bare, w)
		}
	}
	return a
}

func (c *cluster) parse(d *datadriven.TestData) (*Command, error) {
	var words []string
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 {
			words = append(words, arg.Key)
		}
		for _, v := range arg.Vals {
			words = append(words, arg.Key+"="+v)
		}
	}
	a := lineArgs(strings.Join(words, " "))
	cmd := &Command{Epoch: uint64(a.number("epoch", 0)), Remember: a.has("remember")}
	if id := a.word("command", ""); id != "" {
		cmd.ID = named(id)
	}
	name := ""
	if len(a.bare) > 0 {
		name = a.bare[0]
	}
	key := event.JobKey{Namespace: a.word("namespace", "default"), ID: name}
	switch d.Cmd {
	case "submit":
		cmd.Body = parseSubmit(name, a, d.Input)
	case "stop":
		cmd.Body = StopJob{Key: key, Purge: a.has("purge"), EvalPriority: a.number("priority", 0), NoShutdownDelay: a.has("no-delay")}
	case "scale":
		scale := ScaleJob{Key: key, Group: a.word("group", "g"), Message: a.word("message", ""), Error: a.has("error"), JobModifyIndex: uint64(a.number("check-index", 0))}
		if a.has("to") {
			count := int64(a.number("to", 0))
			scale.Count = &count
		}
		cmd.Body = scale
	case "tag":
		tag := TagVersion{Key: key, Name: a.word("as", ""), Description: a.word("description", "")}
		if a.has("version") {
			version := uint64(a.number("version", 0))
			tag.Version = &version
		}
		cmd.Body = tag
	case "untag":
		cmd.Body = UntagVersion{Key: key, Name: a.word("as", "")}
	case "revert":
		cmd.Body = RevertJob{Key: key, Version: uint64(a.number("to", 0))}
	case "pool":
		pool := event.NodePool{Name: name, Description: a.word("description", "")}
		if algorithm := a.word("algorithm", ""); algorithm != "" {
			pool.SchedulerConfiguration = &event.NodePoolScheduler{SchedulerAlgorithm: algorithm}
		}
		cmd.Body = SetNodePool{pool}
	case "delete-pool":
		cmd.Body = DeleteNodePool{name}
	case "namespace":
		namespace := event.Namespace{Name: name, Description: a.word("description", "")}
		if a.has("enabled") || a.has("disabled") || a.has("no-network") {
			namespace.Capabilities = &event.NamespaceCapabilities{EnabledTaskDrivers: a.set["enabled"], DisabledTaskDrivers: a.set["disabled"], DisabledNetworkModes: a.set["no-network"]}
		}
		if a.has("allowed") || a.has("denied") {
			namespace.NodePoolConfiguration = &event.NamespaceNodePools{Default: a.word("default", ""), Allowed: a.set["allowed"], Denied: a.set["denied"]}
		}
		cmd.Body = SetNamespace{namespace}
	case "delete-namespace":
		cmd.Body = DeleteNamespace{name}
	case "configure":
		configure := ConfigureScheduler{Config: event.SchedulerConfigured{
			Algorithm: a.word("algorithm", ""), RejectJobs: a.has("reject"), PauseEvaluations: a.has("pause"), MemoryOversubscribed: a.has("oversubscribe"),
		}}
		if a.has("check-index") {
			index := uint64(a.number("check-index", 0))
			configure.ModifyIndex = &index
		}
		cmd.Body = configure
	case "evaluate":
		cmd.Body = EvaluateJob{Key: key}
	case "register":
		cmd.Body = parseRegister(name, a)
	case "report":
		report := ReportAllocations{
			NodeID: nodeNamed(name), SecretHash: secretOf(a.word("secret", name)),
			Incarnation: uint64(a.number("incarnation", 1)), Sequence: uint64(a.number("report", 0)), Ready: a.has("ready"),
		}
		for _, line := range strings.Split(d.Input, "\n") {
			if err := c.parseDelta(&report, strings.Fields(line)); err != nil {
				return nil, err
			}
		}
		cmd.Body = report
	case "down":
		down := MarkNodesDown{Reason: "heartbeat missed"}
		for _, n := range a.bare {
			down.IDs = append(down.IDs, nodeNamed(n))
		}
		cmd.Body = down
	case "unblock":
		var wake UnblockEvaluations
		for _, n := range a.bare {
			id, err := c.evalNamed(n)
			if err != nil {
				return nil, err
			}
			wake.IDs = append(wake.IDs, id)
		}
		cmd.Body = wake
	case "fail":
		id, err := c.evalNamed(name)
		if err != nil {
			return nil, err
		}
		cmd.Body = FailEvaluation{EvalID: id, Description: "maximum attempts reached (5)"}
	case "plan":
		plan, err := c.parsePlan(a, d.Input)
		if err != nil {
			return nil, err
		}
		cmd.Body = CommitPlan{Plan: plan}
	case "store":
		data := []byte(strings.Repeat(name, a.number("times", 1)))
		hash := event.HashOf(data)
		if of := a.word("of-blob", ""); of != "" {
			hash = event.HashOf([]byte(of))
		}
		cmd.Body = StoreBlob{Hash: hash, Chunk: uint32(a.number("chunk", 0)), Of: uint32(a.number("of", 1)), Data: data}
	case "collect":
		proposed, err := c.parseCollect(d.Input)
		if err != nil {
			return nil, err
		}
		cmd.Body = Collect{Proposed: proposed}
	case "delete-evals":
		var del DeleteEvaluations
		for _, w := range strings.Fields(d.Input) {
			id, err := c.evalNamed(w)
			if err != nil {
				return nil, err
			}
			del.IDs = append(del.IDs, id)
		}
		cmd.Body = del
	case "checkpoint":
		cmd.Body = RecordCheckpoint{At: uint64(a.number("at", 0)), FoldVersion: 1}
	default:
		return nil, fmt.Errorf("unknown command %s", d.Cmd)
	}
	return cmd, nil
}

// parseCollect reads, line by line: "job web", "work web e1 e2 a3", "node n1",
// "blob word".
func (c *cluster) parseCollect(input string) (*event.Collected, error) {
	proposed := new(event.Collected)
	for _, line := range strings.Split(input, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "job":
			proposed.Jobs = append(proposed.Jobs, event.CollectedJobs{Namespace: "default", IDs: words[1:]})
		case "work":
			work := event.CollectedWork{Namespace: "default", JobID: words[1]}
			for _, w := range words[2:] {
				if strings.HasPrefix(w, "a") {
					id, err := c.allocNamed(w)
					if err != nil {
						return nil, err
					}
					work.Allocations = append(work.Allocations, id)
					continue
				}
				index, err := c.evalCreatedAt(w)
				if err != nil {
					return nil, err
				}
				work.Evaluations = append(work.Evaluations, index)
			}
			proposed.Work = append(proposed.Work, work)
		case "node":
			proposed.Nodes = append(proposed.Nodes, nodeNamed(words[1]))
		case "blob":
			proposed.Blobs = append(proposed.Blobs, event.HashOf([]byte(words[1])))
		case "many":
			proposed.Blobs = append(proposed.Blobs, make([]event.Hash, collectMax+1)...)
		default:
			return nil, errors.New("unknown sort of garbage: " + line)
		}
	}
	return proposed, nil
}

func parseGroup(name string, a args) testGroup {
	return testGroup{
		name: name, count: a.number("count", 1), cpu: a.number("cpu", 500), mem: a.number("mem", 256), disk: a.number("disk", 0),
		static: a.numbers("static"), dynamic: a.number("dynamic", 0),
	}
}

func parseSubmit(name string, a args, input string) SubmitJob {
	var groups []testGroup
	for _, line := range strings.Split(input, "\n") {
		if g := lineArgs(line); len(g.bare) > 0 {
			groups = append(groups, parseGroup(g.bare[0], g))
		}
	}
	if len(groups) == 0 {
		groups = []testGroup{parseGroup("g", a)}
	}
	job := testJob(name, groups...)
	job.Type = a.word("type", event.JobTypeService)
	job.Priority = a.number("priority", 50)
	job.Namespace, job.NodePool = a.word("namespace", "default"), a.word("pool", "default")
	for _, mode := range a.set["network"] {
		job.TaskGroups[0].Networks = []event.NetworkResource{{Mode: mode}}
	}
	job.AllAtOnce = a.has("all-at-once")
	job.TaskGroups[0].ShutdownDelay = time.Duration(a.number("delay", 0)) * time.Second
	if a.has("max") {
		job.TaskGroups[0].Scaling = &event.ScalingPolicy{Min: int64(a.number("min", 0)), Max: int64(a.number("max", 0)), Enabled: true}
	}
	s := submission(job)
	s.EnforceIndex, s.JobModifyIndex = a.has("check-index"), uint64(a.number("check-index", 0))
	s.EvalPriority, s.PreserveCounts = a.number("eval-priority", 0), a.has("preserve-counts")
	if a.has("wrong-hash") {
		s.Spec.Hash = event.HashOf([]byte("something else"))
	}
	if a.has("spec-stored-ahead") {
		s.Spec.Data = nil
	}
	return s
}

func parseRegister(name string, a args) RegisterNode {
	n := testNode(name, int64(a.number("cpu", 4000)), int64(a.number("mem", 8192)), int64(a.number("disk", 10000)))
	n.ComputedClass = a.word("class", n.ComputedClass)
	if ports := a.word("keep-back", ""); ports != "" {
		n.ReservedResources = &event.NodeReservedResources{Networks: event.ReservedNetworks{ReservedHostPorts: ports}}
	}
	for _, attribute := range a.set["attribute"] {
		key, value, _ := strings.Cut(attribute, ":")
		n.Attributes[key] = value
	}
	n.Datacenter = a.word("datacenter", "dc1")
	if n.Datacenter == "none" {
		n.Datacenter = ""
	}
	if a.has("nil-driver") {
		n.Drivers["broken"] = nil
	}
	if a.has("checked-later") {
		n.Drivers["raw_exec"].UpdateTime = 99
	}
	n.NodePool = a.word("pool", "default")
	n.NodeResources.MinDynamicPort = a.number("min-port", 20000)
	n.NodeResources.MaxDynamicPort = a.number("max-port", 32000)
	return RegisterNode{Node: n, SecretHash: secretOf(a.word("secret", name)), Incarnation: uint64(a.number("incarnation", 1)), Ineligible: a.has("ineligible")}
}

// parseDelta reads "a1 running" or "a1 complete main:dead".
func (c *cluster) parseDelta(r *ReportAllocations, words []string) error {
	if len(words) == 0 {
		return nil
	}
	id, err := c.allocNamed(words[0])
	if err != nil {
		return err
	}
	delta := event.AllocDelta{ID: id}
	for _, w := range words[1:] {
		if task, state, ok := strings.Cut(w, ":"); ok {
			if delta.Tasks == nil {
				delta.Tasks = make(map[string]*event.TaskState)
			}
			if state == "nil" {
				delta.Tasks[task] = nil
				continue
			}
			var s event.TaskState
			if err := s.State.UnmarshalText([]byte(state)); err != nil {
				return err
			}
			delta.Tasks[task] = &s
			continue
		}
		if err := delta.Client.UnmarshalText([]byte(w)); err != nil {
			return err
		}
	}
	r.Deltas = append(r.Deltas, delta)
	return nil
}

// parsePlan reads, line by line:
//
//	place g[0] on n1 ports=8080+20000 for=a1 ordinal=0
//	stop a1 hands-over | lost
//	keep a1
//	failed g seen=class1 unfit=class2
//
// The job, its version and the basis are those of the present unless the plan
// says otherwise.
func (c *cluster) parsePlan(a args, input string) (*event.PlanCommitted, error) {
	evalID, err := c.evalNamed(a.bare[0])
	if err != nil {
		return nil, err
	}
	p := &event.PlanCommitted{EvalID: evalID, Namespace: "default", Basis: uint64(a.number("basis", int(c.state.Index()))), SchedulerVersion: 1, Outcome: event.EvalComplete}
	if eval := c.state.Evaluation(evalID); eval != nil {
		p.JobID = eval.JobID
	}
	p.JobID = a.word("job", p.JobID)
	if job := c.state.Job(event.JobKey{Namespace: "default", ID: p.JobID}); job != nil {
		p.JobVersion = uint64(a.number("version", int(job.Version)))
	}
	if outcome := a.word("outcome", ""); outcome == "none" {
		p.Outcome = 0
	} else if outcome != "" {
		if err := p.Outcome.UnmarshalText([]byte(outcome)); err != nil {
			return nil, err
		}
	}
	groups := make(map[string]*event.PlannedGroup)
	var order []string
	group := func(name string) *event.PlannedGroup {
		if groups[name] == nil {
			groups[name] = &event.PlannedGroup{Name: name}
			order = append(order, name)
		}
		return groups[name]
	}
	ordinal := uint32(0)
	for _, line := range strings.Split(input, "\n") {
		l := lineArgs(line)
		if len(l.bare) == 0 {
			continue
		}
		switch l.bare[0] {
		case "place":
			name, index, _ := strings.Cut(strings.TrimSuffix(l.bare[1], "]"), "[")
			n, err := strconv.Atoi(index)
			if err != nil {
				return nil, err
			}
			placement := event.Placement{Ordinal: uint32(l.number("ordinal", int(ordinal))), Name: uint32(n), Score: 500_000}
			ordinal++
			at := slices.Index(p.Nodes, nodeNamed(l.bare[3]))
			if at < 0 || l.has("listed-again") {
				at = len(p.Nodes)
				p.Nodes = append(p.Nodes, nodeNamed(l.bare[3]))
			}
			placement.Node = uint32(l.number("node", at))
			for _, port := range l.numbers("ports") {
				placement.Ports = append(placement.Ports, uint16(port))
			}
			if previous := l.word("for", ""); previous != "" {
				if placement.Previous, err = c.allocNamed(previous); err != nil {
					return nil, err
				}
			}
			g := group(name)
			g.Placements = append(g.Placements, placement)
		case "stop":
			id, err := c.allocNamed(l.bare[1])
			if err != nil {
				return nil, err
			}
			stop := event.PlannedStop{ID: id, Description: "alloc not needed due to job update", HandsOver: l.has("hands-over")}
			if l.has("lost") {
				stop.Client = event.ClientLost
			}
			if l.has("complete") {
				stop.Client = event.ClientComplete
			}
			p.Stops = append(p.Stops, stop)
		case "keep":
			id, err := c.allocNamed(l.bare[1])
			if err != nil {
				return nil, err
			}
			p.InPlace = append(p.InPlace, id)
		case "failed":
			group(l.bare[1]).Failed = &event.AllocMetric{NodesEvaluated: 1, NodesExhausted: 1, DimensionExhausted: map[string]int{"cpu": 1}}
			p.Queued = map[string]int{l.bare[1]: 1}
			p.ClassEligibility = make(map[string]bool)
			for _, class := range l.set["seen"] {
				p.ClassEligibility[class] = true
			}
			for _, class := range l.set["unfit"] {
				p.ClassEligibility[class] = false
			}
			p.EscapedComputedClass = l.has("escaped")
		default:
			return nil, errors.New("unknown part of a plan: " + line)
		}
	}
	for _, name := range order {
		p.Groups = append(p.Groups, *groups[name])
	}
	return p, nil
}

// show is the state in a few lines.
func (c *cluster) show() string {
	var out strings.Builder
	for j := range c.state.Jobs() {
		fmt.Fprintf(&out, "job %s version %d %s, changed at %d", j.Key.ID, j.Version, j.Status(), j.ChangeIndex)
		for _, g := range slices.Sorted(mapKeys(j.Summary)) {
			fmt.Fprintf(&out, ", %s %+v", g, j.Summary[g])
		}
		out.WriteString("\n")
	}
	for e := range c.state.PendingEvaluations() {
		fmt.Fprintf(&out, "pending %s of %s\n", c.evalName(e.ID), e.JobID)
	}
	for e := range c.state.BlockedEvaluations() {
		fmt.Fprintf(&out, "blocked %s of %s\n", c.evalName(e.ID), e.JobID)
	}
	for i, id := range c.allocations() {
		a := c.state.Allocation(id)
		if a == nil {
			continue
		}
		fmt.Fprintf(&out, "a%d %s on %s: %v, %v", i+1, a.Name(), c.nodeName(a.NodeID), a.Desired, a.Client)
		for _, w := range a.WaitFor() {
			fmt.Fprintf(&out, ", waits for %s", c.allocName(w))
		}
		if !a.Next().IsZero() {
			fmt.Fprintf(&out, ", followed by %s", c.allocName(a.Next()))
		}
		out.WriteString("\n")
	}
	for n := range c.state.Nodes() {
		free := n.Available.Minus(n.Used)
		fmt.Fprintf(&out, "node %s %v: free cpu %d memory %d disk %d", n.Info.Name, n.Status, free.CPU, free.MemoryMB, free.DiskMB)
		if len(n.UsedPorts) > 0 {
			fmt.Fprintf(&out, ", ports %v", n.UsedPorts)
		}
		out.WriteString("\n")
	}
	return out.String()
}
