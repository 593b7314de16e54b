package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/memdir"
)

// runner is the shell of one allocation: a goroutine that feeds observations to the step function, keeps the state on
// disk, and does what the actions say.
type runner struct {
	id    event.ID
	env   *runnerEnv
	dir   string // of state files
	inbox chan observation
	quit  chan struct{} // closed when the runner is to stop without touching its tasks
	gone  chan struct{} // closed when loop has returned
	ended chan struct{} // closed when nothing of the allocation runs or will run

	// Owned by loop.
	state    *allocState
	rules    allocRules
	saved    []byte              // state as it is on disk
	fresh    bool                // there is an order on disk, and no state yet
	destroy  bool                // remove everything once it has ended
	prepared context.CancelFunc  // gives up building the directory; nil when nobody is at it
	acked    map[string]int64    // time of the newest acknowledged event, by task
	tasks    map[string]*running // newest start of each task that has one
	starting map[string]func()   // gives up the start that is being made ready, by task
	counts   map[string]*TaskCounts

	meter usageMeter

	mu    sync.Mutex // guards what follows, which handlers read
	order event.Order
	job   *event.Job
	group *event.TaskGroup
	view  allocView
}

// running is one start of a task that a driver knows.
type running struct {
	start  uint64
	driver driver.Running
	// unwatch ends the look after the task's templates.
	unwatch func()
}

// allocView is what others may see of an allocation.
type allocView struct {
	status  event.ClientStatus
	started map[string]bool // tasks that were started at least once
	live    map[string]driver.Running
	start   map[string]uint64 // the number of each of live
	tasks   []HeldTask        // in the order of the job, without usage
	// finished is when the last of its tasks ended; 0 when none did.
	finished event.Stamp
}

// runnerEnv is what runners share.
type runnerEnv struct {
	cfg     *Config
	log     *slog.Logger
	node    *atomic.Pointer[event.Node]
	drivers map[string]driver.Driver
	hostEnv []string
	memory  *memdir.Maker
	// wait returns when the allocations of this node with these IDs have ended, or are not known.
	wait func(ctx context.Context, ids []event.ID) error
	// report hands on what changed.
	report func(event.AllocDelta)
	// destroyed tells that nothing is left of an allocation.
	destroyed func(event.ID)
}

// Observations that only the shell knows.
type (
	obsOrder struct {
		order event.Order
		job   *event.Job
	}
	obsDestroy struct{}
	// obsFull asks for a report of everything.
	obsFull struct{ done chan<- struct{} }
	// obsAcked says that events up to these times were recorded.
	obsAcked struct{ times map[string]int64 }
)

// Names of the files in an allocation's state directory.
const (
	fileOrder = "order"
	fileJob   = "job"
	fileState = "state"
	fileAcked = "acked"
)

func newRunner(env *runnerEnv, dir string, order event.Order, job *event.Job) (*runner, error) {
	group := job.LookupGroup(order.Group)
	if group == nil {
		return nil, fmt.Errorf("job %s has no group %q", order.Job, order.Group)
	}
	r := &runner{
		id: order.ID, env: env, dir: dir, inbox: make(chan observation, inboxLength),
		quit: make(chan struct{}), gone: make(chan struct{}), ended: make(chan struct{}),
		acked: map[string]int64{}, tasks: map[string]*running{}, starting: map[string]func(){}, counts: map[string]*TaskCounts{}, order: order, job: job, group: group,
		rules: rulesOf(job, group, env.cfg.MaxKillTimeout),
	}
	r.state = newAllocState(&r.rules)
	r.view = allocView{status: event.ClientPending, started: map[string]bool{}, live: map[string]driver.Running{}}
	return r, nil
}

// send hands an observation to the runner. It does not wait for its effect.
func (r *runner) send(what any) {
	select {
	case r.inbox <- observation{At: time.Now(), Chance: rand.Uint64(), What: what}:
	case <-r.gone:
	}
}

// loop is the runner's goroutine.
func (r *runner) loop() {
	defer close(r.gone)
	r.refresh()
	for {
		select {
		case o := <-r.inbox:
			if r.handle(o) {
				return
			}
		case <-r.quit:
			if r.prepared != nil {
				r.prepared()
			}
			for _, giveUp := range r.starting {
				giveUp()
			}
			for _, t := range r.tasks {
				t.unwatch()
			}
			return
		}
	}
}

