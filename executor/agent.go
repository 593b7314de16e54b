package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/memdir"
)

// Agent is the node agent: it tells the servers what the machine is, takes their orders, and reports what runs.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	node    atomic.Pointer[event.Node] // replaced as a whole when something changed, see changeNode
	nodeMu  sync.Mutex                 // held to replace node and meta
	meta    metadata
	servers atomic.Pointer[[]string] // host:port; replaced as a whole
	conn    Connection
	lock    *os.File
	env     *runnerEnv
	drivers map[string]driver.Driver
	started time.Time
	host    *hostStats
	ready   chan struct{}

	// registered counts successful registrations; orders are followed anew after each.
	registered *signalValue
	again      chan struct{} // asks for another registration

	ttl       atomic.Int64 // nanoseconds until a heartbeat is due
	lastHeard atomic.Int64 // Unix nanoseconds of the last answer to a heartbeat

	mu         sync.Mutex
	runners    map[event.ID]*runner
	specs      map[event.Hash]*event.Job
	generation event.Generation
	who        identity

	boxMu     sync.Mutex // taken last, never while waiting for anything
	box       *outbox
	informed  bool          // a full list of orders was taken in: there is something to report on
	reports   chan struct{} // wakes the reporter
	readyOnce sync.Once

	collections chan struct{} // wakes the collector
}

// New makes an agent: it checks the configuration, takes the state directory, describes the machine, and reads what an
// earlier agent left. It starts nothing; tasks of an earlier agent run on by themselves.
func New(cfg Config) (*Agent, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger, drivers: map[string]driver.Driver{}, started: time.Now(), ready: make(chan struct{}),
		registered: newSignalValue(), again: make(chan struct{}, 1), runners: map[event.ID]*runner{},
		specs: map[event.Hash]*event.Job{}, box: newOutbox(), reports: make(chan struct{}, 1), conn: cfg.Connection,
		collections: make(chan struct{}, 1),
	}
	servers := slices.Clone(cfg.Servers)
	a.servers.Store(&servers)
	if a.conn == nil {
		a.conn = newHTTPConnection(a.Servers)
	}
	for dir, mode := range map[string]os.FileMode{cfg.StateDir: 0o700, cfg.AllocDir: 0o711} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return nil, fmt.Errorf("make directory of node agent: %w", err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			return nil, fmt.Errorf("make directory of node agent: %w", err)
		}
	}
	var err error
	if a.lock, err = lockDir(cfg.StateDir); err != nil {
		return nil, err
	}
	if err := a.prepare(); err != nil {
		a.lock.Close()
		return nil, err
	}
	return a, nil
}

// lockDir makes sure that no other agent uses the state directory. The lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	// A child that an agent was about to start when it was killed holds the lock for a moment longer.
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockPause) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock state directory %s: is another drover process using it? %w", dir, err)
	}
	return f, nil
}

// prepare is what New does under the lock.
func (a *Agent) prepare() error {
	var err error
	if a.who, err = loadIdentity(a.cfg.StateDir); err != nil {
		return err
	}
	if err := loadState(filepath.Join(a.cfg.StateDir, fileGeneration), &a.generation); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all, err := builtinDrivers(&a.cfg)
	if err != nil {
		return err
	}
	all = a.cfg.Access.drivers(append(all, a.cfg.Drivers...))
	if a.meta, err = loadMetadata(a.cfg.StateDir, a.cfg.Meta); err != nil {
		return err
	}
	described := a.cfg
	described.Meta = a.meta.effective()
	node, err := fingerprint(context.Background(), &described, a.who.id, all)
	if err != nil {
		return fmt.Errorf("describe this machine: %w", err)
	}
	a.node.Store(node)
	for _, d := range all {
		a.drivers[d.Name()] = driver.Hooked(d, a.cfg.Hooks.FailDriver)
	}
	a.host = newHostStats(a.cfg.AllocDir)
	a.env = &runnerEnv{
		cfg: &a.cfg, log: a.log, node: &a.node, drivers: a.drivers, hostEnv: os.Environ(), memory: memdir.New(a.log),
		wait: a.waitEnded, report: a.report, destroyed: a.destroyed,
	}
	return a.load()
}

// fileGeneration holds the highest generation of orders that was seen.
const fileGeneration = "generation"

func (a *Agent) allocsDir() string { return filepath.Join(a.cfg.StateDir, "allocs") }

