package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

// story tells an event stream: one line per line, topics and types.
func story(line *commandNews, filter *topicFilter) string {
	var parts []string
	for e := range line.wanted(filter) {
		parts = append(parts, fmt.Sprintf("%s %s %s", e.Topic, e.Type, strings.TrimPrefix(e.Key, "0000")))
	}
	return strings.Join(parts, "; ")
}

func TestTopicsOfTheTown(t *testing.T) {
	c := town(t)
	all := &topicFilter{namespace: "default"}
	commits, _ := c.store.CommitsAfter(0)
	var told []string
	for _, commit := range commits {
		news := newNews(commit)
		for i := range news.commands {
			if line := story(&news.commands[i], all); line != "" {
				told = append(told, line)
			}
		}
	}
	short := func(id event.ID) string { return strings.TrimPrefix(id.String(), "0000") }
	want := []string{
		"Node NodeRegistration " + short(nodeA),
		"Node NodeStreamEvent " + short(nodeA),
		"Node NodeRegistration " + short(nodeB),
		"Job JobRegistered web; Evaluation JobRegistered " + short(evalWeb),
		"Allocation PlanResult " + short(webAlloc(0)) + "; Allocation PlanResult " + short(webAlloc(1)) +
			"; Evaluation PlanResult " + short(evalWeb) + "; Evaluation PlanResult " + short(evalBlocked),
		"Allocation AllocationUpdated " + short(webAlloc(0)),
		"Job JobRegistered old; Evaluation JobRegistered " + short(evalOld),
		"Evaluation PlanResult " + short(evalOld),
		"Job JobDeregistered old; Evaluation JobDeregistered " + short(evalOldStop),
	}
	if got := strings.Join(told, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTopicFilters(t *testing.T) {
	e := &topicEvent{Topic: "Allocation", Key: "k", Namespace: "default", FilterKeys: []string{"web"}}
	for _, test := range []struct {
		query string
		want  bool
	}{
		{"", true},
		{"topic=Allocation", true},
		{"topic=Allocation:*", true},
		{"topic=Allocation:k", true},
		{"topic=Allocation:web", true},
		{"topic=Allocation:other", false},
		{"topic=Job&topic=Allocation:web", true},
		{"topic=Job", false},
		{"topic=*", true},
		{"topic=*:web", true},
		{"topic=*:*", true},
		{"namespace=other", false},
		{"namespace=*", true},
	} {
		k, err := newCluster(t).api().ask(httptest.NewRequest(http.MethodGet, "/v1/event/stream?"+test.query, nil))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseTopics(k)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.wants(e); got != test.want {
			t.Errorf("%q: %v", test.query, got)
		}
	}
}

// The official client follows: what is buffered, then what comes.
func TestOfficialClientFollowsTheEventStream(t *testing.T) {
	c := town(t)
	client, _ := c.serve()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.EventStream().Stream(ctx, map[nomad.Topic][]string{"Allocation": {"*"}, "Job": {"*"}}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := func() *nomad.Events {
		for {
			e := <-stream
			if e.Err != nil {
				t.Fatal(e.Err)
			}
			if !e.IsHeartbeat() {
				return e
			}
		}
	}
	if e := next(); e.Events[0].Type != "JobRegistered" || len(e.Events) != 1 {
		t.Errorf("first: %+v", e)
	}
	plan := next()
	alloc, err := plan.Events[0].Allocation()
	if err != nil || alloc.ID != webAlloc(0).String() || alloc.Job != nil || plan.Index != plan.Events[0].Index {
		t.Errorf("plan: %+v %v", plan, err)
	}
	if alloc.ClientStatus != "pending" {
		t.Errorf("the allocation is shown as it is now and not as it was: %s", alloc.ClientStatus)
	}
	for range 3 { // running, old registered, old stopped
		next()
	}
	c.submit(batchJob("live"), 0, id(300))
	live := next()
	if job, err := live.Events[0].Job(); err != nil || *job.ID != "live" || live.Index != c.state.Index() {
		t.Errorf("live: %+v %v", live, err)
	}
}

// readLines reads the lines of a stream until it has n that are no heartbeats.
func readLines(t *testing.T, r *bufio.Reader, n int) (lines []string) {
	t.Helper()
	for len(lines) < n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d lines: %v", len(lines), err)
		}
		if line = strings.TrimSpace(line); line != "{}" {
			lines = append(lines, line)
		}
	}
	return lines
}

func open(t *testing.T, url string, headers map[string]string) (*http.Response, *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		resp.Body.Close()
	})
	return resp, bufio.NewReader(resp.Body)
}