// handle takes one observation; it is true when nothing is left to do, ever.
func (r *runner) handle(o observation) bool {
	switch what := o.What.(type) {
	case obsOrder:
		r.takeOrder(o, what)
	case obsDestroy:
		r.destroy = true
		r.step(o, obsStop{})
	case obsAsk:
		what.done <- what.ask(o)
	case obsFull:
		r.reportFull()
		close(what.done)
	case obsExceeded:
		// An order may have given it more time meanwhile.
		if limit, ok := r.runLimit(); ok && !o.At.Before(limit) {
			r.step(o, what)
		}
	case obsRunning:
		r.env.log.Info("task runs", "alloc", r.id, "task", what.Task, "start", what.Start)
		r.runs(what.Task, what.Start, true, what.driver)
		delete(r.starting, what.Task)
		r.step(o, what.obsStarted)
	case obsStartFailed:
		go os.RemoveAll(r.startDir(what.Task, what.Start))
		delete(r.starting, what.Task)
		r.step(o, what)
	case obsAcked:
		maps.Copy(r.acked, what.times)
		if err := saveState(filepath.Join(r.dir, fileAcked), r.acked, false); err != nil {
			r.env.log.Error("cannot keep what was reported", "alloc", r.id, "err", err)
		}
	default:
		r.step(o, o.What)
	}
	if r.destroy && r.state.ended() && r.prepared == nil {
		r.remove()
		return true
	}
	return false
}

// runs notes a start that runs, and begins to look after its templates. begun says that it was just made.
func (r *runner) runs(task string, start uint64, begun bool, d driver.Running) {
	ctx, unwatch := context.WithCancel(context.Background())
	r.tasks[task] = &running{start: start, driver: d, unwatch: unwatch}
	if len(r.group.LookupTask(task).Templates) > 0 {
		go r.watchTemplates(ctx, task, start, begun, d)
	}
}

// takeOrder applies an order that is new or newer than the one before.
func (r *runner) takeOrder(o observation, what obsOrder) {
	r.mu.Lock()
	if what.job != r.job {
		if group := what.job.LookupGroup(what.order.Group); group != nil && sameTasks(group, r.group) {
			r.job, r.group = what.job, group
			r.rules = rulesOf(what.job, group, r.env.cfg.MaxKillTimeout)
		}
	}
	r.order = what.order
	r.mu.Unlock()
	if what.order.Desired != event.DesiredRun || what.order.KnownTerminal {
		// What the servers hold for ended, because they had lost sight of this node, has a successor somewhere.
		r.step(o, obsStop{NoDelay: what.order.NoShutdownDelay})
		return
	}
	r.step(o, obsContact{})
	r.limitRun()
	if !r.state.Begun && !r.state.Stopping && r.prepared == nil {
		ctx, cancel := context.WithCancel(context.Background())
		r.prepared = cancel
		go r.prepare(ctx, what.order, r.group)
	}
}

// runLimit is when an allocation has run for as long as it may.
func (r *runner) runLimit() (time.Time, bool) {
	limit := r.group.MaxRunDuration
	return time.Unix(0, r.order.CreateTime).Add(limit), limit > 0
}

// limitRun has the allocation end at its limit.
func (r *runner) limitRun() {
	if limit, ok := r.runLimit(); ok {
		r.after(time.Until(limit), obsExceeded{})
	}
}

// sameTasks reports whether an order in place keeps the tasks that there are.
func sameTasks(a, b *event.TaskGroup) bool {
	if len(a.Tasks) != len(b.Tasks) {
		return false
	}
	for i := range a.Tasks {
		if a.Tasks[i].Name != b.Tasks[i].Name {
			return false
		}
	}
	return true
}

// prepare waits for predecessors and builds the directory.
func (r *runner) prepare(ctx context.Context, order event.Order, group *event.TaskGroup) {
	waitFor := order.WaitFor
	if !order.Previous.IsZero() && (group.EphemeralDisk.Sticky || group.EphemeralDisk.Migrate) {
		waitFor = append(slices.Clone(waitFor), order.Previous)
	}
	err := r.env.wait(ctx, waitFor)
	if err == nil {
		err = buildAllocDir(r.env.cfg.AllocDir, r.id, group)
	}
	if err == nil && group.EphemeralDisk.Sticky && !order.Previous.IsZero() {
		// A predecessor whose data cannot be had, or that never was here, does not keep the successor from running.
		if err := takeOver(r.env.cfg.AllocDir, order.Previous, r.id, group); err != nil {
			r.env.log.Warn("data of the predecessor is lost", "alloc", r.id, "previous", order.Previous, "err", err)
		}
	}
	if err != nil {
		r.send(obsSetupFailed{Err: err})
		return
	}
	r.send(obsBegin{})
}

