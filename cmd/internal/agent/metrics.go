package agent

import (
	"context"
	"maps"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"drover/commands"
	"drover/eventlog/event"
	"drover/projections"
	"drover/projections/rest"
	"drover/scheduler"
)

// metrics counts what this server does, from its start on. They are shown under
// /v1/metrics in the form that collectors of the field read.
type metrics struct {
	began time.Time

	state   func() *projections.State
	blocked atomic.Int64 // evaluations that wait for room, while this server leads

	mu      sync.Mutex
	samples map[string]*sample
}

// sample adds up the values of one quantity.
type sample struct {
	count                  int64
	sum, squares, min, max float64
}

// Names of what is measured. Times are milliseconds, as the field has them.
const (
	metricAppendBytes    = "nomad.eventlog.append.bytes"
	metricAppendRecords  = "nomad.eventlog.append.records"
	metricAppendCommands = "nomad.eventlog.append.commands"
	metricAppendTime     = "nomad.eventlog.append.time"
	metricDecideTime     = "nomad.eventlog.decide.time"
	metricSchedule       = "nomad.worker.invoke_scheduler"
	metricPlanSubmit     = "nomad.plan.submit"  // until it was decided
	metricPlanPartial    = "nomad.plan.partial" // nodes that no longer fitted were left out
	metricPlanRefused    = "nomad.plan.refused"
	metricWoken          = "nomad.blocked_evals.woken"     // evaluations at once
	metricWakeTime       = "nomad.blocked_evals.wake.time" // to find them
	metricBlocked        = "nomad.blocked_evals.total_blocked"
	metricPlanStale      = "nomad.plan.stale"     // of the refused: its job or its epoch had moved on
	metricPlanOvertaken  = "nomad.plan.overtaken" // not handed over but decided again, since its nodes had been taken
)

func newMetrics() *metrics { return &metrics{began: time.Now(), samples: make(map[string]*sample)} }

// decided takes in how long the scheduler thought about one evaluation.
func (m *metrics) decided(_ *event.PlanCommitted, took time.Duration) {
	m.add(metricSchedule, float64(took)/1e6)
}

func (m *metrics) add(name string, value float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.samples[name]
	if s == nil {
		s = &sample{min: value, max: value}
		m.samples[name] = s
	}
	s.count++
	s.sum += value
	s.squares += value * value
	s.min, s.max = min(s.min, value), max(s.max, value)
}

func (m *metrics) appended(i commands.AppendInfo) {
	m.add(metricAppendBytes, float64(i.Bytes))
	m.add(metricAppendRecords, float64(i.Records))
	m.add(metricAppendCommands, float64(i.Commands))
	m.add(metricAppendTime, float64(i.Append)/1e6)
	m.add(metricDecideTime, float64(i.Decide)/1e6)
}

// measuredPlans counts the plans that pass through it.
type measuredPlans struct {
	scheduler.Committer
	metrics *metrics
}

// CommitPlan implements scheduler.Committer.
func (p measuredPlans) CommitPlan(ctx context.Context, proposal scheduler.Proposal) (scheduler.PlanResult, error) {
	begin := time.Now()
	result, err := p.Committer.CommitPlan(ctx, proposal)
	if err == nil {
		p.metrics.planned(result, time.Since(begin))
	}
	return result, err
}

func (m *metrics) overtaken() { m.add(metricPlanOvertaken, 1) }

func (m *metrics) planned(result scheduler.PlanResult, took time.Duration) {
	m.add(metricPlanSubmit, float64(took)/1e6)
	switch {
	case result.Refused != "":
		m.add(metricPlanRefused, 1)
		if result.Stale {
			m.add(metricPlanStale, 1)
		}
	case result.Partial:
		m.add(metricPlanPartial, 1)
	}
}

// looked takes in what the unblocker found.
func (m *metrics) looked(w scheduler.Wakeup) {
	m.blocked.Store(int64(w.Blocked))
	if w.Woken > 0 {
		m.add(metricWoken, float64(w.Woken))
		m.add(metricWakeTime, float64(w.Took)/1e6)
	}
}

// MetricSample is one row of /v1/metrics.
type MetricSample struct {
	Name   string
	Count  int64
	Rate   float64 // sum per second since the start
	Sum    float64
	Min    float64
	Max    float64
	Mean   float64
	Stddev float64
	Labels map[string]string
}

// metricsAnswer is what /v1/metrics answers.
type metricsAnswer struct {
	Timestamp string
	Gauges    []metricGauge
	Points    []struct{}
	Counters  []MetricSample
	Samples   []MetricSample
}

type metricGauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

// show answers /v1/metrics. Samples are of the process's whole life, not of an
// interval: a reader that wants a rate takes differences.
func (m *metrics) show(w http.ResponseWriter, r *http.Request) error {
	if format := r.URL.Query().Get("format"); format != "" {
		return rest.Errorf(http.StatusNotImplemented, "metrics in format %q are not built in this version of Drover; ask without format", format)
	}
	now := time.Now()
	answer := metricsAnswer{
		Timestamp: now.UTC().Format("2006-01-02 15:04:05 -0700 MST"), Points: []struct{}{}, Counters: []MetricSample{}, Samples: m.rows(now),
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	state := m.state()
	for name, value := range map[string]float64{
		"nomad.state.allocations": float64(state.AllocationCount()), "nomad.state.jobs": float64(state.JobCount()),
		"nomad.state.evaluations": float64(state.EvaluationCount()), "nomad.state.nodes": float64(state.NodeCount()),
		metricBlocked:               float64(m.blocked.Load()),
		"nomad.runtime.alloc_bytes": float64(memory.Alloc), "nomad.runtime.sys_bytes": float64(memory.Sys),
		"nomad.runtime.heap_objects": float64(memory.HeapObjects), "nomad.runtime.num_goroutines": float64(runtime.NumGoroutine()),
		"nomad.runtime.total_gc_runs": float64(memory.NumGC), "nomad.runtime.total_gc_pause_ns": float64(memory.PauseTotalNs),
	} {
		answer.Gauges = append(answer.Gauges, metricGauge{Name: name, Value: value, Labels: map[string]string{}})
	}
	slices.SortFunc(answer.Gauges, func(a, b metricGauge) int { return strings.Compare(a.Name, b.Name) })
	return rest.JSON(w, r, answer)
}

func (m *metrics) rows(now time.Time) []MetricSample {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := []MetricSample{}
	for _, name := range slices.Sorted(maps.Keys(m.samples)) {
		s := m.samples[name]
		n := float64(s.count)
		mean := s.sum / n
		rows = append(rows, MetricSample{
			Name: name, Count: s.count, Rate: s.sum / now.Sub(m.began).Seconds(), Sum: s.sum, Min: s.min, Max: s.max, Mean: mean,
			Stddev: math.Sqrt(max(0, s.squares/n-mean*mean)), Labels: map[string]string{},
		})
	}
	return rows
}