// load reads the allocations of an earlier agent.
func (a *Agent) load() error {
	if err := os.MkdirAll(a.allocsDir(), 0o700); err != nil {
		return fmt.Errorf("read allocations: %w", err)
	}
	entries, err := os.ReadDir(a.allocsDir())
	if err != nil {
		return fmt.Errorf("read allocations: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(a.allocsDir(), e.Name())
		r, err := loadRunner(a.env, dir)
		if err != nil {
			a.log.Error("allocation cannot be restored and is dropped", "path", dir, "err", err)
			if err := abandon(a.env, dir); err != nil {
				return err
			}
			continue
		}
		a.runners[r.id] = r
		a.specs[r.order.Spec] = r.job
	}
	return nil
}

// NodeID is the node's identity.
func (a *Agent) NodeID() event.ID { return a.who.id }

// Ready is closed once the node is registered, its orders are taken in, and the servers have recorded what it runs.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run works until ctx ends. Tasks keep running then, except in development mode. It fails only if the agent cannot go
// on; servers that cannot be reached are no reason.
func (a *Agent) Run(ctx context.Context) error {
	a.restoreAll()
	var work sync.WaitGroup
	for _, f := range []func(context.Context){a.keepRegistered, a.followOrders, a.sendReports, a.collectEnded, a.watchDrivers} {
		work.Go(func() { f(ctx) })
	}
	for _, d := range a.drivers {
		if k, ok := driver.KeeperOf(d); ok {
			work.Go(func() { k.Keep(ctx) })
		}
	}
	<-ctx.Done()
	work.Wait()
	err := a.shutdown()
	if closeErr := a.lock.Close(); err == nil {
		err = closeErr
	}
	return err
}

// restoreAll finds the tasks of an earlier agent and starts the runners.
func (a *Agent) restoreAll() {
	slots := make(chan struct{}, restoreParallel)
	var all sync.WaitGroup
	for _, r := range a.runners {
		slots <- struct{}{}
		all.Go(func() {
			r.restore()
			go r.loop()
			<-slots
		})
	}
	all.Wait()
}

// shutdown lets the runners go; in development mode it ends everything that runs.
func (a *Agent) shutdown() error {
	a.mu.Lock()
	runners := maps.Clone(a.runners)
	a.mu.Unlock()
	if !a.cfg.Dev {
		for _, r := range runners {
			close(r.quit)
			<-r.gone
		}
		return nil
	}
	for _, r := range runners {
		r.send(obsDestroy{})
	}
	timeout := time.After(a.cfg.MaxKillTimeout + devShutdownSlack)
	var stuck []error
	for _, r := range runners {
		select {
		case <-r.gone:
			continue
		case <-timeout:
			timeout = closedTimer // the others get no time of their own
		}
		r.mu.Lock()
		live := maps.Clone(r.view.live)
		r.mu.Unlock()
		for _, d := range live {
			if err := d.Destroy(context.Background()); err != nil {
				stuck = append(stuck, fmt.Errorf("end allocation %s: %w", r.id, err))
			}
		}
		close(r.quit)
	}
	return errors.Join(stuck...)
}

// closedTimer is a timer that has run out.
var closedTimer = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

func (a *Agent) credentials() event.NodeCredentials {
	a.mu.Lock()
	defer a.mu.Unlock()
	return event.NodeCredentials{NodeID: a.who.id, Secret: a.who.secret, Incarnation: a.who.incarnation}
}

// keepRegistered registers the node and then sends heartbeats, again whenever the servers have forgotten it.
func (a *Agent) keepRegistered(ctx context.Context) {
	for ctx.Err() == nil {
		if !a.register(ctx) {
			return
		}
		a.registered.raise()
		a.heartbeats(ctx)
	}
}

// register returns once the node is registered; false when ctx ended first.
func (a *Agent) register(ctx context.Context) bool {
	back := backoff{}
	for {
		answer, err := a.conn.Register(ctx, &event.NodeRegistration{NodeCredentials: a.credentials(), Node: a.node.Load(), Ineligible: a.cfg.Ineligible})
		if err == nil {
			a.heard(answer)
			a.log.Info("node registered", "node", a.who.id, "index", answer.Index)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		a.log.Warn("cannot register node", "err", err)
		if !back.wait(ctx) {
			return false
		}
	}
}

func (a *Agent) heard(answer event.NodeAnswer) {
	ttl := answer.HeartbeatTTL
	if ttl <= 0 {
		ttl = int64(heartbeatDefault)
	}
	a.ttl.Store(ttl)
	a.lastHeard.Store(time.Now().UnixNano())
}

// heartbeats returns when the node has to register again.
func (a *Agent) heartbeats(ctx context.Context) {
	back := backoff{}
	wait := time.Duration(a.ttl.Load())
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.again:
			return
		case <-time.After(wait):
		}
		answer, err := a.conn.Heartbeat(ctx, &event.NodeHeartbeat{NodeCredentials: a.credentials()})
		switch {
		case errors.Is(err, ErrUnknownNode), err == nil && answer.Register:
			a.log.Warn("servers want this node to register again", "node", a.who.id)
			return
		case err != nil:
			if ctx.Err() != nil {
				return
			}
			a.log.Warn("heartbeat failed", "err", err)
			wait = min(back.next(), time.Duration(a.ttl.Load()))
		default:
			a.heard(answer)
			back = backoff{}
			wait = time.Duration(a.ttl.Load())
		}
	}
}

