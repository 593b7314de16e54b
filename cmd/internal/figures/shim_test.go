package figures_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/executor/shim"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// BenchmarkShim starts 50 tasks under shims, one after the other, and reports
// the time until the agent knows that the task was executed ("exec"), until the
// task's own first action ("action": /bin/date prints the time), and what a shim
// whose task runs holds in memory: all of it, and what no other process shares.
// For comparison, "bare-exec" is the same program started without a shim.
func BenchmarkShim(b *testing.B) {
	var executed, acted, bare samples
	var resident, private uint64
	for b.Loop() {
		for i := range 50 {
			dir := b.TempDir()
			spec := shimSpec(b, dir, "/bin/date", "+%s.%N")
			begin := time.Now()
			p, err := shim.Start(shimPath, dir, spec, "FIGURES="+dir)
			if err != nil {
				b.Fatal(err)
			}
			executed.add(time.Since(begin))
			if exit, err := p.Wait(context.Background()); err != nil || exit.Code != 0 {
				b.Fatalf("task %d: %+v %v", i, exit, err)
			}
			acted.add(printedTime(b, filepath.Join(dir, "task.stdout.0")).Sub(begin))
			bare.add(bareExec(b))
		}
		for range 5 {
			all, own := shimMemory(b)
			resident, private = max(resident, all), max(private, own)
		}
	}
	b.ReportMetric(0, "ns/op")
	executed.report(b, "exec")
	acted.report(b, "action")
	b.ReportMetric(milliseconds(bare.at(0.5)), "bare-exec-p50-ms")
	b.ReportMetric(float64(resident)/(1<<20), "resident-MiB")
	b.ReportMetric(float64(private)/(1<<20), "private-MiB")
}

func shimSpec(b *testing.B, dir string, command ...string) wire.Spec {
	return wire.Spec{
		Path: command[0], Args: command, Dir: dir, Env: []string{"FIGURES=" + dir, "PATH=" + os.Getenv("PATH")},
		LogDir: dir, LogName: "task", LogBytesMax: 1 << 20, LogFilesMax: 2,
	}
}

func printedTime(b *testing.B, path string) time.Time {
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return parseTime(b, string(text))
}

// bareExec is the time from the start of the same program by this process to its exec.
func bareExec(b *testing.B) time.Duration {
	begin := time.Now()
	p, err := os.StartProcess("/bin/date", []string{"/bin/date"}, &os.ProcAttr{})
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(begin)
	if _, err := p.Wait(); err != nil {
		b.Fatal(err)
	}
	return took
}

// shimMemory is what a shim holds in memory once its task has written something.
func shimMemory(b *testing.B) (all, private uint64) {
	dir := b.TempDir()
	p, err := shim.Start(shimPath, dir, shimSpec(b, dir, "/bin/sh", "-c", "echo ready; exec sleep 60"), "FIGURES="+dir)
	if err != nil {
		b.Fatal(err)
	}
	log := filepath.Join(dir, "task.stdout.0")
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		if text, err := os.ReadFile(log); err == nil && len(text) > 0 {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("the task wrote nothing in ten seconds")
		}
	}
	stat, err := proctree.ReadStat(p.PID())
	if err != nil {
		b.Fatal(err)
	}
	if all, private, err = residentBytes(stat.Parent); err != nil {
		b.Fatal(err)
	}
	if err := p.Stop(9, 0); err != nil {
		b.Fatal(err)
	}
	if _, err := p.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	return all, private
}

// parseTime reads what `date +%s.%N` prints.
func parseTime(b *testing.B, text string) time.Time {
	b.Helper()
	seconds, fraction, _ := strings.Cut(strings.TrimSpace(text), ".")
	whole, err := strconv.ParseInt(seconds, 10, 64)
	if err == nil {
		var nano int64
		if nano, err = strconv.ParseInt(fraction, 10, 64); err == nil {
			return time.Unix(whole, nano)
		}
	}
	b.Fatal(fmt.Errorf("time %q: %w", text, err))
	return time.Time{}
}
