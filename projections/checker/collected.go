package checker

import (
	"fmt"

	"drover/eventlog/event"
)

// collected takes out what the record names, and says so when any of it still
// mattered.
func (c *Checker) collected(e *event.Collected) error {
	for _, jobs := range e.Jobs {
		for _, id := range jobs.IDs {
			if err := c.jobCollected(event.JobKey{Namespace: jobs.Namespace, ID: id}); err != nil {
				return err
			}
		}
	}
	for _, work := range e.Work {
		if err := c.workCollected(work); err != nil {
			return err
		}
	}
	for _, id := range e.Nodes {
		n := c.nodes[id]
		if n == nil || n.status != event.NodeDown {
			return fmt.Errorf("node %v is collected and is not down", id)
		}
		for of, a := range c.allocs {
			if a.node == id {
				return fmt.Errorf("node %v is collected and allocation %v is on it", id, of)
			}
		}
		delete(c.nodes, id)
	}
	for _, hash := range e.Blobs {
		if c.chunks[hash] == nil {
			return fmt.Errorf("blob %v is collected and is not there", hash)
		}
		delete(c.chunks, hash)
		delete(c.of, hash)
	}
	return nil
}

func (c *Checker) jobCollected(key event.JobKey) error {
	j := c.jobs[key]
	if j == nil || !j.stopped && !j.batch {
		return fmt.Errorf("job %v is collected and is neither stopped nor a batch job", key)
	}
	if len(j.tags) > 0 {
		return fmt.Errorf("job %v is collected and has %d tagged versions", key, len(j.tags))
	}
	for id, a := range c.allocs {
		if a.job == key {
			if !a.ended() {
				return fmt.Errorf("job %v is collected and its allocation %v has not ended", key, id)
			}
			delete(c.allocs, id)
		}
	}
	for id, eval := range c.evals {
		if eval.job == key {
			if eval.open() {
				return fmt.Errorf("job %v is collected and its evaluation %v is %v", key, id, eval.status)
			}
			delete(c.evals, id)
		}
	}
	delete(c.jobs, key)
	return nil
}

func (c *Checker) workCollected(work event.CollectedWork) error {
	key := work.Job()
	for _, created := range work.Evaluations {
		var found event.ID
		for id, eval := range c.evals {
			if eval.created == created && eval.job == key {
				found = id
			}
		}
		eval := c.evals[found]
		if eval == nil || eval.open() {
			return fmt.Errorf("the evaluation of job %v that record %d created is collected and is %+v", key, created, eval)
		}
		delete(c.evals, found)
		for id, a := range c.allocs {
			if a.eval == found {
				if err := c.allocationCollected(id); err != nil {
					return err
				}
			}
		}
	}
	for _, id := range work.Allocations {
		if a := c.allocs[id]; a == nil || a.job != key {
			return fmt.Errorf("allocation %v is collected and is none of job %v", id, key)
		}
		if err := c.allocationCollected(id); err != nil {
			return err
		}
	}
	return nil
}

// allocationCollected checks the one thing that would be worst: that the work
// of an allocation is done again, or is still going on.
func (c *Checker) allocationCollected(id event.ID) error {
	a := c.allocs[id]
	if !a.ended() {
		return fmt.Errorf("allocation %v is collected and has not ended", id)
	}
	j := c.jobs[a.job]
	if j != nil && j.batch && a.created > j.since && a.version == j.version && a.desired == event.DesiredRun && a.client == event.ClientComplete {
		return fmt.Errorf("allocation %v is collected and is the work that batch job %v has done", id, a.job)
	}
	delete(c.allocs, id)
	return nil
}

func (e *evaluation) open() bool {
	return e.status == event.EvalPending || e.status == event.EvalBlocked
}
