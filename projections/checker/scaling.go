package checker

import (
	"fmt"

	"drover/eventlog/event"
	"drover/projections"
)

func (c *Checker) scaled(e *event.JobScaled) error {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := c.jobs[key]
	group := groupOf(j, e.Group)
	switch {
	case group == nil:
		return fmt.Errorf("there is no job %v with a group %q", key, e.Group)
	case e.Count == nil && !e.EvalID.IsZero():
		return fmt.Errorf("it asks for no count, and evaluation %v deals with it", e.EvalID)
	case e.Count == nil:
	case e.Error:
		return fmt.Errorf("a failure asks for %d allocations", *e.Count)
	case *e.Count != int64(group.Count):
		return fmt.Errorf("it asks for %d allocations of %v.%s, whose spec says %d", *e.Count, key, e.Group, group.Count)
	case group.Scaling != nil && (*e.Count < group.Scaling.Min || *e.Count > group.Scaling.Max):
		return fmt.Errorf("%d allocations of %v.%s are outside of %d to %d", *e.Count, key, e.Group, group.Scaling.Min, group.Scaling.Max)
	}
	was := *j
	was.scaling = make(map[string][]uint64)
	for group, events := range j.scaling {
		was.scaling[group] = events
	}
	was.scaling[e.Group] = append(was.scaling[e.Group], c.index)
	c.jobs[key] = &was
	return nil
}

// scalingLeft is what has been said about the groups that a new version has too.
func scalingLeft(old *job, spec *event.Job) map[string][]uint64 {
	left := make(map[string][]uint64)
	for _, g := range spec.TaskGroups {
		if old != nil && len(old.scaling[g.Name]) > 0 {
			left[g.Name] = old.scaling[g.Name]
		}
	}
	return left
}

func compareScaling(mine *job, j *projections.Job) error {
	if len(j.Scaling) != len(mine.scaling) {
		return fmt.Errorf("job %v has scaling events of %d groups, expected %d", j.Key, len(j.Scaling), len(mine.scaling))
	}
	for group, all := range mine.scaling {
		shown := j.Scaling[group]
		if want := min(len(all), 20); len(shown) != want {
			return fmt.Errorf("job %v group %s: %d scaling events, expected %d", j.Key, group, len(shown), want)
		}
		for i, e := range shown {
			if e.CreateIndex != all[len(all)-1-i] {
				return fmt.Errorf("job %v group %s: the scaling event of record %d stands where that of %d belongs", j.Key, group, e.CreateIndex, all[len(all)-1-i])
			}
		}
	}
	return nil
}

// compareScaled holds the list of jobs with scaling policies against the jobs.
func (c *Checker) compareScaled(s *projections.State) error {
	listed := make(map[event.JobKey]bool)
	for j := range s.ScaledJobs() {
		listed[j.Key] = true
	}
	for key, j := range c.jobs {
		has := false
		for _, g := range j.spec.TaskGroups {
			has = has || g.Scaling != nil
		}
		if want := has && !j.stopped; listed[key] != want {
			return fmt.Errorf("job %v listed with scaling policies: %v, expected %v", key, listed[key], want)
		}
		delete(listed, key)
	}
	if len(listed) > 0 {
		return fmt.Errorf("%d jobs that are not there are listed with scaling policies", len(listed))
	}
	return nil
}
