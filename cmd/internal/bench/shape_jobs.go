package bench

import (
	"context"
	"fmt"
	"time"
)

// smallJobs is what most clusters hold: many jobs of a few tasks.
var smallJobs = Shape{
	Name:  "small-jobs",
	About: "10,000 service jobs of 10",
	Detail: "As c1m, with many small jobs: what counts here is what a job costs, and jobs/s, to the last\n" +
		"order taken in.",
	Default:     Scale{Nodes: 1000, Jobs: 10_000, Count: 10, Clients: 64},
	allocations: jobsTimesCount,
	load: func(ctx context.Context, r *run) error {
		return r.placeAll(ctx, r.serviceJobs("job-%05d", r.scale.Jobs, r.scale.Count))
	},
}

// submit is a burst of registrations.
var submit = Shape{
	Name:        "submit",
	About:       "100 clients registering jobs at once",
	Detail:      "Every client registers its next job as soon as the last one was answered.",
	Default:     Scale{Nodes: 1000, Jobs: 20_000, Count: 1, Clients: 100},
	allocations: jobsTimesCount,
	load: func(ctx context.Context, r *run) error {
		return r.placeAll(ctx, r.serviceJobs("job-%05d", r.scale.Jobs, r.scale.Count))
	},
}

// wide is jobs of many groups, whose specs are large.
var wide = Shape{
	Name:        "wide",
	About:       "5 jobs of 2,000 groups each",
	Detail:      "-count is the number of groups of one task in each job. A job is about half a megabyte.",
	Default:     Scale{Nodes: 1000, Jobs: 5, Count: 2000, Clients: 5},
	allocations: jobsTimesCount,
	load: func(ctx context.Context, r *run) error {
		var jobs []*job
		for i := range r.scale.Jobs {
			spec := r.newJob(r.name(fmt.Sprintf("wide-%05d", i)), "service", 1, r.cfg.Ports)
			spec.TaskGroups = nil
			for g := range r.scale.Count {
				spec.TaskGroups = append(spec.TaskGroups, newGroup(fmt.Sprintf("group-%04d", g), 1, r.cfg.Ports))
			}
			jobs = append(jobs, spec.job())
		}
		r.result.figure("request of a job", float64(len(jobs[0].body)), "bytes")
		return r.placeAll(ctx, jobs)
	},
}

// spreadShape is the one decision that looks at every node for every placement
// and whose scores change with each.
var spreadShape = Shape{
	Name:  "spread",
	About: "jobs of 1,000 with spread and affinity, one after the other, on 10,000 nodes",
	Detail: "The jobs spread over 20 racks and prefer one of five kinds of node. The slowest decision is\n" +
		"what the scheduler took for one of its looks at a job, as the server measures it.",
	Default:     Scale{Nodes: 10_000, Jobs: 5, Count: 1000, Clients: 1},
	allocations: jobsTimesCount,
	load: func(ctx context.Context, r *run) error {
		var whole histogram
		for i := range r.scale.Jobs {
			spec := r.newJob(r.name(fmt.Sprintf("spread-%05d", i)), "service", r.scale.Count, r.cfg.Ports)
			spec.Spreads = []spread{{Attribute: "${meta.rack}", Weight: 50}}
			spec.Affinities = []affinity{{"${node.class}", "kind-2", "=", 50}}
			j := spec.job()
			if err := r.placeAll(ctx, []*job{j}); err != nil {
				return err
			}
			whole.add(time.Duration(j.ready.Load() - j.sent.Load()))
		}
		r.result.figure("whole job placed, median", milliseconds(whole.at(0.5)), "ms")
		r.result.figure("whole job placed, slowest", milliseconds(time.Duration(whole.max.Load())), "ms")
		return nil
	},
}
