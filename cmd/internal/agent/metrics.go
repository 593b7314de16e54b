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

	state   func() *projections.State // nil when this agent is no server
	host    string                    // label of every row; "" for none
	gauges  func() map[string]float64 // further ones of the server; nil when this agent is none
	node    *nodeMetrics              // nil when this agent is no node
	blocked atomic.Int64              // evaluations that wait for room, while this server leads

	mu      sync.Mutex
	samples map[string]*sample
}

// sample adds up the values of one quantity.
type sample struct {
	count                  int64
	sum, squares, min, max float64

	// recent are the last values, for quantiles; the oldest is overwritten.
	recent [recentValues]float64
}

// recentValues is how many values quantiles are taken of: of what happens a
// thousand times a second the last quarter of it.
const recentValues = 256

// quantiles of the last values.
func (s *sample) quantiles() (at []float64) {
	last := slices.Clone(s.recent[:min(s.count, recentValues)])
	slices.Sort(last)
	for _, q := range quantiles {
		at = append(at, last[int(q*float64(len(last)-1)+0.5)])
	}
	return at
}

// Names of what is measured. Times are milliseconds, as the field has them.
const (
	metricAppendBytes    = "nomad.nomad.eventlog.append.bytes"
	metricAppendRecords  = "nomad.nomad.eventlog.append.records"
	metricAppendCommands = "nomad.nomad.eventlog.append.commands"
	metricAppendTime     = "nomad.nomad.eventlog.append.time"
	metricDecideTime     = "nomad.nomad.eventlog.decide.time"
	metricSchedule       = "nomad.nomad.worker.invoke_scheduler"
	metricPlanSubmit     = "nomad.nomad.plan.submit"  // until it was decided
	metricPlanPartial    = "nomad.nomad.plan.partial" // nodes that no longer fitted were left out
	metricPlanRefused    = "nomad.nomad.plan.refused"
	metricWoken          = "nomad.nomad.blocked_evals.woken"     // evaluations at once
	metricWakeTime       = "nomad.nomad.blocked_evals.wake.time" // to find them
	metricBlocked        = "nomad.nomad.blocked_evals.total_blocked"
	metricPlanStale      = "nomad.nomad.plan.stale"     // of the refused: its job or its epoch had moved on
	metricPlanOvertaken  = "nomad.nomad.plan.overtaken" // not handed over but decided again, since its nodes had been taken
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
	s.recent[s.count%recentValues] = value
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

	quantiles []float64 // of those in the variable of that name
}

// metricsAnswer is what /v1/metrics answers.
type metricsAnswer struct {
	Timestamp string
	Gauges    []metricGauge
	Points    []struct{}
	Counters  []MetricSample
	Samples   []MetricSample
}

// label says of every row which machine it is of, so that rows of several can be told apart once they are together.
func (a *metricsAnswer) label(host string) {
	if host == "" {
		return
	}
	with := func(labels map[string]string) map[string]string {
		all := make(map[string]string, len(labels)+1) // rows share theirs
		maps.Copy(all, labels)
		all["host"] = host
		return all
	}
	for i := range a.Gauges {
		a.Gauges[i].Labels = with(a.Gauges[i].Labels)
	}
	for _, list := range [][]MetricSample{a.Counters, a.Samples} {
		for i := range list {
			list[i].Labels = with(list[i].Labels)
		}
	}
}

type metricGauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

