package commands

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// Whatever is asked, in whatever order, sound or not: what Decide lets through
// can be folded, overcommits no node, gives no port twice and leaves no two live
// allocations of one name. The checker that says so adds everything up anew from
// the records.
func TestDecideKeepsThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCluster()
		g := generator{t: t, cluster: c}
		for i := range 3 {
			g.must(&Command{Body: RegisterNode{Node: testNode(nodeWord(i), 1000, 1000, 1000), SecretHash: secretOf(nodeWord(i)), Incarnation: 1}})
			g.must(&Command{Body: ReportAllocations{NodeID: nodeNamed(nodeWord(i)), SecretHash: secretOf(nodeWord(i)), Incarnation: 1, Sequence: 1, Ready: true}})
		}
		t.Repeat(map[string]func(*rapid.T){
			"submit":          g.submit,
			"stop":            g.stop,
			"scale":           g.scale,
			"places":          g.places,
			"tag":             g.tag,
			"stop allocation": g.stopAllocation,
			"plan":            g.plan,
			"plan2":           g.plan,
			"plan3":           g.plan,
			"report":          g.report,
			"register":        g.register,
			"down":            g.down,
			"unblock":         g.unblock,
			"fail":            g.fail,
			"collect":         g.collect,
			"store":           g.store,
			"wait":            func(t *rapid.T) { c.now = c.now.Add(time.Duration(rapid.IntRange(-5, 400).Draw(t, "s")) * time.Second) },
		})
	})
}

type generator struct {
	t *rapid.T
	*cluster
}

func nodeWord(i int) string { return fmt.Sprintf("n%d", i) }

// must has a command decided: it may be refused, but what it leads to may not be wrong.
func (g *generator) must(cmd *Command) {
	var rejection *Rejection
	if _, err := g.do(cmd); err != nil && !errors.As(err, &rejection) {
		g.t.Fatalf("%T: %s", cmd.Body, g.words(err.Error()))
	}
}

func jobWord(t *rapid.T) string { return rapid.SampledFrom([]string{"web", "db"}).Draw(t, "job") }

func (g *generator) submit(t *rapid.T) {
	group := testGroup{
		name: rapid.SampledFrom([]string{"g", "g", "g", "h"}).Draw(t, "group"), count: rapid.IntRange(0, 4).Draw(t, "count"),
		cpu: rapid.SampledFrom([]int{200, 300, 700}).Draw(t, "cpu"), mem: rapid.SampledFrom([]int{100, 400}).Draw(t, "mem"),
		disk: rapid.SampledFrom([]int{0, 300}).Draw(t, "disk"),
	}
	if rapid.IntRange(0, 3).Draw(t, "ports") == 0 {
		group.dynamic = 1
		if rapid.Bool().Draw(t, "static") {
			group.static = []int{8080}
		}
	}
	job := testJob(jobWord(t), group)
	if job.ID == "db" {
		job.Type = event.JobTypeBatch
	}
	job.Namespace = space(t)
	if rapid.IntRange(0, 3).Draw(t, "in a pool") == 0 {
		job.NodePool = "gpu"
	}
	if rapid.IntRange(0, 2).Draw(t, "scaled") == 0 {
		job.TaskGroups[0].Scaling = &event.ScalingPolicy{Min: 1, Max: 4, Enabled: true}
	}
	job.AllAtOnce = rapid.IntRange(0, 4).Draw(t, "all at once") == 0
	g.must(&Command{Body: submission(job)})
}

func (g *generator) stop(t *rapid.T) {
	g.must(&Command{Body: StopJob{Key: event.JobKey{Namespace: space(t), ID: jobWord(t)}, Purge: rapid.Bool().Draw(t, "purge"), NoShutdownDelay: rapid.Bool().Draw(t, "hasty")}})
}

