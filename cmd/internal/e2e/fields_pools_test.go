package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// TestOfficialClientKnowsEveryFieldOfPools goes on with node pools, namespaces, scaling policies, and what is answered to
// operations on nodes, allocations and versions.
func TestOfficialClientKnowsEveryFieldOfPools(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, waiting := newOne(t, agentConfig{keys: "enable_debug = true\n", clientKeys: "  node_pool = \"racks\"\n  meta {\n    rack = \"r1\"\n  }\n"})
	c, line := tapped(t, a)
	seen := func(what string, decoded any, err error, set ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		exactly(t, line, decoded)
		holds(t, what, decoded, set...)
	}
	// written sends a change whose answer the client keeps to itself.
	written := func(what, path string, body, answer any, set ...string) {
		t.Helper()
		_, err := c.Raw().Write(path, body, answer, nil)
		seen(what, answer, err, set...)
	}

	_, err := c.Namespaces().Register(&api.Namespace{
		Name: "team-red", Description: "the reds", Meta: map[string]string{"boss": "none"},
		Capabilities: &api.NamespaceCapabilities{
			EnabledTaskDrivers: []string{"raw_exec"}, DisabledTaskDrivers: []string{"docker"}, EnabledNetworkModes: []string{"host"}, DisabledNetworkModes: []string{"bridge"},
		},
		NodePoolConfiguration: &api.NamespaceNodePoolConfiguration{Default: "racks", Allowed: []string{"default"}},
	}, nil)
	check("make a namespace", err)
	space, _, err := c.Namespaces().Info("team-red", nil)
	seen("namespace", space, err, "Name", "Description", "Meta.boss", "Capabilities.EnabledTaskDrivers.0", "Capabilities.DisabledTaskDrivers.0",
		"Capabilities.EnabledNetworkModes.0", "Capabilities.DisabledNetworkModes.0", "NodePoolConfiguration.Default", "NodePoolConfiguration.Allowed.0",
		"CreateIndex", "ModifyIndex")
	spaces, _, err := c.Namespaces().PrefixList("team", nil)
	seen("namespaces", spaces, err, "0.Name", "0.Capabilities.EnabledTaskDrivers.0", "0.NodePoolConfiguration.Default", "0.Meta.boss")

	_, err = c.NodePools().Register(&api.NodePool{
		Name: "racks", Description: "all racks", Meta: map[string]string{"floor": "2"}, NodeIdentityTTL: 3600e9,
		SchedulerConfiguration: &api.NodePoolSchedulerConfiguration{SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: ptr(true)},
	}, nil)
	check("make a pool", err)
	pool, _, err := c.NodePools().Info("racks", nil)
	seen("pool", pool, err, "Name", "Description", "Meta.floor", "NodeIdentityTTL", "SchedulerConfiguration.SchedulerAlgorithm",
		"SchedulerConfiguration.MemoryOversubscriptionEnabled", "CreateIndex", "ModifyIndex")
	if pool.NodeIdentityTTL != 3600e9 {
		t.Errorf("the pool's time to live is %v", pool.NodeIdentityTTL)
	}
	pools, _, err := c.NodePools().List(nil)
	seen("pools", pools, err, "0.Name", "0.Description", "2.SchedulerConfiguration.SchedulerAlgorithm")

	job := shell("shape", "service", 1, "exec sleep 3600")
	job.NodePool, job.Meta = ptr("racks"), map[string]string{"owner": "ops"}
	job.TaskGroups[0].Scaling = &api.ScalingPolicy{Min: ptr(int64(1)), Max: ptr(int64(4)), Policy: map[string]any{"cooldown": "1m"}}
	register(t, waiting, job)
	stub := awaitCount(t, waiting, "shape", "running", 1)[0]
	jobs, _, err := c.NodePools().ListJobs("racks", &api.QueryOptions{Params: map[string]string{"meta": "true"}})
	seen("jobs of the pool", jobs, err, "0.ID", "0.Namespace", "0.JobSummary.Summary.group.Running")
	nodes, _, err := c.NodePools().ListNodes("racks", &api.QueryOptions{Params: map[string]string{"resources": "true", "os": "true"}})
	seen("nodes of the pool", nodes, err, "0.ID", "0.NodePool", "0.Drivers.raw_exec.Healthy", "0.NodeResources.Cpu.CpuShares", "0.Attributes")

	policies, _, err := c.Scaling().ListPolicies(nil)
	seen("scaling policies", policies, err, "0.ID", "0.Enabled", "0.Type", "0.Target.Namespace", "0.Target.Job", "0.Target.Group", "0.CreateIndex", "0.ModifyIndex")
	policy, _, err := c.Scaling().GetPolicy(policies[0].ID, nil)
	seen("scaling policy", policy, err, "ID", "Namespace", "Type", "Target.Job", "Min", "Max", "Policy.cooldown", "Enabled", "CreateIndex", "ModifyIndex")

	meta, err := c.Nodes().Meta().Apply(&api.NodeMetaApplyRequest{NodeID: stub.NodeID, Meta: map[string]*string{"owner": ptr("ops")}}, nil)
	seen("change of metadata", meta, err, "Meta.owner", "Meta.rack", "Dynamic.owner", "Static.rack")
	meta, err = c.Nodes().Meta().Read(stub.NodeID, nil)
	seen("metadata", meta, err, "Meta.owner", "Meta.rack", "Dynamic.owner", "Static.rack")
	host, err := c.Agent().Host("", stub.NodeID, nil)
	seen("host", host, err, "AgentID", "HostData.OS", "HostData.Disk")
	servers, err := c.Agent().Servers()
	seen("servers that the node knows", servers, err, "0")
	workers, err := c.Agent().GetSchedulerWorkerConfig(nil)
	check("workers", err)
	var now api.AgentSchedulerWorkerConfigResponse
	written("the same workers", "/v1/agent/schedulers/config", (*api.AgentSchedulerWorkerConfigRequest)(workers), &now, "ServerID", "NumSchedulers", "EnabledSchedulers")
	var joined struct {
		NumJoined int    `json:"num_joined"`
		Error     string `json:"error"`
		Warning   string `json:"warning"`
	}
	written("join", "/v1/agent/join?address=127.0.0.1:9", nil, &joined, "Error")

	var tag struct {
		Name, Description string
		TaggedTime        int64
	}
	written("tag", "/v1/job/shape/versions/first/tag", &api.TagVersionRequest{Version: 0, Description: "the first"}, &tag, "Name", "Description", "TaggedTime")
	var done struct{ Index uint64 }
	written("signal", "/v1/client/allocation/"+stub.ID+"/signal", map[string]any{"Task": "task", "Signal": "SIGWINCH"}, &done)
	written("restart", "/v1/client/allocation/"+stub.ID+"/restart", map[string]any{"TaskName": "task"}, &done)
	alloc, _, err := c.Allocations().Info(stub.ID, nil)
	check("allocation", err)
	stopped, err := c.Allocations().Stop(alloc, nil)
	seen("stop", stopped, err, "EvalID")
	awaitAlloc(t, waiting, stub.ID, func(a *api.Allocation) bool { return a.ClientStatus == "complete" })
	var looked struct {
		NodeModifyIndex, EvalCreateIndex uint64
		EvalIDs                          []string
	}
	awaitCount(t, waiting, "shape", "running", 1)
	await(t, "evaluations", waiting.Evaluations().List, func(list []*api.Evaluation) bool {
		return !slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "pending" })
	})
	written("evaluate the node", "/v1/node/"+stub.NodeID+"/evaluate", nil, &looked, "NodeModifyIndex", "EvalCreateIndex", "EvalIDs.0")
	if eval, _, err := waiting.Evaluations().Info(looked.EvalIDs[0], nil); err != nil || eval.JobID != "shape" || eval.TriggeredBy != "node-update" || eval.NodeID != stub.NodeID {
		t.Errorf("the node's evaluation is %+v (%v)", eval, err)
	}
	if _, _, err := c.Nodes().ForceEvaluate("00000000-0000-4000-8000-000000000001", nil); statusOf(err) != 500 || !strings.Contains(err.Error(), "node not found") {
		t.Errorf("evaluate a node that is not there: %v", err)
	}
	var evaluated struct {
		EvalID          string
		EvalCreateIndex uint64
		JobModifyIndex  uint64
		Warnings        string
	}
	written("evaluate", "/v1/job/shape/evaluate", map[string]any{"JobID": "shape"}, &evaluated, "EvalID", "EvalCreateIndex", "JobModifyIndex")
	var removed struct {
		EvalID                          string
		EvalCreateIndex, JobModifyIndex uint64
	}
	_, err = c.Raw().Delete("/v1/job/shape", &removed, nil)
	seen("deregister", &removed, err, "EvalID", "EvalCreateIndex", "JobModifyIndex")
}
