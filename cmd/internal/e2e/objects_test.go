package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// TestScaling changes a count as an autoscaler does, and reads what it reads.
func TestScaling(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	awaitNodes(t, c, 1)
	job := shell("web", "service", 1, "exec sleep 3600")
	group := *job.TaskGroups[0].Name
	job.TaskGroups[0].Scaling = &api.ScalingPolicy{Min: ptr(int64(1)), Max: ptr(int64(3)), Policy: map[string]any{"cooldown": "1m"}}
	before, _, err := c.Scaling().ListPolicies(nil)
	check("list policies", err)
	if len(before) != 0 {
		t.Errorf("policies before there is a job: %+v", before[0])
	}
	register(t, c, job)
	awaitCount(t, c, "web", "running", 1)

	policies, meta, err := c.Scaling().ListPolicies(&api.QueryOptions{Params: map[string]string{"job": "web", "type": "horizontal"}})
	check("list policies", err)
	if len(policies) != 1 || !policies[0].Enabled || policies[0].Target["Job"] != "web" || policies[0].Target["Group"] != group || meta.LastIndex < 2 {
		t.Fatalf("%d policies, %+v", len(policies), meta)
	}
	policy, _, err := c.Scaling().GetPolicy(policies[0].ID, nil)
	check("read policy", err)
	if *policy.Min != 1 || *policy.Max != 3 || policy.Policy["cooldown"] != "1m" || policy.Namespace != "default" || policy.Type != "horizontal" {
		t.Errorf("policy %+v", policy)
	}
	if _, _, err := c.Scaling().GetPolicy("00000000-0000-0000-0000-000000000001", nil); statusOf(err) != 404 {
		t.Errorf("a policy that is not there: %v", err)
	}

	resp, _, err := c.Jobs().Scale("web", group, ptr(3), "busy", false, map[string]any{"cpu": 0.75}, nil)
	check("scale", err)
	if resp.EvalID == "" || resp.JobModifyIndex == 0 {
		t.Errorf("answered %+v", resp)
	}
	awaitCount(t, c, "web", "running", 3)
	if eval, _, err := c.Evaluations().Info(resp.EvalID, nil); err != nil || eval.TriggeredBy != "job-scaling" {
		t.Errorf("the evaluation is %+v (%v)", eval, err)
	}
	_, _, err = c.Jobs().Scale("web", group, nil, "no metrics", true, nil, nil)
	check("report an error", err)
	status, _, err := c.Jobs().ScaleStatus("web", nil)
	check("scale status", err)
	shown := status.TaskGroups[group]
	if shown.Desired != 3 || shown.Placed != 3 || shown.Running != 3 || len(shown.Events) != 2 {
		t.Fatalf("status %+v", shown)
	}
	said, asked := shown.Events[0], shown.Events[1]
	if !said.Error || said.Message != "no metrics" || said.Count != nil || said.EvalID != nil {
		t.Errorf("the newest event is %+v", said)
	}
	if asked.Error || *asked.Count != 3 || asked.PreviousCount != 1 || *asked.EvalID != resp.EvalID || asked.Meta["cpu"] != 0.75 || asked.Time == 0 || asked.CreateIndex == 0 {
		t.Errorf("the older event is %+v", asked)
	}

	for what, call := range map[string]struct {
		job, group string
		count      int
		status     int
		text       string
	}{
		"too many":     {"web", group, 4, 400, "group count was greater than scaling policy maximum: 4 > 3"},
		"too few":      {"web", group, 0, 400, "group count was less than scaling policy minimum: 0 < 1"},
		"no group":     {"web", "nope", 2, 400, "does not exist in job"},
		"unnamed":      {"web", "", 2, 400, "missing task group name"},
		"no such job":  {"nope", group, 2, 404, "not found"},
		"other target": {"", group, 2, 400, "did not match"},
	} {
		req := &api.ScalingRequest{Count: ptr(int64(call.count)), Target: map[string]string{"Job": call.job, "Group": call.group}}
		name := call.job
		if name == "" {
			name, req.Target["Job"] = "web", "another"
		}
		if _, _, err := c.Jobs().ScaleWithRequest(name, req, nil); statusOf(err) != call.status || !strings.Contains(err.Error(), call.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := c.Jobs().ScaleWithRequest("web", &api.ScalingRequest{Count: ptr(int64(2)), Target: map[string]string{"Group": group}, JobModifyIndex: 1}, nil); statusOf(err) != 500 {
		t.Errorf("an old index: %v", err)
	}
	if _, _, err := c.Jobs().ScaleStatus("nope", nil); statusOf(err) != 404 {
		t.Errorf("the status of no job: %v", err)
	}
	_, _, err = c.Jobs().Deregister("web", false, nil)
	check("stop", err)
	left, after, err := c.Scaling().ListPolicies(nil)
	check("list policies", err)
	if len(left) != 0 || after.LastIndex <= meta.LastIndex {
		t.Errorf("%d policies of stopped jobs at index %d, before %d", len(left), after.LastIndex, meta.LastIndex)
	}
}

// TestSchedulerConfiguration has operators change how jobs are taken and placed.
func TestSchedulerConfiguration(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	awaitNodes(t, c, 1)
	operator := c.Operator()
	first, _, err := operator.SchedulerGetConfiguration(nil)
	check("read", err)
	config := first.SchedulerConfig
	if config.SchedulerAlgorithm != "binpack" || config.ModifyIndex == 0 || config.CreateIndex != config.ModifyIndex || config.PauseEvalBroker {
		t.Fatalf("a new cluster has %+v", config)
	}
	greedy := shell("greedy", "service", 1, "echo max=$NOMAD_MEMORY_MAX_LIMIT; exec sleep 3600")
	greedy.TaskGroups[0].Tasks[0].Resources.MemoryMaxMB = ptr(512)
	if resp := register(t, c, greedy); !strings.Contains(resp.Warnings, "Memory oversubscription is not enabled") {
		t.Errorf("warnings: %q", resp.Warnings)
	}
	modest := awaitCount(t, c, "greedy", "running", 1)[0]
	if shown, _, err := c.Allocations().Info(modest.ID, nil); err != nil || shown.AllocatedResources.Tasks[greedy.TaskGroups[0].Tasks[0].Name].Memory.MemoryMaxMB != 0 {
		t.Errorf("an allocation may use more than it asked for (%v)", err)
	}
	awaitLog(t, c, modest.ID, greedy.TaskGroups[0].Tasks[0].Name, "max=\n")

	wished := *config
	wished.SchedulerAlgorithm, wished.MemoryOversubscriptionEnabled, wished.PauseEvalBroker = "spread", true, true
	wished.PreemptionConfig.BatchSchedulerEnabled, wished.NodeLimitForFeasibilityChecks = true, 7
	set, _, err := operator.SchedulerCASConfiguration(&wished, nil)
	check("set", err)
	if !set.Updated {
		t.Error("not updated")
	}
	if late, _, err := operator.SchedulerCASConfiguration(&wished, nil); err != nil || late.Updated {
		t.Errorf("changed as of an old index: %+v (%v)", late, err)
	}
	now, _, err := operator.SchedulerGetConfiguration(nil)
	check("read", err)
	got := *now.SchedulerConfig
	wished.ModifyIndex, got.ModifyIndex = 0, 0
	if got != wished || now.SchedulerConfig.ModifyIndex <= config.ModifyIndex {
		t.Errorf("set %+v, read %+v", wished, got)
	}

	// Jobs are taken and wait; then they are placed.
	waits := register(t, c, shell("waits", "batch", 1, "exit 0"))
	if eval, _, err := c.Evaluations().Info(waits.EvalID, nil); err != nil || eval.Status != "pending" {
		t.Errorf("while evaluations are paused one is %+v (%v)", eval, err)
	}
	wished.PauseEvalBroker, wished.RejectJobRegistration = false, true
	_, _, err = operator.SchedulerSetConfiguration(&wished, nil)
	check("set", err)
	awaitCount(t, c, "waits", "complete", 1)
	if _, _, err := c.Jobs().Register(shell("late", "batch", 1, "exit 0"), nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "disabled by the scheduler configuration") {
		t.Errorf("a job while none are taken: %v", err)
	}
	if _, _, err := c.Jobs().Scale("waits", *shell("x", "batch", 1, "").TaskGroups[0].Name, ptr(2), "", false, nil, nil); err == nil {
		t.Error("a job was scaled while none are taken")
	}
	wished.SchedulerAlgorithm = "fastest"
	if _, _, err := operator.SchedulerSetConfiguration(&wished, nil); statusOf(err) != 400 {
		t.Errorf("an algorithm that is none: %v", err)
	}
	wished.SchedulerAlgorithm, wished.RejectJobRegistration = "spread", false
	_, _, err = operator.SchedulerSetConfiguration(&wished, nil)
	check("set", err)
	greedy.Priority = ptr(51)
	greedy.TaskGroups[0].Tasks[0].Env = map[string]string{"AGAIN": "1"}
	if resp := register(t, c, greedy); strings.Contains(resp.Warnings, "oversubscription") {
		t.Errorf("warnings: %q", resp.Warnings)
	}
	list := await(t, "the task with more memory", func(q *api.QueryOptions) ([]*api.AllocationListStub, *api.QueryMeta, error) {
		return c.Jobs().Allocations("greedy", false, q)
	}, func(list []*api.AllocationListStub) bool {
		return slices.ContainsFunc(list, func(a *api.AllocationListStub) bool { return a.JobVersion == 1 && a.ClientStatus == "running" })
	})
	at := slices.IndexFunc(list, func(a *api.AllocationListStub) bool { return a.JobVersion == 1 })
	awaitLog(t, c, list[at].ID, greedy.TaskGroups[0].Tasks[0].Name, "max=512\n")
}

// TestNodePools makes a pool, has nodes and jobs in it, and cannot end it before they
// are gone.
func TestNodePools(t *testing.T) {
	t.Parallel()
	check := checker(t)
	_, c := newOne(t, agentConfig{})
	node := awaitNodes(t, c, 1)[0]
	pools := c.NodePools()
	list, meta, err := pools.List(nil)
	check("list", err)
	if len(list) != 2 || list[0].Name != "all" || list[1].Name != "default" || meta.LastIndex == 0 {
		t.Fatalf("a new cluster has %d pools at %d", len(list), meta.LastIndex)
	}
	gpu := &api.NodePool{
		Name: "gpu", Description: "cards", Meta: map[string]string{"owner": "ml"}, NodeIdentityTTL: time.Hour,
		SchedulerConfiguration: &api.NodePoolSchedulerConfiguration{SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: ptr(true)},
	}
	if _, _, err := c.Jobs().Register(inPool(shell("early", "batch", 1, "exit 0"), "gpu"), nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "nonexistent node pool") {
		t.Errorf("a job in no pool: %v", err)
	}
	_, err = pools.Register(gpu, nil)
	check("register", err)
	got, _, err := pools.Info("gpu", nil)
	check("info", err)
	if got.Description != "cards" || got.Meta["owner"] != "ml" || got.NodeIdentityTTL != time.Hour || got.SchedulerConfiguration.SchedulerAlgorithm != "spread" ||
		!*got.SchedulerConfiguration.MemoryOversubscriptionEnabled || got.CreateIndex == 0 || got.ModifyIndex != got.CreateIndex {
		t.Errorf("registered %+v, read %+v", gpu, got)
	}
	gpu.Description = "many cards"
	_, err = pools.Register(gpu, nil)
	check("change", err)
	if changed, _, err := pools.Info("gpu", nil); err != nil || changed.Description != "many cards" || changed.ModifyIndex <= got.ModifyIndex || changed.CreateIndex != got.CreateIndex {
		t.Errorf("changed: %+v (%v)", changed, err)
	}
	if found, _, err := pools.PrefixList("g", nil); err != nil || len(found) != 1 || found[0].Name != "gpu" {
		t.Errorf("by prefix: %v (%v)", found, err)
	}

	// The job waits: the pool has no nodes. memory_max is the pool's to allow.
	waits := inPool(shell("waits", "service", 1, "exec sleep 3600"), "gpu")
	waits.TaskGroups[0].Tasks[0].Resources.MemoryMaxMB = ptr(256)
	if resp := register(t, c, waits); strings.Contains(resp.Warnings, "oversubscription") {
		t.Errorf("warnings: %q", resp.Warnings)
	}
	await(t, "a blocked evaluation", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("waits", q)
	}, func(list []*api.Evaluation) bool {
		return slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "blocked" })
	})
	if jobs, _, err := pools.ListJobs("gpu", nil); err != nil || len(jobs) != 1 || jobs[0].ID != "waits" {
		t.Errorf("jobs of the pool: %v (%v)", jobs, err)
	}
	for pool, want := range map[string]int{"gpu": 0, "default": 1, "all": 1} {
		nodes, _, err := pools.ListNodes(pool, nil)
		if err != nil || len(nodes) != want || want == 1 && nodes[0].ID != node.ID {
			t.Errorf("%d nodes in pool %s (%v), want %d", len(nodes), pool, err, want)
		}
	}
	if _, err := pools.Delete("gpu", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "non-terminal jobs") {
		t.Errorf("delete a pool with a job: %v", err)
	}
	_, _, err = c.Jobs().Deregister("waits", false, nil)
	check("stop", err)
	await(t, "the job to end", func(q *api.QueryOptions) (*api.Job, *api.QueryMeta, error) { return c.Jobs().Info("waits", q) },
		func(job *api.Job) bool { return *job.Status == "dead" })
	_, err = pools.Delete("gpu", nil)
	check("delete", err)
	for what, err := range map[string]error{"built-in": errorOf(pools.Delete("default", nil)), "all": errorOf(pools.Register(&api.NodePool{Name: "all"}, nil))} {
		if statusOf(err) != 400 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := pools.Info("gpu", nil); statusOf(err) != 404 {
		t.Errorf("a pool that is gone: %v", err)
	}
	if _, _, err := pools.ListNodes("gpu", nil); statusOf(err) != 404 {
		t.Errorf("nodes of a pool that is gone: %v", err)
	}
	if _, _, err := pools.ListNodes("all", &api.QueryOptions{Prefix: "a"}); statusOf(err) != 400 {
		t.Errorf("nodes of a pool by prefix: %v", err)
	}
}

