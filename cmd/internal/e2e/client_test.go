package e2e_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/hashicorp/nomad/api/contexts"
)

// statusOf is the HTTP status code in an error of the official client.
func statusOf(err error) int {
	var unexpected api.UnexpectedResponseError
	if errors.As(err, &unexpected) {
		return unexpected.StatusCode()
	}
	return 0
}

// checker fails the test for an error of a call that has to work.
func checker(t *testing.T) func(what string, err error) {
	return func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestOfficialClientOnJobs takes one job through its whole life by the official
// Go client and asks every route about it.
func TestOfficialClientOnJobs(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	jobs := c.Jobs()

	source := `
variable "word" { default = "hi" }
job "parsed" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo ${var.word}; exec sleep 3600"]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
`
	job, err := jobs.ParseHCLOpts(&api.JobsParseRequest{JobHCL: source, Variables: `word = "hello"`, Canonicalize: true})
	check("parse", err)
	if args := job.TaskGroups[0].Tasks[0].Config["args"].([]any)[1]; *job.ID != "parsed" || args != "echo hello; exec sleep 3600" || *job.Priority != 50 {
		t.Errorf("parsed as %q, %v", *job.ID, args)
	}
	if _, err := jobs.ParseHCL(`job "x" {`, true); statusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), "Unclosed configuration block") {
		t.Errorf("parse of a broken file: %v", err)
	}
	valid, _, err := jobs.Validate(job, nil)
	check("validate", err)
	if len(valid.ValidationErrors) > 0 || !valid.DriverConfigValidated {
		t.Errorf("a good job: %+v", valid)
	}
	wrong := shell("wrong", "service", 1, "")
	wrong.TaskGroups[0].Tasks = nil
	valid, _, err = jobs.Validate(wrong, nil)
	check("validate", err)
	if len(valid.ValidationErrors) != 1 || !strings.Contains(valid.Error, "task") {
		t.Errorf("a job without tasks: %+v", valid)
	}

	// Register: first only if it is new.
	first, meta, err := jobs.RegisterOpts(job, &api.RegisterOptions{EnforceIndex: true, ModifyIndex: 0,
		Submission: &api.JobSubmission{Source: source, Format: "hcl2", Variables: `word = "hello"`}}, nil)
	check("register", err)
	if first.EvalID == "" || first.JobModifyIndex == 0 || meta.LastIndex == 0 || first.EvalCreateIndex < first.JobModifyIndex {
		t.Errorf("registered: %+v, %+v", first, meta)
	}
	_, _, err = jobs.RegisterOpts(job, &api.RegisterOptions{EnforceIndex: true, ModifyIndex: 0}, nil)
	if statusOf(err) != 500 || !strings.Contains(err.Error(), "Enforcing job modify index 0: job already exists") {
		t.Errorf("register what is there: %v", err)
	}
	alloc := awaitCount(t, c, "parsed", "running", 1)[0]

	info, read, err := jobs.Info("parsed", nil)
	check("info", err)
	if *info.Version != 0 || *info.Status != "running" || *info.Stop || *info.JobModifyIndex != first.JobModifyIndex || *info.Namespace != "default" || !read.KnownLeader {
		t.Errorf("info: version %d status %s modify index %d of %d", *info.Version, *info.Status, *info.JobModifyIndex, first.JobModifyIndex)
	}
	// The same again changes nothing; another count makes a new version.
	again, _, err := jobs.RegisterOpts(info, &api.RegisterOptions{EnforceIndex: true, ModifyIndex: *info.JobModifyIndex}, nil)
	check("register again", err)
	if again.EvalID == "" {
		t.Error("no evaluation of a job submitted again")
	}
	info.TaskGroups[0].Count = ptr(2)
	_, _, err = jobs.Register(info, nil)
	check("register with another count", err)
	awaitCount(t, c, "parsed", "running", 2)
	versions, _, _, err := jobs.Versions("parsed", false, nil)
	check("versions", err)
	if len(versions) != 2 || *versions[0].Version != 1 || *versions[1].TaskGroups[0].Count != 1 {
		t.Errorf("%d versions, newest %d", len(versions), *versions[0].Version)
	}
	submission, _, err := jobs.Submission("parsed", 0, nil)
	check("submission", err)
	if submission.Source != source || submission.Format != "hcl2" || submission.Variables != `word = "hello"` {
		t.Errorf("submission: %+v", submission)
	}
	if _, _, err := jobs.Submission("parsed", 9, nil); statusOf(err) != 404 {
		t.Errorf("submission of no version: %v", err)
	}

	_, _, err = jobs.Register(shell("other", "batch", 1, "exit 0"), nil)
	check("register", err)
	awaitCount(t, c, "other", "complete", 1)
	list, _, err := jobs.List(nil)
	check("list", err)
	if len(list) != 2 || list[0].ID != "other" || list[1].ID != "parsed" || list[0].Status != "dead" || list[1].JobSummary.Summary["g"].Running != 2 {
		t.Errorf("list: %+v, %+v", list[0], list[len(list)-1])
	}
	list, _, err = jobs.PrefixList("par")
	check("list of a prefix", err)
	if len(list) != 1 || list[0].ID != "parsed" {
		t.Errorf("list of a prefix: %d", len(list))
	}
	page, read, err := jobs.List(&api.QueryOptions{PerPage: 1})
	check("first page", err)
	rest, _, err := jobs.List(&api.QueryOptions{PerPage: 1, NextToken: read.NextToken})
	check("second page", err)
	if len(page) != 1 || len(rest) != 1 || page[0].ID == rest[0].ID {
		t.Errorf("pages of %d and %d", len(page), len(rest))
	}
	filtered, _, err := jobs.List(&api.QueryOptions{Filter: `Type == "batch"`})
	check("filter", err)
	if len(filtered) != 1 || filtered[0].ID != "other" {
		t.Errorf("filtered: %d", len(filtered))
	}
	summary, _, err := jobs.Summary("parsed", nil)
	check("summary", err)
	if summary.Summary["g"].Running != 2 || summary.JobID != "parsed" {
		t.Errorf("summary: %+v", summary)
	}

	evals, _, err := jobs.Evaluations("parsed", nil)
	check("evaluations of the job", err)
	if len(evals) != 3 {
		t.Errorf("%d evaluations", len(evals))
	}
	eval, _, err := c.Evaluations().Info(first.EvalID, nil)
	check("evaluation", err)
	if eval.Status != "complete" || eval.TriggeredBy != "job-register" || eval.JobID != "parsed" {
		t.Errorf("evaluation: %+v", eval)
	}
	placed, _, err := c.Evaluations().Allocations(first.EvalID, nil)
	check("allocations of the evaluation", err)
	if len(placed) != 1 || placed[0].ID != alloc.ID {
		t.Errorf("allocations of the evaluation: %d", len(placed))
	}
	prefixed, _, err := c.Evaluations().PrefixList(first.EvalID[:4])
	check("evaluations of a prefix", err)
	if len(prefixed) < 1 {
		t.Error("no evaluation of its prefix")
	}
	all, _, err := c.Evaluations().List(nil)
	check("evaluations", err)
	if len(all) < 4 {
		t.Errorf("%d evaluations in all", len(all))
	}
	id, _, err := jobs.EvaluateWithOpts("parsed", api.EvalOptions{}, nil)
	check("evaluate", err)
	await(t, "evaluation", func(q *api.QueryOptions) (*api.Evaluation, *api.QueryMeta, error) {
		return c.Evaluations().Info(id, q)
	}, func(e *api.Evaluation) bool { return e.Status == "complete" })
	if _, _, err := jobs.EvaluateWithOpts("nosuch", api.EvalOptions{}, nil); err == nil {
		t.Error("evaluated what is not there")
	}

	id, _, err = jobs.Deregister("parsed", false, nil)
	check("deregister", err)
	if id == "" {
		t.Error("no evaluation of a stop")
	}
	awaitCount(t, c, "parsed", "complete", 2)
	info, _, err = jobs.Info("parsed", nil)
	check("info", err)
	if !*info.Stop || *info.Status != "dead" {
		t.Errorf("stopped: stop %v, status %s", *info.Stop, *info.Status)
	}
	_, _, err = jobs.Deregister("parsed", true, nil)
	check("purge", err)
	if _, _, err := jobs.Info("parsed", nil); statusOf(err) != 404 {
		t.Errorf("purged, and still there: %v", err)
	}
}

