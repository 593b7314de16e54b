package e2e_test

import (
	"slices"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// A port asks for a network of the machine by the name that its operator gave it: the job goes to the node that has it,
// and is told the address there.
func TestHostNetwork(t *testing.T) {
	t.Parallel()
	check := checker(t)
	server, c := newOne(t, agentConfig{})
	newAgent(t, agentConfig{name: "beta", client: true, servers: []string{server.rpc()}, clientKeys: `
  meta {
    net = "inner"
  }
  host_network "inner" {
    interface      = "lo"
    cidr           = "127.0.0.0/8"
    reserved_ports = "20000-20999"
  }
  host_network "away" {
    cidr = "198.51.100.0/24"
  }`})
	var id string
	for _, n := range awaitNodes(t, c, 2) {
		if n.Name == "beta" {
			id = n.ID
		}
	}
	node, _, err := c.Nodes().Info(id, nil)
	check("node", err)
	if len(node.HostNetworks) != 1 || node.HostNetworks["inner"] == nil || node.HostNetworks["inner"].CIDR != "127.0.0.0/8" {
		t.Errorf("host networks %+v", node.HostNetworks)
	}
	contains(t, server.ok(t, "node", "status", "-verbose", id), "Host Networks")

	asking := func(name, network string) *api.Job {
		job := shell(name, "service", 1, `echo "at $NOMAD_ADDR_http $NOMAD_HOST_IP_http"; exec sleep 3600`)
		job.TaskGroups[0].Networks = []*api.NetworkResource{{DynamicPorts: []api.Port{{Label: "http", HostNetwork: network}}}}
		return job
	}
	register(t, c, asking("near", "${meta.net}"))
	running := awaitCount(t, c, "near", "running", 1)[0]
	if running.NodeID != id {
		t.Errorf("it runs on %s", running.NodeName)
	}
	alloc, _, err := c.Allocations().Info(running.ID, nil)
	check("allocation", err)
	port := alloc.AllocatedResources.Shared.Ports[0]
	if port.HostIP != "127.0.0.1" || port.Value < 21000 || alloc.AllocatedResources.Shared.Networks[0].DynamicPorts[0].HostNetwork != "inner" {
		t.Errorf("port %+v of %+v", port, alloc.AllocatedResources.Shared.Networks)
	}
	awaitLog(t, c, running.ID, "task", "at 127.0.0.1:")

	resp := register(t, c, asking("far", "away"))
	await(t, "a blocked evaluation", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("far", q)
	}, func(list []*api.Evaluation) bool {
		return slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "blocked" && e.PreviousEval == resp.EvalID })
	})
	contains(t, server.ok(t, "job", "status", "far"), `missing host network \"away\" for port \"http\"`)
}

// A new node that is to wait for its operator runs nothing before that one has spoken, and needs to be told once.
func TestDefaultIneligible(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{clientKeys: "default_ineligible = true"})
	node := awaitNodes(t, c, 1)[0]
	if node.SchedulingEligibility != "ineligible" {
		t.Errorf("a new node is %s", node.SchedulingEligibility)
	}
	resp := register(t, c, shell("waits", "service", 1, "exec sleep 3600"))
	await(t, "a blocked evaluation", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("waits", q)
	}, func(list []*api.Evaluation) bool {
		return slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "blocked" && e.PreviousEval == resp.EvalID })
	})
	_, err := c.Nodes().ToggleEligibility(node.ID, true, nil)
	check("make eligible", err)
	awaitCount(t, c, "waits", "running", 1)
	a.interrupt()
	a.start(t)
	if node = awaitNodes(t, c, 1)[0]; node.SchedulingEligibility != "eligible" {
		t.Errorf("after another start it is %s", node.SchedulingEligibility)
	}
}
