package executor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// logOf is a task's output.
func logOf(t *testing.T, a *Agent, id event.ID, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(a.cfg.AllocDir, id.String(), "alloc/logs", name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// rawJob is a batch job of one raw_exec task with this configuration.
func rawJob(config map[string]any, change ...func(*event.Job)) *event.Job {
	return shellJob("", append([]func(*event.Job){batch, func(j *event.Job) { j.TaskGroups[0].Tasks[0].Config = config }}, change...)...)
}

func TestRawExecOptions(t *testing.T) {
	t.Setenv("DROVER_TEST_HOST", "host value")
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	workDir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sh := func(script string) []any { return []any{"-c", script} }
	for _, c := range []struct {
		name   string
		config map[string]any
		status event.ClientStatus
		said   string // output, or part of the last event but one when it failed
	}{
		{"program from PATH", map[string]any{"command": "sh", "args": sh("echo $0")}, event.ClientComplete, "sh\n"},
		{"working directory", map[string]any{"command": "/bin/sh", "args": sh("pwd"), "work_dir": workDir}, event.ClientComplete, workDir + "\n"},
		{"host environment", map[string]any{"command": "/bin/sh", "args": sh("echo $DROVER_TEST_HOST")}, event.ClientComplete, "host value\n"},
		{"denied environment", map[string]any{"command": "/bin/sh", "args": sh("echo $DROVER_TEST_HOST."), "denied_envvars": []any{"DROVER_TEST_*"}},
			event.ClientComplete, ".\n"},
		{"oom score", map[string]any{"command": "cat", "args": []any{"/proc/self/oom_score_adj"}, "oom_score_adj": 500}, event.ClientComplete, "500\n"},
		{"no command", map[string]any{}, event.ClientFailed, `option "command" is required`},
		{"relative work_dir", map[string]any{"command": "pwd", "work_dir": "x"}, event.ClientFailed, "absolute path"},
		{"no such program", map[string]any{"command": "no-such-program"}, event.ClientFailed, "no-such-program"},
		{"no such file", map[string]any{"command": "/no/such/file"}, event.ClientFailed, "no such file"},
		{"not a program", map[string]any{"command": "/etc/passwd"}, event.ClientFailed, "permission denied"},
	} {
		id := s.place(rawJob(c.config))
		s.until(c.name, func() bool { return s.status[id].Terminal() })
		s.mu.Lock()
		status, events := s.status[id], s.tasks[id]["main"].Events
		s.mu.Unlock()
		said := logOf(t, a, id, "main.stdout.0")
		if status == event.ClientFailed {
			said = events[len(events)-2].Message()
		}
		if status != c.status || !strings.Contains(said, c.said) || status == event.ClientComplete && said != c.said {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, status, said, c.status, c.said)
		}
	}
}

// A program of the task's own is made executable, unless it is a link to somebody else's file.
func TestOwnProgram(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("#!/bin/sh\necho outside\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := `printf '#!/bin/sh\necho own\n' > $NOMAD_TASK_DIR/own; ln -s ` + outside + ` $NOMAD_TASK_DIR/link`
	job := rawJob(nil)
	group := job.TaskGroups[0]
	first := shellTask("make", script)
	first.Lifecycle = &event.TaskLifecycle{Hook: "prestart"}
	first.Config = map[string]any{"command": "/bin/sh", "args": []any{"-c", "NOMAD_TASK_DIR=$NOMAD_ALLOC_DIR/../main/local; " + script}}
	group.Tasks[0].Config = map[string]any{"command": "own"}
	group.Tasks = append(group.Tasks, first)
	id := s.place(job)
	s.untilStatus(id, event.ClientComplete)
	if got := logOf(t, a, id, "main.stdout.0"); got != "own\n" {
		t.Errorf("output %q", got)
	}
	group.Tasks[0].Config = map[string]any{"command": "link"}
	id = s.place(job)
	s.untilStatus(id, event.ClientFailed)
	if info, err := os.Stat(outside); err != nil || info.Mode() != 0o600 {
		t.Errorf("the mode of a file outside became %v, %v", info.Mode(), err)
	}
}

func TestTaskUser(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	// The test's own directory is closed to others; a real allocation directory is not.
	for dir := filepath.Dir(cfg.AllocDir); dir != filepath.Clean(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := startAgent(t, cfg)
	user, want := "no-such-user", "no-such-user"
	id := s.place(rawJob(map[string]any{"command": "id"}, func(j *event.Job) { j.TaskGroups[0].Tasks[0].User = user }))
	s.untilStatus(id, event.ClientFailed)
	s.mu.Lock()
	events := s.tasks[id]["main"].Events
	s.mu.Unlock()
	if said := events[len(events)-2].Message(); !strings.Contains(said, want) {
		t.Errorf("event %q", said)
	}
	// Only root may become somebody else; anybody may stay who he is.
	user, want = "nobody", "nobody nobody"
	if os.Getuid() != 0 {
		user, want = os.Getenv("USER"), os.Getenv("USER")+" "+os.Getenv("USER")
	}
	id = s.place(rawJob(map[string]any{"command": "/bin/sh", "args": []any{"-c", "echo x > $NOMAD_SECRETS_DIR/x && echo $(id -un) $(stat -c %U $NOMAD_SECRETS_DIR)"}},
		func(j *event.Job) { j.TaskGroups[0].Tasks[0].User = user }))
	s.until("end", func() bool { return s.status[id].Terminal() })
	if got := logOf(t, a, id, "main.stdout.0"); got != want+"\n" {
		t.Errorf("output %q, want %q; %s", got, want, logOf(t, a, id, "main.stderr.0"))
	}
}

// Output is cut into files and the oldest are dropped; nothing of what is kept is changed.
func TestOutputIsRotated(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	job := rawJob(map[string]any{"command": "/bin/sh", "args": []any{"-c", "seq 1 600000"}}, func(j *event.Job) {
		j.TaskGroups[0].Tasks[0].LogConfig = event.LogConfig{MaxFiles: 2, MaxFileSizeMB: 1}
	})
	id := s.place(job)
	s.untilStatus(id, event.ClientComplete)
	if logOf(t, a, id, "main.stdout.0") != "" {
		t.Error("the first file is still there")
	}
	last := logOf(t, a, id, "main.stdout.2") + logOf(t, a, id, "main.stdout.3")
	if !strings.HasSuffix(last, "599999\n600000\n") {
		t.Errorf("the end of the output is missing: %d bytes", len(last))
	}
	off := rawJob(map[string]any{"command": "echo", "args": []any{"x"}}, func(j *event.Job) {
		j.TaskGroups[0].Tasks[0].LogConfig.Disabled = true
	})
	id = s.place(off)
	s.untilStatus(id, event.ClientComplete)
	if entries, err := os.ReadDir(filepath.Join(a.cfg.AllocDir, id.String(), "alloc/logs")); err != nil || len(entries) != 0 {
		t.Errorf("%d log files of a task without logs, %v", len(entries), err)
	}
}

// What children of a task used is not forgotten when they have ended: many tasks do their work in short-lived ones.
func TestUsageCountsEndedChildren(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	id := s.place(shellJob(`sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; echo done; sleep 1000; true`))
	s.untilStatus(id, event.ClientRunning)
	for deadline := time.Now().Add(60 * time.Second); logOf(t, a, id, "main.stdout.0") != "done\n"; <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child does not end")
		}
	}
	r, _ := a.runner(id)
	r.mu.Lock()
	live := r.view.live["main"]
	r.mu.Unlock()
	usage, err := live.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if usage.CPU.User < 50*time.Millisecond {
		t.Errorf("a task whose child worked used %v", usage.CPU.User)
	}
	if !slices.Equal(usage.Memory.Measured, []string{"RSS", "Swap"}) {
		t.Errorf("measured %q", usage.Memory.Measured)
	}
	s.stop(id)
	s.untilStatus(id, event.ClientComplete)
}

// A port of a host network that the node has lost is bound nowhere else.
func TestHostNetworkGone(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.HostNetworks = map[string]*event.HostNetwork{"inner": {Name: "inner", Interface: "lo"}}
	a, _ := startAgent(t, cfg)
	network := func(name string) func(*event.Order) {
		return func(o *event.Order) {
			o.Ports = []event.AssignedPort{{Label: "http", Value: 21000, HostNetwork: name}}
		}
	}
	id := s.place(shellJob("echo $NOMAD_ADDR_http $NOMAD_HOST_IP_http", batch), network("inner"))
	s.untilStatus(id, event.ClientComplete)
	if got := logOf(t, a, id, "main.stdout.0"); got != "127.0.0.1:21000 127.0.0.1\n" {
		t.Errorf("output %q", got)
	}
	id = s.place(shellJob("echo $NOMAD_ADDR_http", batch), network("gone"))
	s.untilStatus(id, event.ClientFailed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.tasks[id]["main"].Events {
		if e.Type == event.TaskDriverFailure && strings.Contains(e.Message(), `no address in the host network "gone" any more`) {
			return
		}
	}
	t.Errorf("events %+v", s.tasks[id]["main"].Events)
}

// What the node's operator keeps from every raw_exec task.
func TestRawExecDenied(t *testing.T) {
	t.Setenv("SECRET_HOST", "x")
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	cfg.RawExecDenied, cfg.RawExecEnvDenied = driver.DeniedIDs{UIDs: "1-100"}, []string{"SECRET_*"}
	a, _ := startAgent(t, cfg)
	job := rawJob(map[string]any{"command": "/bin/sh", "args": []any{"-c", "echo $SECRET_HOST.$SECRET_JOB.$OWN"}, "denied_envvars": []any{"OTHER"}})
	job.TaskGroups[0].Tasks[0].Env = map[string]string{"SECRET_JOB": "y", "OWN": "z"}
	id := s.place(job)
	s.untilStatus(id, event.ClientComplete)
	if got := logOf(t, a, id, "main.stdout.0"); got != "..z\n" {
		t.Errorf("output %q", got)
	}
	id = s.place(rawJob(map[string]any{"command": "true"}, func(j *event.Job) { j.TaskGroups[0].Tasks[0].User = "daemon" }))
	s.untilStatus(id, event.ClientFailed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.tasks[id]["main"].Events {
		if e.Type == event.TaskDriverFailure && strings.Contains(e.Message(), "running as uid 1 is not allowed on this node") {
			return
		}
	}
	t.Errorf("events %+v", s.tasks[id]["main"].Events)
}
