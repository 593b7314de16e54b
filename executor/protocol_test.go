package executor

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/fakedriver"
)

// fakeConfig is an agent whose tasks are scripts of the fake driver.
func fakeConfig(t *testing.T, s *fakeServer, m *fakedriver.Machine) Config {
	cfg := testConfig(t, s)
	cfg.RawExecEnabled = false
	cfg.Drivers = []driver.Driver{fakedriver.Driver{Machine: m}}
	return cfg
}

// fakeJob is a job of one task with this configuration.
func fakeJob(config map[string]any, change ...func(*event.Job)) *event.Job {
	j := shellJob("", change...)
	j.TaskGroups[0].Tasks[0].Driver = fakedriver.Name
	j.TaskGroups[0].Tasks[0].Config = config
	return j
}

// A report whose answer is lost is sent again under its number and counts once.
func TestLostAnswers(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	s.update(func() { s.loseAnswers = 2 })
	id := s.place(fakeJob(map[string]any{}))
	s.untilStatus(id, event.ClientRunning)
	s.stop(id)
	s.untilStatus(id, event.ClientComplete)
	if got, want := s.history(id, "main"), "Received, Task Setup, Started, Killing, Terminated, Killed"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repeated != 0 || s.loseAnswers != 0 {
		t.Errorf("%d events came twice, %d answers were not lost", s.repeated, s.loseAnswers)
	}
}

// A node that the servers have forgotten registers again, reports all it has, and disturbs no task.
func TestForgottenNode(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	s.ttl = 10 * time.Millisecond
	startAgent(t, fakeConfig(t, s, m))
	id := s.place(fakeJob(map[string]any{}))
	s.untilStatus(id, event.ClientRunning)
	s.update(func() {
		s.forget, s.ready = true, false
		clear(s.status)
	})
	s.until("registered and ready again", func() bool { return s.registered == 2 && s.ready })
	s.untilStatus(id, event.ClientRunning)
	if n := len(m.Running()); n != 1 {
		t.Errorf("%d tasks run", n)
	}
}

// Servers that know less than what the node has seen are not obeyed: what they do not list keeps running.
func TestOlderServersAreRefused(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	cfg := fakeConfig(t, s, m)
	a, stop := startAgent(t, cfg)
	id := s.place(fakeJob(map[string]any{}))
	s.untilStatus(id, event.ClientRunning)
	var kept event.Order
	older := func() {
		s.mu.Lock()
		opened := s.opened
		s.mu.Unlock()
		s.cut()
		s.until("the agent came back twice", func() bool { return s.opened >= opened+2 })
	}
	var index uint64
	s.update(func() {
		kept, index = s.orders[id], s.index
		delete(s.orders, id)
		s.index = 5
	})
	older()
	if _, ok := a.runner(id); !ok || len(m.Running()) != 1 {
		t.Fatal("an older server's list ended an allocation")
	}
	// The agent remembers it over its own restart.
	stop()
	second, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second.lock.Close()
	if second.generation.Index != index {
		t.Errorf("generation %+v after a restart, %d before", second.generation, index)
	}
	// Servers that are up to date are obeyed.
	s.update(func() { s.index = index + 1 })
	a, _ = startAgent(t, cfg)
	s.until("nothing is left", func() bool { return len(m.Running()) == 0 })
	_ = kept
	if r, ok := a.runner(id); ok {
		<-r.gone
	}
}

func TestSuccessorWaitsForItsPredecessor(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	old := fakeJob(map[string]any{"ignore_kill": true})
	old.TaskGroups[0].Tasks[0].KillTimeout = 100 * time.Millisecond
	first := s.place(old)
	s.untilStatus(first, event.ClientRunning)
	second := s.place(fakeJob(map[string]any{}), func(o *event.Order) { o.WaitFor = []event.ID{first, {9}} })
	s.stop(first)
	s.untilStatus(second, event.ClientRunning)
	s.mu.Lock()
	defer s.mu.Unlock()
	ended, began := s.tasks[first]["main"].FinishedAt, s.tasks[second]["main"].StartedAt
	if ended == 0 || began < ended {
		t.Errorf("the successor began at %v, the predecessor ended at %v", began.Time(), ended.Time())
	}
}