// registerAgain asks keepRegistered for another registration.
func (a *Agent) registerAgain() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// followOrders keeps a stream of orders open. A registration opens a new one: the servers expect to hear anew what runs.
func (a *Agent) followOrders(ctx context.Context) {
	back := backoff{}
	epoch := uint64(0)
	for {
		var ok bool
		if epoch, ok = a.registered.wait(ctx, epoch); !ok {
			return
		}
		for {
			err := a.followStream(ctx, epoch, &back)
			if ctx.Err() != nil {
				return
			}
			if a.registered.value() != epoch {
				break // a new registration
			}
			if errors.Is(err, ErrUnknownNode) {
				a.registerAgain()
				break
			}
			a.log.Warn("stream of orders ended", "err", err)
			if !back.wait(ctx) {
				return
			}
		}
	}
}

// followStream follows one stream to its end. epoch is the registration that it belongs to.
func (a *Agent) followStream(ctx context.Context, epoch uint64, back *backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.conn.Orders(ctx, a.credentials())
	if err != nil {
		return err
	}
	defer stream.Close()
	go func() { // ends the stream when there is a newer registration
		if _, ok := a.registered.wait(ctx, epoch); ok {
			cancel()
			stream.Close()
		}
	}()
	for {
		batch, err := stream.Next()
		if err == nil {
			err = a.take(batch)
		}
		if err != nil {
			return err
		}
		*back = backoff{}
	}
}

// take does what a batch of orders says. It is called by one goroutine at a time.
func (a *Agent) take(b *event.OrderBatch) error {
	if !b.Full && len(b.Orders) == 0 && len(b.Gone) == 0 {
		return nil // a sign of life
	}
	tell, err := a.note(b)
	// Outside the lock: a runner whose inbox is full may be waiting for it.
	for _, f := range tell {
		f()
	}
	if err != nil {
		return err
	}
	if hook := a.cfg.Hooks.OnOrders; hook != nil {
		hook(len(b.Orders), b.Full)
	}
	if b.Full {
		a.mu.Lock()
		runners := maps.Clone(a.runners)
		a.mu.Unlock()
		go a.reportAll(runners)
	}
	a.wakeCollector()
	return nil
}

// note writes down what a batch of orders says and returns what is to be told to the runners.
func (a *Agent) note(b *event.OrderBatch) (tell []func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.Generation.Less(a.generation) {
		// From servers that were restored from a backup or lag behind: what they do not list may well be wanted.
		return nil, fmt.Errorf("orders of generation %d.%d are older than %d.%d, which this node has seen",
			b.Generation.Incarnation, b.Generation.Index, a.generation.Incarnation, a.generation.Index)
	}
	if a.generation.Less(b.Generation) {
		a.generation = b.Generation
		// Before anything is done on it. Not synced: it guards what runs, which a power cut ends.
		if err := saveState(filepath.Join(a.cfg.StateDir, fileGeneration), a.generation, false); err != nil {
			return nil, err
		}
	}
	if len(b.Specs) > 0 {
		a.forgetSpecs()
		maps.Copy(a.specs, b.Specs)
	}
	listed := make(map[event.ID]bool, len(b.Orders))
	for i := range b.Orders {
		listed[b.Orders[i].ID] = true
		f, err := a.order(&b.Orders[i])
		if err != nil {
			return tell, err
		}
		tell = append(tell, f...)
	}
	for id, r := range a.runners {
		if b.Full && !listed[id] {
			a.log.Info("allocation is not wanted any more", "alloc", id)
			tell = append(tell, func() { r.send(obsDestroy{}) })
		}
	}
	for _, id := range b.Gone {
		if r, ok := a.runners[id]; ok {
			tell = append(tell, func() { r.send(obsDestroy{}) })
		}
	}
	return tell, nil
}

// forgetSpecs drops jobs that no allocation uses; the servers send those again that they refer to.
func (a *Agent) forgetSpecs() {
	used := make(map[event.Hash]bool, len(a.runners))
	for _, r := range a.runners {
		r.mu.Lock()
		used[r.order.Spec] = true
		r.mu.Unlock()
	}
	if len(a.specs) > 2*len(used)+16 {
		maps.DeleteFunc(a.specs, func(h event.Hash, _ *event.Job) bool { return !used[h] })
	}
}

