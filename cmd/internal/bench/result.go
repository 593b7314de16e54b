package bench

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// Result is what a run showed.
type Result struct {
	Shape   string    `json:"shape"`
	Scale   Scale     `json:"scale"`
	Running bool      `json:"running"`
	Ports   int       `json:"ports"`
	Version string    `json:"version"`
	Date    time.Time `json:"date"`
	Cores   int       `json:"cores"`

	Seconds      float64 `json:"seconds"` // from the first registration sent to the last order, or report, of it all
	Jobs         int     `json:"jobs_registered"`
	JobsPerSec   float64 `json:"jobs_per_second"`
	Registered   float64 `json:"registrations_per_second"`
	Placements   int     `json:"placements"`
	PerSecond    float64 `json:"placements_per_second"`
	First        float64 `json:"first_10000_per_second,omitempty"`
	Last         float64 `json:"last_10000_per_second,omitempty"`
	RunPerSecond float64 `json:"running_per_second,omitempty"`

	Accepted  *Latency `json:"submit_to_accepted,omitempty"`
	Planned   *Latency `json:"submit_to_planned,omitempty"` // in the log, by record times
	Placed    *Latency `json:"submit_to_placed,omitempty"`  // at the node
	Delivered *Latency `json:"planned_to_placed,omitempty"` // a plan's record to the order at its node
	Ran       *Latency `json:"submit_to_running,omitempty"`
	API       *Latency `json:"get_job,omitempty"`

	Server          ServerFigures `json:"server"`
	BenchCPUSeconds float64       `json:"bench_cpu_seconds"`
	Log             LogFigures    `json:"log"`
	Plans           PlanFigures   `json:"plans"`
	Restart         *Restart      `json:"restart,omitempty"`
	Figures         []Figure      `json:"figures,omitempty"` // of this shape alone

	Busy        int64  `json:"answered_busy"`       // registrations that had to be repeated
	Troubles    int64  `json:"node_requests_again"` // requests and streams of nodes that had to be repeated
	LastTrouble string `json:"last_node_trouble,omitempty"`
	APIFailures int64  `json:"get_job_failures"`

	Check *Check `json:"check"`

	apiFailures atomic.Int64
}

// ServerFigures is what the server took, seen from outside.
type ServerFigures struct {
	CPUSeconds         float64 `json:"cpu_seconds"`
	CPUPerPlacement    float64 `json:"cpu_us_per_placement"`
	ResidentBefore     int64   `json:"resident_before_bytes"`
	Resident           int64   `json:"resident_after_bytes"`
	ResidentPeak       int64   `json:"resident_peak_bytes"`
	BytesPerAllocation float64 `json:"bytes_per_allocation"`
	DiskBytes          int64   `json:"disk_bytes"`
}

// LogFigures is what the log holds.
type LogFigures struct {
	Records           uint64  `json:"records"`
	Bytes             uint64  `json:"bytes"`
	BytesPerPlacement float64 `json:"bytes_per_placement"`      // of all records
	PlanBytes         float64 `json:"plan_bytes_per_placement"` // of the plans alone
	LargestRecord     int     `json:"largest_record_bytes"`
	LargestAppend     int64   `json:"largest_append_bytes"`
	Appends           int64   `json:"appends"`
	Evaluations       int     `json:"evaluations"`
	Reports           int     `json:"reports"`
}

// PlanFigures is what became of the schedulers' plans.
type PlanFigures struct {
	Committed       int     `json:"committed"`
	CutDown         int     `json:"cut_down"`
	Dropped         int     `json:"placements_dropped"`
	Refused         int64   `json:"refused,omitempty"`
	Blocked         int     `json:"with_a_blocked_evaluation"`
	Failed          int     `json:"evaluations_failed"`
	SlowestDecision float64 `json:"slowest_decision_ms"` // of a scheduler, plan or not
}

// Restart is how long the loaded server took to serve again after a kill -9.
type Restart struct {
	HadCheckpoint     bool    `json:"had_checkpoint"`
	WithCheckpoint    float64 `json:"seconds_with_checkpoint"`
	WithoutCheckpoint float64 `json:"seconds_without_checkpoint"`
	RecordsPerSec     float64 `json:"fold_records_per_second"`
	PlacementsPerSec  float64 `json:"fold_placements_per_second"`

	counts map[string]jobCount
}

// Figure is one that only some shapes have.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func newResult(c *Config) *Result {
	return &Result{
		Shape: c.Shape, Scale: c.Scale, Running: c.Running, Ports: c.Ports, Version: c.Version, Date: time.Now().UTC().Truncate(time.Second),
		Cores: runtime.NumCPU(),
	}
}

// figure adds a figure of the shape's own.
func (r *Result) figure(name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{name, value, unit})
}

func per[T int | int64 | uint64 | float64](value T, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(value) / float64(n)
}

// edge is how many placements the first and the last figure look at.
const edge = 10_000