// A successor that is not wanted any more does not go on waiting.
func TestStoppedWhileItWaits(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	a, _ := startAgent(t, fakeConfig(t, s, m))
	first := s.place(fakeJob(map[string]any{}))
	s.untilStatus(first, event.ClientRunning)
	second := s.place(fakeJob(map[string]any{}), func(o *event.Order) { o.WaitFor = []event.ID{first} })
	s.untilStatus(second, event.ClientPending)
	s.stop(second)
	s.untilStatus(second, event.ClientComplete)
	r, ok := a.runner(second)
	if !ok {
		t.Fatal("it is gone already")
	}
	s.collect(second)
	<-r.gone
	if n := len(m.Running()); n != 1 {
		t.Errorf("%d tasks run", n)
	}
}

func TestDispatchPayload(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	id := s.place(shellJob("cat $NOMAD_TASK_DIR/in/data", batch, func(j *event.Job) {
		j.Payload = []byte("payload")
		j.TaskGroups[0].Tasks[0].DispatchPayload = &event.DispatchPayloadConfig{File: "in/data"}
	}))
	s.untilStatus(id, event.ClientComplete)
	if out, err := os.ReadFile(filepath.Join(a.cfg.AllocDir, id.String(), "alloc/logs/main.stdout.0")); err != nil || string(out) != "payload" {
		t.Errorf("output %q, %v", out, err)
	}
}

// With a sticky disk the successor on the same node finds what its predecessor left.
func TestStickyDisk(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	sticky := func(j *event.Job) { j.TaskGroups[0].EphemeralDisk.Sticky = true }
	first := s.place(shellJob("echo shared > $NOMAD_ALLOC_DIR/data/x; echo own > $NOMAD_TASK_DIR/y; exec sleep 1000", sticky))
	s.untilStatus(first, event.ClientRunning)
	untilExists(t, filepath.Join(a.cfg.AllocDir, first.String(), "main/local/y"))
	second := s.place(shellJob("cat $NOMAD_ALLOC_DIR/data/x $NOMAD_TASK_DIR/y", batch, sticky), func(o *event.Order) { o.Previous = first })
	s.stop(first)
	s.untilStatus(second, event.ClientComplete)
	if got := logOf(t, a, second, "main.stdout.0"); got != "shared\nown\n" {
		t.Errorf("output %q", got)
	}
	elsewhere := s.place(shellJob("ls $NOMAD_TASK_DIR", batch, sticky), func(o *event.Order) { o.Previous = event.ID{7} })
	s.untilStatus(elsewhere, event.ClientComplete)
}

// An order that makes no sense fails its allocation and no other.
func TestSenselessOrder(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	bad := s.place(fakeJob(map[string]any{}), func(o *event.Order) { o.Group = "none" })
	good := s.place(fakeJob(map[string]any{}))
	s.untilStatus(bad, event.ClientFailed)
	s.untilStatus(good, event.ClientRunning)
}

// An allocation that was to be stopped before this node heard of it never runs and is reported as ended.
func TestStoppedBeforeItCame(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	id := s.place(fakeJob(map[string]any{}), func(o *event.Order) { o.Desired = event.DesiredStop })
	s.untilStatus(id, event.ClientComplete)
	done := s.place(fakeJob(map[string]any{}), func(o *event.Order) { o.KnownTerminal = true })
	last := s.place(fakeJob(map[string]any{}))
	s.untilStatus(last, event.ClientRunning)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, reported := s.status[done]; reported || len(m.Running()) != 1 {
		t.Errorf("an allocation that had ended was taken up again; running: %v", m.Running())
	}
}

