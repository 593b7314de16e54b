package agent

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"drover/commands"
	"drover/projections"
	"drover/projections/rest"
	"drover/scheduler"
)

func TestMetricsAddUp(t *testing.T) {
	m := newMetrics()
	m.state = projections.New
	m.decided(nil, 7*time.Millisecond)
	for _, bytes := range []int{100, 300} {
		m.appended(commands.AppendInfo{Commands: 2, Records: 3, Bytes: bytes, Append: 4 * time.Millisecond})
	}
	m.planned(scheduler.PlanResult{}, time.Millisecond)
	m.planned(scheduler.PlanResult{Refused: "why"}, time.Millisecond)
	m.planned(scheduler.PlanResult{Partial: true}, time.Millisecond)
	m.looked(scheduler.Wakeup{Blocked: 9, Woken: 2})
	m.looked(scheduler.Wakeup{Blocked: 7})
	rt := rest.NewRouter()
	rt.Handle(http.MethodGet, "/v1/metrics", m.show)
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/metrics", nil))
	var answer metricsAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	got := make(map[string]MetricSample)
	for _, s := range answer.Samples {
		got[s.Name] = s
	}
	for _, g := range answer.Gauges {
		if g.Name == metricBlocked && g.Value != 7 {
			t.Errorf("%v are blocked", g.Value)
		}
	}
	if s := got[metricWoken]; s.Count != 1 || s.Sum != 2 {
		t.Errorf("woken: %+v", s)
	}
	if s := got[metricAppendBytes]; s.Count != 2 || s.Sum != 400 || s.Min != 100 || s.Max != 300 || s.Mean != 200 || s.Stddev != 100 {
		t.Errorf("bytes of appends: %+v", s)
	}
	if got[metricSchedule].Max != 7 || got[metricAppendTime].Max != 4 || got[metricPlanSubmit].Count != 3 || got[metricPlanRefused].Count != 1 || got[metricPlanPartial].Count != 1 {
		t.Errorf("got %+v", got)
	}
	w = httptest.NewRecorder()
	if rt.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/metrics?format=xml", nil)); w.Code != http.StatusBadRequest {
		t.Errorf("another format: %d", w.Code)
	}
}

// What Prometheus's own parser reads of the text form.
func TestMetricsInPrometheusForm(t *testing.T) {
	m := newMetrics()
	m.state = projections.New
	for i := range 1000 {
		m.add(metricAppendTime, float64(i))
	}
	w := httptest.NewRecorder()
	if err := m.show(w, httptest.NewRequest(http.MethodGet, "/v1/metrics?format=prometheus", nil)); err != nil {
		t.Fatal(err)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nomad_nomad_job_status_running", "nomad_nomad_broker_total_ready", "nomad_nomad_blocked_evals_total_blocked", "nomad_runtime_num_goroutines"} {
		if f := families[name]; f == nil || f.GetType() != dto.MetricType_GAUGE || f.GetHelp() != name {
			t.Errorf("%s: %v", name, f)
		}
	}
	times := families["nomad_nomad_eventlog_append_time"]
	if times == nil || times.GetType() != dto.MetricType_SUMMARY {
		t.Fatalf("a sample: %v", times)
	}
	s := times.Metric[0].GetSummary()
	if s.GetSampleCount() != 1000 || s.GetSampleSum() != 499_500 || len(s.Quantile) != 3 {
		t.Errorf("got %v", s)
	}
	for _, q := range s.Quantile {
		// Of the last 256 values, 744 to 999.
		if want := 744 + math.Round(q.GetQuantile()*255); q.GetValue() != want {
			t.Errorf("quantile %v is %v, want %v", q.GetQuantile(), q.GetValue(), want)
		}
	}
}

// Names and labels that the format has no room for come out as ones it has.
func TestPrometheusTextIsEscaped(t *testing.T) {
	w := httptest.NewRecorder()
	err := writePrometheus(w, &metricsAnswer{Gauges: []metricGauge{
		{Name: "nomad.a-b/c=d e", Value: 1, Labels: map[string]string{"job": "a\"b\\c\nd", "exec-path": "x"}},
		{Name: "nomad.inf", Value: math.Inf(1)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatalf("%v:\n%s", err, w.Body)
	}
	labels := make(map[string]string)
	for _, l := range families["nomad_a_b_c_d_e"].Metric[0].Label {
		labels[l.GetName()] = l.GetValue()
	}
	if labels["job"] != "a\"b\\c\nd" || labels["exec_path"] != "x" {
		t.Errorf("labels: %q", labels)
	}
	if got := families["nomad_inf"].Metric[0].GetGauge().GetValue(); !math.IsInf(got, 1) {
		t.Errorf("infinity reads as %v", got)
	}
}

func TestProfilesAreForThoseWhoSwitchedThemOn(t *testing.T) {
	ask := func(enabled bool, path string) int {
		rt := rest.NewRouter()
		rt.Handle(http.MethodGet, "/v1/agent/pprof/{name}", profile(enabled))
		w := httptest.NewRecorder()
		rt.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	for _, test := range []struct {
		enabled bool
		path    string
		want    int
	}{
		{false, "/v1/agent/pprof/heap", 403},
		{true, "/v1/agent/pprof/heap", 200},
		{true, "/v1/agent/pprof/cmdline", 200},
		{true, "/v1/agent/pprof/goroutine?debug=1", 200},
		{true, "/v1/agent/pprof/nonsense", 404},
		{true, "/v1/agent/pprof/profile?seconds=x", 400},
		{true, "/v1/agent/pprof/profile?seconds=1", 200},
	} {
		if got := ask(test.enabled, test.path); got != test.want {
			t.Errorf("%s, enabled %v: %d, want %d", test.path, test.enabled, got, test.want)
		}
	}
}
