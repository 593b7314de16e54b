package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// patience bounds every wait; it is only used up when something is wrong.
const patience = 40 * time.Second

// output is what a process printed so far; it can be waited for.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed at the next write
}

func newOutput() *output { return &output{grown: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output contains text; false if ended closes first.
func (o *output) await(t *testing.T, text string, ended <-chan struct{}) bool {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		o.mu.Lock()
		found, grown := strings.Contains(o.text.String(), text), o.grown
		o.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-grown:
		case <-ended:
			return strings.Contains(o.String(), text)
		case <-timeout.C:
			t.Fatalf("never said %q:\n%s", text, o)
		}
	}
}

// process is a running drover.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
}

func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), out: newOutput(), ended: make(chan struct{})}
	// Of two of a name the last one holds.
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if _, report, found := strings.Cut(p.out.String(), "WARNING: DATA RACE"); found {
			t.Errorf("data race:%s", report[:min(len(report), 4000)])
		}
	})
	return p
}

// kill is `kill -9`, and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // ended already, maybe
	<-p.ended
}

// interrupt is Ctrl-C. It returns the exit code.
func (p *process) interrupt() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	return p.exitCode()
}

// exitCode waits for the end.
func (p *process) exitCode() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("does not end:\n%s", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// ports hands out free loopback ports, below those that the system and the
// scheduler take ports from.
var ports atomic.Int32

func init() { ports.Store(10000 + rand.Int32N(4000)) }

func freePort() int {
	for {
		port := 10000 + int(ports.Add(1))%9000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
}

// agentConfig is what differs between the agents of the tests.
type agentConfig struct {
	name                                  string
	server                                bool
	client                                bool
	servers                               []string // addresses of the servers' agent protocol
	dataDir                               string   // made if empty
	region                                string
	httpPort, rpcPort, raftPort, serfPort int    // chosen if 0
	keys                                  string // more lines outside of blocks
	serverKeys                            string // more lines of the server block
	clientKeys                            string // more lines of the client block
	memoryMB                              int    // of the node; 0 = 1000
	cpuMHz                                int    // of the node; 0 = 4000
}

// agent is a running agent with a configuration file.
type agent struct {
	*process
	agentConfig
	file string
	env  []string
}

func (c *agentConfig) complete(t *testing.T) {
	for _, port := range []*int{&c.httpPort, &c.rpcPort, &c.raftPort, &c.serfPort} {
		if *port == 0 {
			*port = freePort()
		}
	}
	if c.dataDir == "" {
		c.dataDir = t.TempDir()
	}
	c.name = or(c.name, "alpha")
	c.region = or(c.region, "global")
	c.memoryMB, c.cpuMHz = or(c.memoryMB, 1000), or(c.cpuMHz, 4000)
}

func or[T comparable](value, otherwise T) T {
	if value == *new(T) {
		return otherwise
	}
	return value
}

func (c *agentConfig) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name = %q\nregion = %q\ndata_dir = %q\nbind_addr = \"127.0.0.1\"\nlog_level = \"DEBUG\"\nleave_on_interrupt = true\n%s\n", c.name, c.region, c.dataDir, c.keys)
	fmt.Fprintf(&b, "ports {\n  http = %d\n  rpc = %d\n  serf = %d\n  raft = %d\n}\n", c.httpPort, c.rpcPort, c.serfPort, c.raftPort)
	b.WriteString("advertise {\n  http = \"127.0.0.1\"\n  rpc = \"127.0.0.1\"\n  serf = \"127.0.0.1\"\n  raft = \"127.0.0.1\"\n}\n")
	if c.server {
		fmt.Fprintf(&b, "server {\n  enabled = true\n  bootstrap_expect = 1\n%s\n}\n", c.serverKeys)
	}
	if c.client {
		fmt.Fprintf(&b, "client {\n  enabled = true\n  memory_total_mb = %d\n  cpu_total_compute = %d\n  network_interface = \"lo\"\n  gc_disk_usage_threshold = 100\n", c.memoryMB, c.cpuMHz)
		for _, s := range c.servers {
			fmt.Fprintf(&b, "  servers = [%q]\n", s)
		}
		fmt.Fprintf(&b, "%s\n}\nplugin \"raw_exec\" {\n  config {\n    enabled = true\n  }\n}\n", c.clientKeys)
	}
	return b.String()
}

// newAgent starts an agent and waits until it serves.
func newAgent(t *testing.T, c agentConfig) *agent {
	t.Helper()
	c.complete(t)
	a := &agent{agentConfig: c, file: filepath.Join(t.TempDir(), "agent.hcl")}
	if err := os.WriteFile(a.file, []byte(c.text()), 0o644); err != nil {
		t.Fatal(err)
	}
	// Tasks outlive agents: here not beyond the test.
	t.Cleanup(func() {
		endProcessesOf(c.dataDir)
		letGoOfSecrets(t, filepath.Join(c.dataDir, "alloc"))
	})
	a.start(t)
	return a
}

// start starts the agent, again after an end.
func (a *agent) start(t *testing.T) {
	t.Helper()
	a.process = start(t, a.env, "agent", "-config", a.file)
	if !a.out.await(t, "Drover agent started!", a.ended) {
		t.Fatalf("agent %s ended:\n%s", a.name, a.out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("agent %s said:\n%s", a.name, tailOf(a.out.String(), 3000))
		}
	})
}

func tailOf(s string, length int) string { return s[max(0, len(s)-length):] }

