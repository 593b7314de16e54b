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
	plan := Schedule(s, eval)
	wanted := make(map[string]jobdiff.DesiredUpdates)
	if job != nil && !job.Stopped && event.EveryNode(job.Spec.Job.Type) {
		// How many nodes such a job wants is known by having looked at them.
		places := make(map[string]int, len(plan.Queued))
		for name, queued := range plan.Queued {
			places[name] += queued
		}
		for _, g := range plan.Groups {
			places[g.Name] += len(g.Placements)
		}
		_, changes := reconcileEverywhere(s, job, newJobRules(job.Spec.Job))
		for _, g := range changes {
			wanted[g.name] = g.count(places[g.name] - len(g.destructive) - len(g.migrating))
		}
		return plan, wanted
	}
	var stays func(*projections.Allocation) bool
	if job != nil && !job.Stopped {
		stays = (&staying{state: s, job: job, rules: newJobRules(job.Spec.Job)}).stays
	}
	for _, g := range reconcile(s, key, job, stays) {
		wanted[g.name] = g.count(len(g.fresh))
	}
	return plan, wanted
}

// count counts what a group wants; place is the number of its new allocations.
func (g *groupChanges) count(place int) jobdiff.DesiredUpdates {
	return jobdiff.DesiredUpdates{
		Ignore: uint64(len(g.present) - len(g.destructive) - len(g.inPlace) - len(g.migrating)), Migrate: uint64(len(g.migrating)), Place: uint64(place),
		Stop: uint64(len(g.unneeded) + len(g.lost)), InPlaceUpdate: uint64(len(g.inPlace)), DestructiveUpdate: uint64(len(g.destructive)),
	}
}
