package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
	if rt.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/metrics?format=prometheus", nil)); w.Code != http.StatusNotImplemented {
		t.Errorf("another format: %d", w.Code)
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
		{false, "/v1/agent/pprof/heap", 404},
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
