package executor

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

// put sends a request with a body.
func (v *served) put(path, body string) (int, string) {
	v.t.Helper()
	req, err := http.NewRequest(http.MethodPut, v.url+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// untilFile waits for a file of the task to hold a text.
func (v *served) untilFile(name, want string) {
	v.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		b, _ := os.ReadFile(filepath.Join(v.dir, name))
		if string(b) == want {
			return
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("%s holds %q, want %q", name, b, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// untilEvent waits for a task's history to tell something.
func (v *served) untilEvent(task string, kind event.TaskEventType, message string) {
	v.t.Helper()
	v.s.until("event "+message, func() bool {
		t := v.s.tasks[v.alloc][task]
		return t != nil && slices.ContainsFunc(t.Events, func(e event.TaskEvent) bool { return e.Type == kind && e.Message() == message })
	})
}

// untilRestarts waits for the task to run after so many restarts.
func (v *served) untilRestarts(task string, restarts uint64) {
	v.t.Helper()
	v.s.until("task runs again", func() bool {
		t := v.s.tasks[v.alloc][task]
		return t != nil && t.State == event.TaskRunning && uint64(t.Restarts) == restarts
	})
}

// The field's client restarts and signals; what is not there says so and changes nothing.
func TestRestartAndSignal(t *testing.T) {
	job := shellJob(`trap 'echo reload >> $NOMAD_TASK_DIR/log' HUP; echo up >> $NOMAD_TASK_DIR/log; while :; do sleep 0.02; done`)
	side := *job.TaskGroups[0].Tasks[0]
	side.Name = "once"
	side.Config = map[string]any{"command": "/bin/sh", "args": []any{"-c", "echo ran >> $NOMAD_TASK_DIR/log"}}
	side.Lifecycle = &event.TaskLifecycle{Hook: "prestart"}
	job.TaskGroups[0].Tasks = append(job.TaskGroups[0].Tasks, &side)
	v := serve(t, job)
	alloc := &api.Allocation{ID: v.alloc.String(), NodeID: v.agent.NodeID().String()}
	v.untilFile("main/local/log", "up\n")
	v.untilRestarts("main", 0)

	if err := v.api.Allocations().Signal(alloc, nil, "main", "SIGHUP"); err != nil {
		t.Fatal(err)
	}
	v.untilFile("main/local/log", "up\nreload\n")
	v.untilEvent("main", event.TaskSignaling, "Task being sent signal SIGHUP")
	if err := v.api.Allocations().Signal(alloc, nil, "", "hup"); err != nil { // to all that run
		t.Fatal(err)
	}
	v.untilFile("main/local/log", "up\nreload\nreload\n")

	if err := v.api.Allocations().Restart(alloc, "main", nil); err != nil {
		t.Fatal(err)
	}
	v.untilFile("main/local/log", "up\nreload\nreload\nup\n")
	v.untilEvent("main", event.TaskRestartSignaled, "User requested task to restart")
	v.untilRestarts("main", 1)
	for range 2 { // the second one finds that a restart is under way
		if err := v.api.Allocations().Restart(alloc, "", nil); err != nil {
			t.Fatal(err)
		}
	}
	v.untilFile("main/local/log", "up\nreload\nreload\nup\nup\n")
	v.untilEvent("main", event.TaskRestartSignaled, "User requested running tasks to restart")
	v.untilFile("once/local/log", "ran\n")
	v.untilRestarts("main", 2)
	if err := v.api.Allocations().RestartAllTasks(alloc, nil); err != nil {
		t.Fatal(err)
	}
	v.untilFile("once/local/log", "ran\nran\n")
	v.untilFile("main/local/log", "up\nreload\nreload\nup\nup\nup\n")
	v.untilEvent("once", event.TaskRestartSignaled, "User requested all tasks to restart")
	v.untilRestarts("main", 3)

	at := "/v1/client/allocation/" + v.alloc.String()
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{at + "/restart", `{"TaskName":"other"}`, 400, `unknown task name "other"; the allocation has: main, once`},
		{at + "/restart", `{"TaskName":"once"}`, 404, `task "once" is not running: it is dead`},
		{at + "/restart", `{"TaskName":"main","AllTasks":true}`, 400, "exclude one another"},
		{at + "/restart", `{"TaskName":1}`, 400, "not understood"},
		{at + "/restart", `{"TaskName":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "larger than 1048576 bytes"},
		{at + "/signal", `{"Task":"main"}`, 400, `unknown signal ""; known are SIGABRT`},
		{at + "/signal", `{"Signal":"SIGNONE","Task":"main"}`, 400, `unknown signal "SIGNONE"`},
		{at + "/signal", `{"Signal":"SIGHUP","Task":"other"}`, 400, "unknown task name"},
		{at + "/signal", `{"Signal":"SIGHUP","Task":"once"}`, 404, `task "once" is not running: it is dead`},
		{"/v1/client/allocation/00000000-0000-0000-0000-000000000001/restart", ``, 404, "Unknown allocation"},
		{"/v1/client/allocation/00000000-0000-0000-0000-000000000001/signal", `{"Signal":"SIGHUP"}`, 404, "Unknown allocation"},
	} {
		if code, text := v.put(c.path, c.body); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %.60s: %d %q, want %d %q", c.path, c.body, code, text, c.code, c.want)
		}
	}
	if code, _ := v.get("%s/restart", at); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", code)
	}
	v.untilFile("main/local/log", "up\nreload\nreload\nup\nup\nup\n")

	// The end: nothing can be restarted or signalled any more.
	v.s.stop(v.alloc)
	v.s.untilStatus(v.alloc, event.ClientComplete)
	for _, op := range []string{"restart", "signal"} {
		if code, text := v.put(at+"/"+op, `{"Signal":"SIGHUP"}`); code != 404 || !strings.Contains(text, "allocation") {
			t.Errorf("%s after the end: %d %q", op, code, text)
		}
	}
}
