package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// TestWorkersOfAServer changes at run time how many evaluations a server works on, and of which types of job.
func TestWorkersOfAServer(t *testing.T) {
	t.Parallel()
	check := checker(t)
	a, c := newOne(t, agentConfig{serverKeys: "  num_schedulers = 2\n  enabled_schedulers = [\"service\", \"batch\", \"_core\"]\n"})
	all := []string{"batch", "service", "sysbatch", "system"}
	arranged := func(count int, types ...string) {
		t.Helper()
		now, err := c.Agent().GetSchedulerWorkerConfig(nil)
		check("read", err)
		workers, err := c.Agent().GetSchedulerWorkersInfo(nil)
		check("workers", err)
		if now.NumSchedulers != count || !slices.Equal(now.EnabledSchedulers, types) || len(workers.Schedulers) != count {
			t.Errorf("%+v with %d workers, want %d of %v", now, len(workers.Schedulers), count, types)
		}
		for _, w := range workers.Schedulers {
			if w.Status != "Started" || !slices.Equal(w.EnabledSchedulers, types) || w.Started == "" {
				t.Errorf("worker %+v", w)
			}
		}
	}
	arranged(2, "batch", "service")
	system, _, err := c.Jobs().Register(shell("everywhere", "system", 1, "exec sleep 3600"), nil)
	check("register", err)
	answer, err := c.Agent().SetSchedulerWorkerConfig(api.SchedulerWorkerPoolArgs{NumSchedulers: 0, EnabledSchedulers: nil}, nil)
	check("none", err)
	if answer.NumSchedulers != 0 {
		t.Errorf("answered %+v", answer)
	}
	arranged(0, all...)
	service := register(t, c, shell("web", "service", 1, "exec sleep 3600"))
	for _, id := range []string{system.EvalID, service.EvalID} {
		if eval, _, err := c.Evaluations().Info(id, nil); err != nil || eval.Status != "pending" {
			t.Errorf("without workers: %+v (%v)", eval, err)
		}
	}
	answer, err = c.Agent().SetSchedulerWorkerConfig(api.SchedulerWorkerPoolArgs{NumSchedulers: 3, EnabledSchedulers: []string{"system", "_core", "system"}}, nil)
	check("only system", err)
	if answer.NumSchedulers != 3 || !slices.Equal(answer.EnabledSchedulers, []string{"system"}) {
		t.Errorf("answered %+v", answer)
	}
	arranged(3, "system")
	awaitCount(t, c, "everywhere", "running", 1)
	if eval, _, err := c.Evaluations().Info(service.EvalID, nil); err != nil || eval.Status != "pending" {
		t.Errorf("while services are nobody's: %+v (%v)", eval, err)
	}
	_, err = c.Agent().SetSchedulerWorkerConfig(api.SchedulerWorkerPoolArgs{NumSchedulers: 1, EnabledSchedulers: all}, nil)
	check("all", err)
	arranged(1, all...)
	awaitCount(t, c, "web", "running", 1)

	for body, want := range map[string]string{
		``:  "",
		`{`: "",
		`{"num_schedulers":"many","enabled_schedulers":["batch"]}`:  "num_schedulers",
		`{"enabled_schedulers":["batch"]}`:                          "num_schedulers is missing",
		`{"num_schedulers":2}`:                                      "enabled_schedulers is missing",
		`{"num_schedulers":2,"enabled_schedulers":["_core"]}`:       "enabled_schedulers is missing",
		`{"num_schedulers":2,"enabled_schedulers":["cron"]}`:        `no scheduler "cron"`,
		`{"num_schedulers":-1,"enabled_schedulers":["batch"]}`:      "between 0 and",
		`{"num_schedulers":1000000,"enabled_schedulers":["batch"]}`: "between 0 and",
	} {
		if code, answer := request(t, http.MethodPut, a.url()+"/v1/agent/schedulers/config", body); code != http.StatusBadRequest || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, code, answer)
		}
	}
	arranged(1, all...)
	if code, answer := request(t, http.MethodPut, a.url()+"/v1/agent/schedulers/config?region=mars", `{}`); code != http.StatusInternalServerError || !strings.Contains(answer, "No path to region") {
		t.Errorf("another region: %d %s", code, answer)
	}
}

// TestCheck asks real agents whether they are well.
func TestCheck(t *testing.T) {
	t.Parallel()
	a, _ := newOne(t, agentConfig{})
	if r := a.drover(t, "check"); r.code != 0 || !strings.HasPrefix(r.stdout, "server: ok, 0 peers; client: ok, 1 servers, heard ") || r.stderr != "" {
		t.Errorf("check: %s", r)
	}
	for flag, want := range map[string]string{"-min-peers=1": "server: it knows 0 peers, expected are at least 1", "-min-servers=2": "client: it knows 1 servers, expected are at least 2"} {
		if r := a.drover(t, "check", flag); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("check %s: %s", flag, r)
		}
	}
	a.kill()
	if r := a.drover(t, "check"); r.code != 2 || !strings.Contains(r.stderr, "Error querying agent info") {
		t.Errorf("check of an agent that is dead: %s", r)
	}
}