// TestAgentsMakeTheirPool has a node come that names a pool which nobody made.
func TestAgentsMakeTheirPool(t *testing.T) {
	t.Parallel()
	_, c := newOne(t, agentConfig{clientKeys: `node_pool = "edge"`})
	node := awaitNodes(t, c, 1)[0]
	if pool, _, err := c.NodePools().Info("edge", nil); err != nil || node.NodePool != "edge" || pool.CreateIndex == 0 {
		t.Errorf("the node is in %q, the pool is %+v (%v)", node.NodePool, pool, err)
	}
	register(t, c, inPool(shell("there", "batch", 1, "exit 0"), "edge"))
	awaitCount(t, c, "there", "complete", 1)
	if _, err := c.NodePools().Delete("edge", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "has nodes") {
		t.Errorf("delete a pool with a node: %v", err)
	}
}

func inPool(job *api.Job, pool string) *api.Job {
	job.NodePool = &pool
	return job
}

func errorOf(_ *api.WriteMeta, err error) error { return err }

// TestNamespaces keeps jobs of the same name apart.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{})
	awaitNodes(t, c, 1)
	spaces := c.Namespaces()
	list, _, err := spaces.List(nil)
	check("list", err)
	if len(list) != 1 || list[0].Name != "default" || list[0].CreateIndex == 0 {
		t.Fatalf("a new cluster has %v", list)
	}
	ops := &api.Namespace{Name: "ops", Description: "operators", Meta: map[string]string{"team": "blue"},
		Capabilities: &api.NamespaceCapabilities{DisabledTaskDrivers: []string{"docker"}}}
	in := func(namespace string) *api.Job {
		job := shell("web", "service", 1, "exec sleep 3600")
		job.Namespace = &namespace
		return job
	}
	if _, _, err := c.Jobs().Register(in("ops"), nil); statusOf(err) != 500 || !strings.Contains(err.Error(), `nonexistent namespace "ops"`) {
		t.Errorf("a job in no namespace: %v", err)
	}
	_, err = spaces.Register(ops, nil)
	check("register", err)
	got, _, err := spaces.Info("ops", nil)
	check("info", err)
	if got.Description != "operators" || got.Meta["team"] != "blue" || !slices.Equal(got.Capabilities.DisabledTaskDrivers, []string{"docker"}) || got.CreateIndex == 0 {
		t.Errorf("registered %+v, read %+v", ops, got)
	}
	register(t, c, in("default"))
	_, _, err = c.Jobs().Register(in("ops"), &api.WriteOptions{Namespace: "ops"})
	check("register", err)
	both := await(t, "both jobs", func(q *api.QueryOptions) ([]*api.JobListStub, *api.QueryMeta, error) {
		q.Namespace = "*"
		return c.Jobs().List(q)
	}, func(list []*api.JobListStub) bool {
		return len(list) == 2 && list[0].Status == "running" && list[1].Status == "running"
	})
	if both[0].Namespace == both[1].Namespace || both[0].ID != both[1].ID {
		t.Errorf("%s/%s and %s/%s", both[0].Namespace, both[0].ID, both[1].Namespace, both[1].ID)
	}
	for namespace, want := range map[string]int{"default": 1, "ops": 1, "*": 2, "none": 0} {
		q := &api.QueryOptions{Namespace: namespace}
		jobs, _, errJobs := c.Jobs().List(q)
		allocs, _, errAllocs := c.Allocations().List(q)
		if errJobs != nil || errAllocs != nil || len(jobs) != want || len(allocs) != want {
			t.Errorf("in %s: %d jobs (%v), %d allocations (%v), want %d", namespace, len(jobs), errJobs, len(allocs), errAllocs, want)
		}
	}
	docker := in("ops")
	docker.TaskGroups[0].Tasks[0].Driver, docker.TaskGroups[0].Tasks[0].Config = "docker", map[string]any{"image": "busybox"}
	if _, _, err := c.Jobs().Register(docker, nil); statusOf(err) != 500 || !strings.Contains(err.Error(), `task driver "docker" is not allowed`) {
		t.Errorf("a driver that the namespace does not give: %v", err)
	}
	if resp, _, err := c.Jobs().Validate(docker, nil); err != nil || !strings.Contains(resp.Error, "is not allowed") {
		t.Errorf("validate: %+v (%v)", resp, err)
	}
	if _, _, err := c.Jobs().Plan(docker, false, nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "is not allowed") {
		t.Errorf("plan: %v", err)
	}

	// The command line, by flag and by environment.
	if out := a.ok(t, "job", "status", "-namespace=ops"); !strings.Contains(out, "web") {
		t.Errorf("job status in a namespace: %s", out)
	}
	if out := a.ok(t, "job", "status", "-namespace=*"); strings.Count(out, "web") != 2 || !strings.Contains(out, "Namespace") {
		t.Errorf("job status in all of them: %s", out)
	}
	if out := a.drover(t, "job", "status", "-namespace=none", "web"); out.code != 1 {
		t.Errorf("job status in none: %v", out)
	}
	if _, err := spaces.Delete("ops", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "non-terminal jobs") {
		t.Errorf("delete a namespace in which a job runs: %v", err)
	}
	if _, err := spaces.Delete("default", nil); statusOf(err) != 500 {
		t.Errorf("delete the default namespace: %v", err)
	}
	a.ok(t, "job", "stop", "-namespace=ops", "-purge", "web")
	await(t, "no allocation", func(q *api.QueryOptions) ([]*api.AllocationListStub, *api.QueryMeta, error) {
		q.Namespace = "ops"
		return c.Allocations().List(q)
	}, func(list []*api.AllocationListStub) bool {
		return !slices.ContainsFunc(list, func(a *api.AllocationListStub) bool {
			return a.ClientStatus == "running" || a.ClientStatus == "pending"
		})
	})
	_, err = spaces.Delete("ops", nil)
	check("delete", err)
	if _, _, err := spaces.Info("ops", nil); statusOf(err) != 404 {
		t.Errorf("a namespace that is gone: %v", err)
	}
}

// TestDefaultSchedulerConfiguration: a new cluster begins as its first server's
// configuration says, and keeps what was set by command later.
func TestDefaultSchedulerConfiguration(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{serverKeys: "default_scheduler_config {\n  scheduler_algorithm = \"spread\"\n  memory_oversubscription_enabled = true\n}"})
	begun, _, err := c.Operator().SchedulerGetConfiguration(nil)
	check("read", err)
	config := begun.SchedulerConfig
	if config.SchedulerAlgorithm != "spread" || !config.MemoryOversubscriptionEnabled || config.PauseEvalBroker {
		t.Errorf("a new cluster has %+v", config)
	}
	config.SchedulerAlgorithm = "binpack"
	_, _, err = c.Operator().SchedulerSetConfiguration(config, nil)
	check("set", err)
	a.interrupt()
	a.start(t)
	if now, _, err := c.Operator().SchedulerGetConfiguration(nil); err != nil || now.SchedulerConfig.SchedulerAlgorithm != "binpack" {
		t.Errorf("after a restart: %+v (%v)", now, err)
	}
}
