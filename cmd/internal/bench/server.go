package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover/cmd/internal/apiclient"
)

// server is the server under load: a child process, or one that runs already.
type server struct {
	address string // of its API, http://host:port
	agents  string // host:port of its side for node agents
	api     *apiclient.Client

	// Of a child alone.
	program string
	dir     string // holds everything of it
	args    []string
	cmd     *exec.Cmd
	ended   chan struct{}
	said    *tailBuffer
}

// newChild prepares a server of its own below dir; nothing runs yet.
func newChild(program, dir string, schedulers int, quick bool) (*server, error) {
	s := &server{program: program, dir: dir}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	workers, heartbeats := "", ""
	if schedulers > 0 {
		workers = fmt.Sprintf("  num_schedulers   = %d\n", schedulers)
	}
	if quick {
		heartbeats = "  min_heartbeat_ttl = \"1s\"\n  heartbeat_grace = \"2s\"\n"
	}
	text := fmt.Sprintf(`# The server of one run of drover bench.
name              = "bench"
data_dir          = %q
bind_addr         = "127.0.0.1"
log_level         = "INFO"
log_file          = %q
leave_on_interrupt = true
enable_debug      = true
ports {
  http = %d
  rpc  = %d
  serf = %d
  raft = %d
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
  raft = "127.0.0.1"
}
server {
  enabled          = true
  bootstrap_expect = 1
%s%s}
`, s.dataDir(), filepath.Join(dir, "server.log"), ports[0], ports[1], ports[2], ports[3], workers, heartbeats)
	file := filepath.Join(dir, "server.hcl")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return nil, err
	}
	s.args = []string{"agent", "-config", file}
	s.address, s.agents = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	s.api, err = apiclient.New(apiclient.Config{Address: s.address})
	return s, err
}

// freePorts finds ports that nobody listens on.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // held until all are found, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func (s *server) dataDir() string { return filepath.Join(s.dir, "data") }
func (s *server) logDir() string  { return filepath.Join(s.dir, "data", "server") }

// child reports whether this process started the server.
func (s *server) child() bool { return s.program != "" }

// start starts the child and returns when it answers from its folded state, and
// the time that this took.
func (s *server) start(ctx context.Context) (took time.Duration, err error) {
	s.said = &tailBuffer{}
	s.cmd, s.ended = exec.Command(s.program, s.args...), make(chan struct{})
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	// An interrupt of the terminal is for the bench, which ends the server itself.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	cmd, ended := s.cmd, s.ended
	go func() {
		_ = cmd.Wait() // its state says how it ended
		close(ended)
	}()
	deadline := time.NewTimer(startPatience)
	defer deadline.Stop()
	for {
		if err = s.serves(ctx); err == nil {
			return time.Since(begin), nil
		}
		select {
		case <-ended:
			return 0, fmt.Errorf("the server ended at its start (%v); it said:\n%s", cmd.ProcessState, s.said)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-deadline.C:
			return 0, fmt.Errorf("the server does not serve after %v: %w; it said:\n%s", startPatience, err, s.said)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// serves asks for something that is read from the state at the head of the log.
func (s *server) serves(ctx context.Context) error {
	_, _, err := s.api.Jobs(ctx, apiclient.Query{PerPage: 1})
	return err
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// kill is kill -9.
func (s *server) kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// stop ends the child as an operator does.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-s.ended:
	case <-time.After(stopPatience):
		s.kill()
		return fmt.Errorf("the server did not end within %v of an interrupt", stopPatience)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the server ended with code %d; it said:\n%s", code, s.said)
	}
	return nil
}

// running fails when the child has ended.
func (s *server) running() error {
	if !s.child() {
		return nil
	}
	select {
	case <-s.ended:
		return fmt.Errorf("the server ended (%v); it said:\n%s", s.cmd.ProcessState, s.said)
	default:
		return nil
	}
}

// checkpoints are put out of the server's reach, or back.
func (s *server) hideCheckpoints() error {
	err := os.Rename(filepath.Join(s.logDir(), "checkpoints"), filepath.Join(s.dir, "checkpoints-away"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// hasCheckpoint reports whether a start has anything to begin at.
func (s *server) hasCheckpoint() bool {
	names, err := filepath.Glob(filepath.Join(s.logDir(), "checkpoints", "*.checkpoint"))
	return err == nil && len(names) > 0
}

// remote is a server that runs already.
func remote(ctx context.Context, cfg apiclient.Config) (*server, error) {
	s := &server{address: cfg.Address}
	var err error
	if s.api, err = apiclient.New(cfg); err != nil {
		return nil, err
	}
	var self struct {
		Member struct{ Tags map[string]string }
	}
	if _, err := s.api.Get(ctx, "/v1/agent/self", apiclient.Query{}, &self); err != nil {
		return nil, err
	}
	s.agents = net.JoinHostPort(self.Member.Tags["rpc_addr"], self.Member.Tags["port"])
	if self.Member.Tags["port"] == "" {
		return nil, fmt.Errorf("the agent at %s is no server", cfg.Address)
	}
	return s, nil
}

// tailBuffer keeps the end of what a process says.
type tailBuffer struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 8 << 10

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	if len(b.text) > 2*tailBytes {
		b.text = bytes.Clone(b.text[len(b.text)-tailBytes:])
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.text[max(0, len(b.text)-tailBytes):]))
}
