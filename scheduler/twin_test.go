package scheduler

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// twin is the dumb scheduler: for every placement it looks at every node anew,
// adds up what is there from the allocations, and scores in floating point. It
// shares the seed's tie-breaking with the real one and nothing else.
type twin struct {
	nodes []*twinNode
}

type twinNode struct {
	id         event.ID
	cpu, mem   int64
	usedCPU    int64
	usedMem    int64
	ports      map[int]bool // host ports taken
	free       int          // dynamic ports that are left
	ready      bool
	arch       string
	rack       string
	driver     bool
	neighbours map[string]int // live allocations by group, of the job in hand
}

// twinAsk is a group as the twin sees it.
type twinAsk struct {
	group                   string
	cpu, mem                int64
	count                   int
	static, dynamic         int // a static port number or 0; how many dynamic ones
	arch                    string
	distinctHosts           bool
	distinctRacks           int // limit, 0 for none
	freed, freedMem         int64
	freedPorts, freedStatic int
}

func (n *twinNode) fits(a *twinAsk, home bool) bool {
	cpu, mem, free := n.cpu-n.usedCPU, n.mem-n.usedMem, n.free
	if home {
		cpu, mem, free = cpu+a.freed, mem+a.freedMem, free+a.freedPorts
	}
	if a.static != 0 && n.ports[a.static] && !(home && a.freedStatic == a.static) {
		return false
	}
	return a.cpu <= cpu && a.mem <= mem && a.dynamic <= free
}

func (w *twin) allowed(n *twinNode, a *twinAsk) bool {
	if !n.ready || !n.driver || a.arch != "" && n.arch != a.arch {
		return false
	}
	if a.distinctHosts && n.neighbours[a.group] > 0 {
		return false
	}
	if a.distinctRacks > 0 {
		used := 0
		for _, other := range w.nodes {
			if other.rack == n.rack {
				used += other.neighbours[a.group]
			}
		}
		if n.rack == "" || used >= a.distinctRacks {
			return false
		}
	}
	return true
}

func (n *twinNode) score(a *twinAsk, home bool) float64 {
	cpu, mem := n.cpu-n.usedCPU-a.cpu, n.mem-n.usedMem-a.mem
	if home {
		cpu, mem = cpu+a.freed, mem+a.freedMem
	}
	f := 20 - math.Pow(10, float64(cpu)/float64(n.cpu)) - math.Pow(10, float64(mem)/float64(n.mem))
	score := min(max(f, 0), 18) / 18
	if c := n.neighbours[a.group]; c > 0 {
		score = (score - float64(c+1)/float64(a.count)) / 2
	}
	return score
}

// best lists the score of every node that can take the group.
func (w *twin) best(a *twinAsk, home event.ID) map[event.ID]float64 {
	scores := make(map[event.ID]float64)
	for _, n := range w.nodes {
		if w.allowed(n, a) && n.fits(a, n.id == home) {
			scores[n.id] = n.score(a, n.id == home)
		}
	}
	return scores
}

// scoreSlack is how far integer and floating-point scores may be apart.
const scoreSlack = 4.0 / event.ScoreScale

// TestChoiceEqualsBruteForce walks every plan placement by placement and demands
// that the node chosen is one of the best, that a failure is one, and that ties
// fall as the seed says.
func TestChoiceEqualsBruteForce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCluster(t)
		w := new(twin)
		for i := range rapid.IntRange(1, 7).Draw(r, "nodes") {
			name := fmt.Sprintf("n%d", i)
			n := &twinNode{
				id: nodeID(name), ports: make(map[int]bool), neighbours: make(map[string]int),
				cpu: rapid.SampledFrom([]int64{500, 1000, 2000, 4000}).Draw(r, "cpu"), mem: rapid.SampledFrom([]int64{512, 1024, 4096}).Draw(r, "memory"),
				arch: rapid.SampledFrom([]string{"amd64", "arm64"}).Draw(r, "arch"), rack: rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(r, "rack"),
				ready: rapid.IntRange(0, 9).Draw(r, "ready") > 0, driver: rapid.IntRange(0, 9).Draw(r, "driver") > 0,
				free: rapid.IntRange(1, 6).Draw(r, "ports"),
			}
			w.nodes = append(w.nodes, n)
			c.addNode(newNode(name, n.cpu, n.mem, func(info *event.Node) {
				info.Attributes["cpu.arch"] = n.arch
				if n.rack != "" {
					info.Meta["rack"] = n.rack
				}
				info.Drivers["raw_exec"].Healthy = n.driver
				info.NodeResources.MinDynamicPort, info.NodeResources.MaxDynamicPort = 20000, 20000+n.free-1
			}))
			if !n.ready {
				c.setNode(name, event.NodeDown)
			}
		}
		for step := range rapid.IntRange(1, 6).Draw(r, "steps") {
			job := randomJob(r, fmt.Sprintf("j%d", rapid.IntRange(0, 2).Draw(r, "job")), step)
			c.submit(job)
			if rapid.Bool().Draw(r, "ended") {
				for _, a := range c.live(job.ID) {
					if rapid.IntRange(0, 3).Draw(r, "end") == 0 {
						c.report(a, event.ClientComplete)
					}
				}
			}
			before := c.state
			eval := c.evaluate(job.ID, event.TriggerJobRegister)
			plan := c.decide(eval)
			w.follow(r, before, job, plan)
			c.apply(plan)
			c.checkSound()
		}
	})
}

