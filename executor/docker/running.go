package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drover/executor/driver"
	"drover/executor/shim/proctree"
)

// running is one container.
type running struct {
	d     *Driver
	task  *driver.Task
	id    string
	image string

	cancel context.CancelFunc // ends the following; the container lives on
	once   sync.Once
	done   chan struct{} // closed when exit and err are valid
	exit   driver.Exit
	err    error
	logs   chan struct{} // closed when all output is in the files
}

// follow begins to collect the output and to wait for the end.
func (d *Driver) follow(t *driver.Task, id, image string, tty bool) *running {
	d.knows(id, true)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{d: d, task: t, id: id, image: image, cancel: cancel, done: make(chan struct{}), logs: make(chan struct{})}
	go func() {
		defer close(r.logs)
		if !t.LogsDisabled && !d.cfg.NoLogs {
			c := &collector{api: d.api, task: t, id: id, tty: tty}
			if err := c.collect(ctx); err != nil && ctx.Err() == nil {
				t.Tell("cannot collect the container's output: " + err.Error())
			}
		}
	}()
	go r.watch(ctx)
	return r
}

// watch waits for the end of the container, over all restarts of the daemon.
func (r *running) watch(ctx context.Context) {
	away, pause := false, reconnectMin
	for {
		exit, err := r.ended(ctx)
		if err == nil || errors.Is(err, driver.ErrLost) {
			select {
			case <-r.logs:
			case <-time.After(drainTimeout):
			case <-ctx.Done():
			}
			r.finish(exit, err)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !away {
			away = true
			r.task.Tell("Docker daemon cannot be reached; waiting for it: " + err.Error())
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if _, pingErr := r.d.api.Ping(ctx, client.PingOptions{}); pingErr != nil {
			pause = min(2*pause, reconnectMax)
			continue
		}
		if away {
			away, pause = false, reconnectMin
			r.task.Tell("Docker daemon is back")
		}
	}
}

// ended waits for the end of the container as long as the daemon is there.
func (r *running) ended(ctx context.Context) (driver.Exit, error) {
	w := r.d.api.ContainerWait(ctx, r.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	var waited container.WaitResponse
	select {
	case waited = <-w.Result:
	case err := <-w.Error:
		if cerrdefs.IsNotFound(err) {
			return driver.Exit{Time: time.Now()}, fmt.Errorf("%w: its container was removed", driver.ErrLost)
		}
		return driver.Exit{}, err
	}
	exit := driver.Exit{Code: int(waited.StatusCode), Time: time.Now()}
	found, err := r.d.api.ContainerInspect(ctx, r.id, client.ContainerInspectOptions{})
	if err == nil && found.Container.State != nil {
		if found.Container.State.Running {
			return exit, errors.New("the daemon said that a running container has ended")
		}
		exit = exitOf(found.Container.State)
	} else if waited.Error != nil {
		exit.Error = waited.Error.Message
	}
	return exit, nil
}

func exitOf(s *container.State) driver.Exit {
	exit := driver.Exit{Code: s.ExitCode, OOMKilled: s.OOMKilled, Error: s.Error}
	if at, err := time.Parse(time.RFC3339Nano, s.FinishedAt); err == nil {
		exit.Time = at
	}
	return exit
}

func (r *running) finish(exit driver.Exit, err error) {
	r.once.Do(func() {
		r.exit, r.err = exit, err
		close(r.done)
		r.cancel()
	})
}

// Handle implements driver.Running.
func (r *running) Handle() []byte { return []byte(r.id) }

// Wait implements driver.Running.
func (r *running) Wait(ctx context.Context) (driver.Exit, error) {
	select {
	case <-r.done:
		return r.exit, r.err
	default:
	}
	select {
	case <-r.done:
		return r.exit, r.err
	case <-ctx.Done():
		return driver.Exit{}, ctx.Err()
	}
}

// Signal implements driver.Running.
func (r *running) Signal(ctx context.Context, name string) error {
	if _, err := driver.ParseSignal(name); err != nil {
		return err
	}
	_, err := r.d.api.ContainerKill(ctx, r.id, client.ContainerKillOptions{Signal: name})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return driver.ErrEnded
	}
	if err != nil {
		return fmt.Errorf("signal container: %w", err)
	}
	return nil
}

// Stop implements driver.Running. No signal is the one that the image names, or SIGTERM.
func (r *running) Stop(ctx context.Context, timeout time.Duration, signal string) error {
	if timeout <= 0 {
		signal = "SIGKILL"
	}
	if signal == "" {
		signal = "SIGTERM"
		if found, err := r.d.api.ContainerInspect(ctx, r.id, client.ContainerInspectOptions{}); err == nil &&
			found.Container.Config != nil && found.Container.Config.StopSignal != "" {
			signal = found.Container.Config.StopSignal
		}
	}
	// The image may name a signal by number or one that only the daemon knows, so the name is not looked at.
	_, err := r.d.api.ContainerKill(ctx, r.id, client.ContainerKillOptions{Signal: signal})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop container: %w", err)
	}
	if timeout > 0 {
		go func() {
			select {
			case <-r.done:
			case <-time.After(timeout):
				if err := r.Stop(context.Background(), 0, ""); err != nil {
					r.task.Tell("cannot kill the container: " + err.Error())
				}
			}
		}()
	}
	return nil
}

// Destroy implements driver.Running.
func (r *running) Destroy(ctx context.Context) error {
	if r.d.cfg.KeepContainers {
		if err := r.Stop(ctx, 0, ""); err != nil {
			return err
		}
	} else {
		_, err := r.d.api.ContainerRemove(ctx, r.id, removeAll)
		if cerrdefs.IsConflict(err) { // somebody else removes it
			r.d.untilRemoved(ctx, r.id)
			err = nil
		}
		if err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("remove container: %w", err)
		}
	}
	select {
	case <-r.done:
	case <-time.After(drainTimeout):
		r.finish(driver.Exit{Time: time.Now()}, fmt.Errorf("%w: its container was removed", driver.ErrLost))
	case <-ctx.Done():
		return ctx.Err()
	}
	r.cancel()
	<-r.logs
	if err := os.RemoveAll(r.task.StateDir); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	r.d.images.release(r.image, r.task.ID)
	r.d.knows(r.id, false)
	return nil
}