// step feeds the step function and does what it asks for.
func (r *runner) step(o observation, what any) {
	o.What = what
	switch what.(type) {
	case obsBegin, obsSetupFailed:
		r.prepared()
		r.prepared = nil
	}
	before, wasEnded := r.state.status(), r.state.ended()
	wereDead := r.dead()
	actions := r.state.step(&r.rules, o)
	r.count(actions, wereDead)
	exit, isExit := what.(obsExited)
	// The state is on disk before anything is done: a start that an agent may have asked for is looked for by the next
	// one. It must survive a power cut only when something ended, because what runs does not survive it either.
	if err := r.save(isExit || r.state.ended() != wasEnded); err != nil {
		r.env.log.Error("cannot keep state", "alloc", r.id, "err", err)
	}
	if isExit {
		r.env.log.Info("task ended", "alloc", r.id, "task", exit.Task, "start", exit.Start, "code", exit.Exit.Code, "signal", exit.Exit.Signal)
		r.release(exit)
	}
	if r.state.Stopping && r.prepared != nil {
		r.prepared()
	}
	r.act(actions)
	r.refresh()
	delta := event.AllocDelta{ID: r.id, Client: r.state.status()}
	for _, a := range actions {
		if e, ok := a.(actEvent); ok {
			if delta.Tasks == nil {
				delta.Tasks = map[string]*event.TaskState{}
			}
			t, ok := delta.Tasks[e.Task]
			if !ok {
				t = new(event.TaskState)
				*t = r.state.task(e.Task).State
				t.Events = nil
				delta.Tasks[e.Task] = t
			}
			t.Events = append(t.Events, e.Event)
		}
	}
	if delta.Client != before || delta.Tasks != nil || r.state.ended() != wasEnded {
		for _, t := range r.state.Tasks { // a task that ended without an event of its own
			if _, ok := delta.Tasks[t.Name]; !ok && t.Phase == phaseDead {
				if delta.Tasks == nil {
					delta.Tasks = map[string]*event.TaskState{}
				}
				state := t.State
				state.Events = nil
				delta.Tasks[t.Name] = &state
			}
		}
		r.env.report(delta)
	}
	if r.state.ended() && !wasEnded {
		close(r.ended)
		r.env.log.Info("allocation ended", "alloc", r.id, "status", r.state.status().String())
	}
}

// dead names the tasks that will not run again.
func (r *runner) dead() map[string]bool {
	names := map[string]bool{}
	for _, t := range r.state.Tasks {
		if t.Phase == phaseDead {
			names[t.Name] = true
		}
	}
	return names
}

// count keeps the account of what becomes of the tasks.
func (r *runner) count(actions []action, wereDead map[string]bool) {
	of := func(task string) *TaskCounts {
		if r.counts[task] == nil {
			r.counts[task] = new(TaskCounts)
		}
		return r.counts[task]
	}
	for _, a := range actions {
		if e, ok := a.(actEvent); ok {
			of(e.Task).count(e.Event)
		}
	}
	for _, t := range r.state.Tasks {
		if t.Phase == phaseDead && !wereDead[t.Name] && (t.State.Failed || t.State.StartedAt != 0) {
			of(t.Name).countEnd(t.State.Failed)
		}
	}
}

func (r *runner) save(sync bool) error {
	b, err := encodeState(r.state)
	if err != nil || bytes.Equal(b, r.saved) {
		return err
	}
	r.saved = b
	return writeFile(filepath.Join(r.dir, fileState), b, sync)
}

// release lets go of a start that has ended; its end is in the state.
func (r *runner) release(exit obsExited) {
	if t := r.tasks[exit.Task]; t != nil && t.start == exit.Start {
		delete(r.tasks, exit.Task)
		t.unwatch()
		go func() {
			if err := t.driver.Destroy(context.Background()); err != nil {
				r.env.log.Warn("cannot clean up after task", "alloc", r.id, "task", exit.Task, "err", err)
			}
		}()
	}
}

func (r *runner) act(actions []action) {
	for _, a := range actions {
		switch a := a.(type) {
		case actEvent:
		case actStart:
			ctx, giveUp := context.WithCancel(context.Background())
			r.starting[a.Task] = giveUp
			go r.start(ctx, a)
		case actGiveUp:
			if giveUp, ok := r.starting[a.Task]; ok {
				giveUp()
			}
		case actStop:
			if t := r.tasks[a.Task]; t != nil && t.start == a.Start {
				go r.stop(a, t.driver)
			}
		case actTimer:
			r.after(a.After, obsTimer{Task: a.Task, Start: a.Start, Kind: a.Kind})
		case actGroupDelay:
			r.after(a.After, obsGroupDelay{})
		default:
			panic(fmt.Sprintf("unknown action %T", a))
		}
	}
}

