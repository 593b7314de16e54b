package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drover/eventlog/event"
)

// ids reads the IDs of a list.
func ids(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	var rows []struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	list := []string{}
	for _, r := range rows {
		list = append(list, r.ID)
	}
	return list
}

func manyJobs(t *testing.T) *cluster {
	c := newCluster(t)
	for i, name := range []string{"a", "b", "b-2", "c", "d"} {
		job := batchJob(name)
		job.Priority = 10 * (i + 1)
		if name == "c" {
			job.Namespace = "other"
			job.Periodic = &event.PeriodicConfig{Enabled: true, Specs: []string{"@daily"}}
		}
		c.submit(job, 0, id(100+i))
	}
	return c
}

func TestListsAreFiltered(t *testing.T) {
	c := manyJobs(t)
	for _, test := range []struct{ query, want string }{
		{"", "a b b-2 d"},
		{"prefix=b", "b b-2"},
		{"namespace=*", "a b b-2 d c"},
		{"namespace=other", "c"},
		{"namespace=nowhere", ""},
		{"reverse=true", "d b-2 b a"},
		{"filter=" + url.QueryEscape(`Priority == 20 or ID == "d"`), "b d"},
		{"namespace=*&filter=" + url.QueryEscape(`Periodic is not nil`), "c"},
		{"namespace=*&filter=" + url.QueryEscape(`Periodic is nil and ID matches "^b"`), "b b-2"},
		{"filter=" + url.QueryEscape(`ParentID == "" and "*" in Datacenters`), "a b b-2 d"},
		{"filter=" + url.QueryEscape(`any TaskGroups as g { g.Name == "g" }`), "a b b-2 d"},
	} {
		w := c.get("/v1/jobs?" + test.query)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", test.query, w.Code, w.Body)
		} else if got := strings.Join(ids(t, w), " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.query, got, test.want)
		}
	}

	c = town(t)
	for _, test := range []struct {
		path, filter string
		want         int
	}{
		{"/v1/allocations", `ClientStatus == "running"`, 1},
		{"/v1/allocations", `DesiredStatus == "run"`, 2},
		{"/v1/allocations", `Job.Meta.team == "shop" and TaskGroup == "front"`, 2},
		{"/v1/allocations", `NodeID == "` + nodeA.String() + `"`, 2},
		{"/v1/allocations", `"server" in TaskStates`, 1},
		{"/v1/evaluations", `Status == "blocked"`, 1},
		{"/v1/evaluations", `TriggeredBy contains "job-"`, 3},
		{"/v1/evaluations", `BlockedEval is empty`, 3},
		{"/v1/nodes", `Attributes["kernel.name"] == "linux" and Status == "ready"`, 1},
		{"/v1/nodes", `"raw_exec" in Drivers`, 2},
		{"/v1/nodes", `NodeResources.Memory.MemoryMB == 8000`, 2},
	} {
		w := c.get(test.path + "?filter=" + url.QueryEscape(test.filter))
		if w.Code != 200 {
			t.Errorf("%s %s: %d %s", test.path, test.filter, w.Code, w.Body)
		} else if got := len(ids(t, w)); got != test.want {
			t.Errorf("%s %s: %d rows, want %d", test.path, test.filter, got, test.want)
		}
	}
	if got := ids(t, c.get("/v1/evaluations?job=web&status=blocked")); len(got) != 1 || got[0] != evalBlocked.String() {
		t.Errorf("evaluations by job and status: %v", got)
	}
}