// Inspect implements driver.Running.
func (r *running) Inspect(ctx context.Context) (driver.Status, error) {
	select {
	case <-r.done:
		return driver.Status{Ended: true, Exit: r.exit}, nil
	default:
	}
	found, err := r.d.api.ContainerInspect(ctx, r.id, client.ContainerInspectOptions{})
	if err != nil {
		return driver.Status{}, fmt.Errorf("inspect container: %w", err)
	}
	s := found.Container.State
	if s == nil {
		return driver.Status{}, errors.New("inspect container: the daemon tells no state")
	}
	if !s.Running {
		return driver.Status{Ended: true, Exit: exitOf(s)}, nil
	}
	return driver.Status{PID: s.Pid}, nil
}

// Usage implements driver.Running.
func (r *running) Usage(ctx context.Context) (driver.Usage, error) {
	st, err := r.Inspect(ctx)
	if err != nil {
		return driver.Usage{}, err
	}
	if st.Ended {
		return driver.Usage{}, driver.ErrEnded
	}
	answer, err := r.d.api.ContainerStats(ctx, r.id, client.ContainerStatsOptions{})
	if err != nil {
		return driver.Usage{}, fmt.Errorf("usage of container: %w", err)
	}
	defer answer.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return driver.Usage{}, fmt.Errorf("usage of container: %w", err)
	}
	usage := driver.Usage{
		Time: time.Now(), PIDs: []int{st.PID}, Memory: memoryOf(&s.MemoryStats),
		CPU: driver.CPUUsage{
			User: time.Duration(s.CPUStats.CPUUsage.UsageInUsermode), System: time.Duration(s.CPUStats.CPUUsage.UsageInKernelmode),
			Limited: true, ThrottledPeriods: s.CPUStats.ThrottlingData.ThrottledPeriods, ThrottledTime: time.Duration(s.CPUStats.ThrottlingData.ThrottledTime),
		},
	}
	for _, p := range proctree.Below(st.PID) {
		usage.PIDs = append(usage.PIDs, p.PID)
	}
	slices.Sort(usage.PIDs)
	return usage, nil
}

// memoryOf tells what the engine has read from control groups, whose versions have names of their own.
func memoryOf(s *container.MemoryStats) driver.MemoryUsage {
	m := driver.MemoryUsage{MappedFile: s.Stats["mapped_file"] + s.Stats["file_mapped"]}
	for _, f := range []struct{ name, field string }{
		{"RSS", "rss"}, {"RSS", "anon"}, {"Cache", "cache"}, {"Cache", "file"}, {"Swap", "swap"},
	} {
		if n, ok := s.Stats[f.field]; ok {
			m.Note(f.name, n)
		}
	}
	m.Note("Usage", s.Usage)
	if s.MaxUsage > 0 {
		m.Note("Max Usage", s.MaxUsage)
	}
	return m
}
