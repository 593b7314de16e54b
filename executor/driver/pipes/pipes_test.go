package pipes

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"drover/executor/driver"
)

// run runs a program with x's streams and returns when all of its output was written.
func run(t *testing.T, x *driver.Exec) error {
	t.Helper()
	p, err := Make(x)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(x.Command[0], x.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.Connect()
	err = cmd.Wait()
	p.End()
	return err
}

// slow takes nothing at first.
type slow struct {
	bytes.Buffer
	wait time.Duration
}

func (s *slow) Write(b []byte) (int, error) {
	<-time.After(s.wait)
	s.wait = 0
	return s.Buffer.Write(b)
}

func TestSlowReadersMissNothing(t *testing.T) {
	out := &slow{wait: 3 * outputWait}
	if err := run(t, &driver.Exec{
		Command: []string{"/bin/sh", "-c", "head -c 60000 /dev/zero; echo end"}, Stdin: strings.NewReader(""), Stdout: out, Stderr: io.Discard,
	}); err != nil {
		t.Fatal(err)
	}
	if n := out.Len(); n != 60004 {
		t.Errorf("%d bytes of 60004", n)
	}
}

// Input that does not end is not waited for, nor what was left behind with the output open.
func TestNobodyWaitsForEver(t *testing.T) {
	endless, _ := io.Pipe()
	var out, errs bytes.Buffer
	err := run(t, &driver.Exec{
		Command: []string{"/bin/sh", "-c", "echo out; echo err >&2; sleep 30 & exit 3"}, Stdin: endless, Stdout: &out, Stderr: &errs,
	})
	if err == nil || out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("%v, %q, %q", err, &out, &errs)
	}
}

// A reader that is gone does not hold up the program.
func TestAReaderThatIsGone(t *testing.T) {
	gone, w := io.Pipe()
	gone.Close()
	if err := run(t, &driver.Exec{
		Command: []string{"/bin/sh", "-c", "head -c 1000000 /dev/zero"}, Stdin: strings.NewReader(""), Stdout: w, Stderr: io.Discard,
	}); err != nil {
		t.Error(err)
	}
}
