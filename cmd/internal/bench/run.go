package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// run is one run of a shape.
type run struct {
	cfg     Config
	shape   Shape
	scale   Scale
	id      event.ID
	dir     string // of a server that the run starts
	server  *server
	fleet   *fleet
	clients *clients
	show    *progress
	result  *Result
	infos   []*event.Node // the nodes to simulate

	mu   sync.RWMutex
	jobs map[string]*job
	list []*job // in the order of their definition

	// What the load showed, by the bench's own clock.
	accepted   histogram // a registration sent to its answer
	placed     histogram // a registration sent to an order at its node, per allocation
	delivered  histogram // the record of a plan to an order at its node, per allocation
	ran        histogram // a registration sent to the record that it runs, per allocation
	sampled    histogram // GET of a job
	begun      time.Duration
	finished   atomic.Int64 // when the last order, or report, came in
	asked      atomic.Int64 // registrations answered
	registered atomic.Int64 // when the last of them was

	finishedOrders atomic.Int64 // when the last order came in
	late           atomic.Int64 // registrations of batch-churn that went out late
	queue          []*job       // of full: the jobs that wait
	lost           int          // of drift: allocations on nodes that fell silent

	before, after usage
	meter         *meter
	expectDown    map[event.ID]bool // nodes that the shape silenced
}

// Run runs a shape and shows its result. The error says why there is none, or
// what the check found; then the result was shown all the same.
func Run(ctx context.Context, cfg Config) (err error) {
	shape, err := cfg.check()
	if err != nil {
		return err
	}
	r := &run{cfg: cfg, shape: shape, scale: cfg.Scale, id: newID(), jobs: make(map[string]*job), expectDown: make(map[event.ID]bool)}
	if err := r.checkMachine(); err != nil {
		return err
	}
	if cfg.API.Address == "" {
		if r.dir, err = cfg.dir(); err != nil {
			return err
		}
		defer func() {
			if cfg.Keep {
				fmt.Fprintf(cfg.Stderr, "The server's data is kept in %s\n", r.dir)
				return
			}
			err = errors.Join(err, os.RemoveAll(r.dir))
		}()
	}
	r.show = newProgress(cfg.Stderr, cfg.Terminal)
	r.result = newResult(&r.cfg)
	err = r.all(ctx)
	r.show.end()
	if err != nil {
		return err
	}
	return r.tell()
}

func (r *run) checkMachine() error {
	dir := r.cfg.DataDir
	if dir == "" {
		dir = os.TempDir()
	}
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" || dir == "." {
			break
		}
		dir = filepath.Dir(dir)
	}
	m, err := lookAtMachine(dir, runtime.NumCPU())
	if err != nil {
		return err
	}
	return r.shape.needs(&r.cfg).fits(m)
}

// all does everything up to the result.
func (r *run) all(ctx context.Context) (err error) {
	if err := r.startServer(ctx); err != nil {
		return err
	}
	defer func() {
		if r.server.child() {
			r.server.kill()
		}
	}()
	if err := r.startFleet(ctx); err != nil {
		return err
	}
	defer r.fleet.stop()
	if err := r.underLoad(ctx); err != nil {
		return err
	}
	r.show.phase("check through the API", nil)
	counts, err := r.askCounts(ctx)
	if err != nil {
		return fmt.Errorf("check through the API: %w", err)
	}
	r.fleet.stop()
	r.result.Troubles = r.fleet.troubled.Load()
	r.result.LastTrouble = r.fleet.trouble()
	if r.server.child() && !r.cfg.NoRestart {
		if err := r.measureRestarts(ctx); err != nil {
			return err
		}
	}
	books, err := r.walk(ctx)
	if err != nil {
		return err
	}
	r.result.fill(r, books)
	if r.queue != nil {
		early, placed := outOfOrder(r.queue, books)
		r.result.figure("queued tasks placed", float64(placed), "")
		r.result.figure("of which out of order", float64(early), "")
	}
	if len(r.expectDown) > 0 {
		r.recovered(books)
	}
	r.result.Check = r.judge(books, counts)
	if !r.server.child() {
		r.cleanUp(ctx)
	}
	return nil
}

