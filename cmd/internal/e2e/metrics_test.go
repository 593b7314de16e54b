package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// What dashboards read of a node: what it has promised, what its tasks use, and what became of them.
func TestNodeMetrics(t *testing.T) {
	t.Parallel()
	check := checker(t)
	server := newAgent(t, agentConfig{server: true})
	node := newAgent(t, agentConfig{name: "beta", client: true, servers: []string{server.rpc()}, keys: "telemetry {\n publish_allocation_metrics = true\n publish_node_metrics = true\n}\n"})
	c := server.client(t)
	awaitNodes(t, c, 1)
	again := shell("again", "service", 1, `test -e local/been && exec sleep 3600; touch local/been; exit 1`)
	again.TaskGroups[0].RestartPolicy = &api.RestartPolicy{Attempts: ptr(2), Interval: ptr(time.Hour), Delay: ptr(time.Millisecond), Mode: ptr("fail")}
	register(t, c, again)
	register(t, c, shell("once", "batch", 1, "true"))
	stub := awaitCount(t, c, "again", "running", 1)[0]
	awaitCount(t, c, "once", "complete", 1)
	awaitAlloc(t, c, stub.ID, func(a *api.Allocation) bool { return a.TaskStates["task"].Restarts == 1 && a.ClientStatus == "running" })

	text, err := node.client(t).Operator().Metrics(&api.QueryOptions{Params: map[string]string{"format": "prometheus"}})
	check("metrics", err)
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	check("what Prometheus reads", err)
	value := func(name string, labels ...string) float64 {
		t.Helper()
		var found []float64
		for _, m := range families[name].GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			fits := true
			for i := 0; i < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if !fits {
				continue
			}
			if m.Counter != nil {
				found = append(found, m.GetCounter().GetValue())
			} else {
				found = append(found, m.GetGauge().GetValue())
			}
		}
		if len(found) != 1 {
			t.Errorf("%s %q: %d rows", name, labels, len(found))
			return -1
		}
		return found[0]
	}
	cpu, memory := *again.TaskGroups[0].Tasks[0].Resources.CPU, *again.TaskGroups[0].Tasks[0].Resources.MemoryMB
	for name, want := range map[string]float64{
		"running": 1, "pending": 0, "terminal": 1,
	} {
		if got := value("nomad_client_allocations_"+name, "node_class", "none", "node_pool", "default", "node_status", "ready", "node_id", stub.NodeID); got != want {
			t.Errorf("%v allocations are %s, want %v", got, name, want)
		}
	}
	if a, u := value("nomad_client_allocated_cpu"), value("nomad_client_unallocated_cpu"); a != float64(cpu) || a+u != 4000 {
		t.Errorf("%v MHz are allocated and %v are not", a, u)
	}
	if a, u := value("nomad_client_allocated_memory"), value("nomad_client_unallocated_memory"); a != float64(memory) || a+u != 1000 {
		t.Errorf("%v MB are allocated and %v are not", a, u)
	}
	task := []string{"job", "again", "task_group", "group", "task", "task", "alloc_id", stub.ID, "namespace", "default"}
	if rss := value("nomad_client_allocs_memory_rss", task...); rss < 4096 || rss > 1<<30 {
		t.Errorf("the task has %v bytes", rss)
	}
	if percent := value("nomad_client_allocs_cpu_total_percent", task...); percent < 0 || percent > 200 {
		t.Errorf("the task takes %v %%", percent)
	}
	if f := families["nomad_client_allocs_running"]; f.GetType() != dto.MetricType_COUNTER {
		t.Errorf("a counter is %v", f.GetType())
	}
	if started, restarted := value("nomad_client_allocs_running", task...), value("nomad_client_allocs_restart", task...); started != 2 || restarted != 1 {
		t.Errorf("started %v times, restarted %v times", started, restarted)
	}
	if done := value("nomad_client_allocs_complete", "job", "once"); done != 1 {
		t.Errorf("completed %v times", done)
	}
	if total, up := value("nomad_client_host_memory_total"), value("nomad_client_uptime"); total < 1<<28 || up < 1 {
		t.Errorf("%v bytes, up for %v s", total, up)
	}
	if idle := value("nomad_client_host_cpu_idle", "cpu", "cpu0"); idle < 0 || idle > 100 {
		t.Errorf("cpu0 is idle for %v %%", idle)
	}
}
