package scheduler

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"drover/eventlog/event"
)

// TestRankingKeepsTheBest changes nodes at random and compares the ranking's
// choice with a look at all of them, scored from nothing.
func TestRankingKeepsTheBest(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := newCluster(t)
		count := rapid.IntRange(1, 14).Draw(r, "nodes")
		for i := range count {
			c.addNode(newNode(fmt.Sprintf("n%02d", i), 1000*int64(rapid.IntRange(1, 3).Draw(r, "cpu")), 4096, func(n *event.Node) {
				n.Datacenter = rapid.SampledFrom([]string{"dc1", "dc2"}).Draw(r, "dc")
				if rack := rapid.SampledFrom([]string{"", "r1", "r2", "r3"}).Draw(r, "rack"); rack != "" {
					n.Meta["rack"] = rack
				}
			}))
		}
		job := newJob("web", rapid.IntRange(1, 6).Draw(r, "count"), 100, 64)
		randomSpreads(r, job)
		randomLimits(r, job)
		c.submit(job)
		d := new(scratch)
		p := c.newPlacer(d, job, rapid.Uint64().Draw(r, "seed"))
		g := newGroupPlacer(c.state.Job(key("web")), p.rules, &groupChanges{name: "g", group: job.TaskGroups[0]})
		p.begin(g)
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			slot := int32(rapid.IntRange(0, count-1).Draw(r, "node"))
			s := d.sites.touch(slot, &p.fleet)
			s.room.Free.CPU = int64(rapid.IntRange(0, 1000).Draw(r, "free"))
			by := int32(rapid.SampledFrom([]int{-1, 0, 1}).Draw(r, "by"))
			if s.group+by >= 0 {
				p.count(g, s.room.Node.Info.ID, by)
			}
			p.refresh(g, s, p.viewOf(slot))
			want := int32(-1)
			var wantRank int64
			for k := range count {
				rank, ok := p.rankAnew(g, int32(k))
				if !ok {
					continue
				}
				if want < 0 || rank > wantRank || rank == wantRank && p.fleet.tieAt(int32(k)) < p.fleet.tieAt(want) {
					want, wantRank = int32(k), rank
				}
			}
			got := int32(-1)
			if best, ok := d.ranking.best(); ok {
				got = d.ranking.buckets[best].entries[0].slot
			}
			if got != want {
				r.Fatalf("the ranking has %d, the best is %d", got, want)
			}
		}
	})
}

// rankAnew ranks a node without the ranking: the mean of its scores, times rankScale.
func (p *placer) rankAnew(g *groupPlacer, slot int32) (rank int64, ok bool) {
	row := p.fleet.rows.Row(int(slot))
	free, group := row.Free, int32(0)
	if s := p.sites.at(slot); s != nil {
		free, group = s.room.Free, s.group
	}
	if g.ask.Exceeds(free) != "" {
		return 0, false
	}
	for _, l := range g.limits {
		if l.closed(l.of(row.Node.Info)) {
			return 0, false
		}
	}
	sum := binpack.score(free.CPU-g.ask.CPU, row.AvailCPU, free.MemoryMB-g.ask.MemoryMB, row.AvailMemoryMB)
	n := int64(1)
	if group > 0 {
		sum, n = sum+antiAffinity(int(group), g.changes.group.Count), n+1
	}
	var boost event.Score
	for _, s := range g.spreads {
		boost += s.boost(s.of(row.Node.Info))
	}
	if boost != 0 {
		sum, n = sum+boost, n+1
	}
	return int64(sum) * (rankScale / n), true
}

func (c *cluster) newPlacer(d *scratch, job *event.Job, seed uint64) *placer {
	rules := newJobRules(job)
	p := &placer{state: c.state, job: job, plan: new(event.PlanCommitted), budget: newBudget(key(job.ID), job), rules: rules, scratch: d}
	d.begin(c.state, rules, seed)
	return p
}

// randomSpreads gives a job up to two spread blocks, of its own or of its group.
func randomSpreads(r *rapid.T, job *event.Job) {
	for range rapid.IntRange(0, 2).Draw(r, "spreads") {
		block := event.Spread{
			Attribute: rapid.SampledFrom([]string{"${meta.rack}", "${node.datacenter}", "${node.unique.id}", "${meta.none}"}).Draw(r, "attribute"),
			Weight:    int8(rapid.SampledFrom([]int{1, 50, 100}).Draw(r, "weight")),
		}
		left := 100
		for _, value := range []string{"r1", "dc1", "r2", "elsewhere", nodeID("n1").String()} {
			if rapid.IntRange(0, 2).Draw(r, "target") == 0 {
				percent := min(rapid.SampledFrom([]int{0, 10, 50, 100}).Draw(r, "percent"), left)
				block.SpreadTarget = append(block.SpreadTarget, event.SpreadTarget{Value: value, Percent: uint8(percent)})
				left -= percent
			}
		}
		if rapid.Bool().Draw(r, "of the job") {
			job.Spreads = append(job.Spreads, block)
		} else {
			job.TaskGroups[0].Spreads = append(job.TaskGroups[0].Spreads, block)
		}
	}
}

// randomLimits gives a job a limit on a property, of its own or of its group.
func randomLimits(r *rapid.T, job *event.Job) {
	limit := event.Constraint{LTarget: rapid.SampledFrom([]string{"${meta.rack}", "${node.unique.name}"}).Draw(r, "limited by"), Operand: distinctProperty, RTarget: rapid.SampledFrom([]string{"", "2"}).Draw(r, "limit")}
	switch rapid.IntRange(0, 5).Draw(r, "limited") {
	case 0:
		job.Constraints = append(job.Constraints, limit)
	case 1:
		job.TaskGroups[0].Constraints = append(job.TaskGroups[0].Constraints, limit)
	}
}
