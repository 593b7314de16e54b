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
	wanted := make(map[string]jobdiff.DesiredUpdates)
	if job != nil && !job.Stopped && event.EveryNode(job.Spec.Job.Type) {
		foreseeEverywhere(s, job, wanted)
		return Schedule(s, eval), wanted
	}
	var stays func(*projections.Allocation) bool
	if job != nil && !job.Stopped {
		stays = (&staying{state: s, job: job, rules: newJobRules(job.Spec.Job)}).stays
	}
	for _, g := range reconcile(s, key, job, stays) {
		wanted[g.name] = g.count(len(g.fresh))
	}
	return Schedule(s, eval), wanted
}

// foreseeEverywhere counts for a job that runs on every node.
func foreseeEverywhere(s *projections.State, job *projections.Job, wanted map[string]jobdiff.DesiredUpdates) {
	groups, changes := reconcileEverywhere(s, job, newJobRules(job.Spec.Job))
	for _, g := range groups {
		for n := range s.Nodes() {
			if n.Schedulable() && job.Spec.Job.Covers(n.Info) && g.placer.rules.filter(n.Info, -1) == "" {
				g.nodes = append(g.nodes, n)
			}
		}
		wanted[g.name] = g.count(len(g.free()))
	}
	for _, g := range changes[len(groups):] {
		wanted[g.name] = g.count(0)
	}
}

// count counts what a group wants; place is the number of its new allocations.
func (g *groupChanges) count(place int) jobdiff.DesiredUpdates {
	return jobdiff.DesiredUpdates{
		Ignore: uint64(len(g.present) - len(g.destructive) - len(g.inPlace)), Place: uint64(place),
		Stop: uint64(len(g.unneeded) + len(g.lost)), InPlaceUpdate: uint64(len(g.inPlace)), DestructiveUpdate: uint64(len(g.destructive)),
	}
}
