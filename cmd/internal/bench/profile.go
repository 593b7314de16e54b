package bench

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime/pprof"
	"strconv"

	"drover/cmd/internal/apiclient"
)

// profile begins the CPU profiles that were asked for. stop ends them and writes
// them; that of the server always takes its full time.
func (r *run) profile(ctx context.Context) (stop func() error, err error) {
	own, err := r.profileItself()
	if err != nil {
		return nil, err
	}
	server := make(chan error, 1)
	if r.cfg.ServerCPUProfile == "" {
		server <- nil
	} else {
		go func() { server <- r.profileServer(ctx) }()
	}
	return func() error {
		if err := own(); err != nil {
			return err
		}
		return <-server
	}, nil
}

func (r *run) profileItself() (stop func() error, err error) {
	if r.cfg.CPUProfile == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(r.cfg.CPUProfile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

func (r *run) profileServer(ctx context.Context) error {
	q := apiclient.Query{Values: url.Values{"seconds": {strconv.Itoa(r.cfg.ProfileSeconds)}}}
	answer, err := r.server.api.Get(ctx, "/v1/agent/pprof/profile", q, nil)
	if err != nil {
		return fmt.Errorf("profile the server: %w", err)
	}
	return os.WriteFile(r.cfg.ServerCPUProfile, answer.Body, 0o644)
}

// serverMetrics is what the server counts itself, by name.
type serverMetrics struct {
	samples map[string]metricSample
	gauges  map[string]float64
}

type metricSample struct {
	Name  string
	Count int64
	Max   float64
}

func (r *run) metrics(ctx context.Context) (m serverMetrics, err error) {
	var answer struct {
		Gauges []struct {
			Name  string
			Value float64
		}
		Samples []metricSample
	}
	if _, err := r.server.api.Get(ctx, "/v1/metrics", apiclient.Query{}, &answer); err != nil {
		return m, fmt.Errorf("read the server's metrics: %w", err)
	}
	m.samples, m.gauges = make(map[string]metricSample), make(map[string]float64)
	for _, s := range answer.Samples {
		m.samples[s.Name] = s
	}
	for _, g := range answer.Gauges {
		m.gauges[g.Name] = g.Value
	}
	return m, nil
}

// readMetrics takes over what only the server itself can count.
func (r *run) readMetrics(ctx context.Context) error {
	m, err := r.metrics(ctx)
	if err != nil {
		return err
	}
	appends := m.samples["nomad.nomad.eventlog.append.bytes"]
	r.result.Log.LargestAppend, r.result.Log.Appends = int64(appends.Max), appends.Count
	r.result.Plans.Refused = m.samples["nomad.nomad.plan.refused"].Count
	r.result.Plans.SlowestDecision = m.samples["nomad.nomad.worker.invoke_scheduler"].Max
	return nil
}
