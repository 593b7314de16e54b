package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// full is a fleet without room: jobs queue, and capacity comes back in small
// pieces.
var full = Shape{
	Name:  "full",
	About: "the fleet is full; 180,000 tasks queue; capacity trickles in",
	Detail: "Small jobs fill every node (10 tasks each). Then -jobs jobs of -count tasks are registered, with\n" +
		"priorities 70, 50 and 30 in turn; none of them fits. Then 50 of the small jobs are stopped one after\n" +
		"the other, each when the room of the one before was taken. Out of order counts tasks of jobs that\n" +
		"were placed before one with a higher priority, or with the same and registered earlier, had all.",
	Default:     Scale{Nodes: 1000, Jobs: 1800, Count: 100, Clients: 16},
	allocations: func(c *Config) int { return c.Nodes * tasksOfFullNode },
	slots:       func(*Config) int { return tasksOfFullNode },
	working:     true,
	load:        loadFull,
}

const (
	tasksOfFullNode = 10
	trickles        = 50
)

var queuePriorities = []int{70, 50, 30}

func loadFull(ctx context.Context, r *run) error {
	fillers := r.serviceJobs("filler-%05d", r.scale.Nodes, tasksOfFullNode)
	if err := r.placeAll(ctx, fillers); err != nil {
		return fmt.Errorf("fill the fleet: %w", err)
	}
	queue, err := r.queueUp(ctx)
	if err != nil {
		return err
	}
	r.queue = queue
	if err := r.settled(ctx); err != nil {
		return err
	}
	plans, err := r.committedPlans(ctx)
	if err != nil {
		return err
	}
	var taken histogram
	pieces := min(trickles, len(fillers)/2)
	r.show.phase("free room, piece by piece", func() string { return fmt.Sprintf("%d of %d pieces taken", taken.count.Load(), pieces) })
	for _, j := range fillers[:pieces] {
		ended, received := r.fleet.ended.Load(), r.fleet.received.Load()
		if _, err := r.server.api.StopJob(ctx, j.id, apiclient.StopOptions{}); err != nil {
			return fmt.Errorf("stop job %s: %w", j.id, err)
		}
		j.want = 0
		err := r.await(ctx, nil, func() (int64, bool) {
			gone, came := r.fleet.ended.Load()-ended, r.fleet.received.Load()-received
			return gone + came, gone >= tasksOfFullNode && came >= tasksOfFullNode
		})
		if err != nil {
			return fmt.Errorf("room was freed and not taken: %w", err)
		}
		// Orders can overtake the acknowledgement of the report that made room.
		taken.add(max(0, time.Duration(r.finishedOrders.Load()-r.fleet.lastEnd.Load())))
	}
	if err := r.settled(ctx); err != nil {
		return err
	}
	after, err := r.committedPlans(ctx)
	if err != nil {
		return err
	}
	r.result.figure("freed to taken, median", milliseconds(taken.at(0.5)), "ms")
	r.result.figure("freed to taken, p99", milliseconds(taken.at(0.99)), "ms")
	// A piece is stopped by a plan of its own, and its tasks end in reports that
	// may reach the log one by one.
	r.result.figure("decisions per piece of 10, its own stop apart", per(after-plans-float64(pieces), pieces), "")
	return nil
}

// queueUp registers the jobs that find no room.
func (r *run) queueUp(ctx context.Context) ([]*job, error) {
	var queue []*job
	for i := range r.scale.Jobs {
		spec := r.newJob(r.name(fmt.Sprintf("queued-%05d", i)), "service", r.scale.Count, r.cfg.Ports)
		spec.Priority = queuePriorities[i%len(queuePriorities)]
		j := spec.job()
		j.waits = true
		queue = append(queue, j)
	}
	r.define(queue)
	asked := r.asked.Load()
	r.show.phase("register jobs that have to wait", func() string { return fmt.Sprintf("%d of %d", r.asked.Load()-asked, len(queue)) })
	var first, last time.Duration // mean of a registration
	for part := range slices.Chunk(queue, max(1, len(queue)/10)) {
		begin := r.now()
		if err := each(ctx, r.scale.Clients, part, r.register); err != nil {
			return nil, err
		}
		last = (r.now() - begin) * time.Duration(min(r.scale.Clients, len(part))) / time.Duration(len(part))
		if first == 0 {
			first = last
		}
	}
	r.result.figure("registration, first tenth of the queue, mean", milliseconds(first), "ms")
	r.result.figure("registration, last tenth of the queue, mean", milliseconds(last), "ms")
	return queue, nil
}

// settled waits until no evaluation waits for a scheduler.
func (r *run) settled(ctx context.Context) error {
	var pending struct{ Count int }
	r.show.phase("wait until every evaluation was looked at", func() string { return fmt.Sprintf("%d pending", pending.Count) })
	began, fewest := time.Now(), int(^uint(0)>>1)
	for {
		_, err := r.server.api.Get(ctx, "/v1/evaluations/count", apiclient.Query{Filter: `Status == "pending"`}, &pending)
		if err != nil || pending.Count == 0 {
			return err
		}
		if pending.Count < fewest {
			began, fewest = time.Now(), pending.Count
		}
		if time.Since(began) > stallPatience {
			return fmt.Errorf("%d evaluations are pending and nothing has moved for %v", pending.Count, stallPatience)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// committedPlans is how many plans the server's schedulers have handed in.
func (r *run) committedPlans(ctx context.Context) (float64, error) {
	m, err := r.metrics(ctx)
	return float64(m.samples["nomad.nomad.worker.invoke_scheduler"].Count), err
}

// outOfOrder counts the placements of queued jobs that came before their turn.
// Their order is that of priority, then of the log.
func outOfOrder(queue []*job, books *ledger) (early, placed int) {
	var jobs []*ledgerJob
	for _, j := range queue {
		if inLog := books.jobs[event.JobKey{Namespace: event.DefaultNamespace, ID: j.id}]; inLog != nil {
			jobs = append(jobs, inLog)
		}
	}
	slices.SortFunc(jobs, func(a, b *ledgerJob) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.index, b.index))
	})
	waiting := false
	for _, j := range jobs {
		if placed += j.placed; waiting {
			early += j.placed
		}
		waiting = waiting || j.placed < j.wanted
	}
	return early, placed
}