// An allocation that the servers gave up while they could not see the node is ended when it is seen again.
func TestGivenUpAllocationIsEnded(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	id := s.place(fakeJob(map[string]any{}))
	s.untilStatus(id, event.ClientRunning)
	s.update(func() {
		s.index++
		o := s.orders[id]
		o.KnownTerminal, o.ClientStatus, o.ModifyIndex = true, event.ClientLost, s.index
		s.orders[id] = o
	})
	s.cut()
	s.untilStatus(id, event.ClientComplete)
	if running := m.Running(); len(running) != 0 {
		t.Errorf("%v runs", running)
	}
}

// The start took place and only the answer was lost: it is found, not repeated.
func TestLostStartAnswer(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	cfg := fakeConfig(t, s, m)
	var once sync.Once
	cfg.Hooks.FailDriver = func(label, _ string) (err error) {
		if label == driver.StartAnswer {
			once.Do(func() { err = errors.New("answer lost") })
		}
		return err
	}
	startAgent(t, cfg)
	id := s.place(fakeJob(map[string]any{}))
	s.untilStatus(id, event.ClientRunning)
	if got, want := s.history(id, "main"), "Received, Task Setup, Started"; got != want || len(m.Running()) != 1 {
		t.Errorf("history %s, want %s; running %v", got, want, m.Running())
	}
}

func TestTasksThatCannotStart(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	for _, c := range []struct {
		name, history string
		job           *event.Job
	}{
		{"unknown variable", "Received, Task Setup, Failed Validation, Not Restarting",
			fakeJob(map[string]any{"stdout_string": "${no_such_thing}"})},
		{"unknown option", "Received, Task Setup, Failed Validation, Not Restarting", fakeJob(map[string]any{"colour": "blue"})},
		{"unrecoverable", "Received, Task Setup, Driver Failure, Not Restarting", fakeJob(map[string]any{"start_error": "no"})},
		{"no driver", "Received, Task Setup, Driver Failure, Not Restarting",
			fakeJob(nil, func(j *event.Job) { j.TaskGroups[0].Tasks[0].Driver = "raw_exec" })},
		{"template without a destination", "Received, Task Setup, Killing, Not Restarting",
			fakeJob(nil, func(j *event.Job) { j.TaskGroups[0].Tasks[0].Templates = []event.Template{{}} })},
		{"bridge network", "Received, Task Setup, Driver Failure, Not Restarting",
			fakeJob(nil, func(j *event.Job) { j.TaskGroups[0].Networks = []event.NetworkResource{{Mode: "bridge"}} })},
		{"payload outside", "Received, Task Setup, Driver Failure, Not Restarting",
			fakeJob(nil, func(j *event.Job) {
				j.TaskGroups[0].Tasks[0].DispatchPayload = &event.DispatchPayloadConfig{File: "../../x"}
			})},
		{"bad task name", "Received, Setup Failure", fakeJob(nil, func(j *event.Job) { j.TaskGroups[0].Tasks[0].Name = "a/b" })},
	} {
		if c.name == "no driver" {
			c.job.TaskGroups[0].Tasks[0].Driver = "raw_exec"
		}
		id := s.place(c.job)
		s.untilStatus(id, event.ClientFailed)
		if got := s.history(id, c.job.TaskGroups[0].Tasks[0].Name); got != c.history {
			t.Errorf("%s: history %s, want %s", c.name, got, c.history)
		}
	}
}

func TestDevelopmentModeLeavesNothing(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.Dev = true
	_, stop := startAgent(t, cfg)
	s.untilStatus(s.place(shellJob("exec sleep 1000")), event.ClientRunning)
	stop()
	if entries, err := os.ReadDir(cfg.AllocDir); err != nil || len(entries) != 0 {
		t.Errorf("%d allocations are left, %v", len(entries), err)
	}
}

