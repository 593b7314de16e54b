package scheduler

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
	"drover/projections"
)

// twin is the dumb scheduler: for every placement it looks at every node anew,
// and adds up what is there from the allocations. It scores twice: in floating
// point, sharing nothing with the real one, to see that the formulas are right;
// and in the integers that nodes are compared by, to see that the choice is
// exactly the best, ties included.
type twin struct {
	nodes  []*twinNode
	evenly bool // the emptiest node is the best
}

type twinNode struct {
	id         event.ID
	cpu, mem   int64
	usedCPU    int64
	usedMem    int64
	most, held int          // allocations; most is 0 for as many as fit
	ports      map[int]bool // host ports taken
	free       int          // dynamic ports that are left
	ready      bool
	arch       string
	rack       string
	dc         string
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
	limitOn                 string // attribute whose values have a limit
	limit                   int    // of allocations of a value, 0 for none
	limitOfJob              bool   // counting those of all groups
	affinities              []event.Affinity
	spreads                 []event.Spread
	frees                   bool // its predecessor gives up its room
	freed, freedMem         int64
	freedPorts, freedStatic int
}

func (n *twinNode) fits(a *twinAsk, home bool) bool {
	cpu, mem, free := n.cpu-n.usedCPU, n.mem-n.usedMem, n.free
	if n.most > 0 && n.held >= n.most && !(home && a.frees) {
		return false
	}
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
	if a.limit > 0 {
		value, ok := n.valueOf(a.limitOn)
		used := 0
		for _, other := range w.nodes {
			theirs, has := other.valueOf(a.limitOn)
			for group, live := range other.neighbours {
				if has && theirs == value && (a.limitOfJob || group == a.group) {
					used += live
				}
			}
		}
		if !ok || used >= a.limit {
			return false
		}
	}
	return true
}

// valueOf is what a node says of an attribute.
func (n *twinNode) valueOf(attribute string) (string, bool) {
	switch attribute {
	case "${meta.rack}":
		return n.rack, n.rack != ""
	case "${node.datacenter}":
		return n.dc, true
	case "${attr.cpu.arch}":
		return n.arch, true
	case "${node.unique.id}":
		return n.id.String(), true
	case "${node.unique.name}":
		return nodeName(n.id), true
	}
	return "", false
}

// usage counts the group's allocations by the value of an attribute.
func (w *twin) usage(a *twinAsk, attribute string) map[string]int {
	used := make(map[string]int)
	for _, n := range w.nodes {
		if value, ok := n.valueOf(attribute); ok && n.neighbours[a.group] > 0 {
			used[value] += n.neighbours[a.group]
		}
	}
	return used
}

// fraction is a number that is right.
type fraction struct{ over, under int64 }

func (f fraction) float() float64 { return float64(f.over) / float64(f.under) }

// boost is what one spread block gives a node.
func (w *twin) boost(a *twinAsk, block event.Spread, weights int64, n *twinNode) fraction {
	value, ok := n.valueOf(block.Attribute)
	if !ok {
		return fraction{-1, 1}
	}
	used := w.usage(a, block.Attribute)
	if len(block.SpreadTarget) == 0 {
		lowest, highest := math.MaxInt, 0
		for _, count := range used {
			lowest, highest = min(lowest, count), max(highest, count)
		}
		cur := used[value]
		switch {
		case len(used) == 0:
			return fraction{0, 1}
		case cur != lowest:
			return fraction{int64(lowest - cur), int64(lowest)}
		case lowest == highest:
			return fraction{-1, 1}
		}
		return fraction{int64(highest - lowest), int64(lowest)}
	}
	rest, shares := 100, make(map[string]int)
	for _, t := range block.SpreadTarget {
		shares[t.Value] = int(t.Percent)
		rest -= int(t.Percent)
	}
	missing := func(percent, used int) fraction {
		desired := int64(percent * a.count) // in hundredths
		return fraction{(desired - 100*int64(used+1)) * int64(block.Weight), desired * weights}
	}
	percent, named := shares[value]
	switch {
	case !named && rest == 0:
		return fraction{-1, 1}
	case !named:
		return missing(rest, used[value])
	case percent > 0:
		return missing(percent, used[value])
	}
	// No share: as bad as the worst of those that have one.
	worst := fraction{-1, 1}
	consider := func(f fraction) {
		if f.float() < worst.float() {
			worst = f
		}
	}
	for value, percent := range shares {
		if percent > 0 {
			consider(missing(percent, used[value]))
		}
	}
	most := 0
	for value, count := range used {
		if _, named := shares[value]; !named {
			most = max(most, count)
		}
	}
	if rest > 0 {
		consider(missing(rest, most))
	}
	return worst
}

// twinScore is how good a node is: as shown, and as compared.
type twinScore struct {
	mean float64
	sum  int64 // of integer scores
	n    int64
}

func (s twinScore) beats(o twinScore) bool { return s.sum*o.n > o.sum*s.n }
func (s twinScore) ties(o twinScore) bool  { return s.sum*o.n == o.sum*s.n }