func randomJob(r *rapid.T, id string, version int) *event.Job {
	job := newJob(id, rapid.IntRange(0, 6).Draw(r, "count"), 100*rapid.IntRange(1, 8).Draw(r, "ask cpu"), 64*rapid.IntRange(1, 8).Draw(r, "ask memory"))
	job.Type = rapid.SampledFrom([]string{event.JobTypeService, event.JobTypeBatch}).Draw(r, "type")
	g := job.TaskGroups[0]
	if rapid.Bool().Draw(r, "changed") {
		g.Tasks[0].Env = map[string]string{"VERSION": fmt.Sprint(version)}
	}
	var network event.NetworkResource
	if rapid.IntRange(0, 4).Draw(r, "static") == 0 {
		network.ReservedPorts = []event.Port{{Label: "fixed", Value: 80}}
	}
	for i := range rapid.IntRange(0, 2).Draw(r, "dynamic") {
		network.DynamicPorts = append(network.DynamicPorts, event.Port{Label: fmt.Sprintf("p%d", i)})
	}
	if len(network.ReservedPorts)+len(network.DynamicPorts) > 0 {
		g.Networks = []event.NetworkResource{network}
	}
	if rapid.IntRange(0, 3).Draw(r, "constraint") == 0 {
		g.Constraints = append(g.Constraints, event.Constraint{LTarget: "${attr.cpu.arch}", Operand: "=", RTarget: "amd64"})
	}
	switch rapid.IntRange(0, 4).Draw(r, "distinct") {
	case 0:
		g.Constraints = append(g.Constraints, event.Constraint{Operand: distinctHosts})
	case 1:
		limit := rapid.SampledFrom([]string{"", "2"}).Draw(r, "limit")
		job.Constraints = append(job.Constraints, event.Constraint{LTarget: "${meta.rack}", Operand: distinctProperty, RTarget: limit})
	}
	return job
}

func askOf(job *event.Job) *twinAsk {
	g := job.TaskGroups[0]
	a := &twinAsk{group: g.Name, cpu: int64(g.Tasks[0].Resources.CPU), mem: int64(g.Tasks[0].Resources.MemoryMB), count: g.Count}
	if len(g.Networks) > 0 {
		a.dynamic = len(g.Networks[0].DynamicPorts)
		if len(g.Networks[0].ReservedPorts) > 0 {
			a.static = 80
		}
	}
	for _, c := range slices.Concat(job.Constraints, g.Constraints) {
		switch c.Operand {
		case distinctHosts:
			a.distinctHosts = true
		case distinctProperty:
			a.distinctRacks = 1
			if c.RTarget == "2" {
				a.distinctRacks = 2
			}
		default:
			a.arch = c.RTarget
		}
	}
	return a
}

// follow replays a plan in the dumb way.
func (w *twin) follow(r *rapid.T, s *projections.State, job *event.Job, plan *event.PlanCommitted) {
	stops := make(map[event.ID]event.PlannedStop)
	for _, stop := range plan.Stops {
		stops[stop.ID] = stop
	}
	replaced := make(map[event.ID]bool)
	for _, g := range plan.Groups {
		for _, p := range g.Placements {
			if !p.Previous.IsZero() && stops[p.Previous].Client == 0 {
				replaced[p.Previous] = true
			}
		}
	}
	byID := make(map[event.ID]*twinNode)
	for _, n := range w.nodes {
		byID[n.id] = n
		n.usedCPU, n.usedMem, n.ports, n.neighbours = 0, 0, make(map[int]bool), make(map[string]int)
		info := s.Node(n.id).Info.NodeResources
		n.free = info.MaxDynamicPort - info.MinDynamicPort + 1
		for a := range s.AllocationsOn(n.id) {
			if a.Client.Terminal() || a.HandedOver {
				continue
			}
			hold(n, a, +1)
			_, stopped := stops[a.ID]
			if a.Job.ID == job.ID && a.Desired == event.DesiredRun && (!stopped || replaced[a.ID]) {
				n.neighbours[a.Group]++
			}
		}
	}
	ask := askOf(job)
	placed := 0
	for _, g := range plan.Groups {
		for _, p := range g.Placements {
			w.step(r, s, ask, plan, p, stops, byID)
			placed++
		}
		if g.Failed != nil {
			w.checkFailure(r, s, ask, job, placed, stops)
		}
	}
}

