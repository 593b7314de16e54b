package e2e_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// A job waits for a node that is in no rack, until an operator says of one, through a server, where it stands. The word
// outlasts the node's agent.
func TestNodeMetadata(t *testing.T) {
	t.Parallel()
	check := checker(t)
	server, c := newOne(t, agentConfig{})
	remote := newAgent(t, agentConfig{name: "beta", client: true, servers: []string{server.rpc()}, clientKeys: "meta {\n  zone = \"north\"\n}"})
	var node *api.NodeListStub
	for _, n := range awaitNodes(t, c, 2) {
		if n.Name == "beta" {
			node = n
		}
	}
	job := shell("racked", "service", 1, `echo "rack $RACK"; exec sleep 3600`)
	job.Constraints = []*api.Constraint{api.NewConstraint("${meta.rack}", "=", "r7"), api.NewConstraint("${meta.zone}", "is_set", "")}
	job.TaskGroups[0].Tasks[0].Env = map[string]string{"RACK": "${meta.rack}"}
	resp := register(t, c, job)
	await(t, "a blocked evaluation", func(q *api.QueryOptions) ([]*api.Evaluation, *api.QueryMeta, error) {
		return c.Jobs().Evaluations("racked", q)
	}, func(list []*api.Evaluation) bool {
		return slices.ContainsFunc(list, func(e *api.Evaluation) bool { return e.Status == "blocked" && e.PreviousEval == resp.EvalID })
	})

	got, err := c.Nodes().Meta().Apply(&api.NodeMetaApplyRequest{NodeID: node.ID, Meta: map[string]*string{"rack": ptr("r7"), "note": ptr("")}}, nil)
	check("apply", err)
	if !maps.Equal(got.Meta, map[string]string{"rack": "r7", "note": "", "zone": "north"}) || len(got.Static) != 1 {
		t.Errorf("answered %+v", got)
	}
	running := awaitCount(t, c, "racked", "running", 1)[0]
	if running.NodeID != node.ID {
		t.Errorf("it runs on %s", running.NodeName)
	}
	awaitLog(t, c, running.ID, "task", "rack r7\n")
	shown := server.ok(t, "node", "status", "-verbose", node.ID)
	if !strings.Contains(shown, "rack = r7\n") {
		t.Errorf("node status says:\n%s", shown)
	}

	remote.interrupt()
	remote.start(t)
	again, err := c.Nodes().Meta().Read(node.ID, nil)
	for err != nil && statusOf(err) == 404 { // the servers' way to the node is cut off for a moment
		awaitNodes(t, c, 2)
		again, err = c.Nodes().Meta().Read(node.ID, nil)
	}
	check("read", err)
	if !reflect.DeepEqual(again, got) {
		t.Errorf("after a start: %+v", again)
	}

	// The same by hand, asked of a server and of the node itself.
	if out := server.ok(t, "node", "meta", "apply", "-node-id", node.ID[:8], "-unset", "note,zone", "shelf=3"); out != "" {
		t.Errorf("apply says %q", out)
	}
	want := "All Meta\nrack  = r7\nshelf = 3\n\nDynamic Meta\nrack  = r7\nshelf = 3\nzone  = <unset>\n\nStatic Meta\nzone = north\n"
	for _, out := range []string{server.ok(t, "node", "meta", "read", "-node-id", node.ID[:8]), remote.ok(t, "node", "meta", "read")} {
		if out != want {
			t.Errorf("read says:\n%s", out)
		}
	}
	if out := server.ok(t, "node", "meta", "read", "-t", "{{.Meta.shelf}}"); out != "<no value>\n" {
		t.Errorf("the server's own node: %q", out)
	}
	if code, answer := request(t, "POST", server.url()+"/v1/client/metadata", `{"NodeID":"00000000-0000-0000-0000-000000000009","Meta":{"a":"b"}}`); code != 404 {
		t.Errorf("a node that is not there: %d %s", code, answer)
	}
	if code, answer := request(t, "PUT", server.url()+"/v1/client/metadata", `{"Meta":{"a":"b"}}`); code != 405 {
		t.Errorf("PUT: %d %s", code, answer)
	}

	if out := remote.ok(t, "node", "config", "-servers"); out != server.rpc()+"\n" {
		t.Errorf("known servers: %q", out)
	}
	if r := remote.drover(t, "client-config", "-update-servers", "127.0.0.1:1"); r.code != 1 || !strings.Contains(r.stderr, "none of these servers answers") || !strings.Contains(r.stderr, `"drover client-config" command is deprecated`) {
		t.Errorf("a server that is not there: %s", r)
	}
	remote.ok(t, "node", "config", "-update-servers", "127.0.0.1:1", server.rpc())
	if out := remote.ok(t, "node", "config", "-servers"); out != "127.0.0.1:1\n"+server.rpc()+"\n" {
		t.Errorf("known servers: %q", out)
	}
	remote.ok(t, "node", "meta", "apply", "shelf=4")
	await(t, "a word by way of the new list", func(q *api.QueryOptions) (*api.Node, *api.QueryMeta, error) {
		return c.Nodes().Info(node.ID, q)
	}, func(n *api.Node) bool { return n.Meta["shelf"] == "4" && n.Status == "ready" })
}