func indexOf(t *testing.T, line string) uint64 {
	t.Helper()
	var l struct{ Index uint64 }
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatal(err)
	}
	return l.Index
}

func TestEventStreamIndexes(t *testing.T) {
	c := town(t)
	_, url := c.serve()
	newest := c.state.Index()
	for _, test := range []struct{ index, want uint64 }{
		{0, 3},
		{4, 4},
		{5, 5},           // the second node
		{6, 9},           // inside the command that ends at 9
		{newest, newest}, // the newest
		{newest + 1000, newest},
	} {
		_, lines := open(t, fmt.Sprintf("%s/v1/event/stream?index=%d", url, test.index), nil)
		if got := indexOf(t, readLines(t, lines, 1)[0]); got != test.want {
			t.Errorf("index %d: begins at %d, want %d", test.index, got, test.want)
		}
	}
}

func TestAuditLog(t *testing.T) {
	c := town(t)
	_, url := c.serve()
	resp, body := open(t, url+"/v1/event/log", nil)
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	whole, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(whole)), "\n")
	if len(lines) != int(c.state.Index()) {
		t.Fatalf("%d lines, want %d", len(lines), c.state.Index())
	}
	want := `{"Index":3,"Time":"2026-03-01T12:00:03Z","Kind":"NodeRegistered","Epoch":1,"CommandID":"00000003-0000-4000-8000-000000000003",` +
		`"Caller":{"Kind":"anonymous"},"Cause":0,"EvalID":"","Previous":"` + c.records[1].Hash.String() + `","Hash":"` + c.records[2].Hash.String() + `","Last":true,"Event":{"NodeID":"0000000a`
	if !strings.HasPrefix(lines[2], want) {
		t.Errorf("a line:\n%s\nwant:\n%s", lines[2], want)
	}

	count := func(query string) int {
		_, body := open(t, url+"/v1/event/log?"+query, nil)
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), "\n")
	}
	for query, want := range map[string]int{
		"index=5":                                int(c.state.Index()) - 4,
		"index=9999":                             0,
		"kind=PlanCommitted":                     2,
		"kind=PlanCommitted&kind=NodeRegistered": 4,
		"job=web":                                5, // submitted, evaluation, plan, blocked evaluation, report
		"job=old&kind=JobStopped":                1,
		"job=web&namespace=other":                0,
	} {
		if got := count(query); got != want {
			t.Errorf("%s: %d records, want %d", query, got, want)
		}
	}

	_, follow := open(t, fmt.Sprintf("%s/v1/event/log?follow=true&index=%d", url, c.state.Index()), nil)
	if got := indexOf(t, readLines(t, follow, 1)[0]); got != c.state.Index() {
		t.Errorf("begins at %d", got)
	}
	c.commit(&event.SchedulerConfigured{Algorithm: "binpack"})
	if got := readLines(t, follow, 1)[0]; indexOf(t, got) != c.state.Index() || !strings.Contains(got, `"Event":{"Algorithm":"binpack"}`) {
		t.Errorf("followed: %s", got)
	}
}

func TestVerify(t *testing.T) {
	c := town(t)
	_, url := c.serve()
	_, body := open(t, url+"/v1/event/verify", nil)
	lines := readLines(t, body, 2)
	if lines[0] != `{"Done":9,"Total":19}` || lines[1] != fmt.Sprintf(`{"Records":19,"Head":{"Index":19,"Hash":"%s"},"OK":true}`, c.state.Hash()) {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}

	a := c.api()
	a.cfg.Verify = func(context.Context, func(done, total uint64)) (Verified, error) {
		return Verified{Records: 6, BadIndex: 7, Reason: "chain broken"}, nil
	}
	w := httptest.NewRecorder()
	if err := a.verify(w, httptest.NewRequest(http.MethodGet, "/v1/event/verify", nil)); err != nil || !strings.HasSuffix(w.Body.String(), `{"Index":7,"OK":false,"Reason":"chain broken"}`+"\n") {
		t.Errorf("%s %v", w.Body, err)
	}
}

