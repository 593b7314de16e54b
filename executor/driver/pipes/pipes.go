// Package pipes connects a program that runs beside a task with those who asked for it, each of its three streams apart.
//
// Its promise: all that a program has written is written on, however slowly it is taken, and nobody waits for what never
// comes: not for input that does not end, nor for output that somebody else has been given to hold open.
package pipes

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"drover/executor/driver"
)

// Pipes are the streams of one program. The program is given Stdin, Stdout and Stderr.
type Pipes struct {
	Stdin, Stdout, Stderr *os.File
	x                     *driver.Exec
	stdin, stdout, stderr *os.File // this side's ends
	copied                sync.WaitGroup
}

// Make makes the streams of x. Connect and End are called whatever becomes of the program.
func Make(x *driver.Exec) (*Pipes, error) {
	p := &Pipes{x: x}
	for _, pair := range []struct{ read, write **os.File }{{&p.Stdin, &p.stdin}, {&p.stdout, &p.Stdout}, {&p.stderr, &p.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range []*os.File{p.Stdin, p.stdin, p.Stdout, p.stdout} {
				f.Close() // of a file that is nil it only fails
			}
			return nil, err
		}
		*pair.read, *pair.write = r, w
	}
	return p, nil
}

// Connect has the streams flow. It is called when the program has its ends: this process closes them.
func (p *Pipes) Connect() {
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		f.Close()
	}
	go func() {
		io.Copy(p.stdin, p.x.Stdin) // fails when the program reads no more, which is its own affair
		p.stdin.Close()
	}()
	p.copied.Go(func() { output(p.x.Stdout, p.stdout) })
	p.copied.Go(func() { output(p.x.Stderr, p.stderr) })
}

// End is called when the program has ended and with it what it started. It returns when all output was written.
func (p *Pipes) End() {
	p.stdin.Close()
	deadline := time.Now().Add(outputWait)
	p.stdout.SetReadDeadline(deadline)
	p.stderr.SetReadDeadline(deadline)
	p.copied.Wait()
}

// output copies until the end of the pipe or, once it has a deadline, until nothing has come for as long as that allows.
// The time that w takes does not count.
func output(w io.Writer, r *os.File) {
	defer r.Close()
	buffer := make([]byte, bufferBytes)
	waited, taken := false, true
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			waited = false
			if taken { // else nobody looks any more; the program must not wait for that
				_, writeErr := w.Write(buffer[:n])
				taken = writeErr == nil
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !waited {
			waited = true
			err = r.SetReadDeadline(time.Now().Add(outputWait))
		}
		if err != nil {
			return
		}
	}
}
