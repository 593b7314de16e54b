package commands

import (
	"maps"
	"regexp"
	"slices"

	"drover/eventlog/event"
	"drover/projections"
)

// SetNodePool makes a node pool, or changes it.
type SetNodePool struct{ Pool event.NodePool }

// DeleteNodePool ends a node pool that nothing is in.
type DeleteNodePool struct{ Name string }

// SetNamespace makes a namespace, or changes it.
type SetNamespace struct{ Namespace event.Namespace }

// DeleteNamespace ends a namespace in which nothing runs.
type DeleteNamespace struct{ Name string }

var (
	poolName      = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	namespaceName = regexp.MustCompile(`^[a-zA-Z0-9-]{1,128}$`)
)

func (c SetNodePool) decide(d *decision) *Rejection {
	p := c.Pool
	switch {
	case !poolName.MatchString(p.Name):
		return reject(ReasonInvalid, "invalid node pool name %q: it has 1 to 128 letters, digits, dashes and underscores", p.Name)
	case projections.BuiltInPool(p.Name):
		return reject(ReasonInvalid, "modifying node pool %q is not allowed", p.Name)
	case len(p.Description) > descriptionMax:
		return reject(ReasonInvalid, "description of node pool %q is longer than %d", p.Name, descriptionMax)
	case p.NodeIdentityTTL < 0:
		return reject(ReasonInvalid, "node_identity_ttl of node pool %q is less than zero", p.Name)
	}
	if s := p.SchedulerConfiguration; s != nil && s.SchedulerAlgorithm != "" {
		if r := checkAlgorithm(s.SchedulerAlgorithm); r != nil {
			return r
		}
	}
	if old := d.state.NodePool(p.Name); old != nil && sameEncoding(&old.NodePool, &p) {
		return nil
	}
	d.emit(&event.NodePoolSet{Pool: p}, event.ID{})
	return nil
}

func (c DeleteNodePool) decide(d *decision) *Rejection {
	switch {
	case projections.BuiltInPool(c.Name):
		return reject(ReasonInvalid, "node pool %q is built-in and cannot be deleted", c.Name)
	case d.state.NodePool(c.Name) == nil:
		return reject(ReasonNotFound, "node pool %q not found", c.Name)
	}
	for n := range d.state.Nodes() {
		if event.PoolOf(n.Info.NodePool) == c.Name {
			return reject(ReasonConflict, "node pool %q has nodes, node %s among them", c.Name, n.Info.ID)
		}
	}
	for j := range d.state.Jobs() {
		if event.PoolOf(j.Spec.Job.NodePool) == c.Name && j.Status() != "dead" {
			return reject(ReasonConflict, "node pool %q has non-terminal jobs, job %v among them", c.Name, j.Key)
		}
	}
	d.emit(&event.NodePoolDeleted{Name: c.Name}, event.ID{})
	return nil
}

func (c SetNamespace) decide(d *decision) *Rejection {
	n := c.Namespace
	switch {
	case !namespaceName.MatchString(n.Name):
		return reject(ReasonInvalid, "invalid namespace name %q: it has 1 to 128 letters, digits and dashes", n.Name)
	case len(n.Description) > descriptionMax:
		return reject(ReasonInvalid, "description of namespace %q is longer than %d", n.Name, descriptionMax)
	}
	if p := n.NodePoolConfiguration; p != nil && len(p.Allowed) > 0 && len(p.Denied) > 0 {
		return reject(ReasonInvalid, "namespace %q both allows and denies node pools: only one of the lists may be set", n.Name)
	}
	if old := d.state.Namespace(n.Name); old != nil && sameEncoding(&old.Namespace, &n) {
		return nil
	}
	d.emit(&event.NamespaceSet{Namespace: n}, event.ID{})
	return nil
}

func (c DeleteNamespace) decide(d *decision) *Rejection {
	switch {
	case c.Name == event.DefaultNamespace:
		return reject(ReasonInvalid, "default namespace can not be deleted")
	case d.state.Namespace(c.Name) == nil:
		return reject(ReasonNotFound, "namespace %q not found", c.Name)
	}
	for j := range d.state.JobsSince(event.JobKey{Namespace: c.Name}) {
		if j.Key.Namespace != c.Name {
			break
		}
		if j.Status() != "dead" {
			return reject(ReasonConflict, "namespace %q has non-terminal jobs, job %q among them", c.Name, j.Key.ID)
		}
	}
	// A job that was purged may still run.
	for a := range d.state.AllocationsIn(c.Name) {
		if !a.Client.Terminal() {
			return reject(ReasonConflict, "namespace %q has non-terminal allocations, %v of job %q among them", c.Name, a.ID, a.Job.ID)
		}
	}
	d.emit(&event.NamespaceDeleted{Name: c.Name}, event.ID{})
	return nil
}

// sameEncoding compares what the log would hold: nil and empty are the same in it.
func sameEncoding(a, b any) bool {
	encodedA, errA := event.Marshal(a)
	encodedB, errB := event.Marshal(b)
	return errA == nil && errB == nil && string(encodedA) == string(encodedB)
}

// admit refuses a job that may not be where it wants to be: in a namespace or node
// pool that does not exist, or that does not take what it asks for.
func admit(s *projections.State, job *event.Job) *Rejection {
	namespace := s.Namespace(job.Namespace)
	if namespace == nil {
		return reject(ReasonInvalid, "nonexistent namespace %q", job.Namespace)
	}
	pool := event.PoolOf(job.NodePool)
	if s.NodePool(pool) == nil {
		return reject(ReasonInvalid, "nonexistent node pool %q", pool)
	}
	if p := namespace.NodePoolConfiguration; p != nil && pool != p.Default {
		if len(p.Allowed) > 0 && !matches(p.Allowed, pool) || matches(p.Denied, pool) {
			return reject(ReasonInvalid, "job %q may not use node pool %q: namespace %q does not allow it", job.ID, pool, namespace.Name)
		}
	}
	if c := namespace.Capabilities; c != nil {
		return capable(c, job)
	}
	return nil
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return event.MatchGlob(pattern, name) })
}

// capable refuses a job that asks for what its namespace does not give.
func capable(c *event.NamespaceCapabilities, job *event.Job) *Rejection {
	drivers, modes := make(map[string]bool), make(map[string]bool)
	for _, g := range job.TaskGroups {
		for i := range g.Networks {
			mode := g.Networks[i].Mode
			if mode == "" {
				mode = "host"
			}
			modes[mode] = true
		}
		for _, t := range g.Tasks {
			drivers[t.Driver] = true
		}
	}
	refused := func(used map[string]bool, enabled, disabled []string) []string {
		return slices.DeleteFunc(slices.Sorted(maps.Keys(used)), func(name string) bool {
			return (len(enabled) == 0 || slices.Contains(enabled, name)) && !slices.Contains(disabled, name)
		})
	}
	if list := refused(drivers, c.EnabledTaskDrivers, c.DisabledTaskDrivers); len(list) > 0 {
		return reject(ReasonInvalid, "used task driver %q is not allowed in namespace %q", list[0], job.Namespace)
	}
	if list := refused(modes, c.EnabledNetworkModes, c.DisabledNetworkModes); len(list) > 0 {
		return reject(ReasonInvalid, "used group network mode %q is not allowed in namespace %q", list[0], job.Namespace)
	}
	return nil
}
