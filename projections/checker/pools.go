package checker

import (
	"fmt"

	"drover/eventlog/event"
	"drover/projections"
)

// poolName is the pool that a node or job with this pool is in.
func poolName(name string) string {
	if name == "" {
		return "default"
	}
	return name
}

// joined makes the pool of a node that has come.
func (c *Checker) joined(n *event.Node) {
	if n == nil || poolName(n.NodePool) == "default" {
		return
	}
	if _, ok := c.pools[n.NodePool]; !ok {
		c.pools[n.NodePool] = event.NodePool{Name: n.NodePool}
	}
}

func (c *Checker) poolDeleted(name string) error {
	if _, ok := c.pools[name]; !ok {
		return fmt.Errorf("there is no node pool %q", name)
	}
	for id, n := range c.nodes {
		if poolName(n.info.NodePool) == name {
			return fmt.Errorf("node pool %q goes and node %v is in it", name, id)
		}
	}
	for key, j := range c.jobs {
		if !j.stopped && j.spec.Type == event.JobTypeSystem && poolName(j.spec.NodePool) == name {
			return fmt.Errorf("node pool %q goes and job %v wants to be on it", name, key)
		}
	}
	delete(c.pools, name)
	return nil
}

func (c *Checker) namespaceDeleted(name string) error {
	if _, ok := c.spaces[name]; !ok || name == "default" {
		return fmt.Errorf("there is no namespace %q that could go", name)
	}
	for _, a := range c.allocs {
		if a.job.Namespace == name && a.live() {
			return fmt.Errorf("namespace %q goes and an allocation of job %v lives", name, a.job)
		}
	}
	delete(c.spaces, name)
	return nil
}

func (c *Checker) comparePools(s *projections.State) error {
	count := 0
	for p := range s.NodePools() {
		mine, ok := c.pools[p.Name]
		switch {
		case p.Name == "default" || p.Name == "all":
			continue
		case !ok:
			return fmt.Errorf("there is no node pool %q", p.Name)
		case mine.Description != p.Description || len(mine.Meta) != len(p.Meta) || (mine.SchedulerConfiguration == nil) != (p.SchedulerConfiguration == nil):
			return fmt.Errorf("node pool %q is %+v, expected %+v", p.Name, p.NodePool, mine)
		}
		count++
	}
	if count != len(c.pools) {
		return fmt.Errorf("%d node pools, expected %d", count, len(c.pools))
	}
	return nil
}

func (c *Checker) compareNamespaces(s *projections.State) error {
	count, hasDefault := 0, false
	for n := range s.Namespaces() {
		mine, ok := c.spaces[n.Name]
		if n.Name == "default" {
			hasDefault = true
			if !ok {
				continue // as it was from the beginning
			}
		}
		if !ok || mine.Description != n.Description || len(mine.Meta) != len(n.Meta) || (mine.Capabilities == nil) != (n.Capabilities == nil) {
			return fmt.Errorf("namespace %q is %+v, expected %+v", n.Name, n.Namespace, mine)
		}
		count++
	}
	if count != len(c.spaces) || !hasDefault {
		return fmt.Errorf("%d namespaces, expected %d", count, len(c.spaces))
	}
	for id, a := range c.allocs {
		if _, ok := c.spaces[a.job.Namespace]; !ok && a.job.Namespace != "default" && a.live() {
			return fmt.Errorf("allocation %v of job %v lives in a namespace that does not exist", id, a.job)
		}
	}
	return nil
}
