package commands_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	nomad "github.com/hashicorp/nomad/api"

	"drover/commands"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
	"drover/scheduler"
)

// lineLog is a log in memory that always has a leader.
type lineLog struct {
	mu      sync.Mutex
	entries []projections.Entry
	grown   chan struct{}
	never   chan struct{}
}

func (l *lineLog) head() commands.Position {
	if len(l.entries) == 0 {
		return commands.Position{}
	}
	last := l.entries[len(l.entries)-1]
	return commands.Position{Index: last.Index, Hash: last.Hash}
}

func (l *lineLog) Append(_ context.Context, after commands.Position, entries [][]byte) (commands.Outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after != l.head() {
		return commands.Refused, errors.New("stale")
	}
	for _, data := range entries {
		head := l.head()
		l.entries = append(l.entries, projections.Entry{Index: head.Index + 1, Hash: l.Chain(head.Hash, head.Index+1, data), Data: data})
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return commands.Committed, nil
}

func (l *lineLog) Barrier(context.Context) (commands.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head(), nil
}

func (l *lineLog) Leads() (bool, <-chan struct{}) { return true, l.never }

func (l *lineLog) Chain(previous event.Hash, index uint64, entry []byte) event.Hash {
	return event.HashOf(fmt.Appendf(previous[:], "%d%s", index, entry))
}

func (l *lineLog) Tail(from uint64) projections.Tail { return &lineTail{l, from} }

type lineTail struct {
	l    *lineLog
	next uint64
}

func (t *lineTail) Close() {}
func (t *lineTail) Next(ctx context.Context) ([]projections.Entry, error) {
	for {
		t.l.mu.Lock()
		entries, grown := t.l.entries, t.l.grown
		t.l.mu.Unlock()
		if t.next <= uint64(len(entries)) {
			batch := entries[t.next-1:]
			t.next += uint64(len(batch))
			return batch, nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// server is the writing side over a real committer.
type server struct {
	*testing.T
	url    string
	client *nomad.Client
	store  *projections.Store
	log    *lineLog
	do     func(context.Context, commands.Command) (commands.Result, error) // nil = the committer
	beaten []event.ID

	collections int // times that garbage was to be collected
	collect     error
	beat        error
}

// foresee is the scheduler.
func foresee(state *projections.State, eval *event.Evaluation) (commands.Foresight, error) {
	plan, updates := scheduler.Foresee(state, eval)
	return commands.Foresight{Plan: plan, Updates: updates}, nil
}

func newID() event.ID { return event.ID(uuid.New()) }

func serve(t *testing.T) *server {
	s := &server{T: t, log: &lineLog{grown: make(chan struct{}), never: make(chan struct{})}, store: projections.NewStore(projections.New())}
	ctx, cancel := context.WithCancel(t.Context())
	committer := commands.NewCommitter(commands.CommitterConfig{
		Log: s.log, Store: s.store, Now: time.Now, ServerName: "s1", Version: "0", ReplicaID: 1, Region: "global",
		ClusterID: newID, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	done := make(chan error, 1)
	go func() { done <- committer.Run(ctx) }()
	h, err := commands.NewHTTP(commands.HTTPConfig{
		Do: func(ctx context.Context, cmd commands.Command) (commands.Result, error) {
			if s.do != nil {
				return s.do(ctx, cmd)
			}
			return committer.Do(ctx, cmd)
		},
		Store: s.store, Region: "global", NewID: newID,
		Beat: func(node event.ID) (time.Duration, error) {
			s.beaten = append(s.beaten, node)
			return 10 * time.Second, s.beat
		},
		Collect: func(context.Context) error {
			s.collections++
			return s.collect
		},
		Foresee: foresee,
	})
	if err != nil {
		t.Fatal(err)
	}
	rt := rest.NewRouter()
	h.Register(rt)
	h.RegisterNodeAgent(rt)
	rt.FillUnbuilt()
	web := httptest.NewServer(rt)
	t.Cleanup(func() {
		web.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.url = web.URL
	if s.client, err = nomad.NewClient(&nomad.Config{Address: web.URL}); err != nil {
		t.Fatal(err)
	}
	return s
}

// send sends a request and returns code and body.
func (s *server) send(method, path, body string, headers ...string) (int, string) {
	s.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func ptr[T any](v T) *T { return &v }

func sleeper(id string) *nomad.Job {
	return &nomad.Job{
		ID: &id, Name: &id, Type: ptr("service"), Priority: ptr(50), Datacenters: []string{"dc1"},
		TaskGroups: []*nomad.TaskGroup{{Name: ptr("g"), Count: ptr(1), Tasks: []*nomad.Task{{Name: "t", Driver: "raw_exec", Config: map[string]any{"command": "/bin/sleep"}}}}},
	}
}

func TestOfficialClientWritesJobs(t *testing.T) {
	s := serve(t)
	jobs := s.client.Jobs()

	first, meta, err := jobs.RegisterOpts(sleeper("web"), &nomad.RegisterOptions{
		EnforceIndex: true, ModifyIndex: 0, Submission: &nomad.JobSubmission{Source: "job web {}", Format: "hcl2"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	state := s.store.Snapshot()
	key := event.JobKey{Namespace: "default", ID: "web"}
	job := state.Job(key)
	if job == nil || first.JobModifyIndex != job.JobModifyIndex || meta.LastIndex != state.Index() {
		t.Fatalf("%+v %+v %+v", first, meta, job)
	}
	evalID := event.MustParseID(first.EvalID)
	if e := state.Evaluation(evalID); e == nil || e.CreateIndex != first.EvalCreateIndex || e.TriggeredBy != event.TriggerJobRegister {
		t.Errorf("evaluation: %+v", e)
	}
	if data, ok := state.Blob(job.Source); !ok || !bytes.Contains(data, []byte("job web {}")) {
		t.Errorf("source: %q", data)
	}

	_, _, err = jobs.RegisterOpts(sleeper("web"), &nomad.RegisterOptions{EnforceIndex: true, ModifyIndex: 0}, nil)
	if err == nil || !strings.Contains(err.Error(), "500 (Enforcing job modify index 0: job already exists)") {
		t.Errorf("enforced index: %v", err)
	}
	again, _, err := jobs.Register(sleeper("web"), nil)
	if err != nil || again.EvalID == first.EvalID || again.JobModifyIndex != s.store.Snapshot().Job(key).ModifyIndex {
		t.Errorf("unchanged: %+v %v", again, err)
	}
	if j := s.store.Snapshot().Job(key); j.Version != 0 {
		t.Errorf("an unchanged job got version %d", j.Version)
	}
	evalText, _, err := jobs.EvaluateWithOpts("web", nomad.EvalOptions{}, nil)
	if err != nil || s.store.Snapshot().Evaluation(event.MustParseID(evalText)) == nil {
		t.Errorf("evaluate: %v %v", evalText, err)
	}
	if _, _, err := jobs.ForceEvaluate("nope", nil); err == nil || !strings.Contains(err.Error(), "500 (job not found)") {
		t.Errorf("evaluate an unknown job: %v", err)
	}
	if _, _, err := jobs.EvaluateWithOpts("web", nomad.EvalOptions{ForceReschedule: true}, nil); err == nil || !strings.Contains(err.Error(), "501") {
		t.Errorf("force reschedule: %v", err)
	}

	eval, _, err := jobs.Deregister("web", false, nil)
	if err != nil || eval == "" || !s.store.Snapshot().Job(key).Stopped {
		t.Errorf("stop: %v %v", eval, err)
	}
	eval, _, err = jobs.Deregister("web", true, nil)
	if err != nil || eval == "" || s.store.Snapshot().Job(key) != nil {
		t.Errorf("purge: %v %v", eval, err)
	}
	eval, _, err = jobs.Deregister("web", true, nil)
	if err != nil || eval != "" {
		t.Errorf("stop an unknown job: %q %v", eval, err)
	}

	valid, _, err := jobs.Validate(sleeper("web"), nil)
	if err != nil || valid.Error != "" || !valid.DriverConfigValidated {
		t.Errorf("validate: %+v %v", valid, err)
	}
	invalid, _, err := jobs.Validate(&nomad.Job{}, nil)
	if err != nil || len(invalid.ValidationErrors) < 2 || invalid.Error != strings.Join(invalid.ValidationErrors, "\n") {
		t.Errorf("validate a bad one: %+v %v", invalid, err)
	}
	parsed, err := jobs.ParseHCL(`job "web" {
  group "g" {
    count = 2
    task "t" { driver = "raw_exec" }
  }
}`, true)
	if err != nil || *parsed.ID != "web" || *parsed.TaskGroups[0].Count != 2 || *parsed.Priority != 50 {
		t.Errorf("parse: %+v %v", parsed, err)
	}
	if _, err := jobs.ParseHCL("bad", true); err == nil || !strings.Contains(err.Error(), "400 (input.hcl:1,") {
		t.Errorf("parse a bad one: %v", err)
	}
}

// A program of the time when tasks had disks posts one that today's logs do not fit on.
func TestASmallDiskOfOldGetsRoomForLogs(t *testing.T) {
	s := serve(t)
	job := sleeper("old")
	job.TaskGroups[0].Tasks[0].Resources = &nomad.Resources{DiskMB: ptr(100)}
	answer, _, err := s.client.Jobs().Register(job, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(answer.Warnings, "1 warning:\n\n* group.g: old syntax: disk in a task's resources") || !strings.Contains(answer.Warnings, "ephemeral_disk { size = 200 }") {
		t.Errorf("warnings: %s", answer.Warnings)
	}
	if got := s.store.Snapshot().Job(event.JobKey{Namespace: "default", ID: "old"}).Spec.Job.TaskGroups[0].EphemeralDisk.SizeMB; got != 200 {
		t.Errorf("disk of %d MB", got)
	}
}

// A job that names no node pool goes into its namespace's, and one that names one stays there.
func TestNamespacesHaveADefaultNodePool(t *testing.T) {
	s := serve(t)
	if _, err := s.client.NodePools().Register(&nomad.NodePool{Name: "gpu"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Namespaces().Register(&nomad.Namespace{Name: "vision", NodePoolConfiguration: &nomad.NamespaceNodePoolConfiguration{
		Default: "gpu", Allowed: []string{"default"},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ namespace, pool, want string }{
		{"default", "", "default"}, {"default", "gpu", "gpu"}, {"vision", "", "gpu"}, {"vision", "default", "default"},
	} {
		job := sleeper("in-" + c.namespace + "-" + c.pool)
		job.Namespace = &c.namespace
		if c.pool != "" {
			job.NodePool = &c.pool
		}
		if _, _, err := s.client.Jobs().Register(job, nil); err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if plan, _, err := s.client.Jobs().Plan(job, true, nil); err != nil || plan.Diff.Type != "None" {
			t.Errorf("%+v: planned again: %+v, %v", c, plan, err)
		}
		if got := s.store.Snapshot().Job(event.JobKey{Namespace: c.namespace, ID: *job.ID}).Spec.Job.NodePool; got != c.want {
			t.Errorf("%+v: in pool %q", c, got)
		}
	}
}

// A plan says what a registration would do, and does none of it.
func TestOfficialClientPlansJobs(t *testing.T) {
	s := serve(t)
	jobs := s.client.Jobs()
	plan := func(job *nomad.Job) *nomad.JobPlanResponse {
		t.Helper()
		before := s.store.Snapshot()
		resp, _, err := jobs.Plan(job, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if after := s.store.Snapshot(); after.Index() != before.Index() || after.Hash() != before.Hash() || after.Checksum() != before.Checksum() {
			t.Fatalf("a plan changed the state from %d to %d", before.Index(), after.Index())
		}
		return resp
	}
	if _, _, err := jobs.Register(sleeper("earlier"), nil); err != nil { // the committer serves
		t.Fatal(err)
	}
	first := plan(sleeper("web"))
	if first.Diff.Type != "Added" || first.JobModifyIndex != 0 || first.Annotations.DesiredTGUpdates["g"].Place != 1 ||
		first.FailedTGAllocs["g"] == nil || len(first.CreatedEvals) != 1 || first.CreatedEvals[0].Status != "blocked" {
		t.Errorf("a new job without nodes: %+v %+v", first, first.Diff)
	}
	registered, _, err := jobs.Register(sleeper("web"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if same := plan(sleeper("web")); same.Diff.Type != "None" || same.JobModifyIndex != registered.JobModifyIndex {
		t.Errorf("the same job: %+v %+v", same, same.Diff)
	}
	edited := sleeper("web")
	edited.Priority, edited.TaskGroups[0].Count = ptr(70), ptr(3)
	more := plan(edited)
	if more.Diff.Type != "Edited" || len(more.Diff.Fields) != 1 || more.Diff.Fields[0].New != "70" ||
		!slices.Equal(more.Diff.TaskGroups[0].Fields[0].Annotations, []string{"forces create"}) || more.Diff.TaskGroups[0].Updates["create"] != 3 {
		t.Errorf("an edited job: %+v %+v", more, more.Diff)
	}
	if bare, _, err := jobs.Plan(edited, false, nil); err != nil || bare.Diff != nil || bare.Annotations.DesiredTGUpdates["g"].Place != 3 {
		t.Errorf("without a difference: %+v %v", bare, err)
	}
	other := sleeper("web")
	other.Type = ptr("batch")
	if _, _, err := jobs.Plan(other, true, nil); err == nil || !strings.Contains(err.Error(), "cannot update job from type") {
		t.Errorf("another type: %v", err)
	}
}

// Going back makes a new version of an old one, its text included.
func TestOfficialClientRevertsJobs(t *testing.T) {
	s := serve(t)
	jobs := s.client.Jobs()
	key := event.JobKey{Namespace: "default", ID: "web"}
	refused := func(text string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	_, _, err := jobs.RegisterOpts(sleeper("web"), &nomad.RegisterOptions{Submission: &nomad.JobSubmission{Source: "job web {}", Format: "hcl2"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := s.store.Snapshot().Job(key)
	edited := sleeper("web")
	edited.Priority = ptr(70)
	if _, _, err := jobs.Register(edited, nil); err != nil {
		t.Fatal(err)
	}
	index := s.store.Snapshot().Index()
	_, _, err = jobs.Revert("web", 1, nil, nil, "", "")
	refused("can't revert to current version", err)
	_, _, err = jobs.Revert("web", 9, nil, nil, "", "")
	refused("at version 9 not found", err)
	_, _, err = jobs.Revert("web", 0, ptr(uint64(0)), nil, "", "")
	refused("Current job has version 1; enforcing version 0", err)
	_, _, err = jobs.Revert("nope", 0, nil, nil, "", "")
	refused("job not found", err)
	if now := s.store.Snapshot().Index(); now != index {
		t.Errorf("refusals wrote records: %d, was %d", now, index)
	}
	back, _, err := jobs.Revert("web", 0, ptr(uint64(1)), nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	state := s.store.Snapshot()
	job := state.Job(key)
	if job.Version != 2 || job.SpecHash != first.SpecHash || job.Source != first.Source || job.JobModifyIndex != back.JobModifyIndex {
		t.Errorf("reverted: %+v", job)
	}
	if e := state.Evaluation(event.MustParseID(back.EvalID)); e == nil || e.CreateIndex != back.EvalCreateIndex {
		t.Errorf("its evaluation: %+v", e)
	}
	// The same spec again is no new version.
	if _, _, err := jobs.Revert("web", 0, nil, nil, "", ""); err != nil || s.store.Snapshot().Job(key).Version != 2 {
		t.Errorf("to what it is: %v, version %d", err, s.store.Snapshot().Job(key).Version)
	}
	// The oldest version that is kept survives its own return.
	for i := range 4 {
		edited.Priority = ptr(71 + i)
		if _, _, err := jobs.Register(edited, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := jobs.Revert("web", 1, nil, nil, "", ""); err != nil {
		t.Fatal(err)
	}
	if job := s.store.Snapshot().Job(key); job.Version != 7 || job.Spec.Job.Priority != 70 || len(job.Older) != 5 || job.Older[4].Version != 2 {
		t.Errorf("to the oldest: %+v", job)
	}
	// A stopped job comes back.
	if _, _, err := jobs.Deregister("web", false, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := jobs.Revert("web", 7, nil, nil, "", ""); err != nil || s.store.Snapshot().Job(key).Stopped {
		t.Errorf("a stopped job: %v", err)
	}
}

// submission is the JSON of a good registration with members added to the job
// and beside it.
func submission(job, beside string) string {
	return `{"Job":{"ID":"y","Type":"service","TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Driver":"raw_exec","Config":{"command":"/bin/true"}}]}]` + job + `}` + beside + `}`
}

func TestBadWritesAreRefused(t *testing.T) {
	s := serve(t)
	for _, test := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"PUT", "/v1/jobs", `{`, 400, "decode"},
		{"PUT", "/v1/jobs", `{}`, 400, "Job must be specified"},
		{"PUT", "/v1/jobs", `{"Job":null}`, 400, "Job must be specified"},
		{"PUT", "/v1/jobs", `{"Job":{}}`, 500, "job.id: is required"},
		{"PUT", "/v1/job/x", submission("", ""), 400, "Job ID does not match"},
		{"PUT", "/v1/jobs", submission(`,"Namespace":"prod"`, ""), 500, `nonexistent namespace "prod"`},
		{"PUT", "/v1/jobs", submission("", `,"Namespace":"prod"`), 500, `nonexistent namespace "prod"`},
		{"PUT", "/v1/jobs?namespace=prod", submission(`,"Namespace":"default"`, ""), 500, `nonexistent namespace "prod"`},
		{"PUT", "/v1/jobs", submission(`,"Region":"mars"`, ""), 500, "No path to region"},
		{"PUT", "/v1/jobs", submission("", `,"EvalPriority":101`), 400, "between 1 and 100"},
		{"PUT", "/v1/jobs", submission("", `,"PreserveResources":true`), 501, "PreserveResources"},
		{"PUT", "/v1/jobs?region=mars", `{}`, 500, "No path to region"},
		{"PUT", "/v1/jobs", strings.Repeat(" ", 8<<20+1), 413, "larger than the limit of 8388608 bytes"},
		{"DELETE", "/v1/job/x?purge=maybe", "", 500, "purge"},
		{"DELETE", "/v1/job/x?eval_priority=x", "", 400, "eval_priority"},
		{"DELETE", "/v1/job/x?eval_priority=101", "", 400, "between 1 and 100"},
		{"PUT", "/v1/job/x/evaluate", `{"JobID":"y"}`, 400, "JobID"},
		{"PUT", "/v1/job/x/plan", `{}`, 400, "Job must be specified"},
		{"PUT", "/v1/job/x/plan", `{"Job":{}}`, 500, "job.id: is required"},
		{"PUT", "/v1/job/x/plan", `{"Diff":1,"Job":{}}`, 400, "decode"},
		{"PUT", "/v1/job/x/plan", submission("", ""), 400, "Job ID does not match"},
		{"PUT", "/v1/job/y/plan", submission(`,"Namespace":"prod"`, ""), 500, `nonexistent namespace "prod"`},
		{"PUT", "/v1/job/x/revert", `{}`, 400, "JobID must be specified"},
		{"PUT", "/v1/job/x/revert", `{"JobID":"y"}`, 400, "Job ID does not match"},
		{"PUT", "/v1/job/x/revert", `{"JobID":"x","JobVersion":-1}`, 400, "JobVersion"},
		{"PUT", "/v1/jobs/parse", `{}`, 400, "Job spec is empty"},
		{"PUT", "/v1/job/x/scale", `{}`, 400, "missing task group name"},
		{"PUT", "/v1/job/x/scale", `{"Target":{"Group":"g"},"Count":"many"}`, 400, "decode"},
		{"PUT", "/v1/job/x/scale", `{"Target":{"Group":"g","Job":"y"}}`, 400, "did not match"},
		{"PUT", "/v1/job/x/scale", `{"Target":{"Group":"g"},"Count":1}`, 404, "not found"},
		{"PUT", "/v1/operator/scheduler/configuration?cas=x", `{}`, 400, "cas"},
		{"PUT", "/v1/operator/scheduler/configuration", `{"SchedulerAlgorithm":"fastest"}`, 400, "invalid scheduler algorithm"},
		{"PUT", "/v1/operator/scheduler/configuration", ``, 400, "empty"},
		{"PUT", "/v1/node/pools", `{`, 400, "decode"},
		{"PUT", "/v1/node/pools", `{"Name":"all"}`, 400, "not allowed"},
		{"PUT", "/v1/node/pools", `{"Name":"a b"}`, 400, "invalid node pool name"},
		{"PUT", "/v1/node/pools", `{"Name":"a","NodeIdentityTTL":"soon"}`, 400, "soon"},
		{"PUT", "/v1/node/pools", `{"Name":"a","SchedulerConfiguration":{"SchedulerAlgorithm":"fastest"}}`, 400, "invalid scheduler algorithm"},
		{"PUT", "/v1/node/pool/x", `{"Name":"y"}`, 400, "does not match"},
		{"DELETE", "/v1/node/pool/x", "", 404, "not found"},
		{"DELETE", "/v1/node/pool/default", "", 400, "built-in"},
		{"PUT", "/v1/namespace", `{"Name":"a_b"}`, 400, "invalid namespace name"},
		{"PUT", "/v1/namespace", `{"Name":"a","Quota":"q"}`, 501, "Quota"},
		{"PUT", "/v1/namespace/x", `{"Name":"y"}`, 400, "does not match"},
		{"DELETE", "/v1/namespace/x", "", 404, "not found"},
		{"DELETE", "/v1/namespace/default", "", 500, "can not be deleted"},
	} {
		code, body := s.send(test.method, test.path, test.body)
		if code != test.code || !strings.Contains(body, test.text) {
			t.Errorf("%s %s %.60s: %d %s, want %d with %q", test.method, test.path, test.body, code, body, test.code, test.text)
		}
	}
	if code, body := s.send("DELETE", "/v1/job/x", "", commands.CommandIDHeader, "x"); code != 400 || !strings.Contains(body, commands.CommandIDHeader) {
		t.Errorf("malformed command ID: %d %s", code, body)
	}
}

// A write with the same command ID takes effect once and is answered the same.
func TestCommandIDTakesEffectOnce(t *testing.T) {
	s := serve(t)
	body := submission("", "")
	id := newID().String()
	_, first := s.send("PUT", "/v1/jobs", body, commands.CommandIDHeader, id)
	index := s.store.Snapshot().Index()
	code, second := s.send("PUT", "/v1/jobs", body, commands.CommandIDHeader, id)
	if code != 200 || first != second || s.store.Snapshot().Index() != index {
		t.Errorf("%d\n%s\n%s", code, first, second)
	}
	if _, third := s.send("PUT", "/v1/jobs", body); third == first {
		t.Errorf("a write without an ID was taken for another one")
	}
}

// A job whose spec or source is too large to travel with its command goes into
// the log ahead of it, in pieces.
func TestLargeJobs(t *testing.T) {
	s := serve(t)
	job := sleeper("large")
	job.Meta = map[string]string{"text": strings.Repeat("drover ", 100_000)}
	source := strings.Repeat("# a comment\n", 50_000)
	_, _, err := s.client.Jobs().RegisterOpts(job, &nomad.RegisterOptions{Submission: &nomad.JobSubmission{Source: source, Format: "hcl2"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	state := s.store.Snapshot()
	stored := state.Job(event.JobKey{Namespace: "default", ID: "large"})
	if len(stored.Spec.Job.Meta["text"]) != 700_000 {
		t.Error("the spec was cut")
	}
	data, ok := state.Blob(stored.Source)
	var submission event.JobSubmission
	if err := event.Unmarshal(data, &submission); !ok || err != nil || submission.Source != source {
		t.Errorf("the source was cut: %v", err)
	}
}

func TestErrorsOfDo(t *testing.T) {
	s := serve(t)
	for _, test := range []struct {
		err         error
		code, agent int
		text        string
	}{
		{commands.ErrNoLeader, 500, 503, "No cluster leader"},
		{commands.ErrBusy, 503, 503, "busy"},
		{commands.ErrDeadline, 503, 503, "not begun"},
		{fmt.Errorf("%w (%w)", commands.ErrUnknownOutcome, context.DeadlineExceeded), 500, 503, "may still take effect"},
		{&commands.Rejection{Reason: commands.ReasonForbidden, Message: "Permission denied"}, 403, 403, "Permission denied"},
		{&commands.Rejection{Reason: commands.ReasonTooLarge, Message: "too large"}, 413, 413, "too large"},
		{&commands.Rejection{Reason: commands.ReasonNotFound, Message: "not found"}, 500, 404, "not found"},
		{&commands.Rejection{Reason: commands.ReasonInvalid, Message: "invalid"}, 500, 400, "invalid"},
		{&commands.Rejection{Reason: commands.ReasonSuperseded, Message: "older"}, 409, 409, "older"},
		{&commands.Rejection{Reason: commands.ReasonNodeDown, Message: "down"}, 409, 404, "down"},
	} {
		s.do = func(context.Context, commands.Command) (commands.Result, error) { return commands.Result{}, test.err }
		if code, body := s.send("DELETE", "/v1/job/x", ""); code != test.code || !strings.Contains(body, test.text) {
			t.Errorf("%v: %d %s, want %d", test.err, code, body, test.code)
		}
		report, err := event.Marshal(&event.NodeReport{NodeCredentials: event.NodeCredentials{NodeID: newID(), Secret: newID()}})
		if err != nil {
			t.Fatal(err)
		}
		if code, body := s.send("POST", "/v1/node-agent/report", string(report)); code != test.agent || !strings.Contains(body, test.text) {
			t.Errorf("to an agent, %v: %d %s, want %d", test.err, code, body, test.agent)
		}
	}
}

// A node's life as its agent sees it: code of the answer, and what it says.
func TestNodeAgent(t *testing.T) {
	s := serve(t)
	me := event.NodeCredentials{NodeID: newID(), Secret: newID(), Incarnation: 1}
	post := func(route string, message any) (int, event.NodeAnswer, string) {
		t.Helper()
		data, err := event.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		code, body := s.send("POST", "/v1/node-agent/"+route, string(data))
		var answer event.NodeAnswer
		if code == 200 {
			if err := event.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
		}
		return code, answer, body
	}
	info := &event.Node{ID: me.NodeID, Name: "n", Datacenter: "dc1", NodePool: "default", NodeResources: &event.NodeResources{}}
	status := func() event.NodeStatus { return s.store.Snapshot().Node(me.NodeID).Status }

	if code, _, body := post("heartbeat", &event.NodeHeartbeat{NodeCredentials: me}); code != 404 {
		t.Errorf("heartbeat of an unknown node: %d %s", code, body)
	}
	code, answer, body := post("register", &event.NodeRegistration{NodeCredentials: me, Node: info})
	if code != 200 || answer.HeartbeatTTL != int64(10*time.Second) || answer.Eligibility != "eligible" || answer.Index != s.store.Snapshot().Index() {
		t.Fatalf("register: %d %+v %s", code, answer, body)
	}
	if status() != event.NodeInitializing {
		t.Errorf("registered: %v", status())
	}
	if code, answer, body = post("report", &event.NodeReport{NodeCredentials: me, Sequence: 1, Ready: true}); code != 200 || status() != event.NodeReady {
		t.Errorf("ready: %d %+v %s", code, answer, body)
	}
	index := s.store.Snapshot().Index()
	if code, answer, body = post("heartbeat", &event.NodeHeartbeat{NodeCredentials: me}); code != 200 || answer.HeartbeatTTL == 0 || answer.Register || s.store.Snapshot().Index() != index {
		t.Errorf("heartbeat: %d %+v %s", code, answer, body)
	}
	if code, _, body = post("report", &event.NodeReport{NodeCredentials: me, Sequence: 1}); code != 200 || s.store.Snapshot().Index() != index {
		t.Errorf("the same report again: %d %s", code, body)
	}
	if code, _, body = post("report", &event.NodeReport{NodeCredentials: me, Sequence: 9}); code != 409 {
		t.Errorf("a report out of order: %d %s", code, body)
	}
	other := me
	other.Secret = newID()
	if code, _, body = post("report", &event.NodeReport{NodeCredentials: other}); code != 403 {
		t.Errorf("report with a wrong secret: %d %s", code, body)
	}
	if code, _, body = post("heartbeat", &event.NodeHeartbeat{NodeCredentials: other}); code != 403 {
		t.Errorf("heartbeat with a wrong secret: %d %s", code, body)
	}
	if code, _, body = post("register", &event.NodeRegistration{NodeCredentials: other, Node: info}); code != 403 {
		t.Errorf("register with a wrong secret: %d %s", code, body)
	}
	newer := me
	newer.Incarnation = 2
	if code, _, body = post("heartbeat", &event.NodeHeartbeat{NodeCredentials: newer}); code != 404 {
		t.Errorf("heartbeat of an unregistered start: %d %s", code, body)
	}
	if code, _, body = post("register", &event.NodeRegistration{NodeCredentials: newer, Node: info}); code != 200 {
		t.Errorf("a new start: %d %s", code, body)
	}
	if code, _, body = post("report", &event.NodeReport{NodeCredentials: me, Sequence: 2}); code != 409 {
		t.Errorf("report of the old start: %d %s", code, body)
	}
	if code, _, body = post("heartbeat", &event.NodeHeartbeat{NodeCredentials: me}); code != 409 {
		t.Errorf("heartbeat of the old start: %d %s", code, body)
	}
	if code, _, body = post("register", &event.NodeRegistration{NodeCredentials: newer, Node: &event.Node{ID: newID()}}); code != 400 {
		t.Errorf("another node's fingerprint: %d %s", code, body)
	}
	s.beat = commands.ErrNoLeader
	if code, _, body = post("heartbeat", &event.NodeHeartbeat{NodeCredentials: newer}); code != 503 {
		t.Errorf("heartbeat to a server that does not lead: %d %s", code, body)
	}
	if code, answer, body = post("report", &event.NodeReport{NodeCredentials: newer, Sequence: 1}); code != 200 || answer.HeartbeatTTL <= 0 {
		t.Errorf("a report that was committed: %d %+v %s", code, answer, body)
	}
	if code, body := s.send("POST", "/v1/node-agent/report", "\xff"); code != 400 {
		t.Errorf("no CBOR: %d %s", code, body)
	}
	if code, body := s.send("POST", "/v1/node-agent/heartbeat", strings.Repeat("x", 5000)); code != 413 {
		t.Errorf("too long: %d %s", code, body)
	}
}

func FuzzWriteBodies(f *testing.F) {
	heartbeat, err := event.Marshal(&event.NodeHeartbeat{NodeCredentials: event.NodeCredentials{NodeID: newID(), Secret: newID()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/v1/jobs", []byte(submission("", `,"EvalPriority":5`)))
	f.Add("/v1/validate/job", []byte(`{"Job":{}}`))
	f.Add("/v1/job/y/revert", []byte(`{"JobID":"y","JobVersion":1,"EnforcePriorVersion":2}`))
	f.Add("/v1/job/y/plan", []byte(submission("", `,"Diff":true`)))
	f.Add("/v1/jobs/parse", []byte(`{"JobHCL":"x"}`))
	f.Add("/v1/job/x/evaluate", []byte(`{"JobID":"x","EvalOptions":{}}`))
	f.Add("/v1/node-agent/heartbeat", heartbeat)
	f.Add("/v1/node-agent/report", heartbeat)
	f.Add("/v1/node-agent/register", heartbeat)
	h, err := commands.NewHTTP(commands.HTTPConfig{
		Do: func(_ context.Context, cmd commands.Command) (commands.Result, error) {
			if _, rejection := commands.Decide(projections.New(), 1, &cmd); rejection != nil {
				return commands.Result{}, rejection
			}
			return commands.Result{State: projections.New()}, nil
		},
		Store: projections.NewStore(projections.New()), Region: "global", NewID: newID,
		Beat:    func(event.ID) (time.Duration, error) { return time.Second, nil },
		Collect: func(context.Context) error { return nil },
		Foresee: foresee,
	})
	if err != nil {
		f.Fatal(err)
	}
	rt := rest.NewRouter()
	h.Register(rt)
	h.RegisterNodeAgent(rt)
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL.Path = path
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, r)
		if w.Code == 0 {
			t.Errorf("%s %q: no answer", path, body)
		}
	})
}

// The answer comes when the garbage is gone, and is empty.
func TestCollectGarbageOverHTTP(t *testing.T) {
	s := serve(t)
	if code, body := s.send(http.MethodPut, "/v1/system/gc", ""); code != http.StatusOK || body != "" || s.collections != 1 {
		t.Errorf("%d %q, collected %d times", code, body, s.collections)
	}
	s.collect = commands.ErrNoLeader
	if code, body := s.send(http.MethodPut, "/v1/system/gc", ""); code != http.StatusInternalServerError || !strings.Contains(body, "No cluster leader") {
		t.Errorf("without a leader: %d %q", code, body)
	}
	if code, _ := s.send(http.MethodPost, "/v1/system/gc", ""); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
}
