package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watch is a fleet at rest that many look at.
var watch = Shape{
	Name:  "watch",
	About: "5,000 nodes and 1,000 API clients that block on changes",
	Detail: "-clients clients hold blocking queries: half on a job's summary, a quarter each on the list of jobs and\n" +
		"on the event stream. The server is left alone for -duration (default 20s) and its CPU measured; then\n" +
		"-jobs jobs of -count are registered, ten per second, and what matters is planned to placed.",
	Default:     Scale{Nodes: 5000, Jobs: 100, Count: 10, Clients: 1000},
	allocations: func(c *Config) int { return (c.Jobs + watchedJobs) * c.Count },
	load:        loadWatch,
}

const (
	watchDuration = 20 * time.Second
	watchedJobs   = 20
	watchRate     = 10 // jobs per second
)

func loadWatch(ctx context.Context, r *run) error {
	duration := r.cfg.Duration
	if duration == 0 {
		duration = watchDuration
	}
	watched := r.serviceJobs("watched-%05d", watchedJobs, r.scale.Count)
	if err := r.placeAll(ctx, watched); err != nil {
		return err
	}
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	w := &watchers{run: r}
	w.start(watchCtx, watched)
	defer w.work.Wait()
	defer stop()
	if err := r.awaitSlowly(ctx, func() (int64, bool) { n := w.watching.Load(); return n, n >= int64(r.scale.Clients) }); err != nil {
		return fmt.Errorf("%d of %d clients watch: %w", w.watching.Load(), r.scale.Clients, err)
	}
	// A subscriber is first told what the server has of the past.
	for told := int64(-1); told != w.lines.Load(); {
		told = w.lines.Load()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.show.phase("leave the server alone", nil)
	before, err := r.serverUsage()
	if err != nil {
		return err
	}
	begin := time.Now()
	select {
	case <-time.After(duration):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := r.serverUsage()
	if err != nil {
		return err
	}
	idle := (after.cpu - before.cpu).Seconds() / time.Since(begin).Seconds()
	r.result.figure("idle, share of a core", 100*idle, "%")
	r.delivered.reset()
	jobs := r.serviceJobs("job-%05d", r.scale.Jobs, r.scale.Count)
	r.define(jobs)
	received := r.fleet.received.Load()
	r.show.phase("register jobs", func() string {
		return fmt.Sprintf("%d of %d placed", r.fleet.received.Load()-received, len(jobs)*r.scale.Count)
	})
	begin = time.Now()
	for i, j := range jobs {
		select {
		case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / watchRate))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.register(ctx, j); err != nil {
			return err
		}
	}
	want := int64(len(jobs)) * int64(r.scale.Count)
	if err := r.await(ctx, nil, func() (int64, bool) { n := r.fleet.received.Load() - received; return n, n >= want }); err != nil {
		return err
	}
	r.result.figure("answers to blocking queries", float64(w.answers.Load()), "")
	r.result.figure("lines of event streams", float64(w.lines.Load()), "")
	r.result.figure("blocking queries that failed", float64(w.failures.Load()), "")
	return nil
}

// watchers are clients that wait for something to happen.
type watchers struct {
	run      *run
	work     sync.WaitGroup
	watching atomic.Int64 // clients that have their first answer
	answers  atomic.Int64
	lines    atomic.Int64
	failures atomic.Int64
}

func (w *watchers) start(ctx context.Context, jobs []*job) {
	for i := range w.run.scale.Clients {
		path := jobPath(jobs[i%len(jobs)].id) + "/summary?"
		switch i % 4 {
		case 1:
			path = "/v1/jobs?per_page=10&"
		case 3:
			w.work.Go(func() { w.stream(ctx) })
			continue
		}
		w.work.Go(func() { w.block(ctx, path) })
	}
}

// block asks for something newer than it has, again and again.
func (w *watchers) block(ctx context.Context, path string) {
	index := "0"
	for first := true; ctx.Err() == nil; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.run.clients.base+path+"wait=5m&index="+index, nil)
		if err == nil {
			var res *http.Response
			if res, err = w.run.clients.http.Do(req); err == nil {
				index = res.Header.Get("X-Nomad-Index")
				err = drain(res)
			}
		}
		if err != nil {
			w.failed(ctx)
			continue
		}
		if first {
			first = false
			w.watching.Add(1)
			continue
		}
		w.answers.Add(1)
	}
}

// stream reads the event stream.
func (w *watchers) stream(ctx context.Context) {
	for first := true; ctx.Err() == nil; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.run.clients.base+"/v1/event/stream?topic=Allocation&topic=Job", nil)
		if err != nil {
			return
		}
		res, err := w.run.clients.http.Do(req)
		if err != nil {
			w.failed(ctx)
			continue
		}
		if first {
			first = false
			w.watching.Add(1)
		}
		w.count(res.Body)
		_ = res.Body.Close()
		w.failed(ctx)
	}
}

// count counts lines: the server is to be measured, not how fast its answers can
// be decoded.
func (w *watchers) count(body io.Reader) {
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		_, err := lines.ReadSlice('\n')
		switch {
		case err == nil:
			w.lines.Add(1)
		case !errors.Is(err, bufio.ErrBufferFull):
			return
		}
	}
}

func (w *watchers) failed(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	w.failures.Add(1)
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}
