package executor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
)

// hooked places a task in the life of its group.
func hookedTask(name, hook string, sidecar bool, script string) *event.Task {
	t := shellTask(name, script)
	t.Lifecycle = &event.TaskLifecycle{Hook: hook, Sidecar: sidecar}
	return t
}

// noted is a script that writes down its task's begin and end, and ends when a file called go-<task> appears or when it
// is asked to.
const noted = `echo "$NOMAD_TASK_NAME begins" >> $NOMAD_ALLOC_DIR/data/story
trap 'echo "$NOMAD_TASK_NAME is asked" >> $NOMAD_ALLOC_DIR/data/story; exit 0' INT
while [ ! -e $NOMAD_ALLOC_DIR/data/go-$NOMAD_TASK_NAME ]; do sleep 0.01; done
echo "$NOMAD_TASK_NAME ends" >> $NOMAD_ALLOC_DIR/data/story`

// The agent is killed in every stage of a group's life: all tasks take their turn, each once.
func TestLifecycleOverKilledAgents(t *testing.T) {
	s := newFakeServer(t)
	c := newChild(t, s)
	c.start()
	job := shellJob(noted)
	group := job.TaskGroups[0]
	group.Tasks[0].Leader = true
	group.Tasks = append(group.Tasks,
		hookedTask("init", "prestart", false, noted), hookedTask("proxy", "prestart", true, noted),
		shellTask("helper", noted), hookedTask("announce", "poststart", false, noted),
		hookedTask("cleanup", "poststop", false, noted))
	group.Tasks[3].ShutdownDelay = 20 * time.Millisecond
	id := s.place(job)
	data := filepath.Join(c.cfg.AllocDir, id.String(), "alloc/data")
	story := func() string {
		b, err := os.ReadFile(filepath.Join(data, "story"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	// until waits for lines of the story, in whatever order.
	until := func(lines ...string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(2 * time.Millisecond) {
			missing := 0
			for _, line := range lines {
				if !strings.Contains(story(), line+"\n") {
					missing++
				}
			}
			if missing == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %q in the story:\n%s", lines, story())
			}
		}
	}
	restart := func() { c.kill(); c.start() }
	release := func(task string) {
		if err := os.WriteFile(filepath.Join(data, "go-"+task), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	until("init begins", "proxy begins")
	restart()
	if strings.Contains(story(), "main begins") {
		t.Errorf("main did not wait:\n%s", story())
	}
	c.kill()
	release("init")
	until("init ends")
	c.start() // it ended while nobody looked
	until("main begins", "helper begins", "announce begins")
	restart()
	release("announce")
	until("announce ends")
	restart()
	s.stop(id)
	// The leader first, then helper, the sidecar last.
	until("main is asked", "helper is asked", "proxy is asked", "cleanup begins")
	restart()
	release("cleanup")
	s.untilStatus(id, event.ClientComplete)
	want := []string{"main is asked", "helper is asked", "proxy is asked", "cleanup begins", "cleanup ends"}
	at := -1
	for _, line := range want {
		next := strings.Index(story(), line+"\n")
		if next < at {
			t.Errorf("%q comes too early:\n%s", line, story())
		}
		at = next
	}
	for _, task := range group.Tasks {
		if n := strings.Count(story(), task.Name+" begins"); n != 1 {
			t.Errorf("task %s began %d times", task.Name, n)
		}
	}
}

// A prestart task that fails keeps the main task from running; what comes after the end still does.
func TestFailedPrestart(t *testing.T) {
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	job := shellJob("echo main", batch)
	group := job.TaskGroups[0]
	group.Tasks = append(group.Tasks, hookedTask("init", "prestart", false, "exit 3"), hookedTask("cleanup", "poststop", false, "echo cleaned"))
	id := s.place(job)
	s.untilStatus(id, event.ClientFailed)
	if got := logOf(t, a, id, "main.stdout.0"); got != "" {
		t.Errorf("main ran: %q", got)
	}
	if got := logOf(t, a, id, "cleanup.stdout.0"); got != "cleaned\n" {
		t.Errorf("cleanup said %q", got)
	}
	if got, want := s.history(id, "main"), "Received, Task Setup, Sibling Task Failed"; got != want {
		t.Errorf("history of main %s, want %s", got, want)
	}
}
