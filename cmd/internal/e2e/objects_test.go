package e2e_test

import (
	"slices"
	"strings"
	"testing"

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
	await(t, "the task with more memory", func(q *api.QueryOptions) ([]*api.AllocationListStub, *api.QueryMeta, error) {
		return c.Jobs().Allocations("greedy", false, q)
	}, func(list []*api.AllocationListStub) bool {
		return slices.ContainsFunc(list, func(a *api.AllocationListStub) bool { return a.JobVersion == 1 && a.ClientStatus == "running" })
	})
}