// show answers /v1/metrics. Samples are of the process's whole life, not of an
// interval: a reader that wants a rate takes differences.
func (m *metrics) show(w http.ResponseWriter, r *http.Request) error {
	format := r.URL.Query().Get("format")
	if format != "" && format != "prometheus" {
		return rest.Errorf(http.StatusBadRequest, "there is no format %q of metrics: ask for format=prometheus, or without format for JSON", format)
	}
	now := time.Now()
	answer := metricsAnswer{
		Timestamp: now.UTC().Format("2006-01-02 15:04:05 -0700 MST"), Points: []struct{}{}, Counters: []MetricSample{}, Samples: m.rows(now),
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	gauges := map[string]float64{
		"nomad.runtime.alloc_bytes": float64(memory.Alloc), "nomad.runtime.sys_bytes": float64(memory.Sys),
		"nomad.runtime.heap_objects": float64(memory.HeapObjects), "nomad.runtime.num_goroutines": float64(runtime.NumGoroutine()),
		"nomad.runtime.total_gc_runs": float64(memory.NumGC), "nomad.runtime.total_gc_pause_ns": float64(memory.PauseTotalNs),
	}
	if m.gauges != nil {
		maps.Copy(gauges, m.gauges())
	}
	for name, value := range gauges {
		answer.Gauges = append(answer.Gauges, metricGauge{Name: name, Value: value, Labels: map[string]string{}})
	}
	if m.state != nil {
		answer.Gauges = append(answer.Gauges, m.ofState(m.state())...)
	}
	if m.node != nil {
		if err := m.node.collect(r.Context(), &answer); err != nil {
			return rest.Errorf(http.StatusInternalServerError, "measure the node: %v", err)
		}
	}
	answer.label(m.host)
	slices.SortStableFunc(answer.Counters, func(a, b MetricSample) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(answer.Gauges, func(a, b metricGauge) int { return strings.Compare(a.Name, b.Name) })
	if format == "prometheus" {
		return writePrometheus(w, &answer)
	}
	return rest.JSON(w, r, answer)
}

// summariesMax is up to how many groups of jobs have rows of their own: seven each.
const summariesMax = 10_000

// ofState counts what there is.
func (m *metrics) ofState(s *projections.State) []metricGauge {
	var list []metricGauge
	add := func(name string, value int, labels map[string]string) {
		list = append(list, metricGauge{Name: name, Value: float64(value), Labels: labels})
	}
	none := map[string]string{}
	add("nomad.state.allocations", s.AllocationCount(), none)
	add("nomad.state.jobs", s.JobCount(), none)
	add("nomad.state.evaluations", s.EvaluationCount(), none)
	add("nomad.state.nodes", s.NodeCount(), none)
	add(metricBlocked, int(m.blocked.Load()), none)
	add("nomad.nomad.broker.total_ready", s.PendingCount(), none)
	add("nomad.raft.appliedIndex", int(s.Index()), none)
	statuses := map[string]int{"pending": 0, "running": 0, "dead": 0}
	groups := 0
	var rows []metricGauge
	for j := range s.Jobs() {
		statuses[j.Status()]++
		groups += len(j.Summary)
		if groups > summariesMax {
			continue
		}
		for _, group := range slices.Sorted(maps.Keys(j.Summary)) {
			labels := map[string]string{"job": j.Key.ID, "task_group": group, "namespace": j.Key.Namespace}
			g := j.Summary[group]
			for _, count := range []struct {
				name  string
				value int
			}{
				{"queued", g.Queued}, {"complete", g.Complete}, {"failed", g.Failed}, {"running", g.Running},
				{"starting", g.Starting}, {"lost", g.Lost}, {"unknown", g.Unknown},
			} {
				rows = append(rows, metricGauge{Name: "nomad.nomad.job_summary." + count.name, Value: float64(count.value), Labels: labels})
			}
		}
	}
	if groups <= summariesMax {
		list = append(list, rows...)
	} else {
		// Some without the others would mislead whoever adds them up.
		add("nomad.nomad.job_summary.groups_left_out", groups, none)
	}
	for status, count := range statuses {
		add("nomad.nomad.job_status."+status, count, none)
	}
	return list
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
			Stddev: math.Sqrt(max(0, s.squares/n-mean*mean)), Labels: map[string]string{}, quantiles: s.quantiles(),
		})
	}
	return rows
}