// nodeHeaders are a node agent's credentials.
func nodeHeaders(node, secret event.ID, incarnation uint64) map[string]string {
	return map[string]string{nodeIDHeader: node.String(), nodeSecretHeader: secret.String(), nodeIncarnationHeader: fmt.Sprint(incarnation)}
}

// readBatch reads one frame of orders.
func readBatch(t testing.TB, r io.Reader) *event.OrderBatch {
	t.Helper()
	batch, err := decodeBatch(r)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func decodeBatch(r io.Reader) (*event.OrderBatch, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	batch := new(event.OrderBatch)
	return batch, event.Unmarshal(body, batch)
}

func TestOrders(t *testing.T) {
	c := town(t)
	_, url := c.serve()
	for _, test := range []struct {
		headers map[string]string
		code    int
	}{
		{nil, 400},
		{nodeHeaders(id(77), secretA, 1), 404},
		{nodeHeaders(nodeA, id(1), 1), 403},
		{nodeHeaders(nodeA, secretA, 0), 409},
		{nodeHeaders(nodeA, secretA, 2), 404},
	} {
		resp, _ := open(t, url+"/v1/node-agent/orders", test.headers)
		if resp.StatusCode != test.code {
			t.Errorf("%v: %s, want %d", test.headers, resp.Status, test.code)
		}
	}

	resp, stream := open(t, url+"/v1/node-agent/orders", nodeHeaders(nodeA, secretA, 1))
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	full := readBatch(t, stream)
	if !full.Full || full.Generation != (event.Generation{Index: c.state.Index()}) || len(full.Orders) != 2 || len(full.Specs) != 1 {
		t.Fatalf("full: %+v", full)
	}
	byID := make(map[event.ID]event.Order)
	for _, o := range full.Orders {
		byID[o.ID] = o
	}
	o := byID[webAlloc(0)]
	if o.Desired != event.DesiredRun || o.ClientStatus != event.ClientRunning || o.KnownTerminal || o.Group != "front" || len(o.Ports) != 2 || o.Ports[1].Value != 20001 ||
		full.Specs[o.Spec].ID != "web" || full.Specs[o.Spec].TaskGroups[0].Tasks[0].Config["command"] != "/bin/sleep" {
		t.Errorf("order: %+v", o)
	}

	// Reports of the node itself and plans for others do not concern it.
	c.running(webAlloc(1), 2)
	// A plan that stops one and places its successor here does.
	next := id(0xe9)
	c.commit(&event.EvaluationCreated{Evaluation: event.Evaluation{ID: next, Namespace: "default", JobID: "web", Type: "service", Status: event.EvalPending}})
	basis := c.state.Index()
	c.commit(&event.PlanCommitted{
		EvalID: next, Namespace: "default", JobID: "web", Basis: basis, Nodes: []event.ID{nodeA}, Outcome: event.EvalComplete,
		Stops:  []event.PlannedStop{{ID: webAlloc(0), Description: "replaced", HandsOver: true}},
		Groups: []event.PlannedGroup{{Name: "front", Placements: []event.Placement{{Ports: []uint16{9092, 20003}, Previous: webAlloc(0)}}}},
	})
	delta := readBatch(t, stream)
	placed := event.AllocationID(next, basis, 0)
	if delta.Full || len(delta.Specs) != 0 || len(delta.Gone) != 0 || len(delta.Orders) != 2 {
		t.Fatalf("delta: %+v", delta)
	}
	for _, o := range delta.Orders {
		switch o.ID {
		case webAlloc(0):
			if o.Desired != event.DesiredStop {
				t.Errorf("stopped: %+v", o)
			}
		case placed:
			if o.Desired != event.DesiredRun || len(o.WaitFor) != 1 || o.WaitFor[0] != webAlloc(0) || o.Previous != webAlloc(0) {
				t.Errorf("successor: %+v", o)
			}
		default:
			t.Errorf("unexpected order %+v", o)
		}
	}

	// The node reports the end: its orders do not change, and a new stream
	// still lists the allocation, as known to have ended.
	c.commit(&event.AllocationsReported{NodeID: nodeA, Incarnation: 1, Sequence: 3, Deltas: []event.AllocDelta{{ID: webAlloc(0), Client: event.ClientComplete}}})
	_, second := open(t, url+"/v1/node-agent/orders", nodeHeaders(nodeA, secretA, 1))
	full = readBatch(t, second)
	if len(full.Orders) != 3 {
		t.Fatalf("new stream: %+v", full)
	}
	for _, o := range full.Orders {
		if o.KnownTerminal != (o.ID == webAlloc(0)) {
			t.Errorf("known terminal: %+v", o)
		}
	}

	// A newer agent of the node ends the streams of older ones.
	c.commit(&event.NodeRegistered{NodeID: nodeA, Incarnation: 2})
	for _, r := range []io.Reader{stream, second} {
		if batch, err := decodeBatch(r); err != io.EOF {
			t.Errorf("after a newer registration: %+v %v", batch, err)
		}
	}
}

// Streams say that they live, and stay silent about other nodes.
func TestOrdersHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := town(t)
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/node-agent/orders", nil)
		for name, value := range nodeHeaders(nodeB, secretA, 1) {
			request.Header.Set(name, value)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.handler().ServeHTTP(pipeWriter{w, http.Header{}}, request)
		}()
		began := time.Now()
		if b := readBatch(t, r); !b.Full || len(b.Orders) != 0 {
			t.Errorf("full: %+v", b)
		}
		c.running(webAlloc(1), 2)
		for i := range 3 {
			b := readBatch(t, r)
			if b.Full || len(b.Orders)+len(b.Gone)+len(b.Specs) > 0 || b.Generation.Index != c.state.Index() {
				t.Errorf("sign of life: %+v", b)
			}
			if got, want := time.Since(began), time.Duration(i+1)*ordersHeartbeat; got != want {
				t.Errorf("sign of life after %v, want %v", got, want)
			}
		}
		cancel()
		<-done
	})
}

