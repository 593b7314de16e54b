package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"drover/executor/driver"
	"drover/executor/driver/pty"
	"drover/executor/shim/proctree"
)

// Exec implements driver.Execer. User, environment and working directory are the container's.
func (r *running) Exec(ctx context.Context, _ *driver.Task, x *driver.Exec) (int, error) {
	made, err := r.d.api.ExecCreate(ctx, r.id, client.ExecCreateOptions{
		Cmd: x.Command, TTY: x.TTY, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return 0, driver.ErrEnded
	}
	if err != nil {
		return 0, fmt.Errorf("run %q in container: %w", x.Command[0], err)
	}
	streams, err := r.d.api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{TTY: x.TTY})
	if err != nil {
		return 0, fmt.Errorf("run %q in container: %w", x.Command[0], err)
	}
	defer streams.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		io.Copy(streams.Conn, x.Stdin) // fails when the program reads no more, which is its own affair
		if x.TTY {
			streams.Conn.Write([]byte{pty.EndOfFile})
		} else {
			streams.CloseWrite()
		}
	}()
	if x.TTY {
		go r.resize(ctx, made.ID, x.Sizes, ended)
	}
	shown := make(chan error, 1)
	go func() {
		if x.TTY {
			_, err := io.Copy(x.Stdout, streams.Reader)
			shown <- err
			return
		}
		_, err := stdcopy.StdCopy(x.Stdout, x.Stderr, streams.Reader)
		shown <- err
	}()
	var showErr error
	select {
	case showErr = <-shown:
	case <-ctx.Done():
	}
	code, err := r.execEnd(ctx, made.ID)
	if ctx.Err() != nil {
		if err := r.killExec(made.ID); err != nil {
			return 0, errors.Join(context.Cause(ctx), err)
		}
		streams.Close()
		if showErr == nil {
			<-shown
		}
		return 0, context.Cause(ctx)
	}
	if err == nil && showErr != nil {
		err = fmt.Errorf("output of %q: %w", x.Command[0], showErr)
	}
	return driver.EndOfExec(ctx, r, code, err)
}

// execEnd waits for the end of a program whose output has ended: the daemon may hear of it a little later.
func (r *running) execEnd(ctx context.Context, id string) (code int, err error) {
	for pause := execPauseMin; ; pause = min(2*pause, execPauseMax) {
		now, err := r.d.api.ExecInspect(ctx, id, client.ExecInspectOptions{})
		if err != nil {
			return 0, fmt.Errorf("end of a program in the container: %w", err)
		}
		if !now.Running {
			return now.ExitCode, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// killExec ends a program and what it started. The daemon has no request for that, but it tells the process, which is
// one of this machine.
func (r *running) killExec(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	now, err := r.d.api.ExecInspect(ctx, id, client.ExecInspectOptions{})
	for err == nil && now.Running && now.PID == 0 { // it may have written already, and the daemon is about to note its number
		select {
		case <-time.After(execPauseMin):
			now, err = r.d.api.ExecInspect(ctx, id, client.ExecInspectOptions{})
		case <-ctx.Done():
			return errors.New("kill a program in the container: the daemon does not tell its process")
		}
	}
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) || err == nil && !now.Running {
		return nil // it went with its container
	}
	if err != nil {
		return fmt.Errorf("kill a program in the container: %w", err)
	}
	first, err := proctree.ReadStat(now.PID)
	if err == nil {
		// A daemon on another machine speaks of that one's processes.
		groups, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", now.PID))
		if readErr == nil && !bytes.Contains(groups, []byte(r.id)) {
			return errors.New("kill a program in the container: its process is not one of this machine")
		}
		// The first one first, so that it starts no more.
		for _, p := range append([]proctree.Stat{first}, proctree.Descendants(proctree.All(), now.PID)...) {
			if killErr := proctree.Kill(p.PID, p.Start, syscall.SIGKILL); killErr != nil && !errors.Is(killErr, proctree.ErrGone) {
				err = errors.Join(err, killErr)
			}
		}
		if err != nil {
			return fmt.Errorf("kill a program in the container: %w", err)
		}
	}
	_, err = r.execEnd(ctx, id)
	return err
}

// resize gives a program's terminal its sizes. The first may come before the program has begun, which the daemon refuses.
func (r *running) resize(ctx context.Context, id string, sizes <-chan driver.TerminalSize, ended <-chan struct{}) {
	for {
		var size driver.TerminalSize
		select {
		case size = <-sizes:
		case <-ended:
			return
		}
		for try := range resizeRetries {
			_, err := r.d.api.ExecResize(ctx, id, client.ExecResizeOptions{Height: uint(size.Rows), Width: uint(size.Columns)})
			if err == nil {
				break
			}
			select {
			case <-time.After(time.Duration(try+1) * execPauseMin):
			case <-ended:
				return
			}
		}
	}
}
