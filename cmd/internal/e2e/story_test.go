package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// TestTheMainStory is what a new user does: start a development agent, run a job,
// look at it from every side, stop it, end the agent. Nothing stays.
func TestTheMainStory(t *testing.T) {
	http, rpc, serf, raft := freePort(), freePort(), freePort(), freePort()
	portsFile := filepath.Join(t.TempDir(), "ports.hcl")
	text := fmt.Sprintf("ports {\n  http = %d\n  rpc = %d\n  serf = %d\n  raft = %d\n}\n", http, rpc, serf, raft)
	if err := os.WriteFile(portsFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	dev := start(t, []string{"TMPDIR=" + tmp}, "agent", "-dev", "-config", portsFile)
	a := &agent{process: dev, agentConfig: agentConfig{httpPort: http}}
	if !dev.out.await(t, "Drover agent started!", dev.ended) {
		t.Fatalf("ended:\n%s", dev.out)
	}
	c := a.client(t)
	awaitNodes(t, c, 1)

	out := a.ok(t, "job", "run", filepath.Join(moduleRoot, "testdata/jobs/hello.nomad.hcl"))
	for _, want := range []string{"Monitoring evaluation", `Evaluation triggered by job "hello"`, `group "greeters"`, `finished with status "complete"`} {
		contains(t, out, want)
	}
	running := awaitCount(t, c, "hello", "running", 2)
	id := running[0].ID

	// The events tell it in order.
	out = a.ok(t, "event", "stream", "-no-follow")
	after := 0
	for _, kind := range []string{"ClusterCreated", "CommitterStarted", "NodeRegistered", "BlobStored", "JobSubmitted", "EvaluationCreated", "PlanCommitted", "AllocationsReported"} {
		at := strings.Index(out[after:], kind)
		if at < 0 {
			t.Fatalf("no %s after byte %d of\n%s", kind, after, out)
		}
		after += at
	}

	out = a.ok(t, "alloc", "logs", id)
	contains(t, out, "hello from hello.greeters[")
	contains(t, out, "("+id[:8]+"), port ")

	out = a.ok(t, "job", "status", "hello")
	contains(t, out, "Status        = running")
	contains(t, out, "greeters    0       0         2        0       0         0     0")
	out = a.ok(t, "alloc", "status", id[:8])
	for _, want := range []string{"Client Status", `Task "greet" is "running"`, "Started", "http", "Received"} {
		contains(t, out, want)
	}
	evals, _, err := c.Jobs().Evaluations("hello", nil)
	if err != nil || len(evals) != 1 {
		t.Fatalf("evaluations %v, %v", evals, err)
	}
	contains(t, a.ok(t, "eval", "status", evals[0].ID[:8]), "complete")
	contains(t, a.ok(t, "node", "status"), "ready")
	contains(t, a.ok(t, "node", "status", "-self"), "raw_exec")
	for _, args := range [][]string{
		{"job", "status", "-json", "hello"}, {"alloc", "status", "-json", id}, {"eval", "status", "-json", evals[0].ID},
		{"node", "status", "-json"}, {"node", "status", "-json", running[0].NodeID}, {"event", "stream", "-no-follow", "-json", "-kind", "JobSubmitted"},
	} {
		if out := a.ok(t, args...); !json.Valid([]byte(out)) {
			t.Errorf("drover %s is no JSON:\n%s", strings.Join(args, " "), out)
		}
	}
	var job struct{ ID, Status string }
	decodeOne(t, a.ok(t, "job", "status", "-json", "hello"), &job)
	var alloc api.Allocation
	decodeOne(t, a.ok(t, "alloc", "status", "-json", id), &alloc)
	if alloc.ClientStatus != "running" || alloc.TaskStates["greet"].State != "running" {
		t.Errorf("allocation as JSON: %+v", alloc)
	}

	contains(t, a.ok(t, "job", "stop", "hello"), `finished with status "complete"`)
	awaitCount(t, c, "hello", "complete", 2)
	contains(t, a.ok(t, "job", "status", "hello"), "Status        = dead (stopped)")
	contains(t, a.ok(t, "event", "verify"), "The event log is whole")

	// A second job runs when the agent ends: development agents take all with them.
	register(t, c, shell("left", "service", 1, "exec sleep 3600"))
	awaitCount(t, c, "left", "running", 1)
	if code := dev.interrupt(); code != 1 { // without leave_on_interrupt it is no graceful end
		t.Errorf("exit code %d:\n%s", code, tailOf(dev.out.String(), 3000))
	}
	if left := processesOf(tmp); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) > 0 {
		t.Errorf("left on disk: %v, %v", entries, err)
	}
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

// decodeOne decodes an object, or the only object of a list.
func decodeOne(t *testing.T, text string, into any) {
	t.Helper()
	if strings.HasPrefix(text, "[") {
		var list []json.RawMessage
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 {
			t.Fatalf("%d elements, %v", len(list), err)
		}
		text = string(list[0])
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}
