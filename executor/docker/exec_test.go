package docker

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/executor/driver"
	"drover/executor/shim/proctree"
)

// screen is what a program wrote; it can be waited for.
type screen struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func newScreen() *screen { return &screen{grown: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.grown)
	s.grown = make(chan struct{})
	return s.text.Write(b)
}

func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for timeout := time.After(time.Minute); ; {
		s.mu.Lock()
		found, grown := strings.Contains(s.text.String(), text), s.grown
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-timeout:
			t.Fatalf("never shows %q: %q", text, s)
		}
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Programs beside a task see what it sees, have its streams or a terminal, and end with their session.
func TestExec(t *testing.T) {
	d := shared.driver(t)
	made := task(t, shell("trap 'exit 0' TERM; echo ready; sleep 1000 & wait", "work_dir", "/local", "network_mode", "none"))
	made.User = "web"
	r := begin(t, d, made)
	until(t, func() bool { // it heeds its signal
		b, _ := os.ReadFile(filepath.Join(made.LogDir, "web.stdout.0"))
		return len(b) > 0
	})
	run := func(ctx context.Context, x driver.Exec) (int, error) {
		e, ok := driver.ExecerOf(r)
		if !ok {
			t.Fatal("the driver runs no programs beside a task")
		}
		return e.Exec(ctx, made, &x)
	}

	out, errs := newScreen(), newScreen()
	code, err := run(t.Context(), driver.Exec{
		Command: []string{"sh", "-c", `cat; echo "$PWD $(id -u) $NOMAD_JOB_ID"; echo oops >&2; exit 9`}, Stdin: strings.NewReader("in\n"), Stdout: out, Stderr: errs,
	})
	if code != 9 || err != nil || out.String() != "in\n/local 1000 shop\n" || errs.String() != "oops\n" {
		t.Errorf("code %d, %v; %q, %q", code, err, out, errs)
	}

	// Input that never ends is not waited for.
	input, _ := io.Pipe()
	if code, err := run(t.Context(), driver.Exec{Command: []string{"sh", "-c", "kill -9 $$"}, Stdin: input, Stdout: out, Stderr: errs}); code != 137 || err != nil {
		t.Errorf("killed program: code %d, %v", code, err)
	}

	out = newScreen()
	keys, hands := io.Pipe()
	sizes := make(chan driver.TerminalSize, 1)
	sizes <- driver.TerminalSize{Rows: 41, Columns: 99}
	ended := make(chan error, 1)
	go func() {
		code, err := run(t.Context(), driver.Exec{Command: []string{"sh"}, TTY: true, Sizes: sizes, Stdin: keys, Stdout: out})
		if err == nil && code != 5 {
			err = errors.New("another code than that of the shell")
		}
		ended <- err
	}()
	io.WriteString(hands, "until [ \"$(stty size)\" = '41 99' ]; do sleep 0.01; done; echo is $((40+1))\n")
	out.shows(t, "is 41\r\n")
	sizes <- driver.TerminalSize{Rows: 42, Columns: 77}
	io.WriteString(hands, "until [ \"$(stty size)\" = '42 77' ]; do sleep 0.01; done; echo is $((40+2)); exit 5\n")
	if err := <-ended; err != nil {
		t.Errorf("terminal: %v; %q", err, out)
	}
	out.shows(t, "is 42\r\n")

	// A session that is given up leaves nothing, not even what has its streams closed.
	out = newScreen()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client has gone")
	go func() {
		_, err := run(ctx, driver.Exec{Command: []string{"sh", "-c", "sleep 98765 & echo started; wait"}, Stdin: input, Stdout: out, Stderr: errs})
		ended <- err
	}()
	out.shows(t, "started\n")
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("given up: %v", err)
	}
	st, err := r.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// What was killed is gone when the task's first process has taken note of it; its own sleep remains.
	until(t, func() bool { return len(proctree.Descendants(proctree.All(), st.PID)) == 1 })
	if st.Ended {
		t.Error("the task ended with a program beside it")
	}

	out = newScreen()
	if code, err := run(t.Context(), driver.Exec{Command: []string{"no-such-program"}, Stdin: input, Stdout: out, Stderr: errs}); err == nil && code == 0 || err == nil && !strings.Contains(out.String(), "no-such-program") {
		t.Errorf("a program that does not exist: code %d, %v; %q", code, err, out)
	}
	if err := r.Stop(t.Context(), time.Minute, "SIGTERM"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t.Context(), driver.Exec{Command: []string{"true"}, Stdin: input, Stdout: out, Stderr: errs}); !errors.Is(err, driver.ErrEnded) {
		t.Errorf("beside a task that has ended: %v", err)
	}
}
