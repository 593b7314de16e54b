// Package fakedriver runs tasks that exist only as a script, for tests of what surrounds them.
//
// Its promise: it keeps the contract of package driver, so what a scenario shows with it holds for a real driver. A
// Machine stands for the computer: it outlives the drivers made for it as real tasks outlive the agent.
package fakedriver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// Name is what job files call the driver.
const Name = "mock_driver"

// Machine holds the tasks. Its zero value is ready.
type Machine struct {
	mu    sync.Mutex
	tasks map[string]*task
	// Starts counts the starts of each task ID: more than one for an ID is a bug of the agent.
	starts map[string]int
	pid    int
}

type task struct {
	mu      sync.Mutex
	id      string
	pid     int
	ignore  bool // takes no notice of the kill signal
	signals []string
	done    chan struct{}
	ended   bool
	exit    driver.Exit
	err     error
	timer   *time.Timer
}

// Driver gives access to a machine, as one life of an agent has it.
type Driver struct{ Machine *Machine }

// Name implements driver.Driver.
func (d Driver) Name() string { return Name }

// KillSignal implements driver.Driver.
func (d Driver) KillSignal() string { return "SIGTERM" }

// Capabilities implements driver.Driver.
func (d Driver) Capabilities() driver.Capabilities { return driver.Capabilities{} }

// Fingerprint implements driver.Driver.
func (d Driver) Fingerprint(context.Context) event.DriverInfo {
	return driver.Healthy(time.Now(), map[string]string{"driver.mock_driver": "1"})
}