// places has pools and namespaces come, change and go, and a node join one.
func (g *generator) places(t *rapid.T) {
	g.must(&Command{Body: rapid.SampledFrom([]Body{
		SetNodePool{event.NodePool{Name: "gpu"}}, SetNodePool{event.NodePool{Name: "gpu", Description: "changed"}}, DeleteNodePool{"gpu"},
		SetNamespace{event.Namespace{Name: "ops"}}, DeleteNamespace{"ops"}, DeleteNamespace{"ops"},
		SetNamespace{event.Namespace{Name: "ops", Capabilities: &event.NamespaceCapabilities{DisabledTaskDrivers: []string{"raw_exec"}}}},
	}).Draw(t, "what of a place")})
}

// space is where a job is.
func space(t *rapid.T) string {
	return rapid.SampledFrom([]string{"default", "default", "default", "ops"}).Draw(t, "namespace")
}

func (g *generator) tag(t *rapid.T) {
	key := event.JobKey{Namespace: space(t), ID: jobWord(t)}
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tag")
	if rapid.IntRange(0, 2).Draw(t, "untag") == 0 {
		g.must(&Command{Body: UntagVersion{Key: key, Name: name}})
		return
	}
	tag := TagVersion{Key: key, Name: name, Description: rapid.SampledFrom([]string{"", "good"}).Draw(t, "description")}
	if rapid.Bool().Draw(t, "numbered") {
		version := uint64(rapid.IntRange(0, 12).Draw(t, "version"))
		tag.Version = &version
	}
	g.must(&Command{Body: tag})
}

func (g *generator) scale(t *rapid.T) {
	scale := ScaleJob{
		Key: event.JobKey{Namespace: space(t), ID: jobWord(t)}, Group: rapid.SampledFrom([]string{"g", "h"}).Draw(t, "group"),
		Error: rapid.IntRange(0, 4).Draw(t, "error") == 0, Meta: map[string]any{"by": "test"},
	}
	if rapid.Bool().Draw(t, "counts") {
		count := int64(rapid.IntRange(-1, 5).Draw(t, "count"))
		scale.Count = &count
	}
	g.must(&Command{Body: scale})
}

func (g *generator) stopAllocation(t *rapid.T) {
	ids := []event.ID{named("none")}
	for a := range g.state.Allocations() {
		ids = append(ids, a.ID)
	}
	g.must(&Command{Body: StopAllocation{ID: rapid.SampledFrom(ids).Draw(t, "allocation"), NoShutdownDelay: rapid.Bool().Draw(t, "hasty")}})
}