func (r *run) startServer(ctx context.Context) (err error) {
	if r.cfg.API.Address != "" {
		r.show.phase("look at "+r.cfg.API.Address, nil)
		r.server, err = remote(ctx, r.cfg.API)
		return err
	}
	if r.server, err = newChild(r.cfg.Program, r.dir, r.cfg.Schedulers, r.shape.quick); err != nil {
		return err
	}
	r.show.phase("start the server", nil)
	if _, err = r.server.start(ctx); err != nil {
		r.server.kill()
	}
	return err
}

// nodeSize is what a node needs to hold its share of the allocations, with some
// to spare.
func (r *run) nodeSize() nodeSize {
	share := int64(r.shape.allocations(&r.cfg)+r.scale.Nodes-1) / int64(r.scale.Nodes)
	share = max(share+(share*sparePercent+99)/100, 2)
	if r.shape.slots != nil {
		share = int64(r.shape.slots(&r.cfg))
	}
	return nodeSize{run: r.id, mhz: share * taskMHz, mb: share * taskMB, diskMB: share * taskDiskMB}
}

func (r *run) startFleet(ctx context.Context) error {
	size := r.nodeSize()
	for i := range r.scale.Nodes {
		r.infos = append(r.infos, newNodeInfo(i, size))
	}
	r.fleet = newFleet(ctx, r.server.agents, r.infos)
	r.fleet.behave.report = r.cfg.Running
	r.fleet.placed, r.fleet.ran = r.orderCame, r.allocationRan
	if r.shape.prepare != nil {
		r.shape.prepare(r)
	}
	r.clients = newClients(r.server.address, r.scale.Clients)
	r.show.phase("register the nodes", func() string { return fmt.Sprintf("%d heartbeats", r.fleet.beats.Load()) })
	return r.fleet.start(ctx)
}

// orderCame notes that an allocation's order has reached its node.
func (r *run) orderCame(_ *node, o *order, at time.Duration) *job {
	r.mu.RLock()
	j := r.jobs[string(o.Job)]
	r.mu.RUnlock()
	if j == nil {
		return nil
	}
	r.placed.add(at - time.Duration(j.sent.Load()))
	r.delivered.add(time.Since(time.Unix(0, o.Created)))
	if int(j.placed.Add(1)) == j.want {
		j.ready.Store(int64(at))
	}
	latest(&r.finishedOrders, at)
	latest(&r.finished, at)
	return j
}

func (r *run) allocationRan(a *running, at time.Duration) {
	if a.job == nil {
		return
	}
	r.ran.add(at - time.Duration(a.job.sent.Load()))
	a.job.ran.Add(1)
	latest(&r.finished, at)
}

// latest moves a moment forward.
func latest(moment *atomic.Int64, at time.Duration) {
	for {
		was := moment.Load()
		if int64(at) <= was || moment.CompareAndSwap(was, int64(at)) {
			return
		}
	}
}

// name is the ID of a job: unique to the run, so that runs on one server do not
// meet.
func (r *run) name(text string) string {
	if r.cfg.API.Address == "" {
		return "bench-" + text
	}
	return "bench-" + r.id.Short() + "-" + text
}

// define makes jobs known before they are registered.
func (r *run) define(jobs []*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range jobs {
		r.jobs[j.id] = j
		r.list = append(r.list, j)
	}
}

func (r *run) now() time.Duration { return time.Since(r.fleet.started) }

// register submits one job.
func (r *run) register(ctx context.Context, j *job) error {
	at := r.now()
	j.sent.Store(int64(at))
	if err := r.clients.register(ctx, j.body); err != nil {
		return fmt.Errorf("register job %s: %w", j.id, err)
	}
	answered := r.now()
	r.accepted.add(answered - at)
	r.registered.Store(int64(answered))
	r.asked.Add(1)
	return nil
}

