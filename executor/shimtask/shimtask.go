// Package shimtask is a start of a task under a shim as the contract of drivers wants it.
//
// Its promise: what drivers whose tasks run under a shim have in common is here once; those who know more of usage than
// the process table does tell it themselves.
package shimtask

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"drover/executor/driver"
	"drover/executor/shim"
	"drover/executor/shim/wire"
)

// Task is one start. It implements driver.Running.
type Task struct {
	Process *shim.Process
	dir     string
}

// Start runs spec under the shim.
func Start(binary string, t *driver.Task, spec wire.Spec) (*Task, error) {
	if err := os.MkdirAll(t.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	p, err := shim.Start(binary, t.StateDir, spec, marker(t)...)
	if refused := (*shim.RefusedError)(nil); errors.As(err, &refused) {
		return nil, driver.Unrecoverable{Err: err}
	}
	if err != nil {
		return nil, err
	}
	return &Task{Process: p, dir: t.StateDir}, nil
}

// Recover finds a start. The state directory tells everything, so no handle is needed.
func Recover(t *driver.Task) (*Task, error) {
	p, err := shim.Attach(t.StateDir, marker(t)...)
	if errors.Is(err, shim.ErrNeverStarted) {
		return nil, driver.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &Task{Process: p, dir: t.StateDir}, nil
}

// marker is the environment by which processes of a task are recognized.
func marker(t *driver.Task) []string {
	return []string{"NOMAD_ALLOC_ID=" + t.AllocID.String(), "NOMAD_TASK_NAME=" + t.Name}
}

// Handle implements driver.Running.
func (r *Task) Handle() []byte { return r.Process.Task().Message().Encode() }

// Wait implements driver.Running.
func (r *Task) Wait(ctx context.Context) (driver.Exit, error) {
	exit, err := r.Process.Wait(ctx)
	if errors.Is(err, shim.ErrLost) {
		return driver.Exit{Time: time.Unix(0, exit.Time)}, fmt.Errorf("%w: %w", driver.ErrLost, err)
	}
	if err != nil {
		return driver.Exit{}, err
	}
	return driver.Exit{
		Code: exit.Code, Signal: exit.Signal, OOMKilled: exit.OOM, Time: time.Unix(0, exit.Time), Error: exit.Error,
	}, nil
}

// Signal implements driver.Running.
func (r *Task) Signal(_ context.Context, name string) error {
	s, err := driver.ParseSignal(name)
	if err != nil {
		return err
	}
	if err := r.Process.Signal(s); !errors.Is(err, shim.ErrEnded) {
		return err
	}
	return driver.ErrEnded
}

// Stop implements driver.Running.
func (r *Task) Stop(_ context.Context, timeout time.Duration, name string) error {
	s, err := driver.ParseSignal(name)
	if err != nil {
		return err
	}
	if err := r.Process.Stop(s, timeout); !errors.Is(err, shim.ErrEnded) {
		return err
	}
	return nil
}

// Destroy implements driver.Running.
func (r *Task) Destroy(ctx context.Context) error {
	if err := r.Stop(ctx, 0, "SIGKILL"); err != nil {
		return err
	}
	if _, err := r.Process.Wait(ctx); err != nil && !errors.Is(err, shim.ErrLost) {
		return err
	}
	if err := os.RemoveAll(r.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}

// Inspect implements driver.Running.
func (r *Task) Inspect(ctx context.Context) (driver.Status, error) {
	status := driver.Status{PID: r.Process.PID(), Ended: r.Process.Ended()}
	if status.Ended {
		var err error
		if status.Exit, err = r.Wait(ctx); err != nil && !errors.Is(err, driver.ErrLost) {
			return status, err
		}
	}
	return status, nil
}
