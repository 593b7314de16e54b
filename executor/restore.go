package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// keepOrder writes down what the servers want. It must be found by the next agent, not survive a power cut: after one
// nothing runs, and the servers send their orders again.
func keepOrder(dir string, order *event.Order, job *event.Job) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep order: %w", err)
	}
	if job != nil {
		if err := saveState(filepath.Join(dir, fileJob), job, false); err != nil {
			return err
		}
	}
	return saveState(filepath.Join(dir, fileOrder), order, false)
}

// loadRunner reads the state of an allocation that an earlier agent kept.
func loadRunner(env *runnerEnv, dir string) (*runner, error) {
	var order event.Order
	if err := loadState(filepath.Join(dir, fileOrder), &order); err != nil {
		return nil, err
	}
	if order.ID.String() != filepath.Base(dir) {
		return nil, &damagedError{dir, fmt.Sprintf("it holds the order of allocation %s", order.ID)}
	}
	job := new(event.Job)
	if err := loadState(filepath.Join(dir, fileJob), job); err != nil {
		return nil, err
	}
	r, err := newRunner(env, dir, order, job)
	if err != nil {
		return nil, &damagedError{dir, err.Error()}
	}
	state := new(allocState)
	err = loadState(filepath.Join(dir, fileState), state)
	if errors.Is(err, fs.ErrNotExist) {
		r.fresh = true // the agent died right after it got the order
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if len(state.Tasks) != len(r.rules.tasks) {
		return nil, &damagedError{dir, "its tasks are not those of its job"}
	}
	for _, t := range state.Tasks {
		if t == nil || r.rules.task(t.Name) == nil || t.Phase > phaseDead {
			return nil, &damagedError{dir, "its tasks are not those of its job"}
		}
	}
	r.state = state
	if err := loadState(filepath.Join(dir, fileAcked), &r.acked); err != nil {
		r.acked = map[string]int64{} // events are reported again, which readers tell by their times
	}
	r.refresh() // logs are asked for before the tasks are found
	return r, nil
}

// restore finds out what became of the tasks while no agent ran. It is called before loop.
func (r *runner) restore() {
	if r.fresh {
		r.handle(observation{At: time.Now(), What: obsReceived{}})
	}
	if r.state.ended() {
		close(r.ended)
		return
	}
	if r.state.Delay == delayRuns {
		r.after(r.rules.shutdownDelay, obsGroupDelay{})
	}
	r.limitRun()
	for i, t := range r.state.Tasks {
		switch t.Phase {
		case phaseBackoff:
			r.after(r.rules.tasks[i].policy.Delay, obsTimer{Task: t.Name, Start: t.Start, Kind: timerRestart})
		case phaseStarting, phaseRunning, phaseDelay, phaseStopping:
			r.find(t)
		}
	}
}

// find looks for the newest start of a task.
func (r *runner) find(t *taskState) {
	seen := func(what any) observation { return observation{At: time.Now(), Chance: rand.Uint64(), What: what} }
	d, ok := r.env.drivers[r.group.LookupTask(t.Name).Driver]
	if !ok {
		r.handle(seen(obsNotRestored{Task: t.Name, Start: t.Start, Reason: "its driver is not available any more"}))
		return
	}
	found, err := d.Recover(context.Background(), r.bareTask(t.Name, t.Start), t.Handle)
	if err != nil {
		r.handle(seen(obsNotRestored{Task: t.Name, Start: t.Start, Reason: err.Error()}))
		return
	}
	r.runs(t.Name, t.Start, false, found)
	r.env.log.Info("task found again", "alloc", r.id, "task", t.Name)
	go r.follow(t.Name, t.Start, found)
}

// abandon removes a state directory that makes no sense. What may still run of it is ended first, for nobody would ever
// look after it again; the servers send the order anew if they still want it.
func abandon(env *runnerEnv, dir string) error {
	id, err := event.ParseID(filepath.Base(dir))
	if err != nil || id.IsZero() {
		return os.RemoveAll(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	r := &runner{id: id, env: env, dir: dir}
	defer dropSecrets(env, id)
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), "task-")
		if !ok {
			continue
		}
		cut := strings.LastIndexByte(text, '-')
		if cut < 0 {
			continue
		}
		start, err := strconv.ParseUint(text[cut+1:], 10, 64)
		if err != nil {
			continue
		}
		for _, d := range env.drivers {
			task := r.bareTask(text[:cut], start)
			task.Event = nil // there is no history that a line could be added to
			found, err := d.Recover(context.Background(), task, nil)
			if errors.Is(err, driver.ErrNotFound) {
				continue
			}
			if err == nil {
				err = found.Destroy(context.Background())
			}
			if err != nil {
				return fmt.Errorf("end what is left of allocation %s: %w", id, err)
			}
		}
	}
	return os.RemoveAll(dir)
}
