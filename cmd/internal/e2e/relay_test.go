package e2e_test

import (
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// What people do to an allocation reaches it through a server that is no node, in the words of the field's own client.
func TestOperationsThroughAServer(t *testing.T) {
	t.Parallel()
	check := checker(t)
	server := newAgent(t, agentConfig{server: true})
	newAgent(t, agentConfig{name: "beta", client: true, servers: []string{server.rpc()}})
	c := server.client(t)
	awaitNodes(t, c, 1)
	job := shell("far", "service", 1, `echo started; trap "echo hangup" HUP; trap "exit 0" INT TERM; while :; do sleep 0.1; done`)
	job.TaskGroups[0].RestartPolicy.Attempts = ptr(3)
	register(t, c, job)
	stub := awaitCount(t, c, "far", "running", 1)[0]
	awaitLog(t, c, stub.ID, "task", "started\n")
	alloc := &api.Allocation{ID: stub.ID, NodeID: stub.NodeID}

	check("signal", c.Allocations().Signal(alloc, nil, "task", "SIGHUP"))
	awaitLog(t, c, stub.ID, "task", "started\nhangup\n")
	check("restart", c.Allocations().Restart(alloc, "task", nil))
	awaitLog(t, c, stub.ID, "task", "started\nhangup\nstarted\n")
	check("restart all", c.Allocations().RestartAllTasks(alloc, nil))
	awaitLog(t, c, stub.ID, "task", "started\nhangup\nstarted\nstarted\n")
	usage, err := c.Allocations().Stats(alloc, nil)
	check("stats", err)
	if usage.Tasks["task"] == nil || len(usage.Tasks["task"].Pids) == 0 {
		t.Errorf("usage %+v", usage)
	}
	files, _, err := c.AllocFS().List(alloc, "alloc/logs", nil)
	check("list", err)
	if len(files) != 2 || files[1].Name != "task.stdout.0" || files[1].Size == 0 {
		t.Errorf("files %+v", files)
	}
	info, _, err := c.AllocFS().Stat(alloc, "task/local", nil)
	check("stat", err)
	if !info.IsDir {
		t.Errorf("stat %+v", info)
	}
	for name, read := range map[string]func() (io.ReadCloser, error){
		"cat": func() (io.ReadCloser, error) { return c.AllocFS().Cat(alloc, "alloc/logs/task.stdout.0", nil) },
		"read at": func() (io.ReadCloser, error) {
			return c.AllocFS().ReadAt(alloc, "alloc/logs/task.stdout.0", 8, 6, nil)
		},
	} {
		r, err := read()
		check(name, err)
		text, err := io.ReadAll(r)
		if r.Close(); err != nil || !strings.Contains("started\nhangup\nstarted\nstarted\n", string(text)) || len(text) < 6 {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
	stopped, err := c.Allocations().Stop(alloc, nil)
	check("stop", err)
	if stopped.EvalID == "" {
		t.Errorf("stop answered %+v", stopped)
	}
	awaitAlloc(t, c, stub.ID, func(a *api.Allocation) bool { return a.ClientStatus == "complete" })
	err = c.Allocations().GC(alloc, nil)
	for err != nil && statusOf(err) == 400 { // the node waits for the word that its report was recorded
		err = c.Allocations().GC(alloc, nil)
	}
	check("clean up", err)
	if _, _, err := c.AllocFS().List(alloc, "/", nil); err == nil || statusOf(err) != 404 {
		t.Errorf("files of an allocation that was removed: %v", err)
	}
	for name, err := range map[string]error{
		"signal":  c.Allocations().Signal(alloc, nil, "task", "SIGHUP"),
		"restart": c.Allocations().Restart(alloc, "task", nil),
	} {
		if code := statusOf(err); code != 404 {
			t.Errorf("%s of an allocation that was removed: %d %v", name, code, err)
		}
	}
}