func TestBadQuestionsAreRefused(t *testing.T) {
	c := town(t)
	for _, test := range []struct {
		path string
		code int
		text string
	}{
		{"/v1/jobs?filter=" + url.QueryEscape("ID =="), 400, "failed to create result paginator"},
		{"/v1/jobs?filter=" + url.QueryEscape("Nope == 1"), 400, "failed to read result page"},
		{"/v1/jobs?filter=" + url.QueryEscape(`Priority == "high"`), 400, "failed to read result page"},
		{"/v1/jobs?filter=" + strings.Repeat("a", 5000), 400, "longer than"},
		{"/v1/jobs?next_token=x", 400, "failed to create result paginator"},
		{"/v1/jobs?per_page=x", 400, "per_page"},
		{"/v1/jobs?meta=x", 500, "meta"},
		{"/v1/jobs?index=x", 400, "Invalid index"},
		{"/v1/jobs?wait=x", 400, "Invalid wait time"},
		{"/v1/jobs?stale=x", 400, "stale"},
		{"/v1/jobs?region=mars", 500, "No path to region"},
		{"/v1/evaluations?job=web&filter=" + url.QueryEscape("ID is empty"), 400, "filter"},
		{"/v1/allocations?prefix=abc", 500, "even length"},
		{"/v1/allocations?prefix=zz", 500, "not hexadecimal"},
		{"/v1/allocation/nonsense", 500, "is not a UUID"},
		{"/v1/job/web/versions?diff_tag=x", 404, "tag"},
		{"/v1/job/web/versions?diff_tag=x&diff_version=0", 400, "exclusive"},
		{"/v1/job/web/versions?diff_version=x", 400, "diff_version"},
		{"/v1/job/web/versions?diff_version=77", 404, "job version 77 not found"},
		{"/v1/job/web/submission", 400, "version"},
		{"/v1/event/log?kind=Nope", 400, "unknown kind"},
		{"/v1/event/stream?topic=a:b:c", 400, "Invalid key value pair"},
		{"/v1/jobs/", 404, ""},
		{"/v1/nonsense", 404, ""},
		{"/v1/acl/policies", 501, "GET /v1/acl/policies"},
		{"/v1/job/web/services", 501, "/services"},
	} {
		w := c.get(test.path)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.text) || test.text == "" && w.Body.Len() > 0 {
			t.Errorf("%s: %d %q, want %d with %q", test.path, w.Code, w.Body, test.code, test.text)
		}
	}
	w := httptest.NewRecorder()
	c.handler().ServeHTTP(w, httptest.NewRequest("PATCH", "/v1/jobs", nil))
	if w.Code != 405 || w.Body.String() != "Invalid method" {
		t.Errorf("PATCH: %d %s", w.Code, w.Body)
	}
	c.leaderless = true
	if w := c.get("/v1/jobs"); w.Code != 500 || w.Body.String() != "No cluster leader" {
		t.Errorf("without a leader: %d %s", w.Code, w.Body)
	}
	if w := c.get("/v1/jobs?stale"); w.Code != 200 {
		t.Errorf("stale without a leader: %d %s", w.Code, w.Body)
	}
}

// Pages put together are the whole list, whatever their size and direction.
func TestPages(t *testing.T) {
	c := town(t)
	for i := range 7 {
		c.submit(batchJob(fmt.Sprintf("job-%d", i)), 0, id(200+i))
	}
	for _, path := range []string{"/v1/jobs", "/v1/evaluations", "/v1/allocations", "/v1/nodes", "/v1/jobs/statuses", "/v1/evaluations?prefix=0000"} {
		for _, reverse := range []string{"", "true"} {
			query := "per_page=1000&reverse=" + reverse
			with := func(q string) string {
				if strings.Contains(path, "?") {
					return path + "&" + q
				}
				return path + "?" + q
			}
			whole := ids(t, c.get(with(query)))
			if len(whole) == 0 {
				t.Fatalf("%s is empty", path)
			}
			for size := 1; size <= len(whole)+1; size++ {
				var got []string
				for token := ""; ; {
					w := c.get(with(fmt.Sprintf("reverse=%s&per_page=%d&next_token=%s", reverse, size, url.QueryEscape(token))))
					page := ids(t, w)
					got = append(got, page...)
					token = w.Header().Get("X-Nomad-NextToken")
					if token == "" {
						break
					}
					if len(page) != size {
						t.Fatalf("%s: page of %d, want %d", path, len(page), size)
					}
				}
				if !slices.Equal(got, whole) {
					t.Errorf("%s reverse=%q in pages of %d: %v, want %v", path, reverse, size, got, whole)
				}
			}
		}
	}
}

// blocked starts a blocking request and returns its answer once there is one.
func (c *cluster) blocked(path string) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	h := c.handler()
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		done <- w
	}()
	return done
}

func TestBlockingQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town(t)
		evalIndex := c.get("/v1/evaluation/" + evalBlocked.String()).Header().Get("X-Nomad-Index")

		jobs := c.blocked(fmt.Sprintf("/v1/jobs?index=%d", c.state.TableIndex(0)))
		eval := c.blocked("/v1/evaluation/" + evalBlocked.String() + "?index=" + evalIndex)
		missing := c.blocked(fmt.Sprintf("/v1/job/late?index=%d", c.state.TableIndex(0)))
		synctest.Wait()
		select {
		case <-jobs:
			t.Fatal("it did not block")
		case <-eval:
			t.Fatal("it did not block")
		case <-missing:
			t.Fatal("it did not block")
		default:
		}

		// A new job wakes who waits for the table, and nobody else.
		c.submit(batchJob("late"), 0, id(300))
		w := <-jobs
		if w.Code != 200 || w.Header().Get("X-Nomad-Index") != fmt.Sprint(c.state.Index()) || !strings.Contains(w.Body.String(), `"late"`) {
			t.Errorf("jobs: %d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := <-missing; w.Code != 200 {
			t.Errorf("a job that came: %d %s", w.Code, w.Body)
		}
		synctest.Wait()
		select {
		case <-eval:
			t.Fatal("an evaluation answered without having changed")
		default:
		}
		c.commit(&event.EvaluationUnblocked{EvalID: evalBlocked, Reason: "capacity"})
		if w := <-eval; !strings.Contains(w.Body.String(), `"Status":"pending"`) {
			t.Errorf("evaluation: %s", w.Body)
		}

		// Nothing comes: the wait ends, within a sixteenth, with what there is.
		began := time.Now()
		w = <-c.blocked(fmt.Sprintf("/v1/jobs?index=%d&wait=10s", c.state.Index()))
		if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+10*time.Second/16 {
			t.Errorf("it waited %v", took)
		}
		if w.Code != 200 || len(ids(t, w)) != 3 {
			t.Errorf("after the wait: %d %s", w.Code, w.Body)
		}
		began = time.Now()
		<-c.blocked("/v1/job/none/deployment?index=1&wait=900h")
		if took := time.Since(began); took < 300*time.Second || took > 320*time.Second {
			t.Errorf("the longest wait was %v", took)
		}

		// A client that goes away is let go.
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan int, 1)
		go func() {
			w := httptest.NewRecorder()
			c.handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/jobs?index=999999", nil))
			gone <- w.Code
		}()
		synctest.Wait()
		cancel()
		<-gone
	})
}

// A job's blocking query sees its status change, which no command asked for.
func TestBlockingOnAJobsStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town(t)
		before := c.get("/v1/job/old")
		if !strings.Contains(before.Body.String(), `"Status":"pending"`) {
			t.Fatal(before.Body)
		}
		answer := c.blocked("/v1/job/old?index=" + before.Header().Get("X-Nomad-Index"))
		synctest.Wait()
		c.commit(&event.PlanCommitted{EvalID: evalOldStop, Namespace: "default", JobID: "old", Basis: 20, Outcome: event.EvalComplete})
		if w := <-answer; !strings.Contains(w.Body.String(), `"Status":"dead"`) {
			t.Errorf("job: %s", w.Body)
		}
	})
}

// A read that is not stale waits for the state to hold what was committed
// before it.
func TestConsistentReadCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town(t)
		head := c.state.Index() + 4
		a := c.api()
		a.cfg.Barrier = func(context.Context) (uint64, error) { return head, nil }
		done := make(chan *httptest.ResponseRecorder, 1)
		go func() {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/v1/job/late", nil)
			r.SetPathValue("id", "late")
			if err := a.read(jobView)(w, r); err != nil {
				t.Error(err)
			}
			done <- w
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("answered from an old state")
		default:
		}
		c.submit(batchJob("late"), 0, id(300))
		if w := <-done; w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestStatuses(t *testing.T) {
	c := town(t)
	w := httptest.NewRecorder()
	body := strings.NewReader(`{"jobs":[{"ID":"web","Namespace":"default"},{"ID":"nope"}]} trailing`)
	c.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/jobs/statuses", body))
	var list []JobStatus
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 1 || list[0].ID != "web" || len(list[0].Allocs) != 2 || list[0].GroupCountSum != 3 {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	w = httptest.NewRecorder()
	c.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/jobs/statuses", strings.NewReader(strings.Repeat(" ", 1<<20+1))))
	if w.Code != 413 {
		t.Errorf("a body beyond the limit: %d %s", w.Code, w.Body)
	}
}

// BenchmarkListPage is one page of 100 out of 100,000 allocations.
func BenchmarkListPage(b *testing.B) {
	c := town(b)
	for job := range 100 {
		name, eval := fmt.Sprintf("job-%d", job), id(0x2000+job)
		c.submit(batchJob(name), 0, eval)
		plan := &event.PlanCommitted{
			EvalID: eval, Namespace: "default", JobID: name, Basis: c.state.Index(), Outcome: event.EvalComplete,
			Nodes: []event.ID{nodeA}, Groups: []event.PlannedGroup{{Name: "g"}},
		}
		for n := range uint32(1000) {
			plan.Groups[0].Placements = append(plan.Groups[0].Placements, event.Placement{Ordinal: n, Name: n})
		}
		c.commit(plan)
	}
	h := c.handler()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/allocations?per_page=100", nil))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
