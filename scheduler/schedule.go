package scheduler

import (
	"cmp"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Version names the rules of this scheduler. A plan carries it, so that a
// decision is run again by the rules that made it.
const Version = 1

// Supports reports whether Schedule places jobs of the type.
func Supports(jobType string) bool {
	return jobType == event.JobTypeService || jobType == event.JobTypeBatch || event.EveryNode(jobType)
}

// Scheduler makes decisions, one after the other. What one leaves behind is memory
// for the next, never knowledge: a decision follows from state and evaluation
// alone. The zero value is ready.
type Scheduler struct{ scratch scratch }

// scratch is memory that decisions use one after the other.
type scratch struct {
	fleet    fleet
	sites    sites
	ranking  ranking
	combos   *combos
	views    []view    // by feasibility class; of verdictUnknown, nodes have their own
	ownViews []view    // by slot
	holders  []holders // by position of a spread or limit
	list     []int32
	tight    []tightness // by feasibility class
	best     []ranked
	inHand   *groupPlacer
}

// Schedule decides by a scheduler of its own.
func Schedule(s *projections.State, eval *event.Evaluation) *event.PlanCommitted {
	return new(Scheduler).Schedule(s, eval)
}

// Schedule decides what must happen to a job's allocations. The plan is a
// proposal on the state s: the committer checks it against the head. An outcome of
// pending says that it is the first part of a decision too large for one plan.
//
// It panics for a job of a type that it does not support; see Supports.
func (d *Scheduler) Schedule(s *projections.State, eval *event.Evaluation) *event.PlanCommitted {
	key := eval.Job()
	plan := &event.PlanCommitted{
		EvalID: eval.ID, Namespace: key.Namespace, JobID: key.ID,
		Basis: s.Index(), Seed: seedOf(eval.ID, s.Index()), SchedulerVersion: Version,
		Outcome: event.EvalComplete,
	}
	job := s.Job(key)
	if job == nil || job.Stopped || job.Spec.Job.Template() {
		if job != nil {
			plan.JobVersion = job.Version
		}
		changes := reconcile(s, key, job, nil)
		budget := newBudget(key, nil)
		budget.cut(changes)
		stopAll(plan, changes)
		budget.close(plan)
		return plan
	}
	if !Supports(job.Spec.Job.Type) {
		panic("schedule evaluation " + eval.ID.String() + ": no scheduler for jobs of type " + job.Spec.Job.Type)
	}
	plan.JobVersion = job.Version
	rules := newJobRules(job.Spec.Job)
	rules.fit = fitOf(s.Algorithm(job.Spec.Job.NodePool))
	if rules.everyNode {
		budget := newBudget(key, job.Spec.Job)
		d.scratch.everywhere(s, job, rules, plan, budget)
		budget.close(plan)
		return plan
	}
	stay := &staying{state: s, job: job, rules: rules}
	changes := reconcile(s, key, job, stay.stays)
	budget := newBudget(key, job.Spec.Job)
	budget.cut(changes)
	stopAll(plan, changes)
	d.scratch.place(s, job, rules, plan, changes, budget)
	budget.close(plan)
	return plan
}

// stopAll takes out of service what is not needed or lost, and updates in place
// what goes on.
func stopAll(plan *event.PlanCommitted, changes []*groupChanges) {
	for _, g := range changes {
		for _, a := range g.unneeded {
			why := describeUnneeded
			if a.Migrates() && g.group != nil {
				why = describeByHand // and nothing takes its place
			}
			plan.Stops = append(plan.Stops, event.PlannedStop{ID: a.ID, Description: why})
		}
		for _, a := range g.lost {
			plan.Stops = append(plan.Stops, event.PlannedStop{ID: a.ID, Client: event.ClientLost, Description: describeLost})
		}
		for _, a := range g.abandoned {
			plan.Stops = append(plan.Stops, event.PlannedStop{ID: a.ID, Client: event.ClientLost, Description: describeLost})
		}
		for _, a := range g.inPlace {
			plan.InPlace = append(plan.InPlace, a.ID)
		}
	}
}

// place finds nodes: for what must be replaced first, then for what is missing.
func (d *scratch) place(s *projections.State, job *projections.Job, rules *jobRules, plan *event.PlanCommitted, changes []*groupChanges, budget *budget) {
	spec := job.Spec.Job
	plan.Queued = make(map[string]int, len(spec.TaskGroups))
	wanted := 0
	for _, g := range changes {
		if g.group != nil {
			plan.Queued[g.name] = 0
			wanted += len(g.destructive) + len(g.migrating) + len(g.fresh)
		}
	}
	if wanted == 0 {
		return
	}
	p := &placer{state: s, job: spec, plan: plan, budget: budget, rules: rules, scratch: d}
	d.begin(s, rules, plan.Seed)
	defer d.forget()
	for _, g := range changes {
		if g.group == nil {
			continue
		}
		placing := newGroupPlacer(job, rules, g)
		p.groups = append(p.groups, placing)
		p.takeUp(placing)
		for _, a := range g.present {
			if a.Live() {
				p.count(placing, a.NodeID, +1)
			}
		}
	}
	stopsBefore := len(plan.Stops)
	for _, g := range p.groups {
		p.placeMigrating(g)
	}
	for _, g := range p.groups {
		p.placeDestructive(g)
	}
	for _, g := range p.groups {
		p.placeFresh(g)
	}
	var failed []*groupPlacer
	for _, g := range p.groups {
		if g.planned.Failed != nil {
			failed = append(failed, g)
		}
	}
	if len(failed) > 0 && spec.AllAtOnce {
		// All or nothing: what was found is given back.
		plan.Nodes, plan.Stops = nil, plan.Stops[:stopsBefore]
		for _, g := range p.groups {
			g.queued += len(g.planned.Placements)
			g.planned.Placements, g.planned.Metric = nil, nil
			for _, a := range g.changes.migrating { // these end all the same
				p.stop(a, describeMigrated, false)
			}
		}
	}
	if len(failed) > 0 {
		plan.ClassEligibility, plan.EscapedComputedClass = eligibility(&p.fleet, failed)
		plan.ClassEligibility = bounded(plan.ClassEligibility)
	}
	for _, g := range p.groups {
		plan.Queued[g.changes.name] += g.queued
		if len(g.planned.Placements) == 0 {
			g.planned.Metric = nil
		}
		if len(g.planned.Placements) > 0 || g.planned.Failed != nil {
			plan.Groups = append(plan.Groups, g.planned)
		}
	}
}

// begin makes it ready for a decision about a job.
func (d *scratch) begin(s *projections.State, rules *jobRules, seed uint64) {
	d.fleet.load(s, rules, seed)
	d.sites.clear(d.fleet.rows.Slots())
	d.ranking.fleet, d.ranking.sites = &d.fleet, &d.sites
}

// forget lets go of what belongs to a decision, its memory apart.
func (d *scratch) forget() {
	d.sites.clear(0)
	d.fleet.forget()
	d.ranking.fleet, d.ranking.spreads, d.ranking.limits, d.ranking.combos = nil, nil, nil, nil
	d.combos, d.inHand = nil, nil
}

// staying decides whether allocations can go on on their nodes under a new
// version of their job whose tasks are the same.
type staying struct {
	state   *projections.State
	job     *projections.Job
	rules   *jobRules
	byGroup map[string]*groupRules
	crowded map[event.ID]bool // allocations that are in others' way; nil before the first question
}

func (k *staying) stays(a *projections.Allocation) bool {
	node := k.state.Node(a.NodeID)
	if pool, datacenter := k.rules.covers(node.Info); !pool || !datacenter {
		return false
	}
	rules := k.rulesOf(a.Group)
	if rules.filter(node.Info, -1) != "" {
		return false
	}
	// The room that it holds is the one that its new version asks for; anything
	// else would leave the node's accounts wrong.
	ask := k.job.Spec.Ask(a.Group)
	return ask.Resources == a.Ask.Resources && len(ask.Ports) == len(a.Ask.Ports) && k.alone(a, rules)
}

// rulesOf is the rules of a group; nil when the job has it no more.
func (k *staying) rulesOf(group string) *groupRules {
	rules, known := k.byGroup[group]
	if !known {
		if g := k.job.Spec.Job.LookupGroup(group); g != nil {
			rules = newGroupRules(k.rules, g)
		}
		if k.byGroup == nil {
			k.byGroup = make(map[string]*groupRules)
		}
		k.byGroup[group] = rules
	}
	return rules
}

// alone reports whether rules about other allocations let this one stay. Of
// those that are in each other's way, the ones of the lowest names stay.
func (k *staying) alone(a *projections.Allocation, rules *groupRules) bool {
	if !rules.distinctHosts && !k.rules.distinctHosts && len(rules.limits)+len(k.rules.limits) == 0 {
		return true
	}
	if k.crowded == nil {
		k.findCrowded()
	}
	return !k.crowded[a.ID]
}

// findCrowded looks at the job's live allocations by group and name, each beside
// those before it.
func (k *staying) findCrowded() {
	var live []*projections.Allocation
	for a := range k.state.AllocationsOf(k.job.Key) {
		if a.Live() {
			live = append(live, a)
		}
	}
	slices.SortFunc(live, func(a, b *projections.Allocation) int { return cmp.Or(cmp.Compare(a.Group, b.Group), byName(a, b)) })
	type place struct {
		group string // "" for all
		node  event.ID
	}
	type holder struct {
		limit *propertyLimit
		value string
	}
	k.crowded = make(map[event.ID]bool)
	taken, used := make(map[place]bool), make(map[holder]int)
	for _, a := range live {
		rules, node := k.rulesOf(a.Group), k.state.Node(a.NodeID)
		limits := k.rules.limits
		crowded := k.rules.distinctHosts && taken[place{"", a.NodeID}]
		if rules != nil {
			limits = slices.Concat(limits, rules.limits)
			crowded = crowded || rules.distinctHosts && taken[place{a.Group, a.NodeID}]
		}
		taken[place{"", a.NodeID}], taken[place{a.Group, a.NodeID}] = true, true
		for _, limit := range limits {
			value, ok := "", false
			if node != nil {
				value, ok = limit.target.resolve(node.Info)
			}
			crowded = crowded || !ok || used[holder{limit, value}] >= int(limit.limit)
			if ok {
				used[holder{limit, value}]++
			}
		}
		k.crowded[a.ID] = crowded
	}
}
