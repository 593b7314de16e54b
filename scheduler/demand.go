package scheduler

import (
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// demand is what a number of blocked evaluations ask for alike: the groups that
// could not be placed, with their rules and their asks. What can serve one of
// them can serve each, as far as nodes are concerned.
type demand struct {
	key    event.Hash
	rules  *jobRules
	groups []groupDemand
	line   line // of those that still look for room
	refs   int  // sleepers that have this demand
	at     int  // position in the list of demands

	// replaces: the job still has allocations that the blocked placements are to
	// take the place, and the room, of. Such a demand is one evaluation's alone.
	replaces bool
	// elsewhere: where the job's other allocations are decides which nodes can
	// be used, so the end of one can open a node that has got no room thereby.
	elsewhere bool
}

type groupDemand struct {
	name    string
	rules   *groupRules
	ask     *projections.Ask
	dynamic int      // ports to choose
	static  []uint16 // ports asked for by number
	alone   bool     // at most one on a node
	never   bool     // no node gives what it asks for
}

// newDemand is the demand of the failed groups of a job; own is the evaluation
// when nobody shares it.
func newDemand(spec *projections.Spec, failed []string, own event.ID) *demand {
	job := *spec.Job
	job.TaskGroups = nil
	for _, name := range failed {
		job.TaskGroups = append(job.TaskGroups, spec.Job.LookupGroup(name))
	}
	d := &demand{key: likeness(&job, own), rules: newJobRules(&job), replaces: !own.IsZero()}
	d.elsewhere = len(d.rules.limits) > 0
	for _, group := range job.TaskGroups {
		g := groupDemand{name: group.Name, rules: newGroupRules(d.rules, group), ask: spec.Ask(group.Name)}
		// A node that has all that such a job wants there is of no use to it.
		g.alone = d.rules.distinctHosts || g.rules.distinctHosts || d.rules.everyNode && group.Count == 1
		d.elsewhere = d.elsewhere || len(g.rules.limits) > 0
		for _, p := range g.ask.Ports {
			switch {
			case p.Value == 0:
				g.dynamic++
			case !p.IgnoreCollision:
				g.static = append(g.static, uint16(p.Value))
			}
		}
		for _, t := range group.Tasks {
			g.never = g.never || t.Resources.Cores > 0
		}
		d.groups = append(d.groups, g)
	}
	return d
}

// likeness names a demand. It covers all of the job that could matter for where
// it can run: what is left out is what certainly does not.
func likeness(job *event.Job, own event.ID) event.Hash {
	j := *job
	if !event.EveryNode(j.Type) {
		j.Type = ""
	}
	j.Region, j.Namespace, j.ID, j.Name, j.Priority = "", "", "", "", 0
	j.Affinities, j.Spreads, j.Update, j.Periodic, j.Reschedule, j.Migrate = nil, nil, nil, nil, nil, nil
	j.Meta, j.UI, j.ParentID, j.DispatchIdempotencyToken, j.Payload, j.NomadTokenID = nil, nil, "", "", nil, ""
	j.TaskGroups = make([]*event.TaskGroup, len(job.TaskGroups))
	for i, group := range job.TaskGroups {
		g := *group
		g.Count, g.Affinities, g.Spreads, g.Meta, g.Services, g.Scaling = 0, nil, nil, nil, nil, nil
		g.RestartPolicy, g.ReschedulePolicy, g.Update, g.Migrate = event.RestartPolicy{}, nil, nil, nil
		g.Tasks = make([]*event.Task, len(group.Tasks))
		for i, task := range group.Tasks {
			t := *task
			t.Config, t.Affinities, t.Env, t.Services, t.Meta = nil, nil, nil, nil, nil
			t.RestartPolicy, t.LogConfig, t.KillTimeout = event.RestartPolicy{}, event.LogConfig{}, 0
			t.Artifacts, t.Templates, t.Identity, t.Identities, t.Actions = nil, nil, nil, nil, nil
			g.Tasks[i] = &t
		}
		j.TaskGroups[i] = &g
	}
	data, err := event.Marshal(&j)
	if err != nil {
		panic("encode a job that came from the log: " + err.Error())
	}
	return event.HashOf(append(data, own[:]...))
}

// within reports whether an ask is not larger than the room in any dimension.
func within(ask, free projections.Resources) bool {
	return ask.CPU <= free.CPU && ask.MemoryMB <= free.MemoryMB && ask.DiskMB <= free.DiskMB && ask.Allocs <= free.Allocs
}

// usable lists the groups that can run on the node and fit into its room now.
func (d *demand) usable(n *event.Node, class int, room *projections.Room) []int {
	var groups []int
	covered := false
	for i := range d.groups {
		g := &d.groups[i]
		if g.never || !within(g.ask.Resources, room.Free) {
			continue
		}
		if !covered {
			if pool, datacenter := d.rules.covers(n); !pool || !datacenter {
				return nil
			}
			covered = true
		}
		if g.rules.filter(n, class) == "" && g.fitting(room, 1) > 0 {
			groups = append(groups, i)
		}
	}
	return groups
}

// fitting is how many allocations of the group fit, at most n.
func (g *groupDemand) fitting(room *projections.Room, n int) int {
	if _, ok := room.Fits(g.ask, nil); !ok || g.dynamic > 0 && !hasDynamicPorts(room, g.ask, g.dynamic) {
		return 0
	}
	if len(g.static) > 0 || g.alone {
		n = min(n, 1)
	}
	for _, of := range [...]struct{ free, ask int64 }{
		{room.Free.CPU, g.ask.CPU}, {room.Free.MemoryMB, g.ask.MemoryMB}, {room.Free.DiskMB, g.ask.DiskMB}, {room.Free.Allocs, g.ask.Allocs},
	} {
		if of.ask > 0 {
			n = int(min(int64(n), of.free/of.ask))
		}
	}
	return n
}

// take holds the room of n allocations of the group.
func (g *groupDemand) take(room *projections.Room, n int) {
	room.Take(g.ask, g.static)
	for range n - 1 {
		room.Free = room.Free.Minus(g.ask.Resources)
	}
}

// crowded reports whether an allocation of the job keeps another one of the group
// off the node.
func (g *groupDemand) crowded(s *projections.State, job event.JobKey, node event.ID) bool {
	if !g.alone {
		return false
	}
	for a := range s.AllocationsOn(node) {
		if a.Live() && a.Job == job && (g.rules.job.distinctHosts || a.Group == g.name) {
			return true
		}
	}
	return false
}

// isReplacing reports whether the job has a live allocation of another version:
// what is blocked may be its successor, which gets its room too.
func isReplacing(s *projections.State, job *projections.Job) bool {
	if job.LiveAllocs == 0 {
		return false
	}
	other := func(a *projections.Allocation) bool {
		return a.Live() && (a.JobVersion != job.Version || a.SpecHash != job.SpecHash)
	}
	if job.Version == 0 && len(job.Older) == 0 {
		// Only what is left of a purged job of that name can be of another
		// version, and it is older than all else.
		for a := range s.AllocationsOf(job.Key) {
			if a.CreateIndex > job.CreateIndex {
				return false
			}
			if other(a) {
				return true
			}
		}
		return false
	}
	for a := range s.AllocationsOf(job.Key) {
		if other(a) {
			return true
		}
	}
	return false
}

// failedGroups are the groups of the job that an evaluation could not place
// wholly, in the order of the spec, and how many allocations of each it wants.
func failedGroups(job *event.Job, eval *event.Evaluation) (names []string, wanted []int) {
	for _, g := range job.TaskGroups {
		if _, failed := eval.FailedTGAllocs[g.Name]; failed || len(eval.FailedTGAllocs) == 0 {
			names = append(names, g.Name)
			wanted = append(wanted, max(eval.QueuedAllocations[g.Name], 1))
		}
	}
	return slices.Clip(names), wanted
}