func hold(n *twinNode, a *projections.Allocation, by int64) {
	task := a.Spec.Job.TaskGroups[0].Tasks[0]
	n.usedCPU += by * int64(task.Resources.CPU)
	n.usedMem += by * int64(task.Resources.MemoryMB)
	for _, p := range a.Ports() {
		n.ports[p.Value] = by > 0
		if p.Value >= 20000 {
			n.free -= int(by)
		}
	}
}

func (w *twin) step(r *rapid.T, s *projections.State, ask *twinAsk, plan *event.PlanCommitted, p event.Placement, stops map[event.ID]event.PlannedStop, byID map[event.ID]*twinNode) {
	chosen := plan.Nodes[p.Node]
	var home event.ID
	ask.freed, ask.freedMem, ask.freedPorts, ask.freedStatic = 0, 0, 0, 0
	var old *projections.Allocation
	if stop, ok := stops[p.Previous]; ok && stop.Client == 0 && !p.Previous.IsZero() {
		old = s.Allocation(p.Previous)
		home = old.NodeID
		if old.Live() {
			byID[home].neighbours[old.Group]--
		}
		w.offer(ask, old)
	}
	scores := w.best(ask, home)
	got, ok := scores[chosen]
	if !ok {
		r.Fatalf("%s[%d] was placed on %s, which cannot take it", plan.JobID, p.Name, nodeName(chosen))
	}
	for id, score := range scores {
		if score > got+scoreSlack {
			r.Fatalf("%s[%d] was placed on %s (%f), %s is better (%f)", plan.JobID, p.Name, nodeName(chosen), got, nodeName(id), score)
		}
		if score == got && tieOf(plan.Seed, id) < tieOf(plan.Seed, chosen) {
			r.Fatalf("%s[%d] was placed on %s, %s comes first among equals", plan.JobID, p.Name, nodeName(chosen), nodeName(id))
		}
	}
	if math.Abs(float64(p.Score)/event.ScoreScale-got) > scoreSlack {
		r.Fatalf("%s[%d] on %s has score %d, want %f", plan.JobID, p.Name, nodeName(chosen), p.Score, got)
	}
	n := byID[chosen]
	if old != nil && stops[p.Previous].HandsOver {
		if home != chosen {
			r.Fatalf("%s[%d] takes over a room on another node", plan.JobID, p.Name)
		}
		hold(n, old, -1)
	}
	n.usedCPU, n.usedMem = n.usedCPU+ask.cpu, n.usedMem+ask.mem
	for _, port := range p.Ports {
		if n.ports[int(port)] {
			r.Fatalf("%s[%d] gets port %d on %s, which is taken", plan.JobID, p.Name, port, nodeName(chosen))
		}
		n.ports[int(port)] = true
		if port >= 20000 {
			n.free--
		}
	}
	n.neighbours[ask.group]++
}

// offer notes what the old allocation would hand over on its node.
func (w *twin) offer(ask *twinAsk, old *projections.Allocation) {
	if !old.HoldsRoom() {
		return
	}
	task := old.Spec.Job.TaskGroups[0].Tasks[0]
	ask.freed, ask.freedMem = int64(task.Resources.CPU), int64(task.Resources.MemoryMB)
	for _, p := range old.Ports() {
		if p.Value >= 20000 {
			ask.freedPorts++
		} else {
			ask.freedStatic = p.Value
		}
	}
}

// checkFailure demands that the first placement that failed finds no node either.
func (w *twin) checkFailure(r *rapid.T, s *projections.State, ask *twinAsk, job *event.Job, placed int, stops map[event.ID]event.PlannedStop) {
	ask.freed, ask.freedMem, ask.freedPorts, ask.freedStatic = 0, 0, 0, 0
	// Without a predecessor on a node it is as hard as it gets; what failed with
	// one fails without as well.
	if scores := w.best(ask, event.ID{}); len(scores) > 0 {
		var names []string
		for id := range scores {
			names = append(names, nodeName(id))
		}
		slices.Sort(names)
		r.Fatalf("a placement of %s failed after %d, but %s can take it", job.ID, placed, strings.Join(names, ", "))
	}
}