func (res *Result) fill(r *run, books *ledger) {
	f := &books.facts
	placed := int(r.fleet.received.Load())
	res.Jobs, res.Placements = int(r.asked.Load()), placed
	if res.Seconds > 0 {
		res.JobsPerSec, res.PerSecond = float64(res.Jobs)/res.Seconds, float64(placed)/res.Seconds
		if r.cfg.Running {
			res.RunPerSecond = float64(r.fleet.recorded.Load()) / res.Seconds
		}
	}
	if f.placements >= 2*edge {
		res.First, res.Last = f.rate(0, edge), f.rate(f.placements-edge, f.placements)
	}
	res.Accepted, res.Planned, res.Placed = r.accepted.latency(), f.latencyByPlan.latency(), r.placed.latency()
	res.Delivered = r.delivered.latency()
	if took := time.Duration(r.registered.Load()) - r.begun; took > 0 {
		res.Registered = float64(res.Jobs) / took.Seconds()
	}
	res.Ran, res.API = r.ran.latency(), r.sampled.latency()
	s := &res.Server
	s.CPUSeconds = (r.after.cpu - r.before.cpu).Seconds()
	s.CPUPerPlacement = per(s.CPUSeconds*1e6, placed)
	s.ResidentBefore, s.Resident, s.ResidentPeak = r.before.resident, r.after.resident, r.after.residentPeak
	s.BytesPerAllocation = per(max(s.ResidentPeak-s.ResidentBefore, 0), placed)
	res.Log = LogFigures{
		LargestAppend: res.Log.LargestAppend, Appends: res.Log.Appends, Records: f.records, Bytes: f.bytes, BytesPerPlacement: per(f.bytes, f.placements), PlanBytes: per(f.planBytes, f.placements),
		LargestRecord: f.largestRecord, Evaluations: f.evals, Reports: f.reports,
	}
	res.Plans = PlanFigures{Refused: res.Plans.Refused, SlowestDecision: res.Plans.SlowestDecision, Committed: f.plans, CutDown: f.cutDown, Dropped: f.dropped, Blocked: f.blockedEvals, Failed: f.failedEvals}
	if t := res.Restart; t != nil && t.WithoutCheckpoint > 0 {
		t.RecordsPerSec, t.PlacementsPerSec = float64(f.records)/t.WithoutCheckpoint, float64(f.placements)/t.WithoutCheckpoint
	}
	res.Busy, res.APIFailures = r.clients.refused.Load(), res.apiFailures.Load()
}

// table is the result for people.
func (res *Result) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	s := res.Scale
	row("shape", "%s: %d nodes, %d jobs of %d, %d clients, on %d cores", res.Shape, s.Nodes, s.Jobs, s.Count, s.Clients, res.Cores)
	row("placements", "%d in %.2f s", res.Placements, res.Seconds)
	rate := fmt.Sprintf("%.0f", res.PerSecond)
	if res.First > 0 {
		rate += fmt.Sprintf(" (first 10,000: %.0f, last 10,000: %.0f)", res.First, res.Last)
	}
	row("placements/s", "%s", rate)
	row("jobs/s", "%.0f (registrations answered: %.0f/s)", res.JobsPerSec, res.Registered)
	if res.RunPerSecond > 0 {
		row("running/s", "%.0f", res.RunPerSecond)
	}
	row("submit to accepted", "%v", res.Accepted)
	row("submit to planned", "%v", res.Planned)
	row("submit to placed", "%v", res.Placed)
	row("planned to placed", "%v", res.Delivered)
	if res.Ran != nil {
		row("submit to running", "%v", res.Ran)
	}
	row("GET /v1/job/:id", "%v%s", res.API, plural(int(res.APIFailures), ", %d failed"))
	if res.Server.ResidentPeak > 0 {
		v := res.Server
		row("server CPU", "%.1f s, %.1f us/placement (bench: %.1f s)", v.CPUSeconds, v.CPUPerPlacement, res.BenchCPUSeconds)
		row("server memory", "peak %s, %.0f bytes/allocation over the %s before", size(v.ResidentPeak), v.BytesPerAllocation, size(v.ResidentBefore))
		row("server disk", "%s", size(v.DiskBytes))
	}
	l := res.Log
	if l.Bytes > 0 {
		row("log", "%d records, %s, %.0f bytes/placement (plans: %.0f)", l.Records, size(int64(l.Bytes)), l.BytesPerPlacement, l.PlanBytes)
		row("appends", "%d, the largest of %s; the largest record has %s", l.Appends, size(l.LargestAppend), size(int64(l.LargestRecord)))
	} else { // of another server only what it says
		row("log", "%d records", l.Records)
		row("appends", "%d, the largest of %s", l.Appends, size(l.LargestAppend))
	}
	p := res.Plans
	row("plans", "%d committed, %d cut down (%d placements), %d refused, %d evaluations failed; slowest decision %s", p.Committed, p.CutDown, p.Dropped, p.Refused, p.Failed, ms(p.SlowestDecision))
	if t := res.Restart; t != nil {
		with := fmt.Sprintf("%.2f s with a checkpoint", t.WithCheckpoint)
		if !t.HadCheckpoint {
			with = "no checkpoint was saved yet"
		}
		row("restart", "%s, %.2f s without", with, t.WithoutCheckpoint)
		row("fold", "%.0f records/s, %.0f placements/s", t.RecordsPerSec, t.PlacementsPerSec)
	}
	for _, f := range res.Figures {
		row(f.Name, "%s", f)
	}
	if res.Busy > 0 || res.Troubles > 0 {
		row("repeated", "%d registrations answered busy, %d requests of nodes (last: %s)", res.Busy, res.Troubles, res.LastTrouble)
	}
	verdict := fmt.Sprintf("passed: %d records walked, %d jobs asked for", res.Check.Records, res.Check.Jobs)
	if !res.Check.OK {
		verdict = "FAILED: " + strings.Join(res.Check.Findings, "; ")
	}
	row("check", "%s", verdict)
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

// plural is a text about n, or nothing when there is none.
func plural(n int, format string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}

// String is the figure for people.
func (f Figure) String() string {
	switch f.Unit {
	case "ms":
		return ms(f.Value)
	case "bytes":
		return size(int64(f.Value))
	}
	text := fmt.Sprintf("%.2f", f.Value)
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	return strings.TrimSpace(text + " " + f.Unit)
}