func (r *runner) after(d time.Duration, what any) {
	time.AfterFunc(d, func() { r.send(what) })
}

// obsRunning brings the driver's object with the news that a task runs.
type obsRunning struct {
	obsStarted
	driver driver.Running
}

// start runs on its own goroutine: it makes the task ready, which ends with ctx, and asks the driver to start it.
func (r *runner) start(ctx context.Context, a actStart) {
	begin := time.Now()
	var (
		t       *driver.Task
		d       driver.Driver
		started driver.Running
	)
	err := r.prepareTask(ctx, a.Task, a.Start)
	if err == nil {
		t, d, err = r.task(a.Task, a.Start)
	}
	if ctx.Err() != nil {
		err = errGivenUp
	}
	if err == nil {
		started, err = d.Start(ctx, t)
	}
	if hook := r.env.cfg.Hooks.OnTaskStart; hook != nil {
		hook(time.Since(begin), err)
	}
	if err != nil && d != nil && !errors.Is(err, errGivenUp) && !errors.As(err, &driver.Unrecoverable{}) && !errors.As(err, &driver.Invalid{}) {
		// Perhaps only the answer was lost: what runs must not be started a second time.
		if found, findErr := d.Recover(context.Background(), t, nil); findErr == nil {
			r.env.log.Warn("start of task failed, but the task is there", "alloc", r.id, "task", a.Task, "err", err)
			started, err = found, nil
		}
	}
	if err != nil && ctx.Err() != nil {
		err = errGivenUp
	}
	if err != nil {
		r.send(obsStartFailed{Task: a.Task, Start: a.Start, Err: err})
		return
	}
	r.follow(a.Task, a.Start, started)
}

// follow tells that a start runs and, later, that it has ended.
func (r *runner) follow(task string, start uint64, d driver.Running) {
	r.send(obsRunning{obsStarted{Task: task, Start: start, Handle: d.Handle()}, d})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	exit, err := d.Wait(ctx)
	if ctx.Err() != nil {
		return
	}
	lost := ""
	if err != nil {
		lost = err.Error()
	}
	r.send(obsExited{Task: task, Start: start, Exit: exit, Lost: lost})
}

// stop runs on its own goroutine: a driver that fails is asked again, with growing patience.
func (r *runner) stop(a actStop, d driver.Running) {
	signal := a.Signal
	if signal == "" {
		r.mu.Lock()
		signal = "SIGTERM"
		if t := r.group.LookupTask(a.Task); t != nil {
			if known, ok := r.env.drivers[t.Driver]; ok {
				signal = known.KillSignal()
			}
		}
		r.mu.Unlock()
	}
	wait := driverRetryMin
	for range driverRetries {
		err := d.Stop(context.Background(), a.Timeout, signal)
		if err == nil {
			return
		}
		r.env.log.Warn("cannot stop task", "alloc", r.id, "task", a.Task, "err", err)
		select {
		case <-time.After(wait):
		case <-r.gone:
			return
		}
		wait = min(4*wait, driverRetryMax)
	}
	if err := d.Stop(context.Background(), 0, "SIGKILL"); err != nil {
		r.env.log.Error("task cannot be stopped", "alloc", r.id, "task", a.Task, "err", err)
	}
}

// startDir is the state directory of one start.
func (r *runner) startDir(task string, start uint64) string {
	return filepath.Join(r.dir, "task-"+task+"-"+strconv.FormatUint(start, 10))
}

// bareTask is what a driver needs to find a start again.
func (r *runner) bareTask(name string, start uint64) *driver.Task {
	dirs := dirsOf(r.env.cfg.AllocDir, r.id, name)
	return &driver.Task{
		ID: fmt.Sprintf("%s/%s/%08x", r.id, name, start), AllocID: r.id, Name: name,
		StateDir: r.startDir(name, start), TaskDir: dirs.task, LocalDir: dirs.local, SecretsDir: dirs.secrets,
		SharedDir: dirs.shared, LogDir: dirs.logs,
		Event: func(message string) { r.send(obsDriverMessage{Task: name, Start: start, Message: message}) },
	}
}

