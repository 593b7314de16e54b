package bench

import (
	"context"
	"fmt"
	"time"

	"drover/eventlog/event"
)

// drift is the loss of half a fleet at once.
var drift = Shape{
	Name:  "drift",
	About: "1,000 nodes go silent at once with 200,000 allocations",
	Detail: "-nodes nodes, of which jobs fill about half (binpack); all nodes that hold something then go silent, up\n" +
		"to half of the fleet. The run ends when the rest runs everything.\n" +
		"Recovery is the time from the record that declares the last node down to the last plan that places.",
	Default:     Scale{Nodes: 2000, Jobs: 200, Count: 1000, Clients: 16},
	allocations: jobsTimesCount,
	slots: func(c *Config) int {
		// Half of the fleet holds it all, with a little to spare.
		return (2*c.Jobs*c.Count*105/100 + c.Nodes - 1) / c.Nodes
	},
	quick: true,
	load:  loadDrift,
}

func loadDrift(ctx context.Context, r *run) error {
	if err := r.placeAll(ctx, r.serviceJobs("job-%05d", r.scale.Jobs, r.scale.Count)); err != nil {
		return err
	}
	var living []*node
	lost, silenced := 0, 0
	for _, n := range r.fleet.nodes {
		held := n.holds()
		if held == 0 || silenced >= r.scale.Nodes/2 {
			living = append(living, n)
			continue
		}
		n.silence()
		r.expectDown[n.info.ID] = true
		silenced++
		lost += held
	}
	want := int64(r.scale.Jobs) * int64(r.scale.Count)
	count := func() (sum int64) {
		for _, n := range living {
			sum += int64(n.holds())
		}
		return sum
	}
	r.show.phase(fmt.Sprintf("%d nodes with %d allocations fell silent", silenced, lost), func() string {
		return fmt.Sprintf("%d of %d allocations on living nodes", count(), want)
	})
	// The servers wait for twice the time between heartbeats before they believe it.
	if err := r.awaitSlowly(ctx, func() (int64, bool) { n := count(); return n, n >= want }); err != nil {
		return fmt.Errorf("%d of %d allocations on living nodes: %w", count(), want, err)
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	r.lost = lost
	return nil
}

// awaitSlowly is await for a counter that is dear to read.
func (r *run) awaitSlowly(ctx context.Context, counter func() (int64, bool)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	last, since := int64(-1), time.Now()
	for {
		n, done := counter()
		if done {
			return nil
		}
		if n != last {
			last, since = n, time.Now()
		}
		// Some nodes may be noticed long after others.
		if time.Since(since) > 3*stallPatience {
			return fmt.Errorf("nothing has moved for %v%s", 3*stallPatience, r.explain(ctx))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.server.running(); err != nil {
			return err
		}
	}
}

// recovered adds the figures of drift that only the log can tell.
func (r *run) recovered(books *ledger) {
	f := &books.facts
	r.result.figure("nodes declared down", float64(len(f.declaredDown)), "")
	r.result.figure("allocations lost", float64(r.lost), "")
	if f.lastDown > 0 && len(f.marks) > 0 {
		r.result.figure("declared down, first to last", milliseconds(time.Duration(f.lastDown-f.firstDown)), "ms")
		r.result.figure("recovery, from the last one", milliseconds(max(0, time.Duration(f.marks[len(f.marks)-1].at-f.lastDown))), "ms")
	}
	most, sum := 0, 0
	for _, j := range r.list {
		n := f.evalsByJob[event.JobKey{Namespace: event.DefaultNamespace, ID: j.id}] - 1 // its registration's
		most, sum = max(most, n), sum+n
	}
	r.result.figure("evaluations per job, mean", per(sum, len(r.list)), "")
	r.result.figure("evaluations per job, most", float64(most), "")
	r.result.figure("commands that declared nodes down", float64(f.downBatches), "")
}
