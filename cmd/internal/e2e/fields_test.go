package e2e_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
	"github.com/hashicorp/nomad/api/contexts"
)

// holds checks that what was decoded is not empty there: dotted names of fields,
// keys of maps, and positions in lists.
func holds(t *testing.T, what string, decoded any, paths ...string) {
	t.Helper()
	for _, path := range paths {
		v, err := at(reflect.ValueOf(decoded), path)
		if err != nil {
			t.Errorf("%s: %s: %v", what, path, err)
		} else if !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
			t.Errorf("%s: %s is empty", what, path)
		}
	}
}

func at(v reflect.Value, path string) (reflect.Value, error) {
	for name := range strings.SplitSeq(path, ".") {
		for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
			v = v.Elem()
		}
		if !v.IsValid() {
			return v, fmt.Errorf("nothing before %s", name)
		}
		switch v.Kind() {
		case reflect.Struct:
			v = v.FieldByName(name)
		case reflect.Map:
			v = v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key()))
		case reflect.Slice:
			i, err := strconv.Atoi(name)
			if err != nil || i >= v.Len() {
				return v, fmt.Errorf("no item %s of %d", name, v.Len())
			}
			v = v.Index(i)
		default:
			return v, fmt.Errorf("%s of a %s", name, v.Kind())
		}
		if !v.IsValid() {
			return v, fmt.Errorf("no %s", name)
		}
	}
	return v, nil
}