func (g *generator) anyEval(t *rapid.T) *event.Evaluation {
	var list []*event.Evaluation
	for e := range g.state.PendingEvaluations() {
		list = append(list, e)
	}
	if len(list) == 0 || rapid.IntRange(0, 9).Draw(t, "any") == 0 {
		for e := range g.state.Evaluations() {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return &event.Evaluation{ID: named("none")}
	}
	return rapid.SampledFrom(list).Draw(t, "eval")
}

// plan proposes anything: mostly what a scheduler might, sometimes what none would.
func (g *generator) plan(t *rapid.T) {
	eval := g.anyEval(t)
	odd := func(what string) bool { return rapid.IntRange(0, 19).Draw(t, what) == 0 }
	p := &event.PlanCommitted{
		EvalID: eval.ID, Namespace: eval.Namespace, JobID: eval.JobID, Basis: g.state.Index(), Outcome: event.EvalComplete,
		ClassEligibility: map[string]bool{"class of n0": rapid.Bool().Draw(t, "eligible")},
	}
	if odd("old basis") {
		p.Basis -= min(p.Basis, uint64(rapid.IntRange(1, 6).Draw(t, "older by")))
	}
	if odd("outcome") {
		p.Outcome = event.EvalStatus(rapid.IntRange(0, 6).Draw(t, "outcome"))
	}
	for i := range 3 {
		p.Nodes = append(p.Nodes, nodeNamed(nodeWord(i)))
	}
	if odd("listed twice") {
		p.Nodes = append(p.Nodes, p.Nodes[0])
	}
	key := eval.Job()
	ordinal := uint32(0)
	var job *projections.Job
	if job = g.state.Job(key); job != nil {
		p.JobVersion = job.Version
		for _, group := range job.Spec.Job.TaskGroups {
			p.Groups = append(p.Groups, event.PlannedGroup{Name: group.Name})
		}
	}
	place := func(name uint32, node int, previous event.ID) {
		if len(p.Groups) == 0 {
			return
		}
		group := &p.Groups[0]
		placement := event.Placement{Ordinal: ordinal, Node: uint32(node), Name: name, Previous: previous}
		ordinal++
		if odd("ordinal") {
			placement.Ordinal = 0
		}
		if odd("node") {
			placement.Node = uint32(rapid.IntRange(0, 9).Draw(t, "nowhere"))
		}
		if ask := job.Spec.Ask(group.Name); ask != nil {
			for _, port := range ask.Ports {
				number := uint16(port.Value)
				if number == 0 || odd("port") {
					number = uint16(rapid.IntRange(20000, 20004).Draw(t, "number"))
				}
				if odd("no port") {
					number = 0
				}
				placement.Ports = append(placement.Ports, number)
			}
		}
		group.Placements = append(group.Placements, placement)
	}
	for a := range g.state.AllocationsOf(key) {
		node := -1
		for i, id := range p.Nodes {
			if id == a.NodeID {
				node = i
			}
		}
		switch rapid.IntRange(0, 7).Draw(t, "change") {
		case 0:
			p.Stops = append(p.Stops, event.PlannedStop{ID: a.ID})
		case 1, 2:
			p.Stops = append(p.Stops, event.PlannedStop{ID: a.ID, HandsOver: true})
			if odd("elsewhere") {
				node = (node + 1) % 3
			}
			place(a.NameIndex, max(node, 0), a.ID)
		case 3:
			p.Stops = append(p.Stops, event.PlannedStop{ID: a.ID, Client: event.ClientLost})
		case 4:
			p.InPlace = append(p.InPlace, a.ID)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "new") {
		place(uint32(rapid.IntRange(0, 4).Draw(t, "name")), rapid.IntRange(0, 2).Draw(t, "on"), event.ID{})
	}
	if len(p.Groups) > 0 && rapid.IntRange(0, 3).Draw(t, "failed") == 0 {
		p.Groups[0].Failed = &event.AllocMetric{NodesEvaluated: 3}
	}
	g.must(&Command{Body: CommitPlan{Plan: p}})
}

func (g *generator) report(t *rapid.T) {
	word := nodeWord(rapid.IntRange(0, 2).Draw(t, "node"))
	report := ReportAllocations{NodeID: nodeNamed(word), SecretHash: secretOf(word), Incarnation: 1, Sequence: 1, Ready: rapid.Bool().Draw(t, "ready")}
	if n := g.state.Node(report.NodeID); n != nil {
		report.Incarnation = n.Incarnation
		report.Sequence = n.LastReport + uint64(rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2}).Draw(t, "sequence"))
	}
	for a := range g.state.Allocations() {
		if a.NodeID != report.NodeID && rapid.IntRange(0, 9).Draw(t, "not its own") > 0 {
			continue
		}
		if status := event.ClientStatus(rapid.IntRange(0, 5).Draw(t, "status")); status != 0 {
			report.Deltas = append(report.Deltas, event.AllocDelta{ID: a.ID, Client: status, Tasks: map[string]*event.TaskState{"main": {State: event.TaskRunning}}})
		}
	}
	g.must(&Command{Body: report})
}

func (g *generator) register(t *rapid.T) {
	word := nodeWord(rapid.IntRange(0, 3).Draw(t, "node"))
	node := testNode(word, int64(rapid.SampledFrom([]int{1000, 1000, 600}).Draw(t, "cpu")), 1000, 1000)
	if rapid.IntRange(0, 5).Draw(t, "joins") == 0 {
		node.NodePool = "gpu"
	}
	g.must(&Command{Body: RegisterNode{Node: node, SecretHash: secretOf(word), Incarnation: uint64(rapid.IntRange(1, 3).Draw(t, "incarnation"))}})
}