// TestOfficialClientOnAllocations looks at an allocation and its output.
func TestOfficialClientOnAllocations(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	pipe := newFifo(t)
	register(t, c, shell("talker", "batch", 1, pipe.obedient()+` ; echo end >&2`))
	stub := awaitCount(t, c, "talker", "running", 1)[0]
	info, _, err := c.Allocations().Info(stub.ID, nil)
	check("allocation", err)
	if info.Name != "talker.group[0]" || info.Job == nil || *info.Job.ID != "talker" || info.NodeName != "alpha" || info.TaskStates["task"].State != "running" ||
		info.Metrics.NodesEvaluated != 1 || len(info.Metrics.ScoreMetaData) != 1 || info.AllocatedResources.Tasks["task"].Memory.MemoryMB != 16 {
		t.Errorf("allocation: %+v", info)
	}
	for name, list := range map[string]func() ([]*api.AllocationListStub, *api.QueryMeta, error){
		"all": func() ([]*api.AllocationListStub, *api.QueryMeta, error) { return c.Allocations().List(nil) },
		"by prefix": func() ([]*api.AllocationListStub, *api.QueryMeta, error) {
			return c.Allocations().PrefixList(stub.ID[:6])
		},
		"by filter": func() ([]*api.AllocationListStub, *api.QueryMeta, error) {
			return c.Allocations().List(&api.QueryOptions{Filter: `ClientStatus == "running"`})
		},
	} {
		got, _, err := list()
		check(name, err)
		if len(got) != 1 || got[0].ID != stub.ID {
			t.Errorf("%s: %d allocations", name, len(got))
		}
	}
	if _, _, err := c.Allocations().Info("ffffffff-ffff-4fff-8fff-ffffffffffff", nil); statusOf(err) != 404 {
		t.Errorf("no such allocation: %v", err)
	}

	// Logs as frames, from the start, from the end, and plain.
	pipe.say(t, "one")
	log := awaitLog(t, c, stub.ID, "task", "got one\n")
	frames, errs := c.AllocFS().Logs(info, false, "task", "stdout", "end", int64(len("one\n")), nil, nil)
	select {
	case f := <-frames:
		if string(f.Data) != "one\n" {
			t.Errorf("the end of the log is %q", f.Data)
		}
	case err := <-errs:
		t.Errorf("logs from the end: %v", err)
	}
	reader, err := c.AllocFS().Cat(info, "alloc/logs/task.stdout.0", nil)
	check("cat", err)
	content, err := io.ReadAll(reader)
	check("read", errors.Join(err, reader.Close()))
	if string(content) != log {
		t.Errorf("file %q, log %q", content, log)
	}
	files, _, err := c.AllocFS().List(info, "alloc/logs", nil)
	check("list files", err)
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	stat, _, err := c.AllocFS().Stat(info, "alloc/logs/task.stdout.0", nil)
	check("stat", err)
	if stat.Size != int64(len(log)) {
		t.Errorf("size %d of %d", stat.Size, len(log))
	}
	if got := a.ok(t, "alloc", "logs", "-tail", "-n", "1", stub.ID); got != "got one\n" {
		t.Errorf("last line %q", got)
	}
	usage, err := c.Allocations().Stats(info, nil)
	check("stats", err)
	if usage.Tasks["task"] == nil {
		t.Errorf("usage: %+v", usage)
	}

	// A follower reads to the end of the task; nothing is cut off.
	tailing := start(t, []string{"DROVER_ADDR=" + a.url()}, "alloc", "logs", "-f", stub.ID)
	tailing.out.await(t, "got one\n", tailing.ended)
	pipe.say(t, "two")
	tailing.out.await(t, "got two\n", tailing.ended)
	tailing.interrupt()
	pipe.say(t, "exit 0")
	awaitCount(t, c, "talker", "complete", 1)
	if got := a.ok(t, "alloc", "logs", "-stderr", stub.ID); got != "" {
		t.Errorf("standard error after exit: %q", got)
	}
}

