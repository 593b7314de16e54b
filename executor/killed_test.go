package executor

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// child is an agent in a process of its own, to be killed.
type child struct {
	t   *testing.T
	s   *fakeServer
	cfg childConfig
	cmd *exec.Cmd
}

func newChild(t *testing.T, s *fakeServer) *child {
	dir := t.TempDir()
	c := &child{t: t, s: s, cfg: childConfig{
		StateDir: filepath.Join(dir, "client"), AllocDir: filepath.Join(dir, "alloc"), Server: s.address(), Shim: shimBinary,
	}}
	unmountAfter(t, c.cfg.AllocDir)
	t.Cleanup(func() {
		c.kill()
		// What a failed test leaves running must not stay on the machine.
		dirs, err := filepath.Glob(filepath.Join(c.cfg.StateDir, "allocs/*/task-*"))
		if err != nil {
			t.Error(err)
		}
		for _, dir := range dirs {
			if m, err := wire.LoadRecord(dir, wire.TaskFile); err == nil {
				p := wire.ProcessOf(m)
				proctree.Kill(p.PID, p.Start, syscall.SIGKILL)
			}
		}
	})
	return c
}

// start runs the agent and waits until it is ready.
func (c *child) start() {
	c.t.Helper()
	config, err := json.Marshal(c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.s.mu.Lock()
	before := c.s.registered
	c.s.mu.Unlock()
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childConfigEnv+"="+string(config))
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.s.until("agent ready", func() bool { return c.s.registered > before && c.s.ready })
}

// kill ends the agent as the kernel does when it has to.
func (c *child) kill() {
	if c.cmd != nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
		c.cmd = nil
	}
}

// endAll ends what the test has left running.
func (c *child) endAll() {
	c.s.mu.Lock()
	orders := len(c.s.orders)
	ids := make([]event.ID, 0, orders)
	for id := range c.s.orders {
		ids = append(ids, id)
	}
	c.s.mu.Unlock()
	for _, id := range ids {
		c.s.stop(id)
	}
	for _, id := range ids {
		c.s.until("end of the test's allocation", func() bool { return c.s.status[id].Terminal() })
	}
}