func (w *twin) score(a *twinAsk, n *twinNode, home bool) twinScore {
	cpu, mem := n.cpu-n.usedCPU-a.cpu, n.mem-n.usedMem-a.mem
	if home {
		cpu, mem = cpu+a.freed, mem+a.freedMem
	}
	f, by := 20-math.Pow(10, float64(cpu)/float64(n.cpu))-math.Pow(10, float64(mem)/float64(n.mem)), binpack
	if w.evenly {
		f, by = 18-f, evenly
	}
	sum, s := min(max(f, 0), 18)/18, twinScore{sum: int64(by.score(cpu, n.cpu, mem, n.mem)), n: 1}
	if c := n.neighbours[a.group]; c > 0 {
		sum -= float64(c+1) / float64(a.count)
		s.sum, s.n = s.sum+int64(antiAffinity(c, a.count)), s.n+1
	}
	if len(a.affinities) > 0 {
		matched, total := 0, 0
		for _, affinity := range a.affinities {
			if value, ok := n.valueOf(affinity.LTarget); ok && value == affinity.RTarget {
				matched += int(affinity.Weight)
			}
			total += max(int(affinity.Weight), -int(affinity.Weight))
		}
		sum += float64(matched) / float64(total)
		s.sum, s.n = s.sum+int64(matched)*event.ScoreScale/int64(total), s.n+1
	}
	var boost float64
	var rounded, weights int64
	for _, block := range a.spreads {
		weights += int64(block.Weight)
	}
	for _, block := range a.spreads {
		f := w.boost(a, block, weights, n)
		boost += f.float()
		rounded += int64(ratio(f.over, f.under))
	}
	if rounded != 0 {
		sum += boost
		s.sum, s.n = s.sum+rounded, s.n+1
	}
	s.mean = sum / float64(s.n)
	return s
}

// best lists the score of every node that can take the group.
func (w *twin) best(a *twinAsk, home event.ID) map[event.ID]twinScore {
	scores := make(map[event.ID]twinScore)
	for _, n := range w.nodes {
		if w.allowed(n, a) && n.fits(a, n.id == home) {
			scores[n.id] = w.score(a, n, n.id == home)
		}
	}
	return scores
}

// scoreSlack is how far integer and floating-point scores may be apart: each of
// the parts is rounded.
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
				free: rapid.IntRange(1, 6).Draw(r, "ports"), most: max(rapid.IntRange(-6, 4).Draw(r, "most allocations"), 0),
			}
			w.nodes = append(w.nodes, n)
			c.addNode(newNode(name, n.cpu, n.mem, func(info *event.Node) {
				info.Attributes["cpu.arch"], info.Datacenter = n.arch, n.dc
				if n.rack != "" {
					info.Meta["rack"] = n.rack
				}
				info.Drivers["raw_exec"].Healthy, info.NodeMaxAllocs = n.driver, n.most
				info.NodeResources.MinDynamicPort, info.NodeResources.MaxDynamicPort = 20000, 20000+n.free-1
			}))
			if !n.ready {
				c.setNode(name, event.NodeDown)
			}
		}
		for step := range rapid.IntRange(1, 6).Draw(r, "steps") {
			if rapid.IntRange(0, 3).Draw(r, "configured") == 0 {
				w.evenly = !w.evenly
				c.configure(w.evenly)
			}
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
	job := newJob(id, 0, 0, 0)
	job.Type = rapid.SampledFrom([]string{event.JobTypeService, event.JobTypeBatch}).Draw(r, "type")
	job.TaskGroups = nil
	for _, name := range []string{"g", "h", "i"}[:rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(r, "groups")] {
		job.TaskGroups = append(job.TaskGroups, randomGroup(r, name, version))
	}
	randomLimits(r, job)
	randomSpreads(r, job)
	job.Affinities = randomAffinities(r)
	return job
}

func randomGroup(r *rapid.T, name string, version int) *event.TaskGroup {
	g := newJob("", rapid.IntRange(0, 6).Draw(r, "count"), 100*rapid.IntRange(1, 8).Draw(r, "ask cpu"), 64*rapid.IntRange(1, 8).Draw(r, "ask memory")).TaskGroups[0]
	g.Name = name
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
	if rapid.IntRange(0, 4).Draw(r, "distinct") == 0 {
		g.Constraints = append(g.Constraints, event.Constraint{Operand: distinctHosts})
	}
	g.Affinities = randomAffinities(r)
	return g
}

func randomAffinities(r *rapid.T) (list []event.Affinity) {
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(r, "affinities") {
		pair := rapid.SampledFrom([][2]string{{"${meta.rack}", "r1"}, {"${node.datacenter}", "dc2"}, {"${attr.cpu.arch}", "arm64"}, {"${node.unique.id}", nodeID("n1").String()}}).Draw(r, "pair")
		weight := rapid.SampledFrom([]int{-100, -1, 50, 100}).Draw(r, "weight")
		list = append(list, event.Affinity{LTarget: pair[0], Operand: "=", RTarget: pair[1], Weight: int8(weight)})
	}
	return list
}

