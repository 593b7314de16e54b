package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drover/cmd/internal/bench"
)

// TestShapes runs every shape at a small scale, and expects that it ends, that
// its check passes, that the table and the file say so, and that nothing is left.
func TestShapes(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*bench.Config)
	}{
		{"c1m", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 20, Jobs: 3, Count: 10}; c.Ports = 2 }},
		{"c1m running", func(c *bench.Config) {
			c.Scale, c.Running, c.NoRestart = bench.Scale{Nodes: 20, Jobs: 3, Count: 10}, true, true
		}},
		{"small-jobs", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 10, Jobs: 20, Count: 3} }},
		{"submit", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 10, Jobs: 50, Clients: 10} }},
		{"batch-churn", func(c *bench.Config) {
			c.Scale, c.Rate, c.Duration = bench.Scale{Nodes: 10, Count: 5, Clients: 4}, 50, time.Second
		}},
		{"spread", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 40, Jobs: 2, Count: 20} }},
		{"full", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 6, Jobs: 9, Count: 4} }},
		{"wide", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 10, Jobs: 2, Count: 30} }},
		{"drift", func(c *bench.Config) { c.Scale = bench.Scale{Nodes: 10, Jobs: 4, Count: 10} }},
		{"watch", func(c *bench.Config) {
			c.Scale, c.Duration = bench.Scale{Nodes: 10, Jobs: 5, Count: 3, Clients: 12}, 200*time.Millisecond
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // nearly all of each is waiting
			cfg := config(t, strings.Fields(test.name)[0])
			var table bytes.Buffer
			cfg.Stdout, cfg.Out = &table, filepath.Join(t.TempDir(), "result.json")
			test.change(&cfg)
			if err := bench.Run(t.Context(), cfg); err != nil {
				t.Fatalf("%v\n%s", err, &table)
			}
			t.Logf("\n%s", &table)
			text, err := os.ReadFile(cfg.Out)
			if err != nil {
				t.Fatal(err)
			}
			var result bench.Result
			if err := json.Unmarshal(text, &result); err != nil {
				t.Fatal(err)
			}
			if !result.Check.OK || result.Check.Records == 0 || !strings.Contains(table.String(), "passed") {
				t.Errorf("the check: %+v", result.Check)
			}
			left, err := os.ReadDir(cfg.DataDir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// TestManyWorkersLoseLittle: workers that decide at the same time do not lose their
// plans to one another, though all of them like the same nodes best.
func TestManyWorkersLoseLittle(t *testing.T) {
	for _, workers := range []int{2, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			cfg := config(t, "c1m")
			cfg.Scale, cfg.Schedulers, cfg.NoRestart = bench.Scale{Nodes: 200, Jobs: 200, Count: 20}, workers, true
			var out strings.Builder
			cfg.Stdout, cfg.JSON = &out, true
			if err := bench.Run(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			var result struct {
				Plans struct {
					Committed int `json:"committed"`
					CutDown   int `json:"cut_down"`
				} `json:"plans"`
			}
			if err := json.Unmarshal([]byte(out.String()), &result); err != nil {
				t.Fatal(err)
			}
			if p := result.Plans; p.Committed < 200 || 50*p.CutDown > p.Committed {
				t.Errorf("%d of %d plans were cut down", p.CutDown, p.Committed)
			}
		})
	}
}

// TestInterrupt ends a run in its middle, and expects that nothing is left.
func TestInterrupt(t *testing.T) {
	cfg := config(t, "c1m")
	cfg.Scale = bench.Scale{Nodes: 10, Jobs: 1, Count: 10}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Stderr = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "register the nodes") {
			cancel()
		}
		return len(p), nil
	})
	if err := bench.Run(ctx, cfg); err == nil {
		t.Error("a run that was interrupted succeeds")
	}
	left, err := os.ReadDir(cfg.DataDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRefusals: what cannot work is said before anything starts.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(*bench.Config)
	}{
		{"unknown shape", `there is no shape "cim"; there are c1m`, func(c *bench.Config) { c.Shape = "cim" }},
		{"negative", "-nodes must be between 1 and", func(c *bench.Config) { c.Nodes = -1 }},
		{"ports", "-ports must be between 0 and 10", func(c *bench.Config) { c.Ports = 11 }},
		{"out", "-out: open /nowhere/result", func(c *bench.Config) { c.Out = "/nowhere/result" }},
		{"out is a directory", "is a directory", func(c *bench.Config) { c.Out = os.TempDir() }},
		{"profile", "-cpuprofile: open /nowhere/x", func(c *bench.Config) { c.CPUProfile = "/nowhere/x" }},
		{"files", "raise the limit (ulimit -n", func(c *bench.Config) { c.Clients = 10_000_000 }},
		{"memory", "of memory", func(c *bench.Config) { c.Jobs, c.Count = 1_000_000, 1_000_000 }},
		{"address and directory", "leave them out", func(c *bench.Config) { c.API.Address = "http://127.0.0.1:1" }},
		{"address", "no agent answered at http://127.0.0.1:1", func(c *bench.Config) { c.API.Address, c.DataDir = "http://127.0.0.1:1", "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(t, "c1m")
			cfg.Program = "/nowhere/drover" // nothing is started
			test.change(&cfg)
			if err := bench.Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
