package shim

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/executor/shim/logfile"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// shell is a task that runs a script, with its directories.
type shell struct {
	dir, logs string
	spec      wire.Spec
	marker    string
}

func newShell(t *testing.T, script string) shell {
	t.Helper()
	s := shell{dir: t.TempDir(), logs: t.TempDir(), marker: "NOMAD_ALLOC_ID=" + t.Name() + strconv.Itoa(os.Getpid())}
	s.spec = wire.Spec{
		Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", s.marker}, Dir: s.logs,
		LogDir: s.logs, LogName: "web", LogBytesMax: 1 << 20, LogFilesMax: 3,
	}
	return s
}

func (s shell) start(t *testing.T) *Process {
	t.Helper()
	p, err := Start(shimBinary, s.dir, s.spec, s.marker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(syscall.SIGKILL, 0); wait(t, p) })
	return p
}

func wait(t *testing.T, p *Process) (wire.Exit, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	exit, err := p.Wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("the task did not end")
	}
	return exit, err
}

func (s shell) output(t *testing.T, stream string) string {
	t.Helper()
	var all strings.Builder
	for _, i := range logfile.Indexes(s.logs, "web."+stream) {
		b, err := os.ReadFile(logfile.Path(s.logs, "web."+stream, i))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// untilOutput waits until the task has said something: it has come to that line of its script.
func (s shell) untilOutput(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.output(t, "stdout"), want) {
		if time.Now().After(deadline) {
			t.Fatalf("the task did not write %q, but %q", want, s.output(t, "stdout"))
		}
		<-time.After(2 * time.Millisecond)
	}
}

func TestOutputAndExitStatus(t *testing.T) {
	s := newShell(t, "echo out; echo err >&2; exit 7")
	exit, err := wait(t, s.start(t))
	if err != nil || exit.Code != 7 || exit.Signal != 0 {
		t.Fatalf("exit %+v, %v", exit, err)
	}
	if out, errOut := s.output(t, "stdout"), s.output(t, "stderr"); out != "out\n" || errOut != "err\n" {
		t.Fatalf("stdout %q, stderr %q", out, errOut)
	}
}

func TestProgramThatDoesNotExist(t *testing.T) {
	s := newShell(t, "")
	s.spec.Path = "/no/such/program"
	if _, err := Start(shimBinary, s.dir, s.spec, s.marker); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("start: %v", err)
	}
	if _, err := Attach(s.dir, s.marker); !errors.Is(err, ErrNeverStarted) {
		t.Fatalf("attach: %v", err)
	}
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		name, script string
		timeout      time.Duration
		want         wire.Exit
	}{
		{"in time", "trap 'exit 3' INT; echo ready; while :; do sleep 0.01; done", 20 * time.Second, wire.Exit{Code: 3}},
		{"by force", "trap '' INT; echo ready; while :; do sleep 1; done", 20 * time.Millisecond, wire.Exit{Code: 137, Signal: 9}},
		{"no handler", "echo ready; exec sleep 100", 20 * time.Second, wire.Exit{Code: 130, Signal: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t, c.script)
			p := s.start(t)
			s.untilOutput(t, "ready")
			if err := p.Stop(syscall.SIGINT, c.timeout); err != nil {
				t.Fatal(err)
			}
			exit, err := wait(t, p)
			if exit.Time = 0; err != nil || exit != c.want {
				t.Fatalf("exit %+v, %v; want %+v", exit, err, c.want)
			}
			if err := p.Signal(syscall.SIGHUP); !errors.Is(err, ErrEnded) {
				t.Fatalf("signal after the end: %v", err)
			}
		})
	}
}

func TestSignal(t *testing.T) {
	s := newShell(t, "trap 'echo hup' HUP; echo ready; while :; do sleep 0.01; done")
	p := s.start(t)
	s.untilOutput(t, "ready")
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.untilOutput(t, "hup")
}

// A task's tree cannot escape by leaving its group, its session or its parent.
func TestWholeTreeDies(t *testing.T) {
	s := newShell(t, "(setsid sh -c 'setsid sleep 1000 & echo deep $!') & setsid sleep 1000 & echo ready $!; wait; sleep 1000")
	p := s.start(t)
	s.untilOutput(t, "deep")
	s.untilOutput(t, "ready")
	if err := p.Stop(syscall.SIGTERM, time.Minute); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	assertNothingLeft(t, s)
}

func assertNothingLeft(t *testing.T, s shell) {
	t.Helper()
	for _, p := range proctree.All() {
		if !p.Zombie && proctree.HasEnv(p.PID, s.marker) {
			t.Errorf("process %d is left", p.PID)
		}
	}
}

