package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"drover/eventlog/event"
	"drover/projections"
)

// Remover has what is proposed leave the state, as far as it may. The command
// carries the epoch that the reactor was born in and is refused in any other.
type Remover interface {
	Collect(ctx context.Context, epoch uint64, proposed *event.Collected) error
}

// CollectorConfig says when what has ended leaves the state. History keeps it
// whatever is said here.
type CollectorConfig struct {
	Source  Source
	Remover Remover
	Epoch   uint64           // the epoch of the leadership that this reactor serves
	Now     func() time.Time // the clock

	Interval time.Duration // between two looks for what is old enough; 0 is 5 min
	// Ages after the last change. 0 is the default of the field's servers.
	JobAge       time.Duration // of a dead job; 4 h
	EvalAge      time.Duration // of an evaluation and its allocations; 1 h
	BatchEvalAge time.Duration // the same of batch jobs; 24 h
	NodeAge      time.Duration // of a node that is down; 24 h
	// KeptMax is how many ended allocations, and how many ended evaluations, may
	// stand in the state. Beyond it the oldest leave whatever their age. 0 is 50,000.
	KeptMax int

	Log *slog.Logger // nil discards
}

func (c *CollectorConfig) validate() error {
	if c.Source == nil || c.Remover == nil || c.Now == nil {
		return fmt.Errorf("collector: Source, Remover and Now are needed")
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{{&c.Interval, collectInterval}, {&c.JobAge, jobAge}, {&c.EvalAge, evalAge}, {&c.BatchEvalAge, batchEvalAge}, {&c.NodeAge, nodeAge}} {
		if *d.value < 0 {
			return fmt.Errorf("collector: an interval or an age of %v", *d.value)
		}
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if c.KeptMax < 0 {
		return fmt.Errorf("collector: KeptMax is %d", c.KeptMax)
	}
	if c.KeptMax == 0 {
		c.KeptMax = endedKept
	}
	return nil
}

// Collector is the reactor that has ended work leave the state. It keeps nothing
// that a new leader could not derive.
type Collector struct{ config CollectorConfig }

// NewCollector makes the reactor of one leadership.
func NewCollector(config CollectorConfig) (*Collector, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Collector{config}, nil
}

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	aged := time.NewTicker(c.config.Interval)
	defer aged.Stop()
	counted := time.NewTicker(collectTick)
	defer counted.Stop()
	crowd := c.crowd()
	for {
		var err error
		select {
		case <-counted.C:
			if s := c.config.Source.Snapshot(); max(s.EndedAllocations(), s.EndedEvaluations()) > c.config.KeptMax {
				err = c.hunt(ctx, crowd)
			}
		case <-aged.C:
			// What could not leave when it was passed may be able to by now.
			crowd = c.crowd()
			err = c.Sweep(ctx, false)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil && ctx.Err() == nil && c.config.Log != nil {
			c.config.Log.Warn("ended work was not collected, it is tried again", "error", err)
		}
	}
}

// Sweep looks at everything that has ended once, and collects what is old enough;
// with force, all that may leave at all.
func (c *Collector) Sweep(ctx context.Context, force bool) error {
	now := max(c.config.Now().UnixNano(), c.config.Source.Snapshot().Time())
	before := func(age time.Duration) int64 { return now - int64(age) }
	h := &hunt{
		jobs: before(c.config.JobAge), evals: before(c.config.EvalAge), batchEvals: before(c.config.BatchEvalAge),
		nodes: before(c.config.NodeAge), blobs: before(blobAge),
	}
	if force {
		h.jobs, h.evals, h.batchEvals, h.nodes = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	}
	return c.hunt(ctx, h)
}

// crowd is the hunt for the oldest, whatever their age, while there are too many.
func (c *Collector) crowd() *hunt {
	return &hunt{
		jobs: math.MaxInt64, evals: math.MaxInt64, batchEvals: math.MaxInt64, nodes: math.MinInt64, blobs: math.MinInt64,
		// A little below the bound, so that it does not begin again at once.
		excess: func(s *projections.State) int {
			return max(s.EndedAllocations(), s.EndedEvaluations()) - (c.config.KeptMax - c.config.KeptMax/16)
		},
	}
}

func (c *Collector) hunt(ctx context.Context, h *hunt) error {
	s := c.config.Source.Snapshot()
	allocations, evaluations := s.EndedAllocations(), s.EndedEvaluations()
	h.rewind()
	for {
		proposed := h.next(s)
		if proposed == nil {
			break
		}
		if err := c.config.Remover.Collect(ctx, c.config.Epoch, proposed); err != nil {
			return fmt.Errorf("collect ended work: %w", err)
		}
		after := c.config.Source.Snapshot()
		if after.Index() == s.Index() {
			break // none of it may leave any more; the next look knows better
		}
		s = after
	}
	if left := allocations - s.EndedAllocations(); c.config.Log != nil && (left > 0 || evaluations > s.EndedEvaluations()) {
		c.config.Log.Debug("ended work was collected", "index", s.Index(),
			"allocations", left, "evaluations", evaluations-s.EndedEvaluations())
	}
	return nil
}
