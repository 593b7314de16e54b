package executor

import (
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
)

// A batch task that runs for longer than it may is ended, also by an agent that came meanwhile, and that is no failure.
func TestMaxRunDuration(t *testing.T) {
	s := newFakeServer(t)
	cfg := testConfig(t, s)
	_, stop := startAgent(t, cfg)
	job := shellJob("exec sleep 1000", func(j *event.Job) {
		j.Type, j.TaskGroups[0].MaxRunDuration = event.JobTypeBatch, 2*time.Second
	})
	began := time.Now()
	id := s.place(job, func(o *event.Order) { o.CreateTime = began.UnixNano() })
	s.untilStatus(id, event.ClientRunning)
	stop()
	_, stop = startAgent(t, cfg)
	defer stop()
	s.untilStatus(id, event.ClientComplete)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it was ended after %v", took)
	}
	if h := s.history(id, "main"); !strings.Contains(h, "Killing") || strings.Contains(h, "Not Restarting") {
		t.Errorf("history %s", h)
	}
}