func (c *child) logOf(id event.ID, task string) string {
	b, err := os.ReadFile(filepath.Join(c.cfg.AllocDir, id.String(), "alloc/logs", task+".stdout.0"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return string(b)
}

// taskPID is the recorded first process of a task's newest start.
func (c *child) taskPID(id event.ID, task string, start int) wire.Process {
	m, err := wire.LoadRecord(c.startDir(id, task, start), wire.TaskFile)
	if err != nil {
		c.t.Fatal(err)
	}
	return wire.ProcessOf(m)
}

func (c *child) startDir(id event.ID, task string, start int) string {
	return filepath.Join(c.cfg.StateDir, "allocs", id.String(), "task-"+task+"-"+strconv.Itoa(start))
}

func TestKilledAgentFindsItsTasks(t *testing.T) {
	s := newFakeServer(t)
	c := newChild(t, s)
	c.start()
	signalDir := t.TempDir()
	script := "echo first; while [ ! -e " + signalDir + "/go ]; do sleep 0.01; done; echo second; exec sleep 1000"
	id := s.place(shellJob(script))
	s.untilStatus(id, event.ClientRunning)
	before := c.taskPID(id, "main", 1)
	c.kill()
	if err := os.WriteFile(filepath.Join(signalDir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c.start()
	s.untilStatus(id, event.ClientRunning)
	if after := c.taskPID(id, "main", 1); after != before {
		t.Errorf("task runs as %+v, it ran as %+v", after, before)
	}
	if stat, err := proctree.ReadStat(before.PID); err != nil || stat.Start != before.Start || stat.Zombie {
		t.Errorf("the task does not run any more: %+v, %v", stat, err)
	}
	if got, want := s.history(id, "main"), "Received, Task Setup, Started"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	for deadline := time.Now().Add(20 * time.Second); c.logOf(id, "main") != "first\nsecond\n"; <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("output %q", c.logOf(id, "main"))
		}
	}
	c.endAll()
	if got, want := s.history(id, "main"), "Received, Task Setup, Started, Killing, Terminated, Killed"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
}

func TestExitWhileNoAgentRan(t *testing.T) {
	s := newFakeServer(t)
	c := newChild(t, s)
	c.start()
	signalDir := t.TempDir()
	id := s.place(shellJob("while [ ! -e "+signalDir+"/go ]; do sleep 0.01; done; echo bye; exit 42", batch))
	s.untilStatus(id, event.ClientRunning)
	c.kill()
	if err := os.WriteFile(filepath.Join(signalDir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	untilExists(t, filepath.Join(c.startDir(id, "main", 1), wire.CleanFile))
	c.start()
	s.untilStatus(id, event.ClientFailed)
	s.mu.Lock()
	events := s.tasks[id]["main"].Events
	s.mu.Unlock()
	var said []string
	for _, e := range events {
		said = append(said, e.Type.String()+": "+e.Message())
	}
	if got := strings.Join(said, "\n"); !strings.Contains(got, "Terminated: Exit Code: 42") {
		t.Errorf("events:\n%s", got)
	}
	if got := c.logOf(id, "main"); got != "bye\n" {
		t.Errorf("output %q", got)
	}
}

// untilExists waits for a file that a process outside the test writes.
func untilExists(t *testing.T, path string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not appear", path)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// The agent is killed at whatever moment of many starts: every task starts once.
func TestKilledWhileStarting(t *testing.T) {
	s := newFakeServer(t)
	c := newChild(t, s)
	c.start()
	marks := t.TempDir()
	var ids []event.ID
	for i := range 12 {
		// Each start leaves its own file; two starts of one task leave two.
		job := shellJob("echo x > "+marks+"/$NOMAD_ALLOC_ID.$$; exec sleep 1000", func(j *event.Job) { j.ID = "job" + strconv.Itoa(i) })
		ids = append(ids, s.place(job))
		if i%3 == 2 {
			// Killed with some of them on their way: when the first of these three is known to run, or a little earlier.
			id := ids[len(ids)-3]
			if i%2 == 0 {
				s.untilStatus(id, event.ClientRunning)
			} else {
				untilExists(t, filepath.Join(c.cfg.StateDir, "allocs", ids[len(ids)-1].String(), fileState))
			}
			c.kill()
			c.start()
		}
	}
	for _, id := range ids {
		s.untilStatus(id, event.ClientRunning)
	}
	for _, id := range ids {
		if got, want := s.history(id, "main"), "Received, Task Setup, Started"; got != want {
			t.Errorf("history of %s is %s, want %s", id.Short(), got, want)
		}
		found, err := filepath.Glob(filepath.Join(marks, id.String()+".*"))
		if err != nil || len(found) > 1 {
			t.Errorf("allocation %s was started %d times, %v", id, len(found), err)
		}
	}
	c.endAll()
}

// A shim that is killed takes its task along; the allocation learns it and starts anew.
func TestKilledShim(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run("agent away="+strconv.FormatBool(away), func(t *testing.T) {
			s := newFakeServer(t)
			c := newChild(t, s)
			c.start()
			job := shellJob("exec sleep 1000")
			job.TaskGroups[0].Tasks[0].RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
			id := s.place(job)
			s.untilStatus(id, event.ClientRunning)
			task := c.taskPID(id, "main", 1)
			m, err := wire.LoadRecord(c.startDir(id, "main", 1), wire.ShimFile)
			if err != nil {
				t.Fatal(err)
			}
			if away {
				c.kill()
			}
			if err := syscall.Kill(wire.ProcessOf(m).PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if away {
				c.start()
			}
			s.until("second start", func() bool {
				t := s.tasks[id]["main"]
				return t != nil && t.Restarts == 1 && t.State == event.TaskRunning
			})
			if stat, err := proctree.ReadStat(task.PID); err == nil && stat.Start == task.Start && !stat.Zombie {
				t.Error("the task outlived its shim and its successor runs beside it")
			}
			c.endAll()
			if got := s.history(id, "main"); !strings.Contains(got, "Started, Terminated, Restarting, Started") {
				t.Errorf("history %s", got)
			}
		})
	}
}

// State that makes no sense is dropped, what ran under it is ended, and the servers' order starts it anew.
func TestDamagedState(t *testing.T) {
	for _, file := range []string{fileOrder, fileJob, fileState} {
		t.Run(file, func(t *testing.T) {
			s := newFakeServer(t)
			c := newChild(t, s)
			c.start()
			id := s.place(shellJob("exec sleep 1000"))
			s.untilStatus(id, event.ClientRunning)
			old := c.taskPID(id, "main", 1)
			c.kill()
			path := filepath.Join(c.cfg.StateDir, "allocs", id.String(), file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			c.start()
			s.until("it runs again", func() bool {
				return s.status[id] == event.ClientRunning && strings.Count(historyOf(s.tasks[id]["main"]), "Started") == 2
			})
			if stat, err := proctree.ReadStat(old.PID); err == nil && stat.Start == old.Start && !stat.Zombie {
				t.Error("the old task still runs")
			}
			c.endAll()
		})
	}
}

func historyOf(t *event.TaskState) string {
	var types []string
	if t != nil {
		for _, e := range t.Events {
			types = append(types, e.Type.String())
		}
	}
	return strings.Join(types, ", ")
}
