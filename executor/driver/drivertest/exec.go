package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/executor/driver"
)

// Screen is what a program has written; it can be waited for.
type Screen struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

// showTimeout is longer than any program of a test takes to say something, and shorter than caseTimeout.
const showTimeout = 30 * time.Second

// NewScreen is an empty one.
func NewScreen() *Screen { return &Screen{grown: make(chan struct{})} }

// Write implements io.Writer.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.grown)
	s.grown = make(chan struct{})
	return s.text.Write(b)
}

// Shows waits until the text is there.
func (s *Screen) Shows(t *testing.T, text string) {
	t.Helper()
	for timeout := time.After(showTimeout); ; {
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

// String is all of it.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// beside runs programs beside one start of a task.
type beside struct {
	t     *testing.T
	ctx   context.Context
	shell string
	made  *driver.Task
	r     driver.Running
	// tag stands in the command line of what must not be left.
	tag     string
	subject *Subject
}

// besides checks what runs beside a task: with its streams or a terminal, after another agent has found the task, and
// that nothing is left of it at the end of its session or of the task.
func besides(ctx context.Context, t *testing.T, s Subject, forever func(*testing.T) (*driver.Task, driver.Running)) {
	made, r := forever(t)
	if _, ok := driver.ExecerOf(r); ok != (s.Shell != "") {
		t.Fatalf("runs programs beside a task: %t", ok)
	}
	if s.Shell == "" {
		return
	}
	b := &beside{t: t, ctx: ctx, shell: s.Shell, made: made, r: r, tag: made.AllocID.String(), subject: &s}
	b.secrets()
	b.filtered()
	b.streams()
	b.terminal()
	b.givenUp(false)
	b.left()
	b.givenUp(true)
	b.left()
	again, err := s.Driver().Recover(ctx, made, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.r = again
	b.streams()
	b.terminal()
	b.taskEnds()
}

// secrets checks that the task finds what the agent has put into its directory of secrets, in memory.
func (b *beside) secrets() {
	b.t.Helper()
	dir := b.made.SecretsDir
	if b.subject.Driver().Capabilities().FS != driver.IsolationNone {
		dir = driver.SecretsMount
	}
	out := NewScreen()
	script := fmt.Sprintf("cat %s/key; echo; grep -q ' %s tmpfs' /proc/mounts && echo in memory; echo x > %s/mine && echo can write", dir, dir, dir)
	code, err := b.run(b.ctx, driver.Exec{Command: []string{b.shell, "-c", script}, Stdin: strings.NewReader(""), Stdout: out, Stderr: out})
	want := secretText + "\nin memory\ncan write\n"
	if err != nil || code != 0 || out.String() != want {
		b.t.Errorf("secrets: code %d, %v, said %q, want %q", code, err, out, want)
	}
}

// filtered checks that a program beside the task is refused the same calls of the kernel.
func (b *beside) filtered() {
	b.t.Helper()
	if !b.subject.Filtered {
		return
	}
	out := NewScreen()
	code, err := b.run(b.ctx, driver.Exec{Command: []string{b.shell, "-c", "grep Seccomp: /proc/self/status"}, Stdin: strings.NewReader(""), Stdout: out, Stderr: out})
	if err != nil || code != 0 || out.String() != "Seccomp:\t2\n" {
		b.t.Errorf("filter of calls: code %d, %v, said %q", code, err, out)
	}
}

func (b *beside) run(ctx context.Context, x driver.Exec) (int, error) {
	e, ok := driver.ExecerOf(b.r)
	if !ok {
		b.t.Fatal("a task that was found again takes no programs")
	}
	return e.Exec(ctx, b.made, &x)
}

func (b *beside) sh(script string) []string { return []string{b.shell, "-c", script} }

func (b *beside) streams() {
	b.t.Helper()
	out, errs := NewScreen(), NewScreen()
	code, err := b.run(b.ctx, driver.Exec{
		Command: b.sh(`cat; echo "$NOMAD_ALLOC_ID $NOMAD_TASK_NAME"; echo oops >&2; exit 9`), Stdin: strings.NewReader("in\n"), Stdout: out, Stderr: errs,
	})
	if want := fmt.Sprintf("in\n%s web\n", b.made.AllocID); code != 9 || err != nil || out.String() != want || errs.String() != "oops\n" {
		b.t.Errorf("code %d, %v; %q, %q", code, err, out, errs)
	}
	// More than any buffer holds, both ways at once.
	big := strings.Repeat("0123456789abcdef", 1<<14)
	out = NewScreen()
	if code, err := b.run(b.ctx, driver.Exec{Command: b.sh("cat"), Stdin: strings.NewReader(big), Stdout: out, Stderr: errs}); code != 0 || err != nil || out.String() != big {
		b.t.Errorf("code %d, %v; %d bytes of %d came back", code, err, len(out.String()), len(big))
	}
	// Input that never ends is not waited for.
	endless, _ := io.Pipe()
	if code, err := b.run(b.ctx, driver.Exec{Command: b.sh("kill -9 $$"), Stdin: endless, Stdout: out, Stderr: errs}); code != 137 || err != nil {
		b.t.Errorf("killed program: code %d, %v", code, err)
	}
	// Either way it says which program it is.
	out = NewScreen()
	code, err = b.run(b.ctx, driver.Exec{Command: []string{"no-such-program"}, Stdin: endless, Stdout: out, Stderr: out})
	if said := fmt.Sprint(err, out); err == nil && code == 0 || !strings.Contains(said, "no-such-program") {
		b.t.Errorf("a program that does not exist: code %d, %v; %q", code, err, out)
	}
	if b.subject.Lingers {
		return
	}
	// What it leaves running has no part in its end, and goes with it although it holds none of its streams.
	code, err = b.run(b.ctx, driver.Exec{
		Command: b.sh("(trap '' HUP; exec </dev/null >/dev/null 2>&1; : " + b.tag + "; while :; do sleep 1; done) & exit 3"), Stdin: endless, Stdout: out, Stderr: out,
	})
	if code != 3 || err != nil {
		b.t.Errorf("a program that leaves something: code %d, %v", code, err)
	}
	b.left()
}

func (b *beside) terminal() {
	b.t.Helper()
	out := NewScreen()
	keys, hands := io.Pipe()
	sizes := make(chan driver.TerminalSize, 1)
	sizes <- driver.TerminalSize{Rows: 41, Columns: 99}
	ended := make(chan error, 1)
	go func() {
		code, err := b.run(b.ctx, driver.Exec{Command: []string{b.shell}, TTY: true, Sizes: sizes, Stdin: keys, Stdout: out})
		if err == nil && code != 5 {
			err = fmt.Errorf("code %d is not that of the shell", code)
		}
		keys.Close() // whoever types is not kept
		ended <- err
	}()
	io.WriteString(hands, "until [ \"$(stty size)\" = '41 99' ]; do sleep 0.01; done; echo is $((40+1)) in $(tty)\n")
	out.Shows(b.t, "is 41 in /dev/pts/")
	sizes <- driver.TerminalSize{Rows: 42, Columns: 77}
	io.WriteString(hands, "until [ \"$(stty size)\" = '42 77' ]; do sleep 0.01; done; echo is $((40+2))\n")
	out.Shows(b.t, "is 42\r\n")
	io.WriteString(hands, "exit 5\n")
	if err := <-ended; err != nil {
		b.t.Errorf("terminal: %v; %q", err, out)
	}
	// The interrupt key.
	out = NewScreen()
	keys, hands = io.Pipe()
	go func() {
		code, err := b.run(b.ctx, driver.Exec{Command: b.sh("echo ready; exec sleep 1000"), TTY: true, Stdin: keys, Stdout: out})
		if err == nil && code != 130 {
			err = fmt.Errorf("code %d is not that of the interrupt", code)
		}
		ended <- err
	}()
	out.Shows(b.t, "ready")
	io.WriteString(hands, "\x03")
	if err := <-ended; err != nil {
		b.t.Errorf("interrupt key: %v; %q", err, out)
	}
	// The end of the input.
	if code, err := b.run(b.ctx, driver.Exec{Command: b.sh("cat >/dev/null; exit 6"), TTY: true, Stdin: strings.NewReader("word\n"), Stdout: out}); code != 6 || err != nil {
		b.t.Errorf("end of the input at a terminal: code %d, %v", code, err)
	}
}

var errGone = errors.New("the client has gone")

// forever is a program that ends only by force, and what it has started is not in its session.
func (b *beside) forever() []string {
	return b.sh("trap '' HUP TERM; (: " + b.tag + "; while :; do sleep 1; done) & : " + b.tag + "; echo started; while :; do sleep 1; done")
}

// givenUp runs a program whose client goes away.
func (b *beside) givenUp(tty bool) {
	b.t.Helper()
	out := NewScreen()
	endless, _ := io.Pipe()
	ctx, cancel := context.WithCancelCause(b.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := b.run(ctx, driver.Exec{Command: b.forever(), TTY: tty, Stdin: endless, Stdout: out, Stderr: out})
		ended <- err
	}()
	out.Shows(b.t, "started")
	cancel(errGone)
	if err := <-ended; !errors.Is(err, errGone) {
		b.t.Errorf("given up: %v", err)
	}
	if st, err := b.r.Inspect(b.ctx); err != nil || st.Ended {
		b.t.Errorf("the task ended with a program beside it: %v", err)
	}
}

// taskEnds ends the task while a program runs beside it.
func (b *beside) taskEnds() {
	out := NewScreen()
	endless, _ := io.Pipe()
	ctx, cancel := context.WithCancelCause(b.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := b.run(ctx, driver.Exec{Command: b.forever(), Stdin: endless, Stdout: out, Stderr: out})
		ended <- err
	}()
	out.Shows(b.t, "started")
	if err := b.r.Stop(b.ctx, time.Minute, "SIGTERM"); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.r.Wait(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	cancel(driver.ErrEnded) // as the agent does
	if err := <-ended; !errors.Is(err, driver.ErrEnded) {
		b.t.Errorf("the task ended: %v", err)
	}
	b.left()
	if _, err := b.run(b.ctx, driver.Exec{Command: b.sh("true"), Stdin: endless, Stdout: out, Stderr: out}); err == nil {
		b.t.Error("a program ran beside a task that has ended")
	}
}

// left waits until no process has the tag in its command line: one that was killed is gone once its parent has noted it.
func (b *beside) left() {
	b.t.Helper()
	b.t.Helper()
	for {
		found := ""
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			b.t.Fatal(err)
		}
		for _, path := range lines {
			if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(": "+b.tag)) {
				found = path + ": " + strings.ReplaceAll(string(text), "\x00", " ")
			}
		}
		if found == "" {
			return
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-b.ctx.Done():
			b.t.Fatalf("left running: %s", found)
		}
	}
}