// Tasks that do not obey are ended by force when development mode ends, those that run after the others too.
func TestDevelopmentModeEndsByForce(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	cfg := fakeConfig(t, s, m)
	cfg.Dev, cfg.MaxKillTimeout = true, 10*time.Millisecond
	job := fakeJob(map[string]any{}, func(j *event.Job) {
		after := *j.TaskGroups[0].Tasks[0]
		after.Name, after.Driver, after.Config = "after", fakedriver.Name, map[string]any{}
		after.Lifecycle = &event.TaskLifecycle{Hook: "poststop"}
		j.TaskGroups[0].Tasks = append(j.TaskGroups[0].Tasks, &after)
	})
	_, stop := startAgent(t, cfg)
	s.untilStatus(s.place(job), event.ClientRunning)
	stop()
	if running := m.Running(); len(running) != 0 {
		t.Errorf("%v runs", running)
	}
}

func TestOneAgentPerStateDirectory(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	startAgent(t, cfg)
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "is another drover process using it?") {
		t.Errorf("second agent: %v", err)
	}
}

func TestIdentityIsKept(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	a, stop := startAgent(t, cfg)
	first, incarnation := a.NodeID(), a.who.incarnation
	stop()
	b, _ := startAgent(t, cfg)
	if b.NodeID() != first || b.who.incarnation != incarnation+1 {
		t.Errorf("node %s incarnation %d after %s %d", b.NodeID(), b.who.incarnation, first, incarnation)
	}
	for name, mode := range map[string]os.FileMode{"client-id": 0o600, "secret-id": 0o600, ".": os.ModeDir | 0o700} {
		if info, err := os.Stat(filepath.Join(cfg.StateDir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

// The next server is tried when one fails.
func TestServersFailOver(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	cfg := fakeConfig(t, s, m)
	dead := newFakeServer(t)
	dead.http.Close()
	sick := newFakeServer(t)
	sick.http.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no leader", http.StatusServiceUnavailable)
	})
	cfg.Servers = []string{dead.address(), sick.address(), s.address()}
	startAgent(t, cfg)
}

// The target is 12 ms from the order to the task's program, with slack for a busy machine.
func TestOrderToExecLatency(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	begun := make(chan time.Time, 1)
	cfg.Hooks.OnTaskStart = func(time.Duration, error) { begun <- time.Now() }
	startAgent(t, cfg)
	var took, told, bare []time.Duration
	for range 15 {
		begin := time.Now()
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		bare = append(bare, time.Since(begin))
		begin = time.Now()
		id := s.place(shellJob("exec sleep 1000"))
		took = append(took, (<-begun).Sub(begin))
		s.untilStatus(id, event.ClientRunning)
		told = append(told, time.Since(begin))
		s.stop(id)
		s.untilStatus(id, event.ClientComplete)
	}
	slices.Sort(took)
	slices.Sort(told)
	slices.Sort(bare)
	t.Logf("order to exec: median %v, worst %v; order to recorded status: median %v; a bare process: %v", took[7], took[14], told[7], bare[7])
	// A machine that is busy with other work takes its time over a bare process too.
	if limit := max(60*time.Millisecond, 30*bare[7]); took[7] > limit {
		t.Errorf("median of %v from order to exec, more than %v", took[7], limit)
	}
}

// A start that takes long, as the download of an image does, is given up when the allocation is to stop.
func TestLongStartIsGivenUp(t *testing.T) {
	s, m := newFakeServer(t), new(fakedriver.Machine)
	startAgent(t, fakeConfig(t, s, m))
	id := s.place(fakeJob(map[string]any{"start_block_for": "1h"}))
	s.until("start", func() bool { return historyOf(s.tasks[id]["main"]) == "Received, Task Setup" })
	s.stop(id)
	s.untilStatus(id, event.ClientComplete)
	if len(m.Running()) != 0 {
		t.Errorf("%v runs", m.Running())
	}
}
