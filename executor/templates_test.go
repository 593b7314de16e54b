package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
)

func TestTemplates(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	job := shellJob(`cat local/conf secrets/env; echo $COLOR; stat -c %a local/conf; exit 1`, batch)
	task := job.TaskGroups[0].Tasks[0]
	task.RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	task.Templates = []event.Template{
		{EmbeddedTmpl: `{{ env "NOMAD_JOB_NAME" }} in {{ env "node.datacenter" }}, [{{ env "DROVER_TEST_NONE" }}]` + "\n", DestPath: "local/conf", Perms: "0600"},
		{EmbeddedTmpl: "COLOR={{ sprig_upper \"red\" }}\n", DestPath: "${NOMAD_SECRETS_DIR}/env", Envvars: true},
		{SourcePath: "local/conf", DestPath: "local/copy"},
	}
	id := s.place(job)
	s.untilStatus(id, event.ClientFailed)
	one := "web in dc1, []\nCOLOR=RED\nRED\n600\n"
	if got := logOf(t, a, id, "main.stdout.0"); got != one+one {
		t.Errorf("output %q; %s", got, logOf(t, a, id, "main.stderr.0"))
	}
	for name, c := range map[string]struct {
		template event.Template
		want     string
	}{
		"function":     {event.Template{EmbeddedTmpl: `{{ key "x" }}`, DestPath: "local/x"}, "Template failed: "},
		"outside":      {event.Template{EmbeddedTmpl: "x", DestPath: "../../../x"}, "outside of the task's directory"},
		"other's file": {event.Template{EmbeddedTmpl: `{{ file "../../../etc/hostname" }}`, DestPath: "local/x"}, "outside of the task's directory"},
		"no source":    {event.Template{SourcePath: "local/none", DestPath: "local/x"}, "read source"},
		"environment":  {event.Template{EmbeddedTmpl: "not a variable", DestPath: "local/x", Envvars: true}, "line 1 is not NAME=value"},
		"perms":        {event.Template{EmbeddedTmpl: "x", DestPath: "local/x", Perms: "rw"}, "octal"},
	} {
		job := shellJob("echo ran", batch)
		job.TaskGroups[0].Tasks[0].RestartPolicy.Attempts = 3
		job.TaskGroups[0].Tasks[0].Templates = []event.Template{c.template}
		id := s.place(job)
		s.untilStatus(id, event.ClientFailed)
		s.mu.Lock()
		events := s.tasks[id]["main"].Events
		s.mu.Unlock()
		if e := events[len(events)-2]; e.Type != event.TaskKilling || !strings.Contains(e.Message(), c.want) {
			t.Errorf("%s: %s: %s", name, e.Type, e.Message())
		}
	}
}

// A template waits for the file that it reads: one that another template makes, whatever their order, and one that comes
// later. A task that is stopped meanwhile is not started.
func TestTemplatesWait(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	ordered := shellJob("cat local/out", batch)
	ordered.TaskGroups[0].Tasks[0].Templates = []event.Template{
		{EmbeddedTmpl: `{{ file "local/in" }} seen`, DestPath: "local/out"}, {EmbeddedTmpl: "made", DestPath: "local/in"},
	}
	id := s.place(ordered)
	s.untilStatus(id, event.ClientComplete)
	if got := logOf(t, a, id, "main.stdout.0"); got != "made seen" {
		t.Errorf("output %q", got)
	}
	late := shellJob("cat local/out", batch)
	late.TaskGroups[0].Tasks[0].Templates = []event.Template{{EmbeddedTmpl: `{{ file "local/in" }}, then`, DestPath: "local/out"}}
	id = s.place(late)
	stopped := s.place(late)
	told := func(id event.ID) bool {
		state := s.tasks[id]["main"]
		return state != nil && slices.ContainsFunc(state.Events, func(e event.TaskEvent) bool { return e.Message() == "Missing: file(local/in)" })
	}
	s.until("both wait", func() bool { return told(id) && told(stopped) })
	if err := os.WriteFile(filepath.Join(dirsOf(a.cfg.AllocDir, id, "main").local, "in"), []byte("late"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.stop(stopped)
	s.untilStatus(id, event.ClientComplete)
	if got := logOf(t, a, id, "main.stdout.0"); got != "late, then" {
		t.Errorf("output %q", got)
	}
	s.until("the other is gone", func() bool { return s.tasks[stopped]["main"].State == event.TaskDead })
	if history := s.history(stopped, "main"); strings.Contains(history, "Started") {
		t.Errorf("history %s", history)
	}
}

// A template that reads a file follows it: with a signal, or with another start that no policy counts.
func TestTemplatesChange(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	place := func(mode string) (event.ID, string) {
		job := shellJob(`trap 'cat local/conf' HUP; cat local/conf; while :; do sleep 0.01; done`)
		job.TaskGroups[0].Tasks[0].Templates = []event.Template{{
			EmbeddedTmpl: `value {{ file "../alloc/data/input" }}`, DestPath: "local/conf", ChangeMode: mode, ChangeSignal: "SIGHUP",
		}}
		first := shellTask("first", "echo one > $NOMAD_ALLOC_DIR/data/input")
		first.Lifecycle = &event.TaskLifecycle{Hook: "prestart"}
		job.TaskGroups[0].Tasks = append(job.TaskGroups[0].Tasks, first)
		id := s.place(job)
		s.until("main runs", func() bool { m := s.tasks[id]["main"]; return m != nil && m.State == event.TaskRunning })
		return id, filepath.Join(a.cfg.AllocDir, id.String(), "alloc/data/input")
	}
	restarted, input := place("restart")
	signalled, other := place("signal")
	for _, c := range []struct {
		id    event.ID
		input string
		want  string
	}{
		{restarted, input, "Received, Task Setup, Started, Restart Signaled, Terminated, Restarting, Started"},
		{signalled, other, "Received, Task Setup, Started, Signaling"},
	} {
		for deadline := time.Now().Add(20 * time.Second); logOf(t, a, c.id, "main.stdout.0") == ""; <-time.After(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("it says nothing")
			}
		}
		rewrite(t, c.input, "two two\n")
		s.until("change", func() bool { return historyOf(s.tasks[c.id]["main"]) == c.want })
		for deadline := time.Now().Add(20 * time.Second); logOf(t, a, c.id, "main.stdout.0") != "value one\nvalue two two\n"; <-time.After(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("output %q", logOf(t, a, c.id, "main.stdout.0"))
			}
		}
	}
}

