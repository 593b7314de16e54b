package driver

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"
)

// Execer is a start in which further programs can be run beside the task's own. A [Running] whose driver can do that
// implements it; [ExecerOf] finds it.
type Execer interface {
	// Exec runs a program where the task runs: with what the task sees, as the task's user, in its working directory. t is
	// the task as it would be started now. Exec returns once the program has ended and all its output was written; a
	// program that a signal ended has code 128 + the signal's number.
	//
	// It fails when the program cannot be run, and when ctx ends: then the program and all that it started are killed
	// first. What x.Stdin has not given by the end is not waited for; a goroutine may read from it until its next answer.
	Exec(ctx context.Context, t *Task, x *Exec) (code int, err error)
}

// Exec is a program to run beside a task.
type Exec struct {
	Command []string // the program and its arguments; never empty
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer // nothing is written to it when there is a terminal

	// TTY gives the program a terminal of its own. The end of Stdin is the terminal's end-of-file character then.
	TTY bool
	// Sizes are those that the terminal is to have, one after the other. It is not closed.
	Sizes <-chan TerminalSize
}

// TerminalSize is in characters.
type TerminalSize struct{ Rows, Columns uint16 }

// ExecerOf is the start as one that can run further programs, if its driver can.
func ExecerOf(r Running) (Execer, bool) {
	if h, ok := r.(hookedRunning); ok {
		r = h.Running
	}
	e, ok := r.(Execer)
	return e, ok
}

// killedCode is the exit code of a program that was killed.
const killedCode = 128 + int(syscall.SIGKILL)

// endWait bounds the wait for the word on the end of a task after a program that was killed. The system kills what runs
// in a container before it tells that the container's first process has ended; a few ms lie between.
const endWait = 250 * time.Millisecond

// EndOfExec is what Exec answers when the program in the container of r ended with code or failed with err: one that
// was killed by the end of its task has no end of its own.
func EndOfExec(ctx context.Context, r Running, code int, err error) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err == nil && code != killedCode {
		return code, nil
	}
	short, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	if _, waitErr := r.Wait(short); short.Err() == nil && (waitErr == nil || errors.Is(waitErr, ErrLost)) {
		return 0, ErrEnded
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return code, err
}
