package executor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"drover/eventlog/event"
)

// A task finds what it asked for, over restarts of its own fetched once; a failure is told and tried again.
func TestArtifacts(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/web-0/tool.sh":
			asked.Add(1)
			w.Write([]byte("#!/bin/sh\necho ran\ncat $NOMAD_ALLOC_DIR/data/more\nexit 1\n"))
		case r.URL.Path == "/late" && asked.Add(1) == 1:
			http.NotFound(w, r)
		default:
			w.Write([]byte("more\n"))
		}
	}))
	defer server.Close()
	s := newFakeServer(t)
	a, _ := startAgent(t, testConfig(t, s))
	job := shellJob("", batch)
	task := job.TaskGroups[0].Tasks[0]
	task.Config = map[string]any{"command": "tool.sh"}
	task.RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	task.Artifacts = []event.TaskArtifact{
		{GetterSource: server.URL + "/${NOMAD_JOB_NAME}-${NOMAD_ALLOC_INDEX}/tool.sh"},
		{GetterSource: server.URL + "/x", RelativeDest: "${NOMAD_ALLOC_DIR}/data/more", GetterMode: "file"},
	}
	id := s.place(job)
	s.untilStatus(id, event.ClientFailed)
	if got, want := s.history(id, "main"), "Received, Task Setup, Downloading Artifacts, Started, Terminated, Restarting, Started, Terminated, Not Restarting"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
	if got := logOf(t, a, id, "main.stdout.0"); got != "ran\nmore\nran\nmore\n" || asked.Load() != 1 {
		t.Errorf("output %q after %d downloads; %s", got, asked.Load(), logOf(t, a, id, "main.stderr.0"))
	}

	asked.Store(0)
	job = shellJob("cat local/late", batch)
	task = job.TaskGroups[0].Tasks[0]
	task.RestartPolicy = event.RestartPolicy{Attempts: 1, Interval: time.Hour, Delay: time.Millisecond, Mode: "fail"}
	task.Artifacts = []event.TaskArtifact{{GetterSource: server.URL + "/late"}}
	id = s.place(job)
	s.untilStatus(id, event.ClientComplete)
	if got, want := s.history(id, "main"), "Received, Task Setup, Downloading Artifacts, Failed Artifact Download, Restarting, Downloading Artifacts, Started, Terminated"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}

	for dest, want := range map[string]string{
		"../../x": "outside of the task's directory", "../other/local": "outside of the task's directory",
		"private": "outside of the task's directory",
	} {
		job = shellJob("echo x", batch)
		job.TaskGroups[0].Tasks[0].Artifacts = []event.TaskArtifact{{GetterSource: server.URL + "/x", RelativeDest: dest}}
		id = s.place(job)
		s.untilStatus(id, event.ClientFailed)
		s.mu.Lock()
		events := s.tasks[id]["main"].Events
		s.mu.Unlock()
		if e := events[len(events)-2]; e.Type != event.TaskFailedArtifactDownload || !strings.Contains(e.Message(), want) {
			t.Errorf("destination %q: %s: %s", dest, e.Type, e.Message())
		}
	}
}

// A job that is stopped does not wait for what its tasks are fetching.
func TestStopWhileFetching(t *testing.T) {
	begun, hang := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-hang
	}))
	defer server.Close()
	defer close(hang)
	s := newFakeServer(t)
	startAgent(t, testConfig(t, s))
	job := shellJob("echo x")
	job.TaskGroups[0].Tasks[0].Artifacts = []event.TaskArtifact{{GetterSource: server.URL + "/x"}}
	id := s.place(job)
	<-begun
	s.stop(id)
	s.untilStatus(id, event.ClientComplete)
	if got, want := s.history(id, "main"), "Received, Task Setup, Downloading Artifacts, Killed"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
}
