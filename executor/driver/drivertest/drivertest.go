// Package drivertest is the contract test of package driver. Every driver runs it.
package drivertest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/memdir"
)

// Subject is a driver under test and how to have it do something.
type Subject struct {
	// Driver makes the driver as a new life of the agent has it: all of them drive the same machine.
	Driver func() driver.Driver
	// Forever is the configuration of a task that runs until its kill signal ends it. It says on its standard output when
	// it heeds the signal: the first process of a container is sent none before it has asked for it.
	Forever map[string]any
	// Stubborn is the configuration of a task that takes no notice of its kill signal and says so on its standard output.
	Stubborn map[string]any
	// Ends is the configuration of a task that ends at once with this exit code.
	Ends func(code int) map[string]any
	// Says is the configuration of a task that writes these two texts and ends with code 0.
	Says func(stdout, stderr string) map[string]any
	// Invalid is a configuration that the driver must refuse.
	Invalid map[string]any
	// Missing is the configuration of a task whose program, image or the like does not exist.
	Missing map[string]any
	// Graceful says that tasks take their kill signal as a request and end with code 0.
	Graceful bool
	// NoSignals says that the driver passes no other signals on.
	NoSignals bool
	// Noisy says that what the driver runs tasks by may write on their standard error too.
	Noisy bool
	// CodesOnly says that the driver learns exit codes and not which signal ended a task.
	CodesOnly bool
	// Shell is the path of a shell as programs find it that run beside a task; "" for a driver that runs none.
	Shell string
	// Lingers says that what such a program has left running stays until the task ends.
	Lingers bool
	// Filtered says that tasks, and what runs beside them, are refused calls of the kernel that they have no use for.
	Filtered bool
	// Left lists what is found on the machine of a task, running or not, besides its directories. Nil when there is nothing
	// of the kind.
	Left func(t *driver.Task) []string
}

// secretText is what stands in the file key among the secrets of each task of the contract.
const secretText = "open sesame"