// TestOfficialClientOnTheCluster asks about nodes, the agent, and namespaces.
func TestOfficialClientOnTheCluster(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	nodes, _, err := c.Nodes().List(nil)
	check("nodes", err)
	node, _, err := c.Nodes().Info(nodes[0].ID, nil)
	check("node", err)
	if node.Name != "alpha" || node.Status != "ready" || node.SchedulingEligibility != "eligible" || !node.Drivers["raw_exec"].Healthy ||
		node.Attributes["kernel.name"] != "linux" || node.NodeResources.Memory.MemoryMB != 1000 || node.NodeResources.Cpu.CpuShares != 4000 {
		t.Errorf("node: %+v", node)
	}
	byPrefix, _, err := c.Nodes().PrefixList(node.ID[:4])
	check("nodes of a prefix", err)
	if len(byPrefix) != 1 {
		t.Errorf("%d nodes", len(byPrefix))
	}
	register(t, c, shell("one", "service", 1, "exec sleep 3600"))
	awaitCount(t, c, "one", "running", 1)
	allocs, _, err := c.Nodes().Allocations(node.ID, nil)
	check("allocations of the node", err)
	if len(allocs) != 1 || allocs[0].JobID != "one" {
		t.Errorf("%d allocations on the node", len(allocs))
	}
	stats, err := c.Nodes().Stats(node.ID, nil)
	check("host stats", err)
	if stats.Memory == nil || stats.Memory.Total == 0 {
		t.Errorf("host stats: %+v", stats)
	}
	if _, _, err := c.Nodes().Info("ffffffff-ffff-4fff-8fff-ffffffffffff", nil); statusOf(err) != 404 {
		t.Errorf("no such node: %v", err)
	}

	leader, err := c.Status().Leader()
	check("leader", err)
	peers, err := c.Status().Peers()
	check("peers", err)
	if leader != a.rpc() || len(peers) != 1 || peers[0] != leader {
		t.Errorf("leader %q, peers %v, agent protocol at %s", leader, peers, a.rpc())
	}
	self, err := c.Agent().Self()
	check("self", err)
	if self.Member.Name != "alpha.global" || self.Stats["client"]["node_id"] != node.ID {
		t.Errorf("self: %+v", self.Member)
	}
	name, err := c.Agent().NodeName()
	check("name", err)
	region, err := c.Agent().Region()
	check("region", err)
	if name != "alpha.global" || region != "global" {
		t.Errorf("agent %s in %s", name, region)
	}
	members, err := c.Agent().Members()
	check("members", err)
	if len(members.Members) != 1 || members.Members[0].Status != "alive" {
		t.Errorf("members: %+v", members)
	}
	health, err := c.Agent().Health()
	check("health", err)
	if !health.Server.Ok || !health.Client.Ok {
		t.Errorf("health: %+v", health)
	}
	raft, err := c.Operator().RaftGetConfiguration(nil)
	check("raft configuration", err)
	if len(raft.Servers) != 1 || !raft.Servers[0].Leader || !raft.Servers[0].Voter || raft.Servers[0].Node != "alpha.global" || raft.Servers[0].Address != leader || raft.Index == 0 {
		t.Errorf("raft: %+v", raft.Servers[0])
	}
	pilot, _, err := c.Operator().AutopilotServerHealth(nil)
	check("autopilot", err)
	if !pilot.Healthy || pilot.FailureTolerance != 0 || len(pilot.Servers) != 1 || pilot.Servers[0].LastTerm == 0 || pilot.Servers[0].StableSince.IsZero() || pilot.Leader != raft.Servers[0].ID {
		t.Errorf("autopilot: %+v", pilot)
	}
	if n, err := c.Agent().Join("127.0.0.1:1"); n != 0 || err == nil || !strings.Contains(err.Error(), "has one server") {
		t.Errorf("join: %d, %v", n, err)
	}
	if err := c.Agent().ForceLeave("beta"); err == nil || !strings.Contains(err.Error(), `no member "beta"`) {
		t.Errorf("force-leave: %v", err)
	}
	check("reconcile summaries", c.System().ReconcileSummaries())
	metrics, _, err := c.Operator().MetricsSummary(nil)
	check("metrics", err)
	gauges := map[string]float32{}
	for _, g := range metrics.Gauges {
		gauges[g.Name+" "+g.DisplayLabels["job"]] = g.Value
	}
	if gauges["nomad.nomad.job_status.running "] != 1 || gauges["nomad.nomad.job_summary.running one"] != 1 ||
		gauges["nomad.nomad.heartbeat.active "] != 1 || gauges["nomad.nomad.autopilot.healthy "] != 1 || len(metrics.Samples) == 0 {
		t.Errorf("metrics: %v", gauges)
	}
	text, err := c.Operator().Metrics(&api.QueryOptions{Params: map[string]string{"format": "prometheus"}})
	check("metrics for Prometheus", err)
	if !strings.Contains(string(text), `job="one",namespace="default",task_group="group"} 1`) {
		t.Errorf("metrics for Prometheus: %s", text)
	}
	found, _, err := c.Search().PrefixSearch(node.ID[:5], contexts.All, nil)
	check("search", err)
	if got := found.Matches[contexts.Nodes]; len(got) != 1 || got[0] != node.ID {
		t.Errorf("search: %v", found.Matches)
	}
	stop := make(chan struct{})
	defer close(stop)
	frames, errs := c.Agent().Monitor(stop, &api.QueryOptions{Params: map[string]string{"log_level": "TRACE", "node_id": node.ID}})
	if frames == nil {
		t.Fatalf("monitor: %v", <-errs)
	}
	if out := a.ok(t, "server", "members"); !strings.Contains(out, "alpha.global") || !strings.Contains(out, "true") {
		t.Errorf("server members: %s", out)
	}
	if out := a.ok(t, "operator", "raft", "list-peers"); !strings.Contains(out, "leader") {
		t.Errorf("raft list-peers: %s", out)
	}
	if out := a.ok(t, "agent-info"); !strings.Contains(out, "  node_id = "+node.ID) {
		t.Errorf("agent-info: %s", out)
	}

	regions, err := c.Regions().List()
	check("regions", err)
	if len(regions) != 1 || regions[0] != "global" {
		t.Errorf("regions: %v", regions)
	}
	spaces, _, err := c.Namespaces().List(nil)
	check("namespaces", err)
	if len(spaces) != 1 || spaces[0].Name != "default" {
		t.Errorf("namespaces: %v", spaces)
	}
	space, _, err := c.Namespaces().Info("default", nil)
	check("namespace", err)
	if space.Name != "default" {
		t.Errorf("namespace: %+v", space)
	}
}

