package scheduler

import (
	"drover/eventlog/event"
)

// affinities are those of a group, its job and its tasks, made ready to be
// checked on many nodes.
type affinities struct {
	list    []weighted
	total   int64 // of all weights; 0 when there are none
	escapes bool  // nodes of one computed class may differ in it
}

type weighted struct {
	condition condition
	weight    int64
}

func newAffinities(job *event.Job, group *event.TaskGroup) affinities {
	var made affinities
	add := func(list []event.Affinity) {
		for _, a := range list {
			c := newCondition(event.Constraint{LTarget: a.LTarget, RTarget: a.RTarget, Operand: a.Operand})
			made.list = append(made.list, weighted{c, int64(a.Weight)})
			made.total += max(int64(a.Weight), -int64(a.Weight))
			made.escapes = made.escapes || c.escapes()
		}
	}
	add(job.Affinities)
	add(group.Affinities)
	for _, t := range group.Tasks {
		add(t.Affinities)
	}
	return made
}

// score ranks a node: the weights of those that it matches over the sum of all
// weights.
func (a *affinities) score(n *event.Node) event.Score {
	if a.total == 0 {
		return 0
	}
	var matched int64
	for i := range a.list {
		if a.list[i].condition.met(n) {
			matched += a.list[i].weight
		}
	}
	return event.Score(matched * event.ScoreScale / a.total)
}
