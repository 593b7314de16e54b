package e2e_test

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// TestReloadOverTheAPI changes the log's level of an agent that runs.
func TestReloadOverTheAPI(t *testing.T) {
	t.Parallel()
	a := newAgent(t, agentConfig{server: true})
	c := a.client(t)
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(a.file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(string(text), `"DEBUG"`, `"INFO"`, 1))
	if err := c.Agent().Reload(nil, nil); err != nil {
		t.Fatal(err)
	}
	a.out.await(t, "Log level is now INFO", a.ended)
	workers := func() api.SchedulerWorkerPoolArgs {
		t.Helper()
		now, err := c.Agent().GetSchedulerWorkerConfig(nil)
		if err != nil {
			t.Fatal(err)
		}
		return *now
	}
	began := workers()
	write(strings.Replace(string(text), "bootstrap_expect = 1", "bootstrap_expect = 1\n  num_schedulers = 3\n  enabled_schedulers = [\"batch\"]", 1))
	if err := c.Agent().Reload(nil, nil); err != nil {
		t.Fatal(err)
	}
	if now := workers(); now.NumSchedulers != 3 || strings.Join(now.EnabledSchedulers, " ") != "batch" {
		t.Errorf("the workers are %+v", now)
	}
	// What was set by command stays for as long as the file says the same of it.
	if _, err := c.Agent().SetSchedulerWorkerConfig(api.SchedulerWorkerPoolArgs{NumSchedulers: 2, EnabledSchedulers: []string{"service"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Agent().Reload(nil, nil); err != nil {
		t.Fatal(err)
	}
	if now := workers(); now.NumSchedulers != 2 || strings.Join(now.EnabledSchedulers, " ") != "service" {
		t.Errorf("the workers are %+v", now)
	}
	write(string(text))
	if err := c.Agent().Reload(nil, nil); err != nil {
		t.Fatal(err)
	}
	if now := workers(); now.NumSchedulers != began.NumSchedulers || len(now.EnabledSchedulers) != 4 {
		t.Errorf("the workers are %+v, and were %+v", now, began)
	}
	write("nonsense = 1\n")
	if err := c.Agent().Reload(nil, nil); err == nil || !strings.Contains(err.Error(), "stays as it was") {
		t.Errorf("a wrong configuration: %v", err)
	}
}