func (a *agent) url() string { return fmt.Sprintf("http://127.0.0.1:%d", a.httpPort) }
func (a *agent) rpc() string { return fmt.Sprintf("127.0.0.1:%d", a.rpcPort) }

// client is the official Go client, talking to this agent.
func (a *agent) client(t *testing.T) *api.Client { return newClient(t, a.url()) }

func newClient(t *testing.T, url string) *api.Client {
	t.Helper()
	c, err := api.NewClient(&api.Config{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

func (r result) String() string {
	text := fmt.Sprintf("exit %d\n%s", r.code, r.stdout)
	if r.stderr != "" {
		text += "-- stderr\n" + r.stderr
	}
	return text
}

// cli runs one command against an address.
func cli(t *testing.T, address, dir string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"DROVER_ADDR=" + address, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR"), "TZ=UTC"}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("drover %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// drover runs one command against this agent.
func (a *agent) drover(t *testing.T, args ...string) result {
	t.Helper()
	return cli(t, a.url(), t.TempDir(), args...)
}

// ok runs one command that has to succeed and returns its output.
func (a *agent) ok(t *testing.T, args ...string) string {
	t.Helper()
	r := a.drover(t, args...)
	if r.code != 0 {
		t.Fatalf("drover %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// await asks with blocking queries until the answer is good.
func await[T any](t *testing.T, what string, query func(*api.QueryOptions) (T, *api.QueryMeta, error), good func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var index uint64
	for {
		q := (&api.QueryOptions{WaitIndex: index, WaitTime: patience}).WithContext(ctx)
		answer, meta, err := query(q)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if good(answer) {
			return answer
		}
		if meta.LastIndex == 0 {
			t.Fatalf("%s: an answer without an index", what)
		}
		index = meta.LastIndex
	}
}

// awaitNodes waits until so many nodes are ready.
func awaitNodes(t *testing.T, c *api.Client, count int) []*api.NodeListStub {
	t.Helper()
	return await(t, "nodes", c.Nodes().List, func(nodes []*api.NodeListStub) bool {
		ready := 0
		for _, n := range nodes {
			if n.Status == "ready" {
				ready++
			}
		}
		return ready == count
	})
}

// awaitAllocs waits until the allocations of a job are as wished.
func awaitAllocs(t *testing.T, c *api.Client, job string, good func([]*api.AllocationListStub) bool) []*api.AllocationListStub {
	t.Helper()
	return await(t, "allocations of "+job, func(q *api.QueryOptions) ([]*api.AllocationListStub, *api.QueryMeta, error) {
		return c.Jobs().Allocations(job, true, q)
	}, good)
}

// with keeps the allocations of a client status.
func with(allocs []*api.AllocationListStub, status string) (kept []*api.AllocationListStub) {
	for _, a := range allocs {
		if a.ClientStatus == status {
			kept = append(kept, a)
		}
	}
	return kept
}

// awaitCount waits until so many allocations of a job have a client status.
func awaitCount(t *testing.T, c *api.Client, job, status string, count int) []*api.AllocationListStub {
	t.Helper()
	all := awaitAllocs(t, c, job, func(allocs []*api.AllocationListStub) bool { return len(with(allocs, status)) == count })
	return with(all, status)
}

// awaitAlloc waits until one allocation is as wished.
func awaitAlloc(t *testing.T, c *api.Client, id string, good func(*api.Allocation) bool) *api.Allocation {
	t.Helper()
	return await(t, "allocation "+id, func(q *api.QueryOptions) (*api.Allocation, *api.QueryMeta, error) {
		return c.Allocations().Info(id, q)
	}, good)
}

// newOne starts an agent that is server and client, with a ready node.
func newOne(t *testing.T, c agentConfig) (*agent, *api.Client) {
	t.Helper()
	c.server, c.client = true, true
	a := newAgent(t, c)
	client := a.client(t)
	awaitNodes(t, client, 1)
	return a, client
}

// shell is a job of one group that runs a line of shell.
func shell(id, kind string, count int, line string) *api.Job {
	job := &api.Job{ID: &id, Name: &id, Type: &kind, Datacenters: []string{"*"}}
	group := api.NewTaskGroup("group", count)
	task := api.NewTask("task", "raw_exec").Require(&api.Resources{CPU: ptr(20), MemoryMB: ptr(16)})
	task.SetConfig("command", "/bin/sh").SetConfig("args", []string{"-c", line})
	task.KillTimeout = ptr(2 * time.Second)
	group.RestartPolicy = &api.RestartPolicy{Attempts: ptr(0), Interval: ptr(time.Minute), Delay: ptr(time.Second), Mode: ptr("fail")}
	return job.AddTaskGroup(group.AddTask(task))
}

func ptr[T any](v T) *T { return &v }

func register(t *testing.T, c *api.Client, job *api.Job) *api.JobRegisterResponse {
	t.Helper()
	resp, _, err := c.Jobs().Register(job, nil)
	if err != nil {
		t.Fatalf("register %s: %v", *job.ID, err)
	}
	return resp
}

// logHead is the index of the newest record.
func logHead(t *testing.T, a *agent) string {
	t.Helper()
	out := a.ok(t, "event", "verify")
	_, head, found := strings.Cut(out, "Head: index ")
	if !found {
		t.Fatalf("no head in %q", out)
	}
	index, _, _ := strings.Cut(head, ",")
	return index
}

// request sends one HTTP request as is.
func request(t *testing.T, method, url, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func sortedLines(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
