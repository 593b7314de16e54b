package scheduler

import (
	"drover/eventlog/event"
)

// weighted is an affinity made ready to be checked on many nodes.
type weighted struct {
	condition condition
	weight    int64
}

func newWeighted(lists ...[]event.Affinity) (list []weighted, total int64) {
	for _, affinities := range lists {
		for _, a := range affinities {
			list = append(list, weighted{
				newCondition(event.Constraint{LTarget: a.LTarget, RTarget: a.RTarget, Operand: a.Operand}), int64(a.Weight),
			})
			total += max(int64(a.Weight), -int64(a.Weight))
		}
	}
	return list, total
}

// affinityScores ranks every eligible candidate by the affinities of its job,
// group and tasks: the weights of those that it matches over the sum of all
// weights. It is nil when there are none.
func affinityScores(job *event.Job, g *groupPlacer, f *fleet) []event.Score {
	lists := [][]event.Affinity{job.Affinities, g.changes.group.Affinities}
	for _, t := range g.changes.group.Tasks {
		lists = append(lists, t.Affinities)
	}
	list, total := newWeighted(lists...)
	if total == 0 {
		return nil
	}
	scores := make([]event.Score, len(f.nodes))
	for _, i := range g.eligible {
		var matched int64
		for k := range list {
			if list[k].condition.met(f.nodes[i].info()) {
				matched += list[k].weight
			}
		}
		scores[i] = event.Score(matched * event.ScoreScale / total)
	}
	return scores
}