// TestBlockingQueries shows that a query waits for a change of what it asks
// about, answers at once when it is behind, and comes back at the end of its
// wait.
func TestBlockingQueries(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a := newAgent(t, agentConfig{server: true})
	c := a.client(t)
	register(t, c, shell("first", "service", 1, "exit 0"))
	_, meta, err := c.Jobs().Info("first", nil)
	check("info", err)

	began := time.Now()
	_, same, err := c.Jobs().Info("first", &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 300 * time.Millisecond})
	check("wait in vain", err)
	if waited := time.Since(began); waited < 300*time.Millisecond || same.LastIndex != meta.LastIndex {
		// The scheduler may have been at work still; then the answer is newer.
		if same.LastIndex <= meta.LastIndex {
			t.Errorf("answered after %s with index %d, asked past %d", waited, same.LastIndex, meta.LastIndex)
		}
	}
	type answer struct {
		jobs []*api.JobListStub
		meta *api.QueryMeta
		err  error
	}
	_, meta, err = c.Jobs().List(nil)
	check("list", err)
	answers := make(chan answer, 1)
	go func() {
		for index := meta.LastIndex; ; {
			jobs, meta, err := c.Jobs().List(&api.QueryOptions{WaitIndex: index, WaitTime: patience})
			if err != nil || len(jobs) == 2 {
				answers <- answer{jobs, meta, err}
				return
			}
			index = meta.LastIndex
		}
	}()
	second := register(t, c, shell("second", "service", 1, "exit 0"))
	got := <-answers
	check("waiting query", got.err)
	if got.meta.LastIndex < second.JobModifyIndex {
		t.Errorf("woken with index %d by a change at %d", got.meta.LastIndex, second.JobModifyIndex)
	}
	_, behind, err := c.Jobs().List(&api.QueryOptions{WaitIndex: 1, WaitTime: patience})
	check("query that is behind", err)
	if behind.LastIndex < second.JobModifyIndex {
		t.Errorf("index %d", behind.LastIndex)
	}
}

