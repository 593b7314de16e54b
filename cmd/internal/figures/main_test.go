package figures_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// The programs under measurement, built by TestMain.
var (
	droverPath string
	shimPath   string
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "drover-figures-")
	if err == nil {
		err = build(dir)
	}
	if err != nil {
		_ = os.RemoveAll(dir) //nolint:errcheck // a temporary directory
		fmt.Fprintln(os.Stderr, "build what is measured:", err)
		os.Exit(1)
	}
	fmt.Println(machine())
	fmt.Println(disk(dir))
	code := m.Run()
	_ = os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	os.Exit(code)
}

// build makes the programs that drover carries, and drover, without touching the
// source tree: the compiler is shown the fresh ones in the place of those there.
func build(dir string) error {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return err
	}
	shimPath, droverPath = filepath.Join(dir, "drover-shim"), filepath.Join(dir, "drover")
	makerPath := filepath.Join(dir, "drover-container")
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]map[string]string{
		"Replace": {
			filepath.Join(root, "executor/shim/bin/drover-shim"):      shimPath,
			filepath.Join(root, "executor/shim/bin/drover-container"): makerPath,
		},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-ldflags", "-s -w", "-o", shimPath, "./cmd/drover-shim"},
		{"-tags", "netgo osusergo", "-ldflags", "-s -w -extldflags '-static'", "-o", makerPath, "./cmd/drover-container"},
		{"-overlay", overlay, "-o", droverPath, "./cmd/drover"},
	} {
		cmd := exec.Command("go", append([]string{"build", "-trimpath"}, args...)...)
		cmd.Dir = root
		if strings.HasSuffix(args[len(args)-1], "shim") {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
		}
	}
	return nil
}

// machine is the line that makes figures comparable: what they were measured on.
func machine() string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := "?"
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kb); err == nil {
			memory = fmt.Sprintf("%.1f GiB", float64(kb)/(1<<20))
		}
	}
	kernel, load := "?", "?"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Fields(string(b))[0]
	}
	commit := "unknown"
	if b, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(b))
		if exec.Command("git", "diff", "--quiet", "HEAD", "--", "../../..").Run() != nil {
			commit += " with changes"
		}
	}
	return fmt.Sprintf("machine: %s, %d cores, %s, Linux %s, %s, load %s; date: %s; commit: %s",
		model, runtime.NumCPU(), memory, kernel, runtime.Version(), load, time.Now().UTC().Format(time.RFC3339), commit)
}

// disk is what one small durable write costs here: the floor under everything
// that waits for the disk.
func disk(dir string) string {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return "disk: " + err.Error()
	}
	defer f.Close()
	var took samples
	block := make([]byte, 4096)
	for range 200 {
		begin := time.Now()
		if _, err := f.Write(block); err != nil {
			return "disk: " + err.Error()
		}
		if err := f.Sync(); err != nil {
			return "disk: " + err.Error()
		}
		took.add(time.Since(begin))
	}
	return fmt.Sprintf("disk: append of 4 KiB and fsync in %s", took)
}

// samples are measured durations.
type samples struct{ all []time.Duration }

func (s *samples) add(d time.Duration) { s.all = append(s.all, d) }

// at is the value below which the share p of the samples lies.
func (s samples) at(p float64) time.Duration {
	if len(s.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

func (s samples) String() string {
	return fmt.Sprintf("median %.2f ms, p99 %.2f ms", milliseconds(s.at(0.5)), milliseconds(s.at(0.99)))
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// report hands median and 99th percentile to the benchmark's result line.
func (s samples) report(b *testing.B, name string) {
	b.ReportMetric(milliseconds(s.at(0.5)), name+"-p50-ms")
	b.ReportMetric(milliseconds(s.at(0.99)), name+"-p99-ms")
}