// A template that changes can have a program run beside its task; what became of that stands in the task's history.
func TestTemplateScripts(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	for name, c := range map[string]struct {
		script event.ChangeScript
		first  string // event of the first rendering, if it has one
		want   string // event of the change
		status event.ClientStatus
	}{
		"runs": {
			event.ChangeScript{Command: "/bin/sh", Args: []string{"-c", "echo ${NOMAD_TASK_NAME} $(cat local/conf) >> local/ran"}, RunOnFirstRender: true},
			"Template local/conf: script /bin/sh ran", "Template local/conf: script /bin/sh ran", event.ClientRunning,
		},
		"fails": {
			event.ChangeScript{Command: "/bin/sh", Args: []string{"-c", "echo why; exit 3"}}, "",
			"Template local/conf: script /bin/sh failed: exit code 3: why", event.ClientRunning,
		},
		"ends the task": {
			event.ChangeScript{Command: "/bin/sh", Args: []string{"-c", "exit 4"}, FailOnError: true}, "",
			"Template local/conf: script /bin/sh failed: exit code 4", event.ClientFailed,
		},
		"hangs": {
			event.ChangeScript{Command: "/bin/sleep", Args: []string{"1000"}, Timeout: 10 * time.Millisecond}, "",
			"Template local/conf: script /bin/sleep failed: it took longer than 10ms", event.ClientRunning,
		},
		"is missing": {
			event.ChangeScript{Command: "no-such-program"}, "",
			"Template local/conf: script no-such-program failed: find program", event.ClientRunning,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.script.Timeout == 0 {
				c.script.Timeout = 20 * time.Second
			}
			job := shellJob(`exec sleep 1000`)
			job.TaskGroups[0].Tasks[0].Templates = []event.Template{{
				EmbeddedTmpl: `{{ file "../alloc/data/input" }}`, DestPath: "local/conf", ChangeMode: "script", ChangeScript: &c.script,
			}}
			first := shellTask("first", "echo one > $NOMAD_ALLOC_DIR/data/input")
			first.Lifecycle = &event.TaskLifecycle{Hook: "prestart"}
			job.TaskGroups[0].Tasks = append(job.TaskGroups[0].Tasks, first)
			id := s.place(job)
			last := func(want string) func() bool {
				return func() bool {
					m := s.tasks[id]["main"]
					if m == nil || m.StartedAt == 0 {
						return false
					}
					for _, e := range m.Events {
						if strings.HasPrefix(e.Message(), want) {
							return true
						}
					}
					return false
				}
			}
			s.until("start", last(c.first))
			rewrite(t, filepath.Join(a.cfg.AllocDir, id.String(), "alloc/data/input"), "two\n")
			if name == "runs" {
				ran := filepath.Join(a.cfg.AllocDir, id.String(), "main/local/ran")
				for deadline := time.Now().Add(20 * time.Second); ; <-time.After(2 * time.Millisecond) {
					if b, err := os.ReadFile(ran); err == nil && string(b) == "main one\nmain two\n" {
						break
					} else if time.Now().After(deadline) {
						t.Fatalf("the script wrote %q, %v", b, err)
					}
				}
			}
			s.until("event of the script", last(c.want))
			s.untilStatus(id, c.status)
		})
	}
}

// An agent that finds a task again goes on looking after its templates.
func TestTemplatesChangeUnderAnotherAgent(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	a, stop := startAgent(t, cfg)
	job := shellJob(`cat local/conf; exec sleep 1000`)
	job.TaskGroups[0].Tasks[0].Templates = []event.Template{{EmbeddedTmpl: `{{ file "../alloc/data/input" }}`, DestPath: "local/conf", ChangeMode: "restart"}}
	first := shellTask("first", "echo one > $NOMAD_ALLOC_DIR/data/input")
	first.Lifecycle = &event.TaskLifecycle{Hook: "prestart"}
	job.TaskGroups[0].Tasks = append(job.TaskGroups[0].Tasks, first)
	id := s.place(job)
	s.untilStatus(id, event.ClientRunning)
	s.until("main runs", func() bool { m := s.tasks[id]["main"]; return m != nil && m.State == event.TaskRunning })
	stop()
	startAgent(t, cfg)
	rewrite(t, filepath.Join(a.cfg.AllocDir, id.String(), "alloc/data/input"), "two\n")
	s.until("another start", func() bool {
		return historyOf(s.tasks[id]["main"]) == "Received, Task Setup, Started, Restart Signaled, Terminated, Restarting, Started"
	})
}

// rewrite changes a file at once: nobody sees it half written.
func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A file that changes after it was looked at and before it was read is read once more.
func TestChangeWhileReading(t *testing.T) {
	content := "one"
	look := func(string) string { return content }
	var seen looks
	file := seen.reading(look, func(string) ([]byte, error) {
		content = "two"
		return []byte("one"), nil
	})
	if _, err := file("input"); err != nil {
		t.Fatal(err)
	}
	if seen.same(look) {
		t.Error("the change is missed")
	}
}
