package scheduler

import (
	"cmp"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// Why an allocation is taken out of service, as users read it.
const (
	describeUnneeded = "alloc not needed due to job update"
	describeByHand   = "alloc was stopped by an operator" // not longer than describeUnneeded, see budget.cut
	describeUpdated  = "alloc is being updated due to job update"
	describeLost     = "alloc is lost since its node is down"
	describeMigrated = "alloc is being migrated"
)

// groupChanges is what must happen to the allocations of one group, one list per
// reason. Every allocation that is neither in a list nor past is left alone.
type groupChanges struct {
	name  string
	group *event.TaskGroup // nil when the job does not want the group (any more)

	unneeded []*projections.Allocation // stop
	lost     []*projections.Allocation // stop; their node is gone, so they have ended
	// abandoned were stopped before and will never say that they ended, since
	// their node is gone. Only their end is recorded.
	abandoned []*projections.Allocation
	inPlace   []*projections.Allocation // go on under the job's version
	// destructive are replaced, each by one of the same name. One for which no
	// node is found goes on as it is.
	destructive []*projections.Allocation
	// migrating are stopped because somebody wants it, and replaced likewise. One for
	// which no node is found is stopped all the same.
	migrating []*projections.Allocation
	fresh     []freshPlacement

	present []*projections.Allocation // scratch: those that count
}

// freshPlacement is an allocation that is missing.
type freshPlacement struct {
	name     uint32
	previous event.ID // the lost one that it replaces, if any
}

// reconcile compares what a job wants with what it has. job is nil when the job
// was purged. stays says whether an allocation can go on on its node under the
// job's version.
//
// The groups come in the order of the spec, then groups that the job has no more,
// by name.
func reconcile(s *projections.State, key event.JobKey, job *projections.Job, stays func(*projections.Allocation) bool) []*groupChanges {
	var groups []*groupChanges
	if job != nil && !job.Stopped {
		for _, g := range job.Spec.Job.TaskGroups {
			groups = append(groups, &groupChanges{name: g.Name, group: g})
		}
	}
	wanted := len(groups)
	named := make(map[string]*groupChanges, wanted)
	for _, g := range groups {
		named[g.name] = g
	}
	for a := range s.AllocationsOf(key) {
		g := named[a.Group]
		if g == nil {
			g = &groupChanges{name: a.Group}
			groups, named[a.Group] = append(groups, g), g
		}
		g.classify(s, job, a)
	}
	slices.SortFunc(groups[wanted:], func(a, b *groupChanges) int { return cmp.Compare(a.name, b.name) })
	versions := &versionChanges{job: job}
	for _, g := range groups[:wanted] {
		g.settle(versions, stays)
	}
	return groups
}

// classify puts an allocation where it belongs as far as that does not depend on
// the others of its group.
func (g *groupChanges) classify(s *projections.State, job *projections.Job, a *projections.Allocation) {
	node := s.Node(a.NodeID)
	gone := (node == nil || node.Status == event.NodeDown) && !a.Client.Terminal()
	switch {
	case a.Desired != event.DesiredRun:
		if gone {
			g.abandoned = append(g.abandoned, a)
		}
	case gone:
		g.lost = append(g.lost, a)
	case g.group == nil:
		if !a.Client.Terminal() {
			g.unneeded = append(g.unneeded, a)
		}
	case counts(job, a):
		g.present = append(g.present, a)
	}
}

// counts reports whether an allocation on a node that is there fills its place. A
// running one does; one that has ended may.
func counts(job *projections.Job, a *projections.Allocation) bool {
	return !a.Client.Terminal() || job.FilledBy(a)
}

// settle decides about the allocations that count, and what is missing.
func (g *groupChanges) settle(versions *versionChanges, stays func(*projections.Allocation) bool) {
	slices.SortFunc(g.present, byName)
	slices.SortFunc(g.lost, byName)
	g.dropNamesakes()

	g.dropMarked()
	// Too many: the highest names go first. What has ended needs no stopping, but
	// its place is gone all the same and is not to be filled anew.
	for len(g.present) > g.group.Count {
		last := len(g.present) - 1
		if a := g.present[last]; !a.Client.Terminal() {
			g.unneeded = append(g.unneeded, a)
		}
		g.present = g.present[:last]
	}

	names := make(map[uint32]bool, g.group.Count)
	for _, a := range g.present {
		names[a.NameIndex] = true
		if a.Migrates() && !a.Client.Terminal() {
			g.migrating = append(g.migrating, a)
			continue
		}
		if a.JobVersion == versions.job.Version && a.SpecHash == versions.job.SpecHash {
			continue
		}
		switch replaces := versions.replaces(a); {
		case a.Client.Terminal():
			// There is nothing to update; a new version gets a new try.
			if replaces {
				g.destructive = append(g.destructive, a)
			}
		case replaces || !stays(a):
			g.destructive = append(g.destructive, a)
		default:
			g.inPlace = append(g.inPlace, a)
		}
	}

	missing := g.group.Count - len(g.present)
	for _, a := range g.lost {
		if missing <= 0 {
			break
		}
		if !names[a.NameIndex] {
			names[a.NameIndex] = true
			g.fresh = append(g.fresh, freshPlacement{a.NameIndex, a.ID})
			missing--
		}
	}
	for name := uint32(0); missing > 0; name++ {
		if !names[name] {
			g.fresh = append(g.fresh, freshPlacement{name: name})
			missing--
		}
	}
}

// dropMarked has those of too many go that are to go anyway, the highest names first.
func (g *groupChanges) dropMarked() {
	over := len(g.present) - g.group.Count
	for i := len(g.present) - 1; i >= 0 && over > 0; i-- {
		if a := g.present[i]; a.Migrates() && !a.Client.Terminal() {
			g.unneeded = append(g.unneeded, a)
			g.present = slices.Delete(g.present, i, i+1)
			over--
		}
	}
}

// dropNamesakes leaves one of each name: a name stands for one place. What ended
// gives way to what runs, and an older one to a newer one.
func (g *groupChanges) dropNamesakes() {
	kept := g.present[:0]
	for _, a := range g.present {
		if n := len(kept); n > 0 && kept[n-1].NameIndex == a.NameIndex {
			older := kept[n-1]
			if a.Client.Terminal() && !older.Client.Terminal() {
				continue
			}
			if !older.Client.Terminal() {
				g.unneeded = append(g.unneeded, older)
			}
			kept[n-1] = a
			continue
		}
		kept = append(kept, a)
	}
	g.present = kept
}

// byName orders allocations of one group by name, older ones of the same name first.
func byName(a, b *projections.Allocation) int {
	return cmp.Or(cmp.Compare(a.NameIndex, b.NameIndex), cmp.Compare(a.CreateIndex, b.CreateIndex), a.ID.Compare(b.ID))
}