func (g *generator) down(t *rapid.T) {
	var ids []event.ID
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, 3), 1, 3).Draw(t, "nodes") {
		ids = append(ids, nodeNamed(nodeWord(i)))
	}
	g.must(&Command{Body: MarkNodesDown{IDs: ids}, Epoch: uint64(rapid.IntRange(0, 2).Draw(t, "epoch"))})
}

func (g *generator) unblock(t *rapid.T) {
	var ids []event.ID
	for e := range g.state.BlockedEvaluations() {
		ids = append(ids, e.ID)
	}
	g.must(&Command{Body: UnblockEvaluations{IDs: append(ids, g.anyEval(t).ID)}})
}

func (g *generator) fail(t *rapid.T) {
	g.must(&Command{Body: FailEvaluation{EvalID: g.anyEval(t).ID}})
}

// collect proposes everything there is, or some of it. What is let through must
// leave a state that a checkpoint of it gives back, indexes and all.
func (g *generator) collect(t *rapid.T) {
	proposed := new(event.Collected)
	wanted := func(what string) bool { return rapid.IntRange(0, 3).Draw(t, what) > 0 }
	for _, word := range []string{"web", "db"} {
		if wanted("job") {
			proposed.Jobs = append(proposed.Jobs, event.CollectedJobs{Namespace: "default", IDs: []string{word}})
		}
		work := event.CollectedWork{Namespace: "default", JobID: word}
		for e := range g.state.Evaluations() {
			if wanted("evaluation") {
				work.Evaluations = append(work.Evaluations, e.CreateIndex)
			}
		}
		for a := range g.state.Allocations() {
			if wanted("allocation") {
				work.Allocations = append(work.Allocations, a.ID)
			}
		}
		proposed.Work = append(proposed.Work, work)
	}
	for n := range g.state.Nodes() {
		if wanted("node") {
			proposed.Nodes = append(proposed.Nodes, n.Info.ID)
		}
	}
	for hash := range g.state.UnnamedBlobs() {
		proposed.Blobs = append(proposed.Blobs, hash)
	}
	g.must(&Command{Body: Collect{Proposed: proposed}, Epoch: uint64(rapid.IntRange(0, 2).Draw(t, "epoch"))})
	if err := sameAfterCheckpoint(g.state); err != nil {
		t.Fatal(err)
	}
}

func (g *generator) store(t *rapid.T) {
	data := []byte(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "blob"))
	g.must(&Command{Body: StoreBlob{Hash: event.HashOf(data), Of: 1, Data: data}})
}

// sameAfterCheckpoint compares a state with what its checkpoint gives back, in
// what the encoding does not hold: the indexes of what has ended.
func sameAfterCheckpoint(s *projections.State) error {
	var b bytes.Buffer
	if err := s.Encode(&b); err != nil {
		return err
	}
	again, err := projections.Decode(&b)
	if err != nil {
		return err
	}
	if again.Checksum() != s.Checksum() {
		return errors.New("a state read back has another checksum")
	}
	if a, b := endedWords(s), endedWords(again); a != b {
		return fmt.Errorf("what has ended:\n%sread back:\n%s", a, b)
	}
	return nil
}

func endedWords(s *projections.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d allocations, %d evaluations\n", s.EndedAllocations(), s.EndedEvaluations())
	for a := range s.EndedAllocationsFrom(0) {
		fmt.Fprintf(&b, "allocation %v %v at %d\n", a.ID, a.Client, a.ModifyIndex)
	}
	for e := range s.EndedEvaluationsFrom(0) {
		fmt.Fprintf(&b, "evaluation %v %v at %d\n", e.ID, e.Status, e.ModifyIndex)
	}
	for j := range s.DeadJobsFrom(0) {
		fmt.Fprintf(&b, "job %v %s at %d\n", j.Key, j.Status(), j.ModifyIndex)
	}
	for hash, at := range s.UnnamedBlobs() {
		fmt.Fprintf(&b, "blob %v at %d\n", hash, at)
	}
	return b.String()
}
