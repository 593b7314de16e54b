package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"drover/executor/driver"
)

// What people ask of an allocation that is here: they are answered once it is in the allocation's history, and, of
// signals, once the drivers have taken them.

// obsAsk is a question or a wish of a person. ask runs in the runner's loop.
type obsAsk struct {
	ask  func(observation) error
	done chan<- error
}

// errGoneMeanwhile is what somebody gets whose allocation went away while he spoke of it.
var errGoneMeanwhile = &httpError{http.StatusNotFound, "the allocation is gone"}

// ask has the runner's loop do something and waits for what comes of it.
func (r *runner) ask(req *http.Request, ask func(observation) error) error {
	done := make(chan error, 1)
	r.send(obsAsk{ask, done})
	select {
	case err := <-done:
		return err
	case <-r.gone:
		return errGoneMeanwhile
	case <-req.Context().Done():
		return req.Context().Err()
	}
}

// opAnswer is what an operation is answered with. The node has no index of the log; its own is always 0.
type opAnswer struct{ Index uint64 }

// bodyOf reads a request's body, which may be empty, into v.
func bodyOf(r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, opBodyBytesMax)).Decode(v)
	var large *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &large):
		return &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request's body is larger than %d bytes", opBodyBytesMax)}
	}
	return badRequest("the request's body is not understood: %v", err)
}

// serveRestart starts tasks again: one, those that run, or the group from its beginning.
func (a *Agent) serveRestart(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		TaskName string
		AllTasks bool
	}
	if err := bodyOf(r, &body); err != nil {
		return err
	}
	if body.TaskName != "" && body.AllTasks {
		return badRequest("a task's name and all tasks exclude one another")
	}
	found, err := a.find(r)
	if err != nil {
		return err
	}
	err = found.ask(r, func(o observation) error {
		switch {
		case body.TaskName != "":
			return found.restartTask(o, body.TaskName)
		case body.AllTasks:
			return found.restartAll(o)
		}
		return found.restartRunning(o)
	})
	if err != nil {
		return err
	}
	a.log.Info("restart asked for", "alloc", found.id, "task", body.TaskName, "all", body.AllTasks)
	return answerJSON(w, opAnswer{})
}

// unknownTask is about a name that no task of the allocation has.
func (r *runner) unknownTask(name string) error {
	var names []string
	for _, t := range r.state.Tasks {
		names = append(names, t.Name)
	}
	return badRequest("unknown task name %q; the allocation has: %s", name, strings.Join(names, ", "))
}

// notRunning is about a task that does not run.
func notRunning(t *taskState) error {
	return &httpError{http.StatusNotFound, fmt.Sprintf("task %q is not running: it is %s", t.Name, t.State.State)}
}

// over is an error if nothing may start in the allocation any more.
func (r *runner) over() error {
	if r.state.Stopping || r.state.ended() {
		return &httpError{http.StatusNotFound, fmt.Sprintf("the allocation is being stopped or has ended: it is %s", r.state.status())}
	}
	return nil
}

// onItsWay reports whether a task is about to start anyway: restarting it once more would lead to the same.
func onItsWay(t *taskState) bool { return t.Phase == phaseStarting || t.Again }

func (r *runner) restartTask(o observation, name string) error {
	t := r.state.task(name)
	if t == nil {
		return r.unknownTask(name)
	}
	if err := r.over(); err != nil {
		return err
	}
	if onItsWay(t) {
		return nil
	}
	if t.Phase != phaseRunning || t.Killed {
		return notRunning(t)
	}
	r.step(o, obsRestart{Task: name, Start: t.Start, Reason: "User requested task to restart"})
	return nil
}

func (r *runner) restartRunning(o observation) error {
	if err := r.over(); err != nil {
		return err
	}
	running := slices.DeleteFunc(slices.Clone(r.state.Tasks), func(t *taskState) bool { return t.Phase != phaseRunning || t.Killed })
	if len(running) == 0 && !slices.ContainsFunc(r.state.Tasks, onItsWay) {
		return &httpError{http.StatusNotFound, "no task of the allocation is running"}
	}
	for _, t := range running {
		r.step(o, obsRestart{Task: t.Name, Start: t.Start, Reason: "User requested running tasks to restart"})
	}
	return nil
}

func (r *runner) restartAll(o observation) error {
	if err := r.over(); err != nil {
		return err
	}
	if !r.state.renewable(&r.rules) {
		return &httpError{http.StatusNotFound, "the tasks of the allocation have not begun, or are at their end"}
	}
	r.step(o, obsRestartAll{Reason: "User requested all tasks to restart"})
	return nil
}

// serveSignal sends a signal to a task, or to all that run.
func (a *Agent) serveSignal(w http.ResponseWriter, r *http.Request) error {
	var body struct{ Signal, Task string }
	if err := bodyOf(r, &body); err != nil {
		return err
	}
	number, err := driver.ParseSignal(body.Signal)
	if err != nil {
		return badRequest("%v; known are %s", err, strings.Join(driver.SignalNames(), ", "))
	}
	found, err := a.find(r)
	if err != nil {
		return err
	}
	signal := unix.SignalName(number)
	targets := map[string]driver.Running{}
	err = found.ask(r, func(o observation) error {
		var tasks []*taskState
		for _, t := range found.state.Tasks {
			if body.Task == "" && t.Phase == phaseRunning || body.Task == t.Name {
				tasks = append(tasks, t)
			}
		}
		switch {
		case len(tasks) == 0 && body.Task != "":
			return found.unknownTask(body.Task)
		case len(tasks) == 0:
			return &httpError{http.StatusNotFound, "no task of the allocation is running"}
		}
		for _, t := range tasks {
			live := found.tasks[t.Name]
			if t.Phase != phaseRunning || live == nil || live.start != t.Start {
				return notRunning(t)
			}
			targets[t.Name] = live.driver
		}
		for _, t := range tasks {
			found.step(o, obsSignaling{Task: t.Name, Start: t.Start, Signal: signal})
		}
		return nil
	})
	if err != nil {
		return err
	}
	var failed []string
	for name, d := range targets {
		if err := d.Signal(r.Context(), signal); err != nil {
			failed = append(failed, fmt.Sprintf("task %q did not take signal %s: %v", name, signal, err))
		}
	}
	if len(failed) > 0 {
		slices.Sort(failed)
		return &httpError{http.StatusInternalServerError, strings.Join(failed, "; ")}
	}
	a.log.Info("signal sent", "alloc", found.id, "task", body.Task, "signal", signal)
	return answerJSON(w, opAnswer{})
}
