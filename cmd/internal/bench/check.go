package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// Check is whether the outcome of a run is right, by other means than the run's
// own counters.
type Check struct {
	OK       bool     `json:"ok"`
	Records  uint64   `json:"records_walked"`
	Jobs     int      `json:"jobs_asked"`
	Findings []string `json:"findings,omitempty"`
}

func (c *Check) err() error {
	if c.OK {
		return nil
	}
	return errors.New("the check failed:\n  " + strings.Join(c.Findings, "\n  "))
}

// jobCount is what the API says of a job's allocations.
type jobCount struct{ live, ended, queued int }

// askCounts asks the API about every job of the run.
func (r *run) askCounts(ctx context.Context) (map[string]jobCount, error) {
	counts := make(map[string]jobCount, len(r.list))
	var mu sync.Mutex
	err := each(ctx, 8, r.list, func(ctx context.Context, j *job) error {
		if j.sent.Load() == 0 {
			return nil
		}
		summary, _, err := r.server.api.JobSummary(ctx, j.id)
		if apiclient.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("summary of job %s: %w", j.id, err)
		}
		var n jobCount
		for _, g := range summary.Summary {
			n.live += g.Starting + g.Running
			n.ended += g.Complete + g.Failed + g.Lost
			n.queued += g.Queued
		}
		mu.Lock()
		defer mu.Unlock()
		counts[j.id] = n
		return nil
	})
	return counts, err
}

// judge holds the walk of the log, the API and the fleet against each other.
func (r *run) judge(books *ledger, counts map[string]jobCount) *Check {
	c := &Check{Records: books.facts.records, Jobs: len(counts), Findings: books.wrong}
	if books.more > 0 {
		c.Findings = append(c.Findings, fmt.Sprintf("and %d more findings in the log", books.more))
	}
	find := func(format string, args ...any) {
		if len(c.Findings) < 2*wrongMax {
			c.Findings = append(c.Findings, fmt.Sprintf(format, args...))
		}
	}
	for _, j := range r.list {
		if j.sent.Load() == 0 {
			continue
		}
		inLog := books.jobs[event.JobKey{Namespace: event.DefaultNamespace, ID: j.id}]
		said, known := counts[j.id]
		switch {
		case inLog == nil:
			find("job %s was registered and is not in the log", j.id)
		case !known && r.shape.moving && inLog.live == 0:
			// The server has forgotten what ended; the log has not.
			if inLog.placed != j.want {
				find("job %s wants %d allocations and got %d", j.id, j.want, inLog.placed)
			}
		case !known:
			find("job %s was registered and the API does not know it", j.id)
		default:
			r.judgeJob(j, inLog, said, find)
			if r.result.Restart != nil && r.result.Restart.counts[j.id] != said {
				find("job %s: the API said %+v before the restart and %+v after it", j.id, said, r.result.Restart.counts[j.id])
			}
		}
	}
	for node, times := range books.facts.declaredDown {
		if r.ours(node) && !r.expectDown[node] {
			find("node %v was declared down %d times while it lived", node, times)
		}
	}
	if n := r.fleet.disowned.Load(); n > 0 {
		find("%d nodes were told to register again while they lived", n)
	}
	c.OK = len(c.Findings) == 0
	return c
}

// judgeJob checks one job: what is live and what is queued make up what it
// wants, the API says what the log says, and every order reached its node.
func (r *run) judgeJob(j *job, inLog *ledgerJob, said jobCount, find func(string, ...any)) {
	if said.live != inLog.live {
		find("job %s: the log has %d live allocations, the API says %d", j.id, inLog.live, said.live)
	}
	// Nodes that fell silent may have missed their last orders.
	if got := int(j.placed.Load()); got != inLog.placed && (len(r.expectDown) == 0 || got > inLog.placed) {
		find("job %s: the log places %d allocations, %d orders reached their nodes", j.id, inLog.placed, got)
	}
	have := inLog.live
	if r.shape.moving {
		have = inLog.placed // each task runs once
	}
	if j.waits {
		have += said.queued
	}
	if have != j.want {
		find("job %s wants %d allocations: %d live, %d placed in all, %d queued", j.id, j.want, inLog.live, inLog.placed, said.queued)
	}
}

// ours reports whether a node is one of the fleet.
func (r *run) ours(id event.ID) bool {
	for _, info := range r.infos {
		if info.ID == id {
			return true
		}
	}
	return false
}