// TestOfficialClientKnowsEveryField asks every reading route by the official
// client and compares what was sent with what the client takes it for.
func TestOfficialClientKnowsEveryField(t *testing.T) {
	t.Parallel()
	a, waiting := newOne(t, agentConfig{})
	c, line := tapped(t, a)
	seen := func(what string, decoded any, err error, set ...string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		exactly(t, line, decoded)
		holds(t, what, decoded, set...)
	}

	job := shell("shape", "service", 1, "echo hello; exec sleep 3600")
	job.Meta = map[string]string{"owner": "ops"}
	job.TaskGroups[0].Tasks[0].KillSignal = "SIGTERM"
	job.TaskGroups[0].Networks = []*api.NetworkResource{{DynamicPorts: []api.Port{{Label: "http"}}, ReservedPorts: []api.Port{{Label: "fixed", Value: freePort()}}}}
	validated, _, err := c.Jobs().Validate(job, nil)
	seen("validate", validated, err, "DriverConfigValidated")
	first, meta, err := c.Jobs().RegisterOpts(job, &api.RegisterOptions{Submission: &api.JobSubmission{Source: "job {}", Format: "hcl2"}}, nil)
	seen("register", first, err, "EvalID", "EvalCreateIndex", "JobModifyIndex")
	if meta.LastIndex < first.EvalCreateIndex {
		t.Errorf("registered at %d, evaluation at %d", meta.LastIndex, first.EvalCreateIndex)
	}
	stub := awaitCount(t, waiting, "shape", "running", 1)[0]
	awaitLog(t, waiting, stub.ID, "task", "hello\n")
	parsed, err := c.Jobs().ParseHCL("job \"x\" {\n  group \"g\" {\n    task \"t\" {\n      driver = \"raw_exec\"\n      config { command = \"true\" }\n    }\n  }\n}\n", true)
	seen("parse", parsed, err, "ID", "Type", "TaskGroups.0.Tasks.0.Resources.CPU")

	info, _, err := c.Jobs().Info("shape", nil)
	seen("job", info, err, "ID", "Name", "Namespace", "Type", "Priority", "Datacenters", "NodePool", "Status", "SubmitTime", "Meta.owner",
		"CreateIndex", "ModifyIndex", "JobModifyIndex", "Update.MaxParallel", "TaskGroups.0.EphemeralDisk.SizeMB",
		"TaskGroups.0.RestartPolicy.Interval", "TaskGroups.0.ReschedulePolicy.Delay", "TaskGroups.0.Networks.0.DynamicPorts.0.Label",
		"TaskGroups.0.Tasks.0.Config.command", "TaskGroups.0.Tasks.0.LogConfig.MaxFiles", "TaskGroups.0.Tasks.0.KillTimeout",
		"TaskGroups.0.Constraints.0.LTarget")
	if implied := info.TaskGroups[0].Constraints[0]; implied.LTarget != "${attr.os.signals}" || implied.RTarget != "SIGTERM" {
		t.Errorf("implied: %+v", implied)
	}
	jobs, _, err := c.Jobs().ListOptions(&api.JobListOptions{Fields: &api.JobListFields{Meta: true}}, nil)
	seen("jobs", jobs, err, "0.ID", "0.Name", "0.Namespace", "0.Datacenters", "0.Type", "0.Priority", "0.Status", "0.JobSummary.Summary.group.Running",
		"0.JobSummary.Namespace", "0.CreateIndex", "0.ModifyIndex", "0.JobModifyIndex", "0.SubmitTime", "0.Meta.owner")
	summary, _, err := c.Jobs().Summary("shape", nil)
	seen("summary", summary, err, "JobID", "Namespace", "Summary.group.Running", "CreateIndex", "ModifyIndex")
	var whole struct {
		Versions []*api.Job
		Diffs    []*api.JobDiff
	}
	_, err = c.Raw().Query("/v1/job/shape/versions", &whole, nil)
	seen("versions", &whole, err, "Versions.0.ID", "Versions.0.SubmitTime")
	submission, _, err := c.Jobs().Submission("shape", 0, nil)
	seen("submission", submission, err, "Source", "Format")
	allocs, _, err := c.Jobs().Allocations("shape", false, &api.QueryOptions{Params: map[string]string{"resources": "true"}})
	seen("allocations of the job", allocs, err, "0.ID", "0.EvalID", "0.Name", "0.Namespace", "0.NodeID", "0.NodeName", "0.JobID", "0.JobType", "0.TaskGroup",
		"0.DesiredStatus", "0.ClientStatus", "0.TaskStates.task.State", "0.TaskStates.task.StartedAt", "0.TaskStates.task.Events.0.DisplayMessage",
		"0.CreateIndex", "0.ModifyIndex", "0.CreateTime", "0.ModifyTime", "0.AllocatedResources.Tasks.task.Cpu.CpuShares")
	evals, _, err := c.Jobs().Evaluations("shape", nil)
	seen("evaluations of the job", evals, err, "0.ID", "0.Status")
	latest, _, err := c.Jobs().LatestDeployment("shape", nil)
	seen("latest deployment", latest, err)
	changed := shell("shape", "service", 2, "echo again; exec sleep 3600")
	plan, _, err := c.Jobs().Plan(changed, true, nil)
	seen("plan", plan, err, "JobModifyIndex", "Diff.TaskGroups.0.Tasks.0.Type", "Annotations.DesiredTGUpdates.group.DestructiveUpdate")
	big := shell("shape", "service", 1, "exec sleep 3600")
	big.TaskGroups[0].Tasks[0].Resources.MemoryMB = ptr(100000)
	plan, _, err = c.Jobs().Plan(big, false, nil)
	seen("plan of what does not fit", plan, err, "CreatedEvals.0.ID", "FailedTGAllocs.group.NodesEvaluated", "FailedTGAllocs.group.DimensionExhausted.memory", "FailedTGAllocs.group.NodesAvailable.dc1")
	var statuses []struct {
		ID, Namespace, Name, Type, NodePool, ParentID, Status string
		Datacenters, ChildStatuses                            []string
		Priority, GroupCountSum                               int
		Version, ModifyIndex                                  uint64
		SubmitTime                                            int64
		Allocs                                                []struct {
			ID, Group, ClientStatus, NodeID, FollowupEvalID string
			DeploymentStatus                                struct {
				Canary  bool
				Healthy *bool
			}
			JobVersion    uint64
			HasPausedTask bool
		}
		LatestDeployment *api.Deployment
		Stop, IsPack     bool
	}
	_, err = c.Raw().Query("/v1/jobs/statuses", &statuses, nil)
	seen("statuses", &statuses, err, "0.ID", "0.Allocs.0.ClientStatus", "0.GroupCountSum", "0.SubmitTime")

	alloc, _, err := c.Allocations().Info(stub.ID, nil)
	seen("allocation", alloc, err, "ID", "Namespace", "EvalID", "Name", "NodeID", "NodeName", "JobID", "Job.ID", "Job.Version", "TaskGroup",
		"Resources.CPU", "Resources.MemoryMB", "Resources.DiskMB", "TaskResources.task.CPU", "TaskResources.task.MemoryMB",
		"TaskResources.task.Networks.0.IP", "TaskResources.task.Networks.0.DynamicPorts.0.Value", "TaskResources.task.Networks.0.ReservedPorts.0.Value",
		"AllocatedResources.Tasks.task.Memory.MemoryMB", "AllocatedResources.Shared.DiskMB", "AllocatedResources.Shared.Ports.0.Value",
		"AllocatedResources.Shared.Ports.0.HostIP", "AllocatedResources.Shared.Networks.0.DynamicPorts.0.Label", "Metrics.NodesEvaluated",
		"Metrics.NodesAvailable.dc1", "Metrics.ScoreMetaData.0.NodeID", "Metrics.ScoreMetaData.0.Scores",
		"DesiredStatus", "ClientStatus", "ClientDescription", "TaskStates.task.Events.0.Time", "CreateIndex", "ModifyIndex", "AllocModifyIndex", "CreateTime", "ModifyTime")
	allocs, _, err = c.Allocations().List(nil)
	seen("allocations", allocs, err, "0.ID")
	usage, err := c.Allocations().Stats(alloc, nil)
	seen("usage", usage, err, "Timestamp", "ResourceUsage.MemoryStats.Measured", "ResourceUsage.CpuStats.Measured", "Tasks.task.Pids")
	files, _, err := c.AllocFS().List(alloc, "alloc/logs", nil)
	seen("files", files, err, "0.Name", "0.ModTime", "0.FileMode")
	file, _, err := c.AllocFS().Stat(alloc, "alloc/logs/task.stdout.0", nil)
	seen("file", file, err, "Name", "Size", "FileMode", "ModTime")

	eval, _, err := c.Evaluations().Info(first.EvalID, nil)
	seen("evaluation", eval, err, "ID", "Priority", "Type", "TriggeredBy", "Namespace", "JobID", "JobModifyIndex", "Status", "QueuedAllocations", "SnapshotIndex",
		"CreateIndex", "ModifyIndex", "CreateTime", "ModifyTime")
	evals, _, err = c.Evaluations().List(nil)
	seen("evaluations", evals, err, "0.ID")
	count, _, err := c.Evaluations().Count(nil)
	seen("count of evaluations", count, err, "Count")
	allocs, _, err = c.Evaluations().Allocations(first.EvalID, nil)
	seen("allocations of the evaluation", allocs, err, "0.ID")

	nodes, _, err := c.Nodes().List(&api.QueryOptions{Params: map[string]string{"resources": "true", "os": "true"}})
	seen("nodes", nodes, err, "0.Address", "0.ID", "0.Attributes", "0.Datacenter", "0.Name", "0.NodePool", "0.Version", "0.SchedulingEligibility", "0.Status",
		"0.Drivers.raw_exec.Healthy", "0.NodeResources.Cpu.CpuShares", "0.NodeResources.Memory.MemoryMB", "0.NodeResources.Disk.DiskMB", "0.CreateIndex", "0.ModifyIndex")
	node, _, err := c.Nodes().Info(stub.NodeID, nil)
	seen("node", node, err, "ID", "Datacenter", "Name", "HTTPAddr", "Attributes", "NodeResources.Cpu.CpuShares", "NodeResources.Networks.0.IP",
		"NodeResources.Cpu.TotalCpuCores", "NodeResources.MinDynamicPort", "NodeResources.MaxDynamicPort", "Resources.CPU", "Resources.MemoryMB", "Resources.DiskMB",
		"NodePool", "SchedulingEligibility", "Status", "StatusUpdatedAt", "Events.0.Message", "Events.0.Subsystem", "Events.0.Timestamp",
		"Drivers.raw_exec.Detected", "CreateIndex", "ModifyIndex")
	allocsOn, _, err := c.Nodes().Allocations(node.ID, nil)
	seen("allocations on the node", allocsOn, err, "0.ID", "0.Job.ID", "0.Resources.CPU")
	stats, err := c.Nodes().Stats(node.ID, nil)
	seen("host stats", stats, err, "Memory.Total", "CPU.0.CPU", "DiskStats.0.Device", "AllocDirStats.Size", "Uptime")

	self, err := c.Agent().Self()
	seen("self", self, err, "Config.Region", "Config.Datacenter", "Config.NodeName", "Config.Version", "Config.Ports", "Member.Name", "Member.Addr", "Member.Port",
		"Member.Tags.role", "Member.Tags.id", "Member.Status", "Stats.nomad.leader", "Stats.raft.term", "Stats.serf.members", "Stats.runtime.arch", "Stats.client.node_id")
	members, err := c.Agent().Members()
	seen("members", members, err, "ServerName", "ServerRegion", "ServerDC", "Members.0.Name")
	health, err := c.Agent().Health()
	seen("health", health, err, "Client.Ok", "Server.Ok")
	workers, err := c.Agent().GetSchedulerWorkersInfo(nil)
	seen("workers", workers, err, "ServerID", "Schedulers.0.ID", "Schedulers.0.EnabledSchedulers", "Schedulers.0.Started", "Schedulers.0.Status", "Schedulers.0.WorkloadStatus")
	var pool struct {
		ServerID          string   `json:"server_id"`
		NumSchedulers     int      `json:"num_schedulers"`
		EnabledSchedulers []string `json:"enabled_schedulers"`
	}
	_, err = c.Raw().Query("/v1/agent/schedulers/config", &pool, nil)
	seen("configuration of the workers", &pool, err, "ServerID", "NumSchedulers", "EnabledSchedulers")
	if pool.NumSchedulers != len(workers.Schedulers) {
		t.Errorf("%d workers, configured are %d", len(workers.Schedulers), pool.NumSchedulers)
	}
	raft, err := c.Operator().RaftGetConfiguration(nil)
	seen("raft", raft, err, "Index", "Servers.0.ID", "Servers.0.Node", "Servers.0.Address", "Servers.0.RaftProtocol")
	pilot, _, err := c.Operator().AutopilotServerHealth(nil)
	seen("autopilot", pilot, err, "Healthy", "Leader", "Voters.0", "Servers.0.StableSince", "Servers.0.Version")
	metrics, _, err := c.Operator().MetricsSummary(nil)
	seen("metrics", metrics, err, "Timestamp", "Gauges.0.Name", "Samples.0.Name")
	scheduling, _, err := c.Operator().SchedulerGetConfiguration(nil)
	seen("configuration of the scheduler", scheduling, err, "SchedulerConfig.SchedulerAlgorithm")
	set, _, err := c.Operator().SchedulerSetConfiguration(scheduling.SchedulerConfig, nil)
	seen("the same set", set, err, "Updated")
	scaled, _, err := c.Jobs().Scale("shape", "group", ptr(1), "as it is", false, nil, nil)
	seen("scale", scaled, err, "JobModifyIndex")
	scale, _, err := c.Jobs().ScaleStatus("shape", nil)
	seen("scale status", scale, err, "JobID", "Namespace", "JobModifyIndex", "TaskGroups.group.Desired", "TaskGroups.group.Running", "TaskGroups.group.Events.0.Message",
		"TaskGroups.group.Events.0.Time")
	policies, _, err := c.Scaling().ListPolicies(nil)
	seen("scaling policies", policies, err)
	spaces, _, err := c.Namespaces().List(nil)
	seen("namespaces", spaces, err, "0.Name", "0.Description", "0.CreateIndex", "0.ModifyIndex")
	found, _, err := c.Search().PrefixSearch("sha", contexts.All, nil)
	seen("search", found, err, "Matches.jobs.0", "Truncations")
	fuzzy, _, err := c.Search().FuzzySearch("shape", contexts.All, nil)
	seen("fuzzy search", fuzzy, err, "Matches.jobs.0.ID", "Matches.jobs.0.Scope")
	if leader, err := c.Status().Leader(); err != nil || leader == "" {
		t.Errorf("leader %q (%v)", leader, err)
	}

	// While nothing is decided, what waits can be deleted.
	paused := *scheduling.SchedulerConfig
	paused.PauseEvalBroker = true
	if _, err := c.Evaluations().Delete([]string{first.EvalID}, nil); err == nil || !strings.Contains(err.Error(), "only while the scheduler is paused") {
		t.Errorf("deleted while the scheduler runs: %v", err)
	}
	_, _, err = c.Operator().SchedulerSetConfiguration(&paused, nil)
	seen("pause", &api.SchedulerSetConfigurationResponse{}, err)
	waits, _, err := c.Jobs().Register(shell("never", "batch", 1, "exit 0"), nil)
	seen("register while paused", waits, err)
	deleted, _, err := c.Evaluations().DeleteOpts(&api.EvalDeleteRequest{Filter: `JobID == "never"`}, nil)
	seen("delete evaluations", deleted, err, "Count")
	if _, _, err := c.Evaluations().Info(waits.EvalID, nil); statusOf(err) != 404 {
		t.Errorf("a deleted evaluation: %v", err)
	}
	if _, err := c.Evaluations().Delete([]string{first.EvalID}, nil); err == nil || !strings.Contains(err.Error(), "not safe to delete") {
		t.Errorf("deleted an evaluation in use: %v", err)
	}
	_, _, err = c.Operator().SchedulerSetConfiguration(scheduling.SchedulerConfig, nil)
	seen("go on", &api.SchedulerSetConfigurationResponse{}, err)

	id, _, err := c.Jobs().EvaluateWithOpts("shape", api.EvalOptions{}, nil)
	seen("evaluate", &api.JobRegisterResponse{}, err)
	if id == "" {
		t.Error("an evaluation without an ID")
	}
	registered := register(t, waiting, changed)
	if registered.EvalID == "" {
		t.Error("no evaluation of a change")
	}
	reverted, _, err := c.Jobs().Revert("shape", 0, nil, nil, "", "")
	seen("revert", reverted, err, "EvalID", "JobModifyIndex")
	eligible, err := c.Nodes().ToggleEligibility(node.ID, false, nil)
	seen("eligibility", eligible, err, "NodeModifyIndex")
	_, _, err = c.Jobs().Deregister("shape", true, nil)
	seen("deregister", &api.JobDeregisterResponse{}, err)
}
