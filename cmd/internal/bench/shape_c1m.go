package bench

import (
	"context"
	"fmt"
)

// c1m is the million: service jobs of a thousand small tasks, each with a
// constraint, on five thousand nodes that they fill to about 87%.
var c1m = Shape{
	Name:  "c1m",
	About: "a million placements: service jobs of 1,000, a kernel constraint each, on 5,000 nodes",
	Detail: "-jobs service jobs of -count tasks each are registered by -clients clients; the run ends when every\n" +
		"order has reached its node, or, with -running, when the servers have recorded every task as running.",
	Default:     Scale{Nodes: 5000, Jobs: 1000, Count: 1000, Clients: 16},
	allocations: jobsTimesCount,
	load: func(ctx context.Context, r *run) error {
		return r.placeAll(ctx, r.serviceJobs("job-%05d", r.scale.Jobs, r.scale.Count))
	},
}

// newJob is newJob for this run: on servers that have other nodes, too, its jobs
// are for the simulated ones alone.
func (r *run) newJob(id, kind string, count, ports int) jobSpec {
	spec := newJob(id, kind, count, ports)
	if r.cfg.API.Address != "" {
		spec.Constraints = append(spec.Constraints, constraint{"${meta.bench}", r.id.Short(), "="})
	}
	return spec
}

// serviceJobs makes plain jobs.
func (r *run) serviceJobs(name string, jobs, count int) []*job {
	var list []*job
	for i := range jobs {
		list = append(list, r.newJob(r.name(fmt.Sprintf(name, i)), "service", count, r.cfg.Ports).job())
	}
	return list
}