// Start implements driver.Driver. Options: run_for (duration; absent runs until it is stopped), exit_code, exit_signal,
// start_error, start_error_recoverable, start_block_for (duration), ignore_kill, stdout_string, stderr_string.
func (d Driver) Start(ctx context.Context, t *driver.Task) (driver.Running, error) {
	o := driver.OptionsOf(t.Config)
	runFor, startError, output := o.String("run_for"), o.String("start_error"), o.String("stdout_string")
	errorOutput := o.String("stderr_string")
	recoverable, ignore := o.String("start_error_recoverable") == "true", o.String("ignore_kill") == "true"
	code, _ := o.Int("exit_code")
	signal, _ := o.Int("exit_signal")
	block := o.String("start_block_for")
	if err := o.Err(); err != nil {
		return nil, err
	}
	if block != "" {
		wait, err := time.ParseDuration(block)
		if err != nil {
			return nil, driver.Invalid{Err: fmt.Errorf("start_block_for: %w", err)}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if startError != "" {
		if recoverable {
			return nil, errors.New(startError)
		}
		return nil, driver.Unrecoverable{Err: errors.New(startError)}
	}
	var life time.Duration
	if runFor != "" {
		var err error
		if life, err = time.ParseDuration(runFor); err != nil {
			return nil, driver.Invalid{Err: fmt.Errorf("run_for: %w", err)}
		}
	}
	for name, text := range map[string]string{".stdout.0": output, ".stderr.0": errorOutput} {
		if text == "" || t.LogsDisabled {
			continue
		}
		if err := os.WriteFile(filepath.Join(t.LogDir, t.Name+name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write output: %w", err)
		}
	}
	m := d.Machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tasks == nil {
		m.tasks, m.starts = make(map[string]*task), make(map[string]int)
	}
	m.starts[t.ID]++
	if _, ok := m.tasks[t.ID]; ok {
		return nil, fmt.Errorf("task %s is started already", t.ID)
	}
	m.pid++
	s := &task{id: t.ID, pid: m.pid, ignore: ignore, done: make(chan struct{})}
	m.tasks[t.ID] = s
	if runFor != "" {
		s.mu.Lock()
		s.timer = time.AfterFunc(life, func() { s.end(driver.Exit{Code: code, Signal: signal}, nil) })
		s.mu.Unlock()
	}
	return &running{m, s}, nil
}

// Recover implements driver.Driver.
func (d Driver) Recover(_ context.Context, t *driver.Task, _ []byte) (driver.Running, error) {
	d.Machine.mu.Lock()
	defer d.Machine.mu.Unlock()
	s, ok := d.Machine.tasks[t.ID]
	if !ok {
		return nil, driver.ErrNotFound
	}
	return &running{d.Machine, s}, nil
}

// Running lists the IDs of tasks that have not ended.
func (m *Machine) Running() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, s := range m.tasks {
		s.mu.Lock()
		if !s.ended {
			ids = append(ids, id)
		}
		s.mu.Unlock()
	}
	return ids
}

// Starts is how often the task ID was started.
func (m *Machine) Starts(id string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.starts[id]
}

// End ends a task from outside, as its own program would.
func (m *Machine) End(id string, exit driver.Exit) error {
	m.mu.Lock()
	s, ok := m.tasks[id]
	m.mu.Unlock()
	if !ok {
		return driver.ErrNotFound
	}
	s.end(exit, nil)
	return nil
}

// Lose makes a task vanish without a trace of how it ended.
func (m *Machine) Lose(id string) error {
	m.mu.Lock()
	s, ok := m.tasks[id]
	m.mu.Unlock()
	if !ok {
		return driver.ErrNotFound
	}
	s.end(driver.Exit{}, driver.ErrLost)
	return nil
}

// Reboot forgets every task, as a machine does that lost its power.
func (m *Machine) Reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.tasks {
		s.end(driver.Exit{}, driver.ErrLost)
	}
	m.tasks = make(map[string]*task)
}

func (s *task) end(exit driver.Exit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	exit.Time = time.Now()
	s.ended, s.exit, s.err = true, exit, err
	close(s.done)
}

type running struct {
	m *Machine
	s *task
}

// Handle implements driver.Running.
func (r *running) Handle() []byte { return []byte(strconv.Itoa(r.s.pid)) }

// Wait implements driver.Running.
func (r *running) Wait(ctx context.Context) (driver.Exit, error) {
	select {
	case <-r.s.done:
		return r.s.exit, r.s.err
	case <-ctx.Done():
		return driver.Exit{}, ctx.Err()
	}
}

// Signal implements driver.Running.
func (r *running) Signal(_ context.Context, name string) error {
	if _, err := driver.ParseSignal(name); err != nil {
		return err
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.ended {
		return driver.ErrEnded
	}
	r.s.signals = append(r.s.signals, name)
	return nil
}

// Stop implements driver.Running.
func (r *running) Stop(_ context.Context, timeout time.Duration, name string) error {
	n, err := driver.ParseSignal(name)
	if err != nil {
		return err
	}
	r.s.mu.Lock()
	ignore, ended := r.s.ignore, r.s.ended
	r.s.mu.Unlock()
	switch {
	case ended:
	case timeout <= 0:
		r.s.end(driver.Exit{Code: 137, Signal: 9}, nil)
	case ignore:
		time.AfterFunc(timeout, func() { r.s.end(driver.Exit{Code: 137, Signal: 9}, nil) })
	default:
		r.s.end(driver.Exit{Code: 128 + int(n), Signal: int(n)}, nil)
	}
	return nil
}

// Destroy implements driver.Running.
func (r *running) Destroy(context.Context) error {
	r.s.end(driver.Exit{Code: 137, Signal: 9}, nil)
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	delete(r.m.tasks, r.s.id)
	return nil
}

// Inspect implements driver.Running.
func (r *running) Inspect(context.Context) (driver.Status, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return driver.Status{Ended: r.s.ended, PID: r.s.pid, Exit: r.s.exit}, nil
}

// usageBytes is what every task uses.
const usageBytes = 1 << 20

// Usage implements driver.Running.
func (r *running) Usage(context.Context) (driver.Usage, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.ended {
		return driver.Usage{}, driver.ErrEnded
	}
	usage := driver.Usage{Time: time.Now(), PIDs: []int{r.s.pid}}
	usage.Memory.Note("RSS", usageBytes)
	return usage, nil
}
