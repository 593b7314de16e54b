package executor

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/memdir"
)

// shimBinary is the task shim as the Makefile builds it.
var shimBinary string

func TestMain(m *testing.M) {
	if os.Getenv(childConfigEnv) != "" {
		childAgent()
		return
	}
	dir, err := os.MkdirTemp("", "executor")
	if err != nil {
		panic(err)
	}
	shimBinary = filepath.Join(dir, "drover-shim")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", shimBinary, "drover/cmd/drover-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build shim: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// testConfig is an agent that talks to the server and keeps its things in a directory of the test.
func testConfig(t *testing.T, s *fakeServer) Config {
	dir := t.TempDir()
	cfg := Config{
		StateDir: filepath.Join(dir, "client"), AllocDir: filepath.Join(dir, "alloc"), Servers: []string{s.address()},
		RawExecEnabled: true, ShimPath: shimBinary, HTTPAdvertise: "127.0.0.1:4646", NetworkInterface: "lo",
		Collection: Collection{DiskPercentMax: 100, InodePercentMax: 100}, // the disk of who runs the tests may be full
	}
	unmountAfter(t, cfg.AllocDir)
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return cfg
}

// unmountAfter lets go of the secrets of allocations that a test leaves behind, before its directory is removed.
func unmountAfter(t *testing.T, allocDir string) {
	t.Cleanup(func() {
		allocs, err := filepath.Glob(filepath.Join(allocDir, "*"))
		if err != nil {
			t.Error(err)
		}
		for _, dir := range allocs {
			if err := memdir.UnmountEach(dir, secretsDirName); err != nil {
				t.Error(err)
			}
		}
	})
}

// startAgent runs an agent in this process until the test ends or stop is called.
func startAgent(t *testing.T, cfg Config) (a *Agent, stop func()) {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the agent does not stop")
		}
	}
	t.Cleanup(func() {
		if !stopped {
			endAll(t, a)
		}
		stop()
	})
	select {
	case <-a.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the agent does not get ready")
	}
	return a, stop
}

// endAll ends whatever the agent runs, so that no test leaves processes behind.
func endAll(t *testing.T, a *Agent) {
	a.mu.Lock()
	runners := maps.Clone(a.runners)
	a.mu.Unlock()
	for _, r := range runners {
		go r.send(obsDestroy{})
	}
	timeout := time.After(30 * time.Second)
	for id, r := range runners {
		select {
		case <-r.gone:
		case <-timeout:
			t.Errorf("allocation %s does not end", id)
			return
		}
	}
}

// shellJob is a job of one task that runs a script.
func shellJob(script string, change ...func(*event.Job)) *event.Job {
	j := &event.Job{
		ID: "web", Name: "web", Type: event.JobTypeService, Meta: map[string]string{"owner": "ops"},
		TaskGroups: []*event.TaskGroup{{Name: "app", Count: 1, Tasks: []*event.Task{shellTask("main", script)}}},
	}
	for _, f := range change {
		f(j)
	}
	return j
}

func shellTask(name, script string) *event.Task {
	return &event.Task{
		Name: name, Driver: "raw_exec", Config: map[string]any{"command": "/bin/sh", "args": []any{"-c", script}},
		KillTimeout: 5 * time.Second, LogConfig: event.LogConfig{MaxFiles: 3, MaxFileSizeMB: 1},
		Resources:     event.Resources{CPU: 100, MemoryMB: 64},
		RestartPolicy: event.RestartPolicy{Attempts: 0, Interval: time.Minute, Delay: time.Millisecond, Mode: "fail"},
	}
}

// batch makes the job end when its tasks do.
func batch(j *event.Job) { j.Type = event.JobTypeBatch }

func TestRunToCompletion(t *testing.T) {
	s := newFakeServer(t)
	begin := time.Now()
	a, _ := startAgent(t, testConfig(t, s))
	if took := time.Since(begin); took > 1500*time.Millisecond {
		t.Errorf("ready after %v", took)
	} else {
		t.Logf("ready after %v", took)
	}
	id := s.place(shellJob("echo hello $NOMAD_JOB_NAME ${NOMAD_META_OWNER}; exit 0", batch))
	s.untilStatus(id, event.ClientComplete)
	if got, want := s.history(id, "main"), "Received, Task Setup, Started, Terminated"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	out, err := os.ReadFile(filepath.Join(a.cfg.AllocDir, id.String(), "alloc/logs/main.stdout.0"))
	if err != nil || string(out) != "hello web ops\n" {
		t.Errorf("output %q, %v", out, err)
	}
}

func TestStopAndCollect(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	id := s.place(shellJob("exec sleep 1000"))
	s.untilStatus(id, event.ClientRunning)
	s.stop(id)
	s.untilStatus(id, event.ClientComplete)
	if got, want := s.history(id, "main"), "Received, Task Setup, Started, Killing, Terminated, Killed"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	dir := filepath.Join(a.cfg.AllocDir, id.String())
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	r, ok := a.runner(id)
	if !ok {
		t.Fatal("the allocation is gone before its time")
	}
	s.collect(id)
	<-r.gone
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory is left: %v", err)
	}
	if entries, err := os.ReadDir(a.allocsDir()); err != nil || len(entries) != 0 {
		t.Errorf("state is left: %v, %v", entries, err)
	}
}
