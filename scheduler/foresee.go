package scheduler

import (
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/jobdiff"
)

// Foresee decides as Schedule does, and counts what it wants for each group: what
// could not be placed too, and what stays for a later plan. The job must be of a
// type that Supports knows.
func Foresee(s *projections.State, eval *event.Evaluation) (*event.PlanCommitted, map[string]jobdiff.DesiredUpdates) {
	key := eval.Job()
	job := s.Job(key)
	var stays func(*projections.Allocation) bool
	if job != nil && !job.Stopped {
		stays = (&staying{state: s, job: job, rules: newJobRules(job.Spec.Job)}).stays
	}
	wanted := make(map[string]jobdiff.DesiredUpdates)
	for _, g := range reconcile(s, key, job, stays) {
		wanted[g.name] = jobdiff.DesiredUpdates{
			Ignore: uint64(len(g.present) - len(g.destructive) - len(g.inPlace)), Place: uint64(len(g.fresh)),
			Stop: uint64(len(g.unneeded) + len(g.lost)), InPlaceUpdate: uint64(len(g.inPlace)), DestructiveUpdate: uint64(len(g.destructive)),
		}
	}
	return Schedule(s, eval), wanted
}