// Killing the shim loses the exit status; it must not lose control of what is left.
func TestShimKilled(t *testing.T) {
	for _, attached := range []bool{true, false} {
		t.Run("attached="+strconv.FormatBool(attached), func(t *testing.T) {
			s := newShell(t, "setsid sleep 1000 & env -i setsid sleep 1001 & echo ready; sleep 1000")
			p := s.start(t)
			s.untilOutput(t, "ready")
			shimPID := shimOf(t, s)
			if !attached { // clean must not depend on the agent that started it
				p.once.Do(func() { p.err = ErrLost; close(p.done) })
			}
			if err := syscall.Kill(shimPID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if !attached {
				var err error
				if p, err = Attach(s.dir, s.marker); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := wait(t, p); !errors.Is(err, ErrLost) {
				t.Fatalf("wait: %v", err)
			}
			assertNothingLeft(t, s)
		})
	}
}

func shimOf(t *testing.T, s shell) int {
	t.Helper()
	m, err := wire.LoadRecord(s.dir, wire.ShimFile)
	if err != nil {
		t.Fatal(err)
	}
	return wire.ProcessOf(m).PID
}

// A recorded PID that belongs to somebody else now is left alone.
func TestRecycledPIDIsNotKilled(t *testing.T) {
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { other.Process.Kill(); other.Wait() }()
	stat, err := proctree.ReadStat(other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{wire.ShimFile, wire.TaskFile} {
		old := wire.Process{PID: stat.PID, Start: stat.Start - 1, BootID: proctree.BootID()}
		if err := wire.SaveRecord(dir, name, old.Message(), false); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Attach(dir, "NOMAD_ALLOC_ID=none")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, p); !errors.Is(err, ErrLost) {
		t.Fatalf("wait: %v", err)
	}
	if s, err := proctree.ReadStat(stat.PID); err != nil || s.Zombie {
		t.Fatal("a process that only shares the PID was killed")
	}
}

func TestAttach(t *testing.T) {
	s := newShell(t, "echo ready; read x; echo never")
	s.spec.Args[2] = "echo ready; while [ ! -e go ]; do sleep 0.01; done; echo done; exit 5"
	p := s.start(t)
	s.untilOutput(t, "ready")
	again, err := Attach(s.dir, s.marker)
	if err != nil {
		t.Fatal(err)
	}
	if again.PID() != p.PID() {
		t.Fatalf("attached to %d instead of %d", again.PID(), p.PID())
	}
	if err := os.WriteFile(filepath.Join(s.logs, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Process{p, again} {
		if exit, err := wait(t, p); err != nil || exit.Code != 5 {
			t.Fatalf("exit %+v, %v", exit, err)
		}
	}
	late, err := Attach(s.dir, s.marker)
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := wait(t, late); err != nil || exit.Code != 5 || late.PID() != p.PID() {
		t.Fatalf("exit %+v of %d, %v", exit, late.PID(), err)
	}
	if out := s.output(t, "stdout"); out != "ready\ndone\n" {
		t.Fatalf("output %q", out)
	}
}

// A start that an agent gave up cannot begin afterwards.
func TestAbandonedStartNeverBegins(t *testing.T) {
	s := newShell(t, "echo oops")
	if _, err := Attach(s.dir, s.marker); !errors.Is(err, ErrNeverStarted) {
		t.Fatalf("attach: %v", err)
	}
	if _, err := Start(shimBinary, s.dir, s.spec, s.marker); err == nil {
		t.Fatal("a start that was given up began")
	}
	if out := s.output(t, "stdout"); out != "" {
		t.Fatalf("output %q", out)
	}
}

// Paths of state directories are longer than what a socket's address can hold.
func TestLongPath(t *testing.T) {
	s := newShell(t, "echo ready; sleep 1000")
	s.dir = filepath.Join(s.dir, strings.Repeat("long/", 60))
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := s.start(t)
	if err := p.Stop(syscall.SIGKILL, 0); err != nil {
		t.Fatal(err)
	}
	wait(t, p)
}

// The target is 10 ms to the task's exec and 8 MB resident, with slack for a busy machine.
func TestShimIsSmallAndFast(t *testing.T) {
	var took []time.Duration
	var residentKB int
	for range 9 {
		s := newShell(t, "echo ready; sleep 1000")
		begin := time.Now()
		p := s.start(t)
		took = append(took, time.Since(begin))
		s.untilOutput(t, "ready")
		residentKB = max(residentKB, resident(t, shimOf(t, s)))
		if err := p.Stop(syscall.SIGKILL, 0); err != nil {
			t.Fatal(err)
		}
		wait(t, p)
	}
	slices.Sort(took)
	t.Logf("start to exec: median %v, worst %v; resident %d KB", took[len(took)/2], took[len(took)-1], residentKB)
	if median := took[len(took)/2]; median > 50*time.Millisecond {
		t.Errorf("median of %v from start to exec", median)
	}
	if residentKB > 8<<10 {
		t.Errorf("resident %d KB", residentKB)
	}
}

func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(text)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		dir, logs := b.TempDir(), b.TempDir()
		p, err := Start(shimBinary, dir, wire.Spec{
			Path: "/bin/true", Args: []string{"true"}, Dir: logs, LogDir: logs, LogName: "x", LogBytesMax: 1 << 20, LogFilesMax: 1,
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// A drover that was built by the Makefile carries a shim that runs; another says how to get one.
func TestExtractCarriedShim(t *testing.T) {
	path, err := Extract(t.TempDir(), Shim)
	if errors.Is(err, ErrNotBuilt) {
		if !strings.Contains(err.Error(), "make build") {
			t.Errorf("error %v does not say what to do", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := exec.Command(path).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("the shim without arguments: %v", err)
	}
}

func TestExtract(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	path, err := install(dir, Shim, []byte("#!/bin/sh\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := install(dir, Shim, []byte("#!/bin/sh\n"))
	if err != nil || again != path {
		t.Fatalf("%s, %v", again, err)
	}
	if err := exec.Command(path).Run(); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("%d files are left", len(entries))
	}
}
