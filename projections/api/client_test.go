package api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"drover/eventlog/event"
)

// The official client reads the whole town.
func TestOfficialClientReadsJobs(t *testing.T) {
	c := town(t)
	client, _ := c.serve()
	jobs := client.Jobs()

	stubs, meta, err := jobs.List(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(stubs) != 2 || stubs[0].ID != "old" || stubs[1].ID != "web" {
		t.Fatalf("jobs: %+v", stubs)
	}
	if meta.LastIndex != c.state.Index() || !meta.KnownLeader || meta.LastContact != 3*time.Millisecond {
		t.Errorf("meta: %+v", meta)
	}
	web := stubs[1]
	if web.Status != "running" || web.JobSummary == nil || web.JobSummary.Namespace != "default" {
		t.Errorf("stub: %+v", web)
	}
	if got := web.JobSummary.Summary["front"]; got != (nomad.TaskGroupSummary{Queued: 1, Starting: 1, Running: 1}) {
		t.Errorf("summary: %+v", got)
	}
	if stubs[0].Status != "pending" || !stubs[0].Stop {
		t.Errorf("stopped job with an open evaluation: %+v", stubs[0])
	}

	job, _, err := jobs.Info("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *job.ID != "web" || *job.Version != 0 || *job.Status != "running" || *job.Stop || *job.TaskGroups[0].Count != 3 || *job.SubmitTime != epochStart.UnixNano() {
		t.Errorf("job: %+v", job)
	}
	if got := job.TaskGroups[0].Tasks[0].Config["command"]; got != "/bin/sleep" {
		t.Errorf("task config: %v", got)
	}

	versions, diffs, _, err := jobs.Versions("old", false, nil)
	if err != nil || len(versions) != 2 || *versions[0].Version != 1 || !*versions[0].Stop || *versions[1].Stop || diffs != nil {
		t.Errorf("versions: %v %v %v", versions, diffs, err)
	}
	versions, diffs, _, err = jobs.Versions("old", true, nil)
	if err != nil || len(versions) != 2 || len(diffs) != 1 || diffs[0].Type != "Edited" || diffs[0].Fields[0].Name != "Stop" || diffs[0].Fields[0].New != "true" {
		t.Errorf("versions with differences: %v %+v %v", versions, diffs, err)
	}
	base := uint64(0)
	versions, diffs, _, err = jobs.VersionsOpts("old", &nomad.VersionsOptions{DiffVersion: &base}, nil)
	if err != nil || len(diffs) != len(versions) || diffs[0].Type != "Edited" || diffs[1].Type != "None" {
		t.Errorf("versions against the first: %v %+v %v", versions, diffs, err)
	}
	submission, _, err := jobs.Submission("web", 0, nil)
	if err != nil || submission.Source != `job "web" {}` || submission.Format != "hcl2" {
		t.Errorf("submission: %+v %v", submission, err)
	}
	summary, _, err := jobs.Summary("web", nil)
	if err != nil || summary.Summary["front"].Running != 1 {
		t.Errorf("summary: %+v %v", summary, err)
	}
	allocs, _, err := jobs.Allocations("web", false, nil)
	if err != nil || len(allocs) != 2 || allocs[0].Name != "web.front[0]" || allocs[0].NodeName != "a" || allocs[0].JobType != "service" {
		t.Errorf("allocations: %+v %v", allocs, err)
	}
	evals, _, err := jobs.Evaluations("web", nil)
	if err != nil || len(evals) != 2 || evals[1].ID != evalWeb.String() { // the client sorts newest first
		t.Errorf("evaluations: %+v %v", evals, err)
	}
	if list, _, err := jobs.Deployments("web", false, nil); err == nil || !strings.Contains(err.Error(), "deployments is part of the API and is not built") {
		t.Errorf("deployments: %v %v", list, err)
	}
	if latest, _, err := jobs.LatestDeployment("web", nil); err != nil || latest != nil {
		t.Errorf("latest deployment: %v %v", latest, err)
	}
	if _, _, err := jobs.Info("nope", nil); err == nil || !strings.Contains(err.Error(), "404 (job not found)") {
		t.Errorf("unknown job: %v", err)
	}
	if _, _, err := jobs.Submission("web", 7, nil); err == nil || !strings.Contains(err.Error(), "job source not found") {
		t.Errorf("unknown version: %v", err)
	}
	if list, _, err := jobs.Allocations("nope", false, nil); err != nil || list == nil || len(list) != 0 {
		t.Errorf("allocations of an unknown job: %v %v", list, err)
	}
}

func TestOfficialClientReadsAllocations(t *testing.T) {
	c := town(t)
	client, _ := c.serve()

	stubs, _, err := client.Allocations().List(&nomad.QueryOptions{Params: map[string]string{"resources": "true"}})
	if err != nil || len(stubs) != 2 {
		t.Fatalf("allocations: %v %v", stubs, err)
	}
	if m := stubs[0].AllocatedResources.Tasks["server"].Memory; m.MemoryMB != 256 || m.MemoryMaxMB != 0 {
		t.Errorf("resources in the stub: %+v", m)
	}
	c.commit(&event.SchedulerConfigured{MemoryOversubscribed: true})
	stubs, _, err = client.Allocations().List(&nomad.QueryOptions{Params: map[string]string{"resources": "true"}})
	if err != nil || stubs[0].AllocatedResources.Tasks["server"].Memory.MemoryMaxMB != 512 {
		t.Errorf("resources where memory may be oversubscribed: %+v (%v)", stubs[0].AllocatedResources, err)
	}
	prefix := webAlloc(0).Short()
	found, _, err := client.Allocations().PrefixList(prefix[:6])
	if err != nil || len(found) != 1 || found[0].ID != webAlloc(0).String() {
		t.Fatalf("by prefix: %v %v", found, err)
	}

	a, _, err := client.Allocations().Info(webAlloc(0).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Job == nil || *a.Job.Version != 0 || a.Name != "web.front[0]" || a.NodeName != "a" || a.ClientStatus != "running" || a.ClientDescription != "Tasks are running" {
		t.Errorf("allocation: %+v", a)
	}
	if r := a.Resources; *r.CPU != 600 || *r.MemoryMB != 320 || *r.DiskMB != 300 {
		t.Errorf("sum of resources: %d %d %d", *r.CPU, *r.MemoryMB, *r.DiskMB)
	}
	if n := a.TaskResources["server"].Networks[0]; n.IP != "10.0.0.1" || n.DynamicPorts[0].Value != 20001 || n.ReservedPorts[0].Value != 9090 || *a.TaskResources["server"].CPU != 500 {
		t.Errorf("a task's network: %+v", n)
	}
	shared := a.AllocatedResources.Shared
	if shared.DiskMB != 300 || shared.Networks[0].IP != "10.0.0.1" || shared.Networks[0].Device != "eth0" {
		t.Errorf("shared: %+v", shared)
	}
	if got, want := shared.Ports, []nomad.PortMapping{{Label: "admin", Value: 9090, HostIP: "192.0.2.7"}, {Label: "http", Value: 20001, To: 8080, HostIP: "10.0.0.1"}}; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("ports: %+v", got)
	}
	if m := a.Metrics; m.NodesEvaluated != 2 || m.ScoreMetaData[0].NormScore != 0.512345 || m.ConstraintFiltered["missing drivers"] != 1 {
		t.Errorf("metrics: %+v", m)
	}
	server := a.TaskStates["server"]
	if server.State != "running" || server.Restarts != 1 || server.StartedAt != epochStart.Add(time.Minute) || !server.FinishedAt.IsZero() {
		t.Errorf("task state: %+v", server)
	}
	var told []string
	for _, e := range server.Events {
		told = append(told, e.Type+": "+e.DisplayMessage)
	}
	want := "Received: Task received by client\nTerminated: Exit Code: 3\nRestarting: Restart within policy - Task restarting in 15s\nStarted: Task started by client"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("events:\n%s\nwant:\n%s", got, want)
	}
	if e := server.Events[1]; e.ExitCode != 3 || server.Events[2].StartDelay != 15e9 {
		t.Errorf("flat fields: %+v %+v", e, server.Events[2])
	}

	if _, _, err := client.Allocations().Info(id(99).String(), nil); err == nil || !strings.Contains(err.Error(), "404 (alloc not found)") {
		t.Errorf("unknown allocation: %v", err)
	}
}