func askOf(job *event.Job, g *event.TaskGroup) *twinAsk {
	a := &twinAsk{
		group: g.Name, cpu: int64(g.Tasks[0].Resources.CPU), mem: int64(g.Tasks[0].Resources.MemoryMB), count: g.Count,
		affinities: slices.Concat(job.Affinities, g.Affinities), spreads: slices.Concat(job.Spreads, g.Spreads),
	}
	if len(g.Networks) > 0 {
		a.dynamic = len(g.Networks[0].DynamicPorts)
		if len(g.Networks[0].ReservedPorts) > 0 {
			a.static = 80
		}
	}
	for i, c := range slices.Concat(job.Constraints, g.Constraints) {
		switch c.Operand {
		case distinctHosts:
			a.distinctHosts = true
		case distinctProperty:
			a.limitOn, a.limit, a.limitOfJob = c.LTarget, 1, i < len(job.Constraints)
			if c.RTarget == "2" {
				a.limit = 2
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
		n.usedCPU, n.usedMem, n.held, n.ports, n.neighbours = 0, 0, 0, make(map[int]bool), make(map[string]int)
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
	asks := make(map[string]*twinAsk)
	for _, g := range job.TaskGroups {
		asks[g.Name] = askOf(job, g)
	}
	// The groups take turns twice: for replacements, and for what is missing.
	next, couldBePlaced := uint32(0), make(map[string]int)
	for _, fresh := range []bool{false, true} {
		for _, g := range job.TaskGroups {
			i := slices.IndexFunc(plan.Groups, func(planned event.PlannedGroup) bool { return planned.Name == g.Name })
			if i < 0 {
				continue
			}
			for _, p := range plan.Groups[i].Placements {
				if replaced[p.Previous] == fresh {
					continue
				}
				if p.Ordinal != next {
					r.Fatalf("%s.%s[%d] is placement %d, want %d", job.ID, g.Name, p.Name, p.Ordinal, next)
				}
				next++
				w.step(r, s, asks[g.Name], plan, p, stops, byID)
			}
			if plan.Groups[i].Failed != nil && w.canBePlaced(asks[g.Name]) {
				couldBePlaced[g.Name]++
			}
		}
	}
	// A group that failed did so in one of its turns.
	for group, turns := range couldBePlaced {
		if turns == 2 {
			r.Fatalf("group %s of %s failed, though a node could take it", group, job.ID)
		}
	}
}

func hold(n *twinNode, a *projections.Allocation, by int64) {
	task := a.Spec.Job.LookupGroup(a.Group).Tasks[0]
	n.held += int(by)
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
	ask.frees, ask.freed, ask.freedMem, ask.freedPorts, ask.freedStatic = false, 0, 0, 0, 0
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
		if score.mean > got.mean+scoreSlack || score.beats(got) {
			r.Fatalf("%s.%s[%d] was placed on %s (%+v), %s is better (%+v)", plan.JobID, ask.group, p.Name, nodeName(chosen), got, nodeName(id), score)
		}
		if score.ties(got) && tieOf(plan.Seed, id) < tieOf(plan.Seed, chosen) {
			r.Fatalf("%s.%s[%d] was placed on %s, %s comes first among equals", plan.JobID, ask.group, p.Name, nodeName(chosen), nodeName(id))
		}
	}
	if math.Abs(float64(p.Score)/event.ScoreScale-got.mean) > scoreSlack {
		r.Fatalf("%s.%s[%d] on %s has score %d, want %f", plan.JobID, ask.group, p.Name, nodeName(chosen), p.Score, got.mean)
	}
	n := byID[chosen]
	if old != nil && stops[p.Previous].HandsOver {
		if home != chosen {
			r.Fatalf("%s[%d] takes over a room on another node", plan.JobID, p.Name)
		}
		hold(n, old, -1)
	}
	n.usedCPU, n.usedMem, n.held = n.usedCPU+ask.cpu, n.usedMem+ask.mem, n.held+1
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
	task := old.Spec.Job.LookupGroup(old.Group).Tasks[0]
	ask.frees, ask.freed, ask.freedMem = true, int64(task.Resources.CPU), int64(task.Resources.MemoryMB)
	for _, p := range old.Ports() {
		if p.Value >= 20000 {
			ask.freedPorts++
		} else {
			ask.freedStatic = p.Value
		}
	}
}

// canBePlaced reports whether a node can take one more of the group. Without a
// predecessor that makes way it is as hard as it gets: what failed with one fails
// without as well.
func (w *twin) canBePlaced(ask *twinAsk) bool {
	ask.frees, ask.freed, ask.freedMem, ask.freedPorts, ask.freedStatic = false, 0, 0, 0, 0
	return len(w.best(ask, event.ID{})) > 0
}
