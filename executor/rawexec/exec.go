package rawexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"drover/executor/driver"
	"drover/executor/driver/pipes"
	"drover/executor/driver/pty"
	"drover/executor/shim/proctree"
	"drover/executor/shim/wire"
)

// Exec implements driver.Execer: a process of the agent's, which ends with the agent. What it leaves running in its
// session is killed at its end: it is none of the task's, and no shim looks after it.
func (r *running) Exec(ctx context.Context, t *driver.Task, x *driver.Exec) (int, error) {
	if r.Process.Ended() {
		return 0, driver.ErrEnded
	}
	spec, err := (&Driver{}).spec(t)
	if err != nil {
		return 0, err
	}
	cmd, err := command(spec, t, x)
	if err != nil {
		return 0, err
	}
	// The kernel sends the death signal when the thread that started the process ends, so that has to last as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if x.TTY {
		return inTerminal(ctx, cmd, spec, x)
	}
	return onPipes(ctx, cmd, x)
}

// command is the program as it is to be started.
func command(spec wire.Spec, t *driver.Task, x *driver.Exec) (*exec.Cmd, error) {
	name := x.Command[0]
	path := name
	var err error
	switch {
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		path = filepath.Join(spec.Dir, name)
	default:
		if path, err = lookup(t, name); err != nil {
			return nil, err
		}
	}
	cmd := &exec.Cmd{Path: path, Args: x.Command, Env: spec.Env, Dir: spec.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if spec.SetUser {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: spec.UID, Gid: spec.GID, Groups: spec.Groups}
	}
	return cmd, nil
}

// onPipes runs the program with its three streams apart.
func onPipes(ctx context.Context, cmd *exec.Cmd, x *driver.Exec) (int, error) {
	streams, err := pipes.Make(x)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.Stdin, streams.Stdout, streams.Stderr
	err = cmd.Start()
	streams.Connect()
	if err != nil {
		streams.End()
		return 0, fmt.Errorf("run %q: %w", cmd.Args[0], reason(err))
	}
	return end(ctx, cmd, streams.End)
}

// inTerminal runs the program in a terminal of its own.
func inTerminal(ctx context.Context, cmd *exec.Cmd, spec wire.Spec, x *driver.Exec) (int, error) {
	terminal, theirs, err := pty.Open()
	if err != nil {
		return 0, err
	}
	defer terminal.Close()
	if spec.SetUser {
		if err := theirs.Chown(int(spec.UID), -1); err != nil {
			theirs.Close()
			return 0, fmt.Errorf("give terminal to the task's user: %w", err)
		}
	}
	select { // known before the program looks
	case size := <-x.Sizes:
		terminal.Resize(size.Rows, size.Columns)
	default:
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr.Setctty = true // descriptor 0
	if !slices.ContainsFunc(cmd.Env, func(pair string) bool { return strings.HasPrefix(pair, "TERM=") }) {
		cmd.Env = append(slices.Clone(cmd.Env), "TERM="+pty.Type)
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return 0, fmt.Errorf("run %q: %w", cmd.Args[0], reason(err))
	}
	ended := make(chan struct{})
	defer close(ended)
	shown := terminal.Connect(x, ended)
	return end(ctx, cmd, func() { <-shown })
}

// end waits for the end of the program, kills what it left in its session, and waits for the output.
func end(ctx context.Context, cmd *exec.Cmd, shown func()) (int, error) {
	leader := cmd.Process.Pid
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-ctx.Done():
			killSession(leader)
		case <-ended:
		}
	}()
	// Not reaped yet: until it is, nobody else can have its number, and so neither its session's.
	for unix.Waitid(unix.P_PID, leader, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	close(ended)
	<-watched
	killSession(leader)
	err := cmd.Wait()
	shown()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, fmt.Errorf("run %q: %w", cmd.Args[0], err)
}

// killSession kills every process of the session that the process began. One may start another meanwhile, so it looks
// again until there is none.
func killSession(leader int) {
	for range sessionRounds {
		left := false
		for _, s := range proctree.All() {
			if s.Session == leader && !s.Zombie {
				left = true
				proctree.Kill(s.PID, s.Start, syscall.SIGKILL)
			}
		}
		if !left {
			return
		}
		time.Sleep(sessionPause)
	}
}

// reason is what the system said, without the name of the call and the path.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