// taskBasis is what a start of a task is made of.
type taskBasis struct {
	order    event.Order
	job      *event.Job
	group    *event.TaskGroup
	task     *event.Task
	driver   driver.Driver // nil if the node does not have it
	dirs     taskDirs
	env      *taskEnv
	isolated bool // the task has a root file system of its own, with its directories below /
}

// basis gathers what a start of a task is made of as things are now.
func (r *runner) basis(name string) (*taskBasis, error) {
	r.mu.Lock()
	b := &taskBasis{order: r.order, job: r.job}
	group := r.group
	r.mu.Unlock()
	b.group, b.task = group, group.LookupTask(name)
	var ok bool
	if b.driver, ok = r.env.drivers[b.task.Driver]; !ok {
		return b, driver.Unrecoverable{Err: fmt.Errorf("driver %q is not available on this node", b.task.Driver)}
	}
	if err := canRun(group, b.task); err != nil {
		return b, driver.Unrecoverable{Err: err}
	}
	b.dirs = dirsOf(r.env.cfg.AllocDir, r.id, name)
	fs := b.driver.Capabilities().FS
	b.isolated = fs != driver.IsolationNone
	hostEnv := r.env.hostEnv
	deny := r.env.cfg.Access.EnvDenied
	switch fs {
	case driver.IsolationImage:
		hostEnv = nil
	case driver.IsolationChroot: // the task is another user than the agent, which the driver tells it
		deny = slices.Concat(deny, []string{"USER", "LOGNAME", "HOME"})
	}
	b.env = buildTaskEnv(envInput{
		node: r.env.node.Load(), region: r.env.cfg.Region, order: &b.order, job: b.job, group: group, task: b.task,
		dirs: b.dirs.seenIn(fs), hostEnv: hostEnv, deny: deny,
	})
	return b, nil
}

// prepareTask fetches and writes what one start needs. It ends with ctx.
func (r *runner) prepareTask(ctx context.Context, name string, start uint64) error {
	b, err := r.basis(name)
	if err != nil {
		return err
	}
	if err := r.env.keepSecrets(b.dirs, b.task); err != nil {
		return err
	}
	if err := writePayload(b.dirs, b.job, b.task); err != nil {
		return err
	}
	p := &preparation{taskBasis: b, r: r, start: start}
	if err := p.artifacts(ctx); err != nil {
		return err
	}
	return p.templates(ctx)
}

// task is one start as its driver is to run it: everything interpolated.
func (r *runner) task(name string, start uint64) (*driver.Task, driver.Driver, error) {
	b, err := r.basis(name)
	if err != nil {
		return nil, nil, err
	}
	if err := b.addTemplates(); err != nil {
		return nil, nil, err
	}
	t, env := b.task, b.env
	config, err := evaluateConfig(t.Config, env)
	if err != nil {
		return nil, nil, err
	}
	ready := r.bareTask(name, start)
	ready.Config, ready.Env, ready.User = config, env.vars, env.interpolate(t.User)
	ready.LogBytesMax, ready.LogFilesMax = int64(t.LogConfig.MaxFileSizeMB)<<20, t.LogConfig.MaxFiles
	ready.LogsDisabled = t.LogConfig.Disabled
	ready.CPUMHz, ready.MemoryMB = int64(t.Resources.CPU), int64(t.Resources.MemoryMB)
	if b.order.MemoryOversubscribed {
		ready.MemoryMaxMB = int64(t.Resources.MemoryMaxMB)
	}
	for _, p := range b.order.Ports {
		ip := r.env.node.Load().HostAddress(p.HostNetwork)
		if ip == "" && p.HostNetwork != "" && p.HostNetwork != "default" { // bound anywhere else, it might be open to all the world
			return nil, nil, driver.Unrecoverable{Err: fmt.Errorf("port %q: this node has no address in the host network %q any more", p.Label, p.HostNetwork)}
		}
		ready.Ports = append(ready.Ports, driver.Port{Label: p.Label, HostIP: ip, Host: p.Value, To: p.To})
	}
	if ready.Mounts, err = mountsOf(b.group, t, env, r.env.node.Load()); err != nil {
		return nil, nil, err
	}
	if len(ready.Mounts) > 0 && !b.driver.Capabilities().Mounts {
		return nil, nil, driver.Unrecoverable{Err: fmt.Errorf("driver %q cannot mount volumes", t.Driver)}
	}
	ready.NodeMHz = r.env.node.Load().NodeResources.Cpu.CpuShares
	if err := r.env.cfg.Access.checkUser(t.Driver, ready.User); err != nil {
		return nil, nil, driver.Unrecoverable{Err: err}
	}
	if ready.User != "" {
		if err := giveTo(ready.User, b.dirs.secrets); err != nil {
			return nil, nil, driver.Unrecoverable{Err: err}
		}
	}
	return ready, b.driver, nil
}

