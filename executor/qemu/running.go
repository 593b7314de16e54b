package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"drover/executor/driver"
	"drover/executor/shimtask"
)

// running is one guest.
type running struct {
	*shimtask.Task
	dir string // of the task
}

// Signal implements driver.Running.
func (r *running) Signal(_ context.Context, name string) error {
	if _, err := driver.ParseSignal(name); err != nil {
		return err
	}
	if r.Process.Ended() {
		return driver.ErrEnded
	}
	return errNoSignals
}

// Stop implements driver.Running. Where an orderly end was asked for, the guest is told as by its power button, and the
// emulator gets no signal before the timeout.
func (r *running) Stop(ctx context.Context, timeout time.Duration, signal string) error {
	if timeout > 0 && r.powerDown() == nil {
		// The shim forces the end after the timeout, also when this agent is gone by then; the signal says nothing.
		return r.Task.Stop(ctx, timeout, "SIGCONT")
	}
	// Nothing of the kind was asked for, or the guest cannot be told: what remains is to end its emulator.
	return r.Task.Stop(ctx, timeout, signal)
}

// powerDown asks the guest to end. It fails when the task wants none of that.
func (r *running) powerDown() error {
	dir, err := os.Open(r.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	// By way of the open directory, whose own path may be too long for the address of a socket.
	conn, err := net.DialTimeout("unix", filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), monitorSocket), monitorTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(monitorTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("system_powerdown\n")); err != nil {
		return err
	}
	// A prompt greets, and another one says that the request was taken.
	var said []byte
	for buffer := make([]byte, 512); bytes.Count(said, []byte("(qemu) ")) < 2; {
		n, err := conn.Read(buffer)
		if err != nil {
			return fmt.Errorf("ask the guest to end: %w", err)
		}
		said = append(said, buffer[:n]...)
	}
	return nil
}

// Destroy implements driver.Running.
func (r *running) Destroy(ctx context.Context) error {
	if err := r.Task.Destroy(ctx); err != nil {
		return err
	}
	for _, name := range []string{monitorSocket, agentSocket} {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove socket of the emulator: %w", err)
		}
	}
	return nil
}