// pipeWriter is a ResponseWriter over a pipe.
type pipeWriter struct {
	*io.PipeWriter
	header http.Header
}

func (p pipeWriter) Header() http.Header { return p.header }
func (p pipeWriter) WriteHeader(int)     {}
func (p pipeWriter) Flush()              {}

func BenchmarkJob(b *testing.B) {
	c := town(b)
	h := c.handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/job/web", nil))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// BenchmarkOrdersWakeUp is the time from publishing a plan to having its order
// decoded at the other end of a pipe, with a thousand streams of other nodes
// open beside it.
func BenchmarkOrdersWakeUp(b *testing.B) {
	c := town(b)
	c.submit(batchJob("work"), 0, id(0x900))
	a := c.api()
	for i := range 1000 {
		_, silence := a.bell.listen(matter{sort: ordersOfNode, id: id(0x10000 + i)})
		b.Cleanup(silence)
	}
	r, w := io.Pipe()
	request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/v1/node-agent/orders", nil)
	for name, value := range nodeHeaders(nodeA, secretA, 1) {
		request.Header.Set(name, value)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.nodeOrders(pipeWriter{w, http.Header{}}, request)
	}()
	buffered := bufio.NewReader(r)
	readBatch(b, buffered)
	eval := 0
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		eval++
		e := event.DeriveID("bench", event.ID{}, uint64(eval))
		c.commit(&event.EvaluationCreated{Evaluation: event.Evaluation{ID: e, Namespace: "default", JobID: "work", Type: "batch", Status: event.EvalPending}})
		stop := []event.PlannedStop{}
		if eval > 1 { // one at a time, so that the node's list stays short
			previous := event.DeriveID("bench", event.ID{}, uint64(eval-1))
			stop = append(stop, event.PlannedStop{ID: event.AllocationID(previous, 1, 0), Client: event.ClientLost})
		}
		plan := &event.PlanCommitted{
			EvalID: e, Namespace: "default", JobID: "work", Basis: 1, Nodes: []event.ID{nodeA}, Outcome: event.EvalComplete,
			Stops: stop, Groups: []event.PlannedGroup{{Name: "g", Placements: []event.Placement{{}}}},
		}
		b.StartTimer()
		c.commit(plan)
		readBatch(b, buffered)
	}
}
