package figures_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// BenchmarkSubmitToStarted submits 50 batch jobs, one after the other, to
// `drover agent -dev`; each runs /bin/date, which prints the time of its own
// first action. The figure, "started", runs from the moment that the client has
// the answer to its submission (the job is durable then) to that action. The
// others are steps on the way, by the times that the log's records bear (taken
// when each is decided, before its append) and by the client's clock.
func BenchmarkSubmitToStarted(b *testing.B) {
	a := startAgent(b, "-dev", "-alloc-dir", filepath.Join(b.TempDir(), "alloc"))
	a.until(b, "ready", a.nodeReady)
	var jobs []submitted
	for b.Loop() {
		for range 50 {
			jobs = append(jobs, submit(b, a, fmt.Sprintf("date-%d", len(jobs))))
		}
	}
	log := recordTimes(b, a)
	took := map[string]*samples{}
	add := func(name string, from, to time.Time) {
		if took[name] == nil {
			took[name] = new(samples)
		}
		took[name].add(to.Sub(from))
	}
	for _, j := range jobs {
		acted := j.firstAction(b, a)
		at := log[j.id]
		add("started", j.accepted, acted)
		add("of-which-accepted-to-planned", j.accepted, at.planned)
		add("of-which-planned-to-received", at.planned, at.received)
		add("of-which-received-to-action", at.received, acted)
		add("sent-to-accepted", j.sent, j.accepted)
		add("sent-to-started", j.sent, acted)
		add("sent-to-decided", j.sent, at.submitted)
		add("action-to-reported", acted, at.reported)
		add("sent-to-seen-running", j.sent, j.seen)
	}
	b.ReportMetric(0, "ns/op")
	took["started"].report(b, "started")
	for _, name := range slices.Sorted(maps.Keys(took)) {
		b.Logf("%-30s %s", name, took[name])
	}
}

// submitted is one job and when what happened to it, by the client's clock.
type submitted struct {
	id, alloc            string
	sent, accepted, seen time.Time
}

// submit registers a job and follows it to its end.
func submit(b *testing.B, a *program, id string) submitted {
	task := api.NewTask("date", "raw_exec").SetConfig("command", "/bin/date").SetConfig("args", []string{"+%s.%N"})
	group := api.NewTaskGroup("g", 1).AddTask(task)
	job := api.NewBatchJob(id, id, "global", 50).AddDatacenter("dc1").AddTaskGroup(group)
	s := submitted{id: id, sent: time.Now()}
	if _, _, err := a.client.Jobs().Register(job, nil); err != nil {
		b.Fatalf("register %s: %v", id, err)
	}
	s.accepted = time.Now()
	for index := uint64(1); ; {
		allocs, meta, err := a.client.Jobs().Allocations(id, true, &api.QueryOptions{WaitIndex: index, WaitTime: 10 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		if index = meta.LastIndex; len(allocs) != 1 {
			continue
		}
		s.alloc = allocs[0].ID
		status := allocs[0].ClientStatus
		if s.seen.IsZero() && status != api.AllocClientStatusPending {
			s.seen = time.Now()
		}
		switch status {
		case api.AllocClientStatusComplete:
			return s
		case api.AllocClientStatusFailed, api.AllocClientStatusLost:
			b.Fatalf("job %s: %s", id, status)
		}
	}
}

// firstAction is the time that the task printed.
func (s submitted) firstAction(b *testing.B, a *program) time.Time {
	return parseTime(b, string(get(b, a.base+"/v1/client/fs/logs/"+s.alloc+"?task=date&type=stdout&plain=true")))
}

func get(b *testing.B, url string) []byte {
	res, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("get %s: %s %v %s", url, res.Status, err, body)
	}
	return body
}

// recorded is when the records about one job were decided, and when the node
// received its order.
type recorded struct{ submitted, planned, received, reported time.Time }

// recordTimes reads the audit log.
func recordTimes(b *testing.B, a *program) map[string]*recorded {
	jobs, byAlloc := map[string]*recorded{}, map[string]*recorded{}
	allocs, _, err := a.client.Allocations().List(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, alloc := range allocs {
		jobs[alloc.JobID] = new(recorded)
		byAlloc[alloc.ID] = jobs[alloc.JobID]
	}
	for line := range strings.Lines(string(get(b, a.base+"/v1/event/log?index=1&follow=false"))) {
		var r struct {
			Kind  string
			Time  time.Time
			Event struct {
				JobID  string
				Deltas []struct {
					ID    string
					Tasks map[string]struct {
						Events []struct {
							Type string
							Time int64
						}
					}
				}
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.Fatalf("record %s: %v", line, err)
		}
		switch r.Kind {
		case "JobSubmitted":
			jobs[r.Event.JobID].submitted = r.Time
		case "PlanCommitted":
			jobs[r.Event.JobID].planned = r.Time
		case "AllocationsReported":
			for _, d := range r.Event.Deltas {
				for _, task := range d.Tasks {
					for _, e := range task.Events {
						switch e.Type {
						case "Received":
							byAlloc[d.ID].received = time.Unix(0, e.Time)
						case "Started":
							byAlloc[d.ID].reported = r.Time
						}
					}
				}
			}
		}
	}
	return jobs
}
