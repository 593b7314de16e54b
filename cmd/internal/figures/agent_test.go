package figures_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// program is a running drover process.
type program struct {
	cmd    *exec.Cmd
	out    *bytes.Buffer
	began  time.Time
	client *api.Client
	base   string // of its HTTP API
	dir    string // of allocations
	ended  chan struct{}
}

// startAgent starts drover with the flags, on ports of its own.
func startAgent(b *testing.B, flags ...string) *program {
	b.Helper()
	ports := freePorts(b, 4)
	dir := b.TempDir()
	config := filepath.Join(dir, "ports.hcl")
	text := fmt.Sprintf("bind_addr = \"127.0.0.1\"\nadvertise {\n http = \"127.0.0.1\"\n rpc = \"127.0.0.1\"\n serf = \"127.0.0.1\"\n}\nports {\n http = %d\n rpc = %d\n serf = %d\n raft = %d\n}\n", ports[0], ports[1], ports[2], ports[3])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	a := &program{
		out: new(bytes.Buffer), base: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), dir: filepath.Join(dir, "alloc"), ended: make(chan struct{}),
	}
	args := append([]string{"agent", "-config", config}, flags...)
	a.cmd = exec.Command(droverPath, args...)
	a.cmd.Dir = dir
	a.cmd.Stdout, a.cmd.Stderr = a.out, a.out
	var err error
	if a.client, err = api.NewClient(&api.Config{Address: a.base}); err != nil {
		b.Fatal(err)
	}
	a.began = time.Now()
	if err := a.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		_ = a.cmd.Wait() //nolint:errcheck // how it ends is seen by who waits for its answers
		close(a.ended)
	}()
	b.Cleanup(func() { a.stop(syscall.SIGTERM) })
	return a
}

func freePorts(b *testing.B, n int) []int {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// stop ends the process and returns when it is gone.
func (a *program) stop(signal syscall.Signal) {
	_ = a.cmd.Process.Signal(signal) //nolint:errcheck // it may be gone already
	<-a.ended
}

// until asks every millisecond until ok holds, and returns how long after the
// start of the process that was.
func (a *program) until(b *testing.B, what string, ok func() bool) time.Duration {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := a.began.Add(time.Minute); time.Now().Before(deadline); {
		if ok() {
			return time.Since(a.began)
		}
		select {
		case <-tick.C:
		case <-a.ended:
			b.Fatalf("the agent ended before it was %s:\n%s", what, a.out)
		}
	}
	b.Fatalf("the agent was not %s within a minute", what)
	return 0
}

func (a *program) nodeReady() bool {
	nodes, _, err := a.client.Nodes().List(nil)
	return err == nil && len(nodes) == 1 && nodes[0].Status == "ready"
}

// cpuTime is the processor time that the process has used.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100), err
}

// residentBytes is the memory of the process that is in RAM, and the part of it
// that no other process shares.
func residentBytes(pid int) (all, private uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(fields[1], 10, 64) //nolint:errcheck // the first line is an address
		switch fields[0] {
		case "Rss:":
			all = n << 10
		case "Private_Clean:", "Private_Dirty:":
			private += n << 10
		}
	}
	return all, private, nil
}

// BenchmarkDevStart is the time from the start of `drover agent -dev` to a node
// that is ready for tasks, as a client of the API sees it.
func BenchmarkDevStart(b *testing.B) {
	var ready, answers samples
	for b.Loop() {
		for range 5 {
			a := startAgent(b, "-dev")
			answers.add(a.until(b, "answering", func() bool { _, err := a.client.Status().Leader(); return err == nil }))
			ready.add(a.until(b, "ready", a.nodeReady))
			a.stop(syscall.SIGTERM)
		}
	}
	b.ReportMetric(0, "ns/op")
	answers.report(b, "answers")
	ready.report(b, "ready")
}

// BenchmarkIdle is the processor time and memory of an agent that has nothing to do.
func BenchmarkIdle(b *testing.B) {
	a := startAgent(b, "-dev")
	a.until(b, "ready", a.nodeReady)
	const watch = 5 * time.Second
	var used time.Duration
	var memory uint64
	for b.Loop() {
		before, err := cpuTime(a.cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		<-time.After(watch)
		after, err := cpuTime(a.cmd.Process.Pid)
		if err != nil {
			b.Fatal(err)
		}
		used = after - before
		if memory, _, err = residentBytes(a.cmd.Process.Pid); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*float64(used)/float64(watch), "%-of-a-core")
	b.ReportMetric(float64(memory)/(1<<20), "resident-MiB")
}