func TestOfficialClientReadsNodes(t *testing.T) {
	c := town(t)
	client, _ := c.serve()

	stubs, _, err := client.Nodes().List(&nomad.QueryOptions{Params: map[string]string{"resources": "true", "os": "true"}})
	if err != nil || len(stubs) != 2 {
		t.Fatalf("nodes: %v %v", stubs, err)
	}
	if s := stubs[1]; s.Address != "10.0.0.1" || s.Version != "2.0.5" || s.Status != "ready" || s.SchedulingEligibility != "eligible" ||
		s.NodeResources.Memory.MemoryMB != 8000 || s.Attributes["os.name"] != "debian" || len(s.Attributes) != 1 || !s.Drivers["raw_exec"].Healthy {
		t.Errorf("stub: %+v", s)
	}
	n, _, err := client.Nodes().Info(nodeA.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.Status != "ready" || n.ReservedResources.Cpu.CpuShares != 100 || len(n.Events) != 2 || n.Events[0].Message != "Node registered" || n.StatusUpdatedAt == 0 {
		t.Errorf("node: %+v", n)
	}
	allocs, _, err := client.Nodes().Allocations(nodeA.String(), nil)
	if err != nil || len(allocs) != 2 || allocs[0].Job == nil || *allocs[0].Resources.CPU != 600 {
		t.Errorf("node's allocations: %v %v", allocs, err)
	}
	if _, _, err := client.Nodes().Info(id(99).String(), nil); err == nil || !strings.Contains(err.Error(), "404 (node not found)") {
		t.Errorf("unknown node: %v", err)
	}
	if body := c.get("/v1/node/" + nodeA.String()).Body.String(); !strings.Contains(body, `"SecretID":""`) || strings.Contains(body, "SecretHash") {
		t.Errorf("node shows a secret: %s", body)
	}
}

func TestOfficialClientReadsEvaluations(t *testing.T) {
	c := town(t)
	client, _ := c.serve()

	evals, _, err := client.Evaluations().List(nil)
	if err != nil || len(evals) != 4 {
		t.Fatalf("evaluations: %v %v", evals, err)
	}
	e, _, err := client.Evaluations().Info(evalWeb.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if e.Status != "complete" || e.TriggeredBy != "job-register" || e.BlockedEval != evalBlocked.String() || e.QueuedAllocations["front"] != 1 || e.SnapshotIndex != basisWeb {
		t.Errorf("evaluation: %+v", e)
	}
	if m := e.FailedTGAllocs["front"]; m == nil || m.DimensionExhausted["memory"] != 1 {
		t.Errorf("why placement failed: %+v", m)
	}
	if len(e.RelatedEvals) != 1 || e.RelatedEvals[0].ID != evalBlocked.String() || e.RelatedEvals[0].Status != "blocked" {
		t.Errorf("related: %+v", e.RelatedEvals)
	}
	allocs, _, err := client.Evaluations().Allocations(evalWeb.String(), nil)
	if err != nil || len(allocs) != 2 {
		t.Errorf("its allocations: %v %v", allocs, err)
	}
	count, _, err := client.Evaluations().Count(&nomad.QueryOptions{Filter: `Status == "complete"`})
	if err != nil || count.Count != 2 {
		t.Errorf("count: %+v %v", count, err)
	}
	if _, _, err := client.Evaluations().Info(id(99).String(), nil); err == nil || !strings.Contains(err.Error(), "404 (eval not found)") {
		t.Errorf("unknown evaluation: %v", err)
	}
}

func TestOfficialClientReadsTheRest(t *testing.T) {
	c := town(t)
	client, _ := c.serve()

	if list, _, err := client.Deployments().List(nil); err == nil || !strings.Contains(err.Error(), "not built") {
		t.Errorf("deployments: %v %v", list, err)
	}
	if leader, err := client.Status().Leader(); err != nil || leader != "10.0.0.9:4647" {
		t.Errorf("leader: %q %v", leader, err)
	}
	if peers, err := client.Status().Peers(); err != nil || len(peers) != 1 {
		t.Errorf("peers: %v %v", peers, err)
	}
	if regions, err := client.Regions().List(); err != nil || len(regions) != 1 || regions[0] != "global" {
		t.Errorf("regions: %v %v", regions, err)
	}
	if self, err := client.Agent().Self(); err != nil || self.Config["Region"] != "global" || self.Stats["nomad"]["leader"] != "true" {
		t.Errorf("self: %+v %v", self, err)
	}
	if members, err := client.Agent().Members(); err != nil || members.Members[0].Tags["port"] != "4647" || members.ServerRegion != "global" {
		t.Errorf("members: %+v %v", members, err)
	}
	if namespaces, _, err := client.Namespaces().List(nil); err != nil || len(namespaces) != 1 || namespaces[0].Name != "default" {
		t.Errorf("namespaces: %v %v", namespaces, err)
	}
	if ns, _, err := client.Namespaces().Info("default", nil); err != nil || ns.Description == "" {
		t.Errorf("namespace: %v %v", ns, err)
	}
	if _, _, err := client.Namespaces().Info("nope", nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("unknown namespace: %v", err)
	}
	// What is not built says so and names itself.
	if _, _, err := client.Quotas().List(nil); err == nil || !strings.Contains(err.Error(), "501 (GET /v1/quotas is part of the API") {
		t.Errorf("quotas: %v", err)
	}
	if health := c.get("/v1/agent/health"); health.Code != 500 || health.Body.String() != `{"client":{"ok":true,"message":"ok"},"server":{"ok":false,"message":"no leader"}}` {
		t.Errorf("health: %d %s", health.Code, health.Body)
	}
	if health := c.get("/v1/agent/health?type=client"); health.Code != 200 {
		t.Errorf("client's health: %d %s", health.Code, health.Body)
	}
}

// Scripts of 2015 to 2018 look for a task's ports under the names that the task gave them.
func TestATaskHasItsOwnPortsUnderItsOwnLabels(t *testing.T) {
	port := func(label string, value int) event.Port { return event.Port{Label: label, Value: value} }
	asks := func(labels ...string) event.Resources {
		n := event.NetworkResource{MBits: 10}
		for _, l := range labels {
			n.DynamicPorts = append(n.DynamicPorts, port(l, 0))
		}
		return event.Resources{Networks: []event.NetworkResource{n}}
	}
	group := &event.TaskGroup{Tasks: []*event.Task{
		{Name: "a", Resources: asks("http", "admin")}, {Name: "b", Resources: asks("http")}, {Name: "plain"},
	}}
	given := []event.NetworkResource{{IP: "10.0.0.1", ReservedPorts: []event.Port{port("own", 80)}, DynamicPorts: []event.Port{
		port("http", 20001), port("admin", 20002), port("b_http", 20003),
	}}}
	for task, want := range map[string]event.NetworkResource{
		"a":     {IP: "10.0.0.1", MBits: 10, DynamicPorts: []event.Port{port("http", 20001), port("admin", 20002)}},
		"b":     {IP: "10.0.0.1", MBits: 10, DynamicPorts: []event.Port{port("http", 20003)}},
		"plain": {IP: "10.0.0.1", ReservedPorts: []event.Port{port("own", 80)}},
	} {
		if got := networksOf(group, task, given); !reflect.DeepEqual(got, []event.NetworkResource{want}) {
			t.Errorf("%s: %+v", task, got)
		}
	}
	given[0].ReservedPorts = nil
	if got := networksOf(group, "plain", given); len(got) != 0 {
		t.Errorf("a task without ports: %+v", got)
	}
	for _, task := range group.Tasks {
		task.Resources.Networks = nil
	}
	if got := networksOf(group, "a", given); !reflect.DeepEqual(got, given) {
		t.Errorf("where ports are the group's, they are every task's: %+v", got)
	}
}