// order takes one order and returns what is to be told to its runner.
func (a *Agent) order(o *event.Order) ([]func(), error) {
	r, ok := a.runners[o.ID]
	if !ok && o.KnownTerminal {
		return nil, nil // it ended, and nothing of it is here
	}
	job := a.specs[o.Spec]
	if job == nil {
		return nil, fmt.Errorf("order for allocation %s names a job that was not sent", o.ID)
	}
	dir := filepath.Join(a.allocsDir(), o.ID.String())
	if !ok {
		r, err := newRunner(a.env, dir, *o, job)
		if err != nil { // repeating it would not help, and the other orders are good
			a.log.Error("order makes no sense", "alloc", o.ID, "err", err)
			return []func(){func() { a.report(event.AllocDelta{ID: o.ID, Client: event.ClientFailed}) }}, nil
		}
		if err := keepOrder(dir, o, job); err != nil {
			return nil, err
		}
		a.runners[o.ID] = r
		a.log.Info("allocation received", "alloc", o.ID, "job", o.Job.String(), "group", o.Group)
		go r.loop()
		return []func(){func() { r.send(obsReceived{}); r.send(obsOrder{*o, job}) }}, nil
	}
	r.mu.Lock()
	old, oldJob := r.order, r.job
	r.mu.Unlock()
	if o.ModifyIndex < old.ModifyIndex {
		return nil, nil
	}
	if o.Spec == old.Spec {
		job = oldJob
	}
	if o.ModifyIndex > old.ModifyIndex {
		changed := job
		if o.Spec == old.Spec {
			changed = nil
		}
		if err := keepOrder(dir, o, changed); err != nil {
			return nil, err
		}
	}
	return []func(){func() { r.send(obsOrder{*o, job}) }}, nil
}

// waitEnded waits until none of these allocations runs on this node any more.
func (a *Agent) waitEnded(ctx context.Context, ids []event.ID) error {
	for _, id := range ids {
		a.mu.Lock()
		r := a.runners[id]
		a.mu.Unlock()
		if r == nil {
			continue
		}
		select {
		case <-r.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// destroyed forgets an allocation of which nothing is left.
func (a *Agent) destroyed(id event.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.runners, id)
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	a.box.forget(id)
}

// runner finds an allocation.
func (a *Agent) runner(id event.ID) (*runner, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.runners[id]
	return r, ok
}

// Has reports whether the allocation is on this node.
func (a *Agent) Has(id event.ID) bool {
	_, ok := a.runner(id)
	return ok
}

// Stats are numbers about the agent, for its operators.
func (a *Agent) Stats() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	heard := time.Unix(0, a.lastHeard.Load())
	since := "never"
	if a.lastHeard.Load() != 0 {
		since = time.Since(heard).Round(time.Millisecond).String()
	}
	return map[string]string{
		"node_id":           a.who.id.String(),
		"known_servers":     strings.Join(a.Servers(), ","),
		"num_allocations":   strconv.Itoa(len(a.runners)),
		"last_heartbeat":    since,
		"heartbeat_ttl":     time.Duration(a.ttl.Load()).String(),
		"incarnation":       strconv.FormatUint(a.who.incarnation, 10),
		"orders_index":      strconv.FormatUint(a.generation.Index, 10),
		"report_sequence":   strconv.FormatUint(a.box.sequence, 10),
		"reports_waiting":   strconv.Itoa(len(a.box.waiting)),
		"state_directory":   a.cfg.StateDir,
		"allocations_below": a.cfg.AllocDir,
	}
}

// backoff grows from retryMin to retryMax, each wait spread by half.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, retryMin), retryMax)
	return b.last/2 + rand.N(b.last/2)
}

func (b *backoff) wait(ctx context.Context) bool {
	select {
	case <-time.After(b.next()):
		return true
	case <-ctx.Done():
		return false
	}
}

// signalValue is a number that grows and that others wait for.
type signalValue struct {
	mu      sync.Mutex
	n       uint64
	changed chan struct{}
}

func newSignalValue() *signalValue { return &signalValue{changed: make(chan struct{})} }

func (s *signalValue) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *signalValue) value() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// wait returns the value once it is above n.
func (s *signalValue) wait(ctx context.Context, n uint64) (uint64, bool) {
	for {
		s.mu.Lock()
		value, changed := s.n, s.changed
		s.mu.Unlock()
		if value > n {
			return value, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, false
		}
	}
}