// inMemory has a task's secrets where an agent has them.
func inMemory(t *testing.T, dir string) {
	t.Helper()
	if mounted, err := memdir.New(slog.New(slog.DiscardHandler)).Mount(dir, 1); err != nil || !mounted {
		t.Fatalf("secrets in memory: %v, %v", mounted, err)
	}
	t.Cleanup(func() {
		if err := memdir.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(secretText), 0o644); err != nil {
		t.Fatal(err)
	}
}

// caseTimeout bounds one case. It is longer than the kill timeouts that the cases give, so that it shows which one ran out.
const caseTimeout = 90 * time.Second

// Run checks the contract.
func Run(t *testing.T, s Subject) {
	ctx := context.Background()
	// A case has a time of its own: one that hangs must not take the others along.
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(t.Context(), caseTimeout)
			defer cancel()
			f(t)
		})
	}
	starts := 0
	task := func(t *testing.T, config map[string]any) *driver.Task {
		t.Helper()
		starts++
		id := event.DeriveID("contract", event.ID{1}, uint64(os.Getpid()), uint64(starts))
		dir := t.TempDir()
		made := &driver.Task{
			ID: id.String() + "/web/" + strconv.Itoa(starts), AllocID: id, Name: "web", Config: config,
			Env:      map[string]string{"PATH": "/usr/bin:/bin", "NOMAD_ALLOC_ID": id.String(), "NOMAD_TASK_NAME": "web"},
			StateDir: filepath.Join(dir, "state"), TaskDir: filepath.Join(dir, "task"), LocalDir: filepath.Join(dir, "task/local"),
			SecretsDir: filepath.Join(dir, "task/secrets"), SharedDir: filepath.Join(dir, "alloc"),
			LogDir: filepath.Join(dir, "alloc/logs"), LogBytesMax: 1 << 20, LogFilesMax: 2, CPUMHz: 100, MemoryMB: 128,
		}
		for _, d := range []string{made.LocalDir, made.SecretsDir, made.LogDir} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		inMemory(t, made.SecretsDir)
		return made
	}
	start := func(t *testing.T, config map[string]any) (*driver.Task, driver.Running) {
		t.Helper()
		made := task(t, config)
		r, err := s.Driver().Start(ctx, made)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Destroy(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return made, r
	}
	// forever starts a task that heeds its kill signal.
	forever := func(t *testing.T) (*driver.Task, driver.Running) {
		t.Helper()
		made, r := start(t, s.Forever)
		untilOutput(ctx, t, filepath.Join(made.LogDir, "web.stdout.0"))
		return made, r
	}
	left := func(t *testing.T, made *driver.Task) {
		t.Helper()
		if _, err := os.Stat(made.StateDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state directory of a start that is gone: %v", err)
		}
		if s.Left != nil {
			for _, what := range s.Left(made) {
				t.Errorf("left of a start that is gone: %s", what)
			}
		}
	}
	// ended checks how a signal ended a task.
	ended := func(t *testing.T, e driver.Exit, signal int) {
		t.Helper()
		if s.Graceful && signal != 9 {
			if !e.Successful() {
				t.Errorf("exit %+v, want a good one", e)
			}
			return
		}
		if e.Code != 128+signal || e.Successful() || e.Signal != signal && !(s.CodesOnly && e.Signal == 0) {
			t.Errorf("exit %+v, want that of signal %d", e, signal)
		}
	}
	exit := func(t *testing.T, r driver.Running) driver.Exit {
		t.Helper()
		e, err := r.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e.Time.IsZero() {
			t.Error("the time of the end is missing")
		}
		return e
	}

	run("fingerprint", func(t *testing.T) {
		d := s.Driver()
		if info := d.Fingerprint(ctx); !info.Detected || !info.Healthy || info.Attributes["driver."+d.Name()] != "1" {
			t.Errorf("fingerprint %+v", info)
		}
		if _, err := driver.ParseSignal(d.KillSignal()); err != nil && d.KillSignal() != "" {
			t.Error(err)
		}
	})
	run("exit codes", func(t *testing.T) {
		for _, code := range []int{0, 1, 255} {
			_, r := start(t, s.Ends(code))
			if e := exit(t, r); e.Code != code || e.Signal != 0 || e.Successful() != (code == 0) {
				t.Errorf("exit %+v, want code %d", e, code)
			}
			// Everybody who asks later is told the same, and an ended task takes no signal.
			if e := exit(t, r); e.Code != code {
				t.Errorf("second answer %+v", e)
			}
			if err := r.Signal(ctx, "SIGHUP"); !errors.Is(err, driver.ErrEnded) {
				t.Errorf("signal to an ended task: %v", err)
			}
			if err := r.Stop(ctx, time.Second, "SIGTERM"); err != nil {
				t.Errorf("stop of an ended task: %v", err)
			}
			if st, err := r.Inspect(ctx); err != nil || !st.Ended || st.Exit.Code != code {
				t.Errorf("inspect %+v, %v", st, err)
			}
		}
	})
	run("stop by signal", func(t *testing.T) {
		_, r := forever(t)
		if st, err := r.Inspect(ctx); err != nil || st.Ended || st.PID == 0 {
			t.Errorf("inspect %+v, %v", st, err)
		}
		if u, err := r.Usage(ctx); err != nil || len(u.PIDs) == 0 || !slices.Contains(u.Memory.Measured, "RSS") {
			t.Errorf("usage %+v, %v", u, err)
		}
		if err := r.Stop(ctx, time.Minute, "SIGTERM"); err != nil {
			t.Fatal(err)
		}
		ended(t, exit(t, r), 15)
	})
	run("stop by force", func(t *testing.T) {
		made, r := start(t, s.Stubborn)
		untilOutput(ctx, t, filepath.Join(made.LogDir, "web.stdout.0"))
		if err := r.Stop(ctx, 30*time.Millisecond, "SIGTERM"); err != nil {
			t.Fatal(err)
		}
		ended(t, exit(t, r), 9)
	})
	run("output", func(t *testing.T) {
		made, r := start(t, s.Says("out\n", "err\n"))
		if e := exit(t, r); !e.Successful() {
			t.Errorf("exit %+v", e)
		}
		// Who is told of the end finds all that the task has written.
		for name, want := range map[string]string{"web.stdout.0": "out\n", "web.stderr.0": "err\n"} {
			got, err := os.ReadFile(filepath.Join(made.LogDir, name))
			if noise := s.Noisy && name == "web.stderr.0"; err != nil || string(got) != want && !(noise && strings.HasSuffix(string(got), want)) {
				t.Errorf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
		made = task(t, s.Says("out\n", "err\n"))
		made.LogsDisabled = true
		r, err := s.Driver().Start(ctx, made)
		if err != nil {
			t.Fatal(err)
		}
		exit(t, r)
		if files, err := os.ReadDir(made.LogDir); err != nil || len(files) != 0 {
			t.Errorf("log files of a task that wants none: %v, %v", files, err)
		}
		if err := r.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	run("signals", func(t *testing.T) {
		_, r := start(t, s.Forever)
		if err := r.Signal(ctx, "SIGNONE"); err == nil {
			t.Error("a signal that does not exist was sent")
		}
		if err := r.Signal(ctx, "SIGCONT"); (err != nil) != s.NoSignals || errors.Is(err, driver.ErrEnded) {
			t.Errorf("signal: %v", err)
		}
	})
	run("recover a running task", func(t *testing.T) {
		for _, withHandle := range []bool{true, false} {
			made, r := forever(t)
			var handle []byte
			if withHandle {
				handle = r.Handle()
			}
			again, err := s.Driver().Recover(ctx, made, handle)
			if err != nil {
				t.Fatal(err)
			}
			first, err := r.Inspect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if second, err := again.Inspect(ctx); err != nil || second.PID != first.PID {
				t.Errorf("found %+v instead of %+v, %v", second, first, err)
			}
			if err := again.Stop(ctx, time.Minute, "SIGTERM"); err != nil {
				t.Fatal(err)
			}
			a, b := exit(t, r), exit(t, again)
			if a.Code != b.Code {
				t.Errorf("exits %+v and %+v", a, b)
			}
			ended(t, a, 15)
		}
	})
	run("recover an ended task", func(t *testing.T) {
		made, r := start(t, s.Ends(9))
		exit(t, r)
		again, err := s.Driver().Recover(ctx, made, nil)
		if err != nil {
			t.Fatal(err)
		}
		if e := exit(t, again); e.Code != 9 {
			t.Errorf("exit %+v", e)
		}
	})
	run("recover nothing", func(t *testing.T) {
		if _, err := s.Driver().Recover(ctx, task(t, s.Forever), nil); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("recover of a task that was never started: %v", err)
		}
	})
	run("destroy", func(t *testing.T) {
		made, r := start(t, s.Forever)
		if err := r.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		if e := exit(t, r); e.Successful() {
			t.Errorf("exit %+v", e)
		}
		left(t, made)
		if _, err := s.Driver().Recover(ctx, made, r.Handle()); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("recover of a destroyed task: %v", err)
		}
		if err := r.Destroy(ctx); err != nil {
			t.Errorf("second destroy: %v", err)
		}
	})
	run("destroy an ended task", func(t *testing.T) {
		made, r := start(t, s.Ends(0))
		exit(t, r)
		if err := r.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		left(t, made)
	})
	run("destroy by another agent", func(t *testing.T) {
		made, r := start(t, s.Forever)
		again, err := s.Driver().Recover(ctx, made, r.Handle())
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		left(t, made)
		if e, err := r.Wait(ctx); err == nil && e.Successful() {
			t.Errorf("a task that was destroyed ended well: %+v", e)
		}
	})
	run("programs beside a task", func(t *testing.T) { besides(ctx, t, s, forever) })
	run("two tasks", func(t *testing.T) {
		_, one := start(t, s.Forever)
		_, other := start(t, s.Forever)
		if err := one.Destroy(ctx); err != nil {
			t.Fatal(err)
		}
		if st, err := other.Inspect(ctx); err != nil || st.Ended {
			t.Errorf("the end of one task touched the other: %+v, %v", st, err)
		}
	})
	run("waiting can be given up", func(t *testing.T) {
		_, r := start(t, s.Forever)
		short, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := r.Wait(short); !errors.Is(err, context.Canceled) {
			t.Errorf("wait: %v", err)
		}
	})
	run("invalid configuration", func(t *testing.T) {
		made := task(t, s.Invalid)
		_, err := s.Driver().Start(ctx, made)
		if invalid := (driver.Invalid{}); !errors.As(err, &invalid) {
			t.Errorf("start: %v", err)
		}
		left(t, made)
		if files, err := os.ReadDir(made.LogDir); err != nil || len(files) != 0 {
			t.Errorf("a refused task has log files: %v, %v", files, err)
		}
	})
	run("missing program", func(t *testing.T) {
		made := task(t, s.Missing)
		_, err := s.Driver().Start(ctx, made)
		if final := (driver.Unrecoverable{}); !errors.As(err, &final) {
			t.Errorf("start: %v", err)
		}
		if s.Left != nil {
			for _, what := range s.Left(made) {
				t.Errorf("left of a start that failed: %s", what)
			}
		}
		if _, err := s.Driver().Recover(ctx, made, nil); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("recover of a start that failed: %v", err)
		}
	})
	run("labelled calls", func(t *testing.T) {
		boom := errors.New("boom")
		for _, label := range []string{driver.StartCreate, driver.StartAnswer, driver.StopSend, driver.SignalSend} {
			made := task(t, s.Forever)
			d := driver.Hooked(s.Driver(), func(l, id string) error {
				if l == label && id == made.ID {
					return boom
				}
				return nil
			})
			r, err := d.Start(ctx, made)
			if label == driver.StartCreate || label == driver.StartAnswer {
				if !errors.Is(err, boom) {
					t.Errorf("%s: %v", label, err)
				}
				// The call itself was made or not made; only the label tells.
				found, err := s.Driver().Recover(ctx, made, nil)
				if (label == driver.StartAnswer) != (err == nil) {
					t.Errorf("%s: recover: %v", label, err)
				}
				if err == nil {
					if err := found.Destroy(ctx); err != nil {
						t.Error(err)
					}
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if label == driver.StopSend {
				err = r.Stop(ctx, 0, "SIGKILL")
			} else {
				err = r.Signal(ctx, "SIGHUP")
			}
			if !errors.Is(err, boom) {
				t.Errorf("%s: %v", label, err)
			}
			if err := r.Destroy(ctx); err != nil {
				t.Error(err)
			}
		}
	})
}

// untilOutput waits until a task has said something.
func untilOutput(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s stays empty", path)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