// canRun refuses a task that asks for what this agent does not do: started without it, it would not be what its author
// wrote.
func canRun(group *event.TaskGroup, t *event.Task) error {
	for _, n := range group.Networks {
		if n.Mode != "" && n.Mode != "host" {
			return fmt.Errorf("network mode %q is not supported by this version of drover", n.Mode)
		}
	}
	for _, block := range []struct {
		name  string
		asked bool
	}{
		{"vault", t.Vault != nil}, {"secret", len(t.Secrets) > 0}, {"csi_plugin", t.CSIPluginConfig != nil},
	} {
		if block.asked {
			return fmt.Errorf("%s blocks are not supported by this version of drover", block.name)
		}
	}
	return nil
}

// writePayload gives a dispatched job's input to a task that wants it.
func writePayload(dirs taskDirs, job *event.Job, t *event.Task) error {
	if t.DispatchPayload == nil || t.DispatchPayload.File == "" {
		return nil
	}
	if !filepath.IsLocal(t.DispatchPayload.File) {
		return driver.Unrecoverable{Err: fmt.Errorf("payload file %q is not inside the task's local directory", t.DispatchPayload.File)}
	}
	// The task may have put links where its directories were: nothing is written outside of the allocation.
	root, err := os.OpenRoot(dirs.alloc)
	if err != nil {
		return fmt.Errorf("write payload: %w", err)
	}
	defer root.Close()
	file := filepath.Join(t.Name, "local", t.DispatchPayload.File)
	if err := root.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return driver.Unrecoverable{Err: fmt.Errorf("write payload: %w", err)}
	}
	if err := root.WriteFile(file, job.Payload, 0o644); err != nil {
		return driver.Unrecoverable{Err: fmt.Errorf("write payload: %w", err)}
	}
	return nil
}

// giveTo lets the task's user use a directory that is closed to others.
func giveTo(name, dir string) error {
	uid, gid, err := lookupUser(name)
	if err != nil || uid == os.Getuid() {
		return err
	}
	return os.Lchown(dir, uid, gid) // a link in its place is not followed
}

// lookupUser finds a user of the machine by name or number.
func lookupUser(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		byNumber, numberErr := user.LookupId(name)
		if numberErr != nil {
			return 0, 0, fmt.Errorf("find user %q: %w", name, err) // a name that is unknown, not a number that is malformed
		}
		u = byNumber
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, nil
}

// refresh shows others how things stand.
func (r *runner) refresh() {
	view := allocView{
		status: r.state.status(), started: map[string]bool{}, live: map[string]driver.Running{}, start: map[string]uint64{},
	}
	for _, t := range r.state.Tasks {
		held := HeldTask{Name: t.Name, Status: t.State.State}
		if c := r.counts[t.Name]; c != nil {
			held.Counts = *c
		}
		view.tasks = append(view.tasks, held)
		view.started[t.Name] = t.State.StartedAt != 0 || t.State.Restarts > 0
		view.finished = max(view.finished, t.State.FinishedAt)
	}
	for name, t := range r.tasks {
		view.live[name], view.start[name] = t.driver, t.start
	}
	r.mu.Lock()
	r.view = view
	r.mu.Unlock()
}

// reportFull reports every task with the events that were not acknowledged.
func (r *runner) reportFull() {
	delta := event.AllocDelta{ID: r.id, Client: r.state.status(), Tasks: map[string]*event.TaskState{}}
	for _, t := range r.state.Tasks {
		state := t.State
		state.Events = nil
		for _, e := range t.State.Events {
			if e.Time > r.acked[t.Name] {
				state.Events = append(state.Events, e)
			}
		}
		delta.Tasks[t.Name] = &state
	}
	r.env.report(delta)
}

// remove leaves nothing of the allocation.
func (r *runner) remove() {
	dropSecrets(r.env, r.id)
	for _, dir := range []string{filepath.Join(r.env.cfg.AllocDir, r.id.String()), r.dir} {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.env.log.Error("cannot remove allocation", "alloc", r.id, "err", err)
		}
	}
	r.env.log.Info("allocation removed", "alloc", r.id)
	r.env.destroyed(r.id)
}