// TestEventStream follows a job through the topic stream, and decodes what comes.
func TestEventStream(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.EventStream().Stream(ctx, map[api.Topic][]string{
		api.TopicJob: {"seen"}, api.TopicAllocation: {"seen"}, api.TopicEvaluation: {"seen"}, api.TopicNode: {"*"},
	}, 0, nil)
	check("stream", err)
	register(t, c, shell("unseen", "batch", 1, "exit 0"))
	register(t, c, shell("seen", "service", 1, "exec sleep 3600"))
	var types []string
	has := map[string]bool{}
	var last uint64
	for !has["job"] || !has["eval"] || !has["running"] || !has["complete"] {
		events, open := <-stream
		if !open {
			t.Fatalf("the stream ended after %v", types)
		}
		if events.Err != nil {
			t.Fatalf("stream: %v after %v", events.Err, types)
		}
		if events.IsHeartbeat() {
			continue
		}
		if events.Index < last {
			t.Errorf("index %d after %d", events.Index, last)
		}
		last = events.Index
		for _, e := range events.Events {
			types = append(types, string(e.Topic)+" "+e.Type)
			switch e.Topic {
			case api.TopicJob:
				job, err := e.Job()
				check("job", err)
				if *job.ID != "seen" || e.Key != "seen" {
					t.Errorf("an event about job %s", *job.ID)
				}
				has["job"] = true
			case api.TopicEvaluation:
				eval, err := e.Evaluation()
				check("evaluation", err)
				if eval.JobID != "seen" || e.Key != eval.ID {
					t.Errorf("an event about an evaluation of %s", eval.JobID)
				}
				has["eval"] = true
			case api.TopicAllocation:
				alloc, err := e.Allocation()
				check("allocation", err)
				if alloc.JobID != "seen" || e.Key != alloc.ID {
					t.Errorf("an event about an allocation of %s", alloc.JobID)
				}
				if alloc.ClientStatus == "running" && !has["running"] {
					_, _, err := c.Jobs().Deregister("seen", false, nil)
					check("deregister", err)
				}
				has[alloc.ClientStatus] = true
			case api.TopicNode:
				_, err := e.Node()
				check("node", err)
				if shown, ok := e.Payload["Node"].(map[string]any)["SecretID"]; ok && shown != "" {
					t.Errorf("an event shows a node's secret: %v", shown)
				}
			}
		}
	}
}