// underLoad runs the shape's load and looks at the server meanwhile.
func (r *run) underLoad(ctx context.Context) (err error) {
	stopProfiles, err := r.profile(ctx)
	if err != nil {
		return err
	}
	r.meter = r.startMeter(ctx)
	if r.before, err = r.serverUsage(); err != nil {
		return err
	}
	own, err := readUsage(os.Getpid())
	if err != nil {
		return err
	}
	r.begun = r.now()
	err = r.shape.load(ctx, r)
	took := r.now()
	r.meter.end()
	if err == nil {
		if r.after, err = r.serverUsage(); err == nil {
			var ownAfter usage
			ownAfter, err = readUsage(os.Getpid())
			r.result.BenchCPUSeconds = (ownAfter.cpu - own.cpu).Seconds()
		}
	}
	if last := time.Duration(r.finished.Load()); last > r.begun {
		took = last
	}
	r.result.Seconds = (took - r.begun).Seconds()
	if err == nil {
		err = r.readMetrics(ctx)
	}
	if r.server.child() {
		bytes, sizeErr := bytesIn(r.server.logDir())
		r.result.Server.DiskBytes = bytes
		err = errors.Join(err, sizeErr)
	}
	return errors.Join(err, stopProfiles(), r.server.running())
}

func (r *run) serverUsage() (usage, error) {
	if !r.server.child() {
		return usage{}, nil // it may be anywhere
	}
	return readUsage(r.server.pid())
}

// placeAll registers jobs and waits until all they want is placed, or runs.
func (r *run) placeAll(ctx context.Context, jobs []*job) error {
	r.define(jobs)
	want := int64(0)
	for _, j := range jobs {
		want += int64(j.want)
	}
	reached := &r.fleet.received
	verb := "placed"
	if r.cfg.Running {
		reached, verb = &r.fleet.recorded, "running"
	}
	base := reached.Load()
	r.show.phase("register jobs", func() string {
		return fmt.Sprintf("%d of %d registered, %d of %d %s", r.asked.Load(), len(jobs), reached.Load()-base, want, verb)
	})
	sent := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { sent <- each(ctx, r.scale.Clients, jobs, r.register) }()
	if err := r.await(ctx, sent, func() (int64, bool) { n := reached.Load() - base; return n, n >= want }); err != nil {
		return fmt.Errorf("%d of %d %s, %d of %d jobs registered: %w", reached.Load()-base, want, verb, r.asked.Load(), len(jobs), err)
	}
	return nil
}

// await waits until a counter says that it is done, while it still grows.
// failed, if not nil, gives an error that ends the wait, or nil.
func (r *run) await(ctx context.Context, failed <-chan error, counter func() (n int64, done bool)) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	last, since := int64(-1), time.Now()
	for {
		n, done := counter()
		if done {
			return nil
		}
		if asked := n + r.asked.Load(); asked != last {
			last, since = asked, time.Now()
		}
		if time.Since(since) > stallPatience {
			return fmt.Errorf("nothing has moved for %v%s", stallPatience, r.explain(ctx))
		}
		select {
		case <-ticker.C:
		case err := <-failed:
			if err != nil {
				return err
			}
			failed = nil
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.server.running(); err != nil {
			return err
		}
	}
}

