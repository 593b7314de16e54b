package scheduler

import (
	"maps"
	"math"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// budget keeps a plan within one append. What it leaves out is decided again, on
// the state after this plan; the evaluation stays open for it. Only what is
// carried out uses it up, so a plan that leaves something out has got something
// done, and an evaluation comes to its end.
type budget struct {
	left      int // bytes
	over      bool
	used      bool               // for something that is carried out
	explained bool               // a failure is
	walk      *event.AllocMetric // of the last metric
	why       string             // description of the last stop
}

// newBudget is what there is for the changes of a job's groups.
func newBudget(key event.JobKey, job *event.Job) *budget {
	b := &budget{left: planBytesMax - planBytes - len(key.Namespace) - len(key.ID)}
	if job == nil {
		return b
	}
	if job.AllAtOnce {
		b.left = math.MaxInt // it cannot be parted
	}
	for _, g := range job.TaskGroups {
		b.left -= queuedBytes + len(g.Name)
	}
	return b
}

// cut shortens the lists of what needs no node, in the order in which they are
// carried out.
func (b *budget) cut(changes []*groupChanges) {
	for _, g := range changes {
		g.unneeded = b.take(g.unneeded, describeUnneeded)
		g.lost = b.take(g.lost, describeLost)
		g.abandoned = b.take(g.abandoned, describeLost)
		g.inPlace = b.take(g.inPlace, "")
	}
}

// take is as much of a list as there is room for; why describes stops.
func (b *budget) take(list []*projections.Allocation, why string) []*projections.Allocation {
	for i := range list {
		bytes := inPlaceBytes
		if why != "" {
			bytes = b.stop(why)
		}
		if !b.affords(bytes) {
			return list[:i]
		}
		b.spend(bytes)
	}
	return list
}

// stop is what a stop with a description takes.
func (b *budget) stop(why string) int {
	if why == b.why {
		return stopBytes
	}
	b.why = why
	b.left -= descriptionBytes
	return stopBytes
}

// affords reports whether there is room for one more thing. Once there is not,
// nothing that comes later in order may overtake what was left out. Something can
// be done always, so that a plan that is refused as too large says so.
func (b *budget) affords(bytes int) bool {
	if b.left < bytes && b.used {
		b.exhaust()
	}
	return !b.over
}

func (b *budget) exhaust() { b.over, b.left = true, 0 }

func (b *budget) spend(bytes int) { b.left, b.used = b.left-bytes, true }

// metric is what a metric takes.
func (b *budget) metric(m *event.AllocMetric) int {
	bytes := metricBytes + nodeScoreBytes*len(m.ScoreMetaData)
	if b.walk == nil || !sameWalk(b.walk, m) {
		bytes += walkBytes + len(m.NodePool)
		for _, counts := range []map[string]int{m.NodesAvailable, m.ClassFiltered, m.ConstraintFiltered, m.ClassExhausted, m.DimensionExhausted} {
			for key := range counts {
				bytes += countBytes + len(key)
			}
		}
	}
	return bytes
}

// sameWalk reports whether metrics tell of walks that are written once.
func sameWalk(a, b *event.AllocMetric) bool {
	return a.NodesEvaluated == b.NodesEvaluated && a.NodesFiltered == b.NodesFiltered && a.NodesInPool == b.NodesInPool &&
		a.NodesExhausted == b.NodesExhausted && a.NodePool == b.NodePool && maps.Equal(a.NodesAvailable, b.NodesAvailable) &&
		maps.Equal(a.ClassFiltered, b.ClassFiltered) && maps.Equal(a.ConstraintFiltered, b.ConstraintFiltered) &&
		maps.Equal(a.ClassExhausted, b.ClassExhausted) && maps.Equal(a.DimensionExhausted, b.DimensionExhausted)
}

// explain makes room for the explanation of a failure. In a plan that gets
// something done, one that does not fit is left for a later one: the group fails
// there again. The plan that is about failures alone keeps to counts where there
// is no room for reasons, and then to saying how many are queued.
func (b *budget) explain(group string, m *event.AllocMetric) (explained *event.AllocMetric, ok bool) {
	base := groupBytes + len(group)
	if bytes := base + b.metric(m); bytes <= b.left {
		b.left, b.walk, b.explained = b.left-bytes, m, true
		return m, true
	}
	if b.used {
		b.exhaust()
		return nil, false
	}
	bare := &event.AllocMetric{
		NodesEvaluated: m.NodesEvaluated, NodesFiltered: m.NodesFiltered, NodesInPool: m.NodesInPool,
		NodePool: m.NodePool, NodesExhausted: m.NodesExhausted,
	}
	b.left -= base + b.metric(bare)
	// Without any explanation nothing would say that something failed.
	ok = b.left >= 0 || !b.explained
	b.explained = true
	return bare, ok
}

// close leaves the evaluation open when something was left out.
func (b *budget) close(plan *event.PlanCommitted) {
	if b.over {
		plan.Outcome, plan.Description = event.EvalPending, "the decision continues in another plan"
	}
}

// bounded leaves out of what is said of classes what is too much: first those that
// can run the job, then all. Both are as if never seen, so room there wakes it.
func bounded(classes map[string]bool) map[string]bool {
	bytes := func() (sum int) {
		for class := range classes {
			sum += len(class) + countBytes
		}
		return sum
	}
	if bytes() <= eligibilityBytesMax {
		return classes
	}
	maps.DeleteFunc(classes, func(_ string, eligible bool) bool { return eligible })
	if bytes() <= eligibilityBytesMax {
		return classes
	}
	kept, left := make(map[string]bool), eligibilityBytesMax
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		if left -= len(class) + countBytes; left < 0 {
			break
		}
		kept[class] = false
	}
	return kept
}