// TestEligibilityAndSystemJobs has operators keep a node to itself, and give it back.
func TestEligibilityAndSystemJobs(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	node := awaitNodes(t, c, 1)[0]
	register(t, c, shell("agent", "system", 1, "exec sleep 3600"))
	awaitCount(t, c, "agent", "running", 1)
	if job, _, err := c.Jobs().Info("agent", nil); err != nil || *job.Status != "running" {
		t.Errorf("the system job is %v (%v)", job, err)
	}

	_, err := c.Nodes().ToggleEligibility(node.ID, false, nil)
	check("make ineligible", err)
	register(t, c, shell("once", "sysbatch", 1, "exit 0"))
	register(t, c, shell("waits", "batch", 1, "exit 0"))
	await(t, "blocked evaluations", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("waits", q)
	}, func(list []*api.Evaluation) bool {
		return slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "blocked" })
	})
	if shown, _, err := c.Nodes().Info(node.ID, nil); err != nil || shown.SchedulingEligibility != "ineligible" {
		t.Errorf("the node is shown as %v (%v)", shown, err)
	}
	awaitCount(t, c, "agent", "running", 1)

	resp, err := c.Nodes().ToggleEligibility(node.ID, true, nil)
	check("make eligible", err)
	if len(resp.EvalIDs) != 1 || resp.NodeModifyIndex == 0 {
		t.Errorf("answered %+v", resp)
	}
	awaitCount(t, c, "waits", "complete", 1)
	register(t, c, shell("once", "sysbatch", 1, "exit 0"))
	awaitCount(t, c, "once", "complete", 1)
	if _, err := c.Nodes().ToggleEligibility("00000000-0000-0000-0000-000000000001", true, nil); err == nil {
		t.Error("a node that is not there was made eligible")
	}
}