// explain says what the server's evaluations are doing, for a run that stands
// still.
func (r *run) explain(ctx context.Context) string {
	text := ""
	if trouble := r.fleet.trouble(); trouble != "" {
		text += "; last trouble of a node: " + trouble
	}
	for _, status := range []string{"pending", "blocked", "failed"} {
		var answer struct{ Count int }
		q := apiclient.Query{Filter: fmt.Sprintf("Status == %q", status)}
		if _, err := r.server.api.Get(ctx, "/v1/evaluations/count", q, &answer); err == nil {
			text += fmt.Sprintf("; %d evaluations %s", answer.Count, status)
		}
	}
	if counts, err := r.askCounts(ctx); err == nil {
		live, queued, short := 0, 0, ""
		for _, j := range r.list {
			n := counts[j.id]
			live, queued = live+n.live, queued+n.queued
			if n.live < j.want && short == "" {
				short = fmt.Sprintf("; job %s wants %d and has %d, %d queued", j.id, j.want, n.live, n.queued)
			} else if got := int(j.placed.Load()); got < n.live && short == "" {
				short = fmt.Sprintf("; job %s has %d and %d orders reached their nodes", j.id, n.live, got)
			}
		}
		text += fmt.Sprintf("; the servers count %d live allocations and %d queued%s", live, queued, short)
	}
	return text
}

// meter looks at the server while it is under load.
type meter struct {
	stop context.CancelFunc
	work sync.WaitGroup
}

func (m *meter) end() {
	m.stop()
	m.work.Wait()
}

func (r *run) startMeter(ctx context.Context) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{stop: cancel}
	m.work.Go(func() { r.sampleAPI(ctx) })
	return m
}

// sampleAPI reads jobs that were registered, one at a time.
func (r *run) sampleAPI(ctx context.Context) {
	api, err := startReader(r.cfg.Program, r.server.address)
	if err != nil {
		r.result.apiFailures.Add(1)
		return
	}
	defer api.close()
	ticker := time.NewTicker(apiSampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		r.mu.RLock()
		known := int(r.asked.Load()) - r.scale.Clients // the others may be on their way
		var j *job
		if known > 0 && known <= len(r.list) {
			j = r.list[rand.IntN(known)]
		}
		r.mu.RUnlock()
		if j == nil {
			continue
		}
		took, err := api.get(jobPath(j.id))
		if err != nil {
			r.result.apiFailures.Add(1)
			continue
		}
		r.sampled.add(took)
	}
}

// measureRestarts kills the loaded server and starts it again, with what it had
// saved and without.
func (r *run) measureRestarts(ctx context.Context) error {
	s := r.server
	restart := &Restart{}
	r.show.phase("kill -9 and restart, with checkpoints", nil)
	restart.HadCheckpoint = s.hasCheckpoint()
	s.kill()
	took, err := s.start(ctx)
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	restart.WithCheckpoint = took.Seconds()
	r.show.phase("kill -9 and restart, without", nil)
	s.kill()
	if err := s.hideCheckpoints(); err != nil {
		return err
	}
	if took, err = s.start(ctx); err != nil {
		return fmt.Errorf("restart without checkpoints: %w", err)
	}
	restart.WithoutCheckpoint = took.Seconds()
	after, err := r.askCounts(ctx)
	if err != nil {
		return fmt.Errorf("check after the restart: %w", err)
	}
	r.result.Restart, restart.counts = restart, after
	return nil
}

// cleanUp removes the jobs of a run from a server that goes on.
func (r *run) cleanUp(ctx context.Context) {
	r.show.phase("remove the jobs", nil)
	err := each(ctx, r.scale.Clients, r.list, func(ctx context.Context, j *job) error {
		if j.sent.Load() == 0 {
			return nil
		}
		_, err := r.server.api.StopJob(ctx, j.id, apiclient.StopOptions{Purge: true})
		return err
	})
	if err != nil {
		r.show.note("The jobs of this run could not all be removed: %v", err)
	}
}

// tell shows the result.
func (r *run) tell() error {
	text, err := json.MarshalIndent(r.result, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if r.cfg.Out != "" {
		if err := os.WriteFile(r.cfg.Out, text, 0o644); err != nil {
			return fmt.Errorf("-out: %w", err)
		}
	}
	if r.cfg.JSON {
		_, err = r.cfg.Stdout.Write(text)
	} else {
		_, err = r.cfg.Stdout.Write([]byte(r.result.table()))
	}
	if err != nil {
		return err
	}
	return r.result.Check.err()
}
