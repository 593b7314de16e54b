package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
)

// batchChurn is a cluster that is used as a queue: nothing lives long.
var batchChurn = Shape{
	Name:  "batch-churn",
	About: "short batch tasks, finishing all the time",
	Detail: "Batch jobs of -count tasks are registered so that -rate tasks start per second (default 2,000), for\n" +
		"-duration (default 1m); each ends by itself after one to three seconds. -jobs is not used. Memory and\n" +
		"the number of allocations in the state are sampled every second; the slopes are those of the second\n" +
		"half. Run it for longer than the server keeps what has ended: 1h shows whether its memory is flat.",
	Default:     Scale{Nodes: 1000, Jobs: 1, Count: 20, Clients: 32},
	allocations: func(c *Config) int { return int(c.rate() * lifetimeMax.Seconds() * churnHeadroom) },
	working:     true,
	moving:      true,
	prepare: func(r *run) {
		r.fleet.behave.lifetime = func(a event.ID) time.Duration {
			return lifetimeMin + (lifetimeMax-lifetimeMin)*time.Duration(a[15])/255 // an ID is as good as a die
		}
	},
	load: loadChurn,
}

const (
	lifetimeMin   = time.Second
	lifetimeMax   = 3 * time.Second
	churnRate     = 2000
	churnDuration = time.Minute
	// churnHeadroom is room beyond what runs at a time, so that a server that falls
	// behind for a moment does not meet a full fleet.
	churnHeadroom = 3
)

func (c *Config) rate() float64 {
	if c.Rate == 0 {
		return churnRate
	}
	return c.Rate
}

func loadChurn(ctx context.Context, r *run) error {
	duration := r.cfg.Duration
	if duration == 0 {
		duration = churnDuration
	}
	every := time.Duration(float64(r.scale.Count) / r.cfg.rate() * float64(time.Second))
	total := max(1, int(duration/every))
	r.show.phase("tasks come and go", func() string {
		return fmt.Sprintf("%d of %d jobs registered, %d tasks ended", r.asked.Load(), total, r.fleet.ended.Load())
	})
	sampleCtx, stop := context.WithCancel(ctx)
	var sampling sync.WaitGroup
	var memory, state series
	sampling.Go(func() { r.sampleServer(sampleCtx, &memory, &state) })
	err := r.churn(ctx, every, total)
	stop()
	sampling.Wait()
	if err != nil {
		return err
	}
	r.result.figure("tasks ended", float64(r.fleet.ended.Load()), "")
	r.result.figure("registrations late by more than a second", float64(r.late.Load()), "")
	if r.server.child() {
		r.result.figure("memory, slope", memory.slope()/1024, "KB/s")
		r.result.figure("memory, second half", memory.last(), "bytes")
	}
	r.result.figure("allocations in the state at the end", state.last(), "")
	r.result.figure("allocations in the state, slope", state.slope(), "per s")
	return nil
}

// churn registers jobs at their times, whether or not the server keeps up, and
// returns when all of their tasks have ended.
func (r *run) churn(ctx context.Context, every time.Duration, total int) error {
	begin := time.Now()
	next := atomic.Int64{}
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := make([]struct{}, r.scale.Clients)
	go func() {
		failed <- each(ctx, len(workers), workers, func(ctx context.Context, _ struct{}) error {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return nil
				}
				due := begin.Add(time.Duration(i) * every)
				select {
				case <-time.After(time.Until(due)):
				case <-ctx.Done():
					return ctx.Err()
				}
				if time.Since(due) > time.Second {
					r.late.Add(1)
				}
				j := r.newJob(r.name(fmt.Sprintf("batch-%07d", i)), "batch", r.scale.Count, r.cfg.Ports).job()
				r.define([]*job{j})
				if err := r.register(ctx, j); err != nil {
					return err
				}
				j.body = nil
			}
		})
	}()
	want := int64(total) * int64(r.scale.Count)
	return r.await(ctx, failed, func() (int64, bool) { n := r.fleet.ended.Load(); return n, n >= want })
}

// sampleServer notes memory and the size of the state every second.
func (r *run) sampleServer(ctx context.Context, memory, state *series) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if u, err := r.serverUsage(); err == nil {
			memory.add(r.now(), float64(u.resident))
		}
		if m, err := r.metrics(ctx); err == nil {
			state.add(r.now(), m.gauges["nomad.state.allocations"])
		}
	}
}

// series is a quantity over time.
type series struct{ at, value []float64 }

func (s *series) add(at time.Duration, value float64) {
	s.at, s.value = append(s.at, at.Seconds()), append(s.value, value)
}

func (s *series) last() float64 {
	if len(s.value) == 0 {
		return 0
	}
	return s.value[len(s.value)-1]
}

// slope is that of the straight line through the second half of the samples
// (least squares), per second.
func (s *series) slope() float64 {
	at, value := s.at[len(s.at)/2:], s.value[len(s.value)/2:]
	if len(at) < 2 {
		return 0
	}
	var meanAt, meanValue, both, square float64
	for i := range at {
		meanAt += at[i] / float64(len(at))
		meanValue += value[i] / float64(len(at))
	}
	for i := range at {
		both += (at[i] - meanAt) * (value[i] - meanValue)
		square += (at[i] - meanAt) * (at[i] - meanAt)
	}
	if square == 0 {
		return 0
	}
	return both / square
}
