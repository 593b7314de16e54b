package executor

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// phase is where the agent stands with one task. It is finer than the state that users see.
type phase uint8

const (
	phaseWaiting   phase = iota // not started yet: the task's turn has not come
	phaseStarting               // the driver was asked to start
	phaseRunning                // the driver has started it
	phaseBackoff                // waits for its next start
	phaseUnsettled              // lost over a restart of the agent; waits for word from the servers
	phaseDelay                  // is to be stopped, after its shutdown delay
	phaseStopping               // the driver was asked to stop
	phaseDead                   // will not run again
)

// taskRole is a task's place in the life of its group.
type taskRole uint8

const (
	roleMain taskRole = iota
	rolePrestart
	rolePrestartSidecar
	rolePoststart
	rolePoststartSidecar
	rolePoststop
)

func roleOf(t *event.Task) taskRole {
	if t.Lifecycle == nil {
		return roleMain
	}
	switch t.Lifecycle.Hook {
	case "prestart":
		if t.Lifecycle.Sidecar {
			return rolePrestartSidecar
		}
		return rolePrestart
	case "poststart":
		if t.Lifecycle.Sidecar {
			return rolePoststartSidecar
		}
		return rolePoststart
	case "poststop":
		return rolePoststop
	}
	return roleMain
}

func (r taskRole) sidecar() bool { return r == rolePrestartSidecar || r == rolePoststartSidecar }

// taskRules are what a job says about how one task lives. They are derived from the job, not kept.
type taskRules struct {
	name          string
	role          taskRole
	leader        bool
	policy        event.RestartPolicy
	againOnExit0  bool // a clean exit restarts the task too
	killTimeout   time.Duration
	killSignal    string // "" is the driver's
	shutdownDelay time.Duration
}

// allocRules are what a job says about how one allocation lives.
type allocRules struct {
	tasks         []taskRules // in the order of the job
	shutdownDelay time.Duration
}

// rulesOf reads the rules from a job. killTimeoutMax caps every kill timeout.
func rulesOf(job *event.Job, group *event.TaskGroup, killTimeoutMax time.Duration) allocRules {
	r := allocRules{shutdownDelay: group.ShutdownDelay}
	lasting := job.Type == event.JobTypeService || job.Type == event.JobTypeSystem
	for _, t := range group.Tasks {
		role := roleOf(t)
		r.tasks = append(r.tasks, taskRules{
			name: t.Name, role: role, leader: t.Leader, policy: t.RestartPolicy,
			againOnExit0: role.sidecar() || role == roleMain && lasting,
			killTimeout:  min(t.KillTimeout, killTimeoutMax), killSignal: t.KillSignal, shutdownDelay: t.ShutdownDelay,
		})
	}
	return r
}

func (r *allocRules) task(name string) *taskRules {
	for i := range r.tasks {
		if r.tasks[i].name == name {
			return &r.tasks[i]
		}
	}
	return nil
}

// allocState is all that the agent knows of how an allocation goes. It is kept on disk as it is.
type allocState struct {
	Begun    bool         `cbor:"1,keyasint,omitempty"` // the directory is built and predecessors have ended
	Stopping bool         `cbor:"2,keyasint,omitempty"` // no main task is to run any more
	Delay    delayStage   `cbor:"3,keyasint,omitempty"` // the group's shutdown delay
	Tasks    []*taskState `cbor:"4,keyasint,omitempty"` // in the order of the job
	NoDelay  bool         `cbor:"6,keyasint,omitempty"` // no shutdown delay is waited out
	Renewing bool         `cbor:"5,keyasint,omitempty"` // all tasks are being ended, to start from the beginning
	Exceeded bool         `cbor:"7,keyasint,omitempty"` // it ran for longer than it may: nothing runs any more, not even after the end
}

// delayStage is how far the wait between leaving service discovery and the kill of a group has come.
type delayStage uint8

const (
	delayNone delayStage = iota
	delayRuns
	delayOver
)

// taskState is all that the agent knows of how a task goes.
type taskState struct {
	Name  string          `cbor:"1,keyasint"`
	Phase phase           `cbor:"2,keyasint,omitempty"`
	State event.TaskState `cbor:"3,keyasint"` // as users see it; the newest events only
	// Start numbers the starts of this task from 1. It names the newest one to the driver.
	Start uint64 `cbor:"4,keyasint,omitempty"`
	// Count and IntervalStart are the restart policy's account: restarts since IntervalStart, Unix nanoseconds.
	Count         int   `cbor:"5,keyasint,omitempty"`
	IntervalStart int64 `cbor:"6,keyasint,omitempty"`
	// Killed says that the end of the current start is wanted: it is not a failure and nothing follows it.
	Killed bool `cbor:"7,keyasint,omitempty"`
	// Handle is the driver's handle of the newest start. The step function carries it and does not look at it.
	Handle []byte `cbor:"8,keyasint,omitempty"`
	// Again says that the current start is being ended so that another follows, which no policy counts.
	Again bool `cbor:"9,keyasint,omitempty"`
}

// newAllocState is an allocation of which nothing has happened yet.
func newAllocState(r *allocRules) *allocState {
	s := &allocState{}
	for _, t := range r.tasks {
		s.Tasks = append(s.Tasks, &taskState{Name: t.name, State: event.TaskState{State: event.TaskPending}})
	}
	return s
}

func (s *allocState) task(name string) *taskState {
	for _, t := range s.Tasks {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// ended reports whether nothing runs and nothing will.
func (s *allocState) ended() bool {
	for _, t := range s.Tasks {
		if t.Phase != phaseDead {
			return false
		}
	}
	return true
}

// status is the client status that follows from the tasks. An end is told only when nothing runs any more: servers give
// the room of an ended allocation to others. Until then a failed task shows in the task's own state.
func (s *allocState) status() event.ClientStatus {
	tasks := make(map[string]*event.TaskState, len(s.Tasks))
	for _, t := range s.Tasks {
		tasks[t.Name] = &t.State
	}
	status := event.ClientStatusOf(tasks)
	if status.Terminal() && !s.ended() {
		return event.ClientRunning
	}
	return status
}

// observation is something that happened to an allocation. Time and chance are part of it: the step function has
// neither.
type observation struct {
	At     time.Time
	Chance uint64 // evenly spread; spreads restarts
	What   any    // one of the obs types
}

type (
	obsReceived    struct{}               // the order came in
	obsBegin       struct{}               // the directory is built and predecessors have ended
	obsSetupFailed struct{ Err error }    // the directory could not be built
	obsStop        struct{ NoDelay bool } // the servers do not want it any more; NoDelay: and without shutdown delays
	obsContact     struct{}               // the servers were reached and still want it
	obsGroupDelay  struct{}               // the group's shutdown delay is over
	obsExceeded    struct{}               // the group's max_run_duration is over
	// obsStarted says that start Start of a task runs.
	obsStarted struct {
		Task   string
		Start  uint64
		Handle []byte
	}
	obsStartFailed struct {
		Task  string
		Start uint64
		Err   error
	}
	obsExited struct {
		Task  string
		Start uint64
		Exit  driver.Exit
		Lost  string // how it ended is not known, and why not
	}
	// obsNotRestored says that a start of an earlier agent cannot be found any more.
	obsNotRestored struct {
		Task   string
		Start  uint64
		Reason string
	}
	// obsDriverMessage is a line of the driver's for the task's history.
	obsDriverMessage struct {
		Task    string
		Start   uint64
		Message string
	}
	// obsRestart asks for another start of a task that runs.
	obsRestart struct {
		Task   string
		Start  uint64
		Reason string
	}
	// obsRestartAll asks for another start of every task, in their order.
	obsRestartAll struct{ Reason string }
	// obsSignaling says that a signal is sent to the task.
	obsSignaling struct {
		Task   string
		Start  uint64
		Signal string
		Reason string
	}
	// obsTemplateFailed says that a running task's template cannot be rendered any more.
	obsTemplateFailed struct {
		Task   string
		Start  uint64
		Reason string
	}
	// obsHook is a line about something that was done for a task that runs.
	obsHook struct {
		Task    string
		Start   uint64
		Kind    event.TaskEventType
		Message string
	}
	// obsPreparing is something that happened while a task was made ready for its start.
	obsPreparing struct {
		Task    string
		Start   uint64
		Kind    event.TaskEventType
		Details map[string]string
	}
	obsTimer struct {
		Task  string
		Start uint64
		Kind  timerKind
	}
)

// errGivenUp is why a start failed that the agent itself gave up.
var errGivenUp = errors.New("start was given up")

// notReady says that a task could not be made ready for its start. kind is the event that tells it.
type notReady struct {
	kind event.TaskEventType
	err  error
}

func (e notReady) Error() string { return e.err.Error() }
func (e notReady) Unwrap() error { return e.err }

type timerKind uint8

const (
	timerRestart timerKind = iota + 1
	timerShutdownDelay
)

// action is something for the agent to do: one of the act types.
type action any

type (
	actStart struct {
		Task  string
		Start uint64
	}
	actStop struct {
		Task    string
		Start   uint64
		Signal  string // "" is the driver's
		Timeout time.Duration
	}
	actTimer struct {
		Task  string
		Start uint64
		Kind  timerKind
		After time.Duration
	}
	actGroupDelay struct{ After time.Duration }
	// actGiveUp says that a start is not wanted any more. It is told of by obsStarted or obsStartFailed all the same.
	actGiveUp struct {
		Task  string
		Start uint64
	}
	// actEvent is new in a task's history.
	actEvent struct {
		Task  string
		Event event.TaskEvent
	}
)

// step is the whole of an allocation's rules: what was seen changes the state and asks for actions. It has no clock, no
// chance and no goroutine of its own. An observation of a start that is not the newest changes nothing.
func (s *allocState) step(r *allocRules, o observation) []action {
	st := &stepper{state: s, rules: r, at: o.At, chance: o.Chance}
	switch what := o.What.(type) {
	case obsReceived:
		for _, t := range s.Tasks {
			st.emit(t, event.TaskReceived, nil)
		}
	case obsBegin:
		if !s.Stopping && !s.Begun {
			s.Begun = true
			for _, t := range s.Tasks {
				st.emit(t, event.TaskSetup, map[string]string{event.DetailMessage: "Building Task Directory"})
			}
		}
	case obsSetupFailed:
		if s.Stopping { // it was given up
			break
		}
		s.Stopping = true
		for _, t := range s.Tasks {
			if t.Phase == phaseWaiting {
				st.emit(t, event.TaskSetupFailure, map[string]string{
					event.DetailError: "failed to setup alloc: " + what.Err.Error(), event.DetailFailsTask: "true",
				})
				st.fail(t)
			}
		}
	case obsStop:
		for _, t := range s.Tasks { // what runs after the end is wanted still
			if t.Phase == phaseUnsettled && st.rulesOf(t).role == rolePoststop {
				t.Phase = phaseWaiting
			}
		}
		st.stopAll()
		if what.NoDelay {
			st.hurry()
		}
	case obsContact:
		for _, t := range s.Tasks {
			if t.Phase == phaseUnsettled {
				t.Phase = phaseWaiting
			}
		}
	case obsGroupDelay:
		if s.Delay == delayRuns {
			s.Delay = delayOver
		}
	case obsExceeded:
		if !s.ended() {
			st.exceeded()
		}
	case obsStarted:
		if t := st.current(what.Task, what.Start); t != nil {
			st.started(t, what.Handle)
		}
	case obsStartFailed:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase != phaseDead {
			st.startFailed(t, what.Err)
		}
	case obsExited:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase != phaseDead {
			st.exited(t, what.Exit, what.Lost)
		}
	case obsNotRestored:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase != phaseDead {
			st.notRestored(t, what.Reason)
		}
	case obsDriverMessage:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase != phaseDead {
			st.emit(t, event.TaskDriverMessage, map[string]string{event.DetailMessage: what.Message})
		}
	case obsRestart:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase == phaseRunning && !t.Killed {
			st.emit(t, event.TaskRestartSignaled, map[string]string{event.DetailReason: what.Reason})
			t.Again = true
			st.stopNow(t)
		}
	case obsRestartAll:
		st.renew(what.Reason)
	case obsSignaling:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase == phaseRunning {
			details := map[string]string{event.DetailSignal: what.Signal}
			if what.Reason != "" {
				details[event.DetailReason] = what.Reason
			}
			st.emit(t, event.TaskSignaling, details)
		}
	case obsTemplateFailed:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase == phaseRunning && !t.Killed {
			st.emit(t, event.TaskKilling, map[string]string{event.DetailReason: what.Reason, event.DetailFailsTask: "true"})
			t.Killed, t.State.Failed = true, true
			st.stopNow(t)
		}
	case obsHook:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase == phaseRunning {
			st.emit(t, what.Kind, map[string]string{event.DetailMessage: what.Message})
		}
	case obsPreparing:
		if t := st.current(what.Task, what.Start); t != nil && t.Phase == phaseStarting {
			st.emit(t, what.Kind, what.Details)
		}
	case obsTimer:
		if t := st.current(what.Task, what.Start); t != nil {
			st.timer(t, what.Kind)
		}
	default:
		panic(fmt.Sprintf("unknown observation %T", what))
	}
	st.settle()
	return st.actions
}

// stepper is one step in progress.
type stepper struct {
	state   *allocState
	rules   *allocRules
	at      time.Time
	chance  uint64
	actions []action
}

func (st *stepper) do(a action) { st.actions = append(st.actions, a) }

// emit adds to a task's history. Times of one task's events strictly grow, so that a reader can tell a repeated event
// from a new one.
func (st *stepper) emit(t *taskState, kind event.TaskEventType, details map[string]string) {
	e := event.TaskEvent{Type: kind, Time: st.at.UnixNano(), Details: details}
	if n := len(t.State.Events); n > 0 {
		e.Time = max(e.Time, t.State.Events[n-1].Time+1)
	}
	t.State.Events = append(t.State.Events, e)
	if over := len(t.State.Events) - event.TaskEventsKept; over > 0 {
		t.State.Events = append([]event.TaskEvent(nil), t.State.Events[over:]...)
	}
	st.do(actEvent{Task: t.Name, Event: e})
}

// current is the task if start is its newest start, or nil.
func (st *stepper) current(name string, start uint64) *taskState {
	if t := st.state.task(name); t != nil && t.Start == start {
		return t
	}
	return nil
}

func (st *stepper) rulesOf(t *taskState) *taskRules {
	if r := st.rules.task(t.Name); r != nil {
		return r
	}
	panic(fmt.Sprintf("task %q has no rules", t.Name))
}

// leaving reports whether nothing follows when the task ends, however it ends.
func (st *stepper) leaving(t *taskState) bool {
	return t.Killed || st.state.Stopping && st.rulesOf(t).role != rolePoststop
}

// dead ends a task for good.
func (st *stepper) dead(t *taskState) {
	t.Phase = phaseDead
	t.State.State = event.TaskDead
	if t.State.FinishedAt == 0 {
		t.State.FinishedAt = event.StampOf(st.at)
	}
}

func (st *stepper) fail(t *taskState) {
	t.State.Failed = true
	st.dead(t)
}

func (st *stepper) started(t *taskState, handle []byte) {
	t.Handle = handle
	switch t.Phase {
	case phaseStarting:
		t.Phase = phaseRunning
		t.State.State = event.TaskRunning
		t.State.StartedAt = event.StampOf(st.at)
		t.State.FinishedAt = 0
		st.emit(t, event.TaskStarted, nil)
		if t.Killed { // it was to be killed while it started
			st.kill(t, 0)
		}
	case phaseRunning, phaseDelay, phaseStopping:
		// Found again after a restart of the agent.
		if t.Phase == phaseStopping || t.Phase == phaseDelay {
			st.stopNow(t)
		}
	}
}

func (st *stepper) startFailed(t *taskState, err error) {
	unready := notReady{}
	if invalid := (driver.Invalid{}); errors.Is(err, errGivenUp) && (st.leaving(t) || t.Again) {
		// Nothing failed.
	} else if errors.As(err, &unready) {
		st.emit(t, unready.kind, map[string]string{event.DetailReason: err.Error(), event.DetailError: err.Error()})
	} else if errors.As(err, &invalid) {
		st.emit(t, event.TaskFailedValidation, map[string]string{event.DetailError: err.Error(), event.DetailFailsTask: "true"})
		err = driver.Unrecoverable{Err: err}
	} else {
		st.emit(t, event.TaskDriverFailure, map[string]string{event.DetailError: err.Error()})
	}
	if st.leaving(t) {
		st.emit(t, event.TaskKilled, nil)
		st.dead(t)
		return
	}
	if t.Again {
		st.again(t)
		return
	}
	st.afterEnd(t, driver.Exit{Error: err.Error()}, errors.As(err, &driver.Unrecoverable{}))
}

func (st *stepper) exited(t *taskState, exit driver.Exit, lost string) {
	details := map[string]string{event.DetailExitCode: strconv.Itoa(exit.Code)}
	if exit.Signal != 0 {
		details[event.DetailSignal] = strconv.Itoa(exit.Signal)
	}
	if exit.OOMKilled {
		details[event.DetailOOMKilled], details[event.DetailMessage] = "true", "OOM Killed"
	}
	if exit.Error != "" {
		details[event.DetailMessage] = exit.Error
	}
	if lost != "" {
		details[event.DetailExitCode], details[event.DetailMessage] = "-1", lost
		exit.Error = lost
	}
	if t.Phase == phaseStarting { // it ran and ended before the agent was told that it had started
		t.State.StartedAt = event.StampOf(st.at)
	}
	st.emit(t, event.TaskTerminated, details)
	if t.Again && !st.leaving(t) {
		st.again(t)
		return
	}
	if st.leaving(t) {
		st.emit(t, event.TaskKilled, nil)
		st.dead(t)
		return
	}
	st.afterEnd(t, exit, false)
}

func (st *stepper) notRestored(t *taskState, reason string) {
	if t.Phase == phaseStarting && !t.Killed && !st.state.Stopping {
		// The agent died before the driver did anything: nothing was lost and nobody needs to hear of it.
		t.Phase = phaseUnsettled
		return
	}
	st.emit(t, event.TaskFailedRestoring, map[string]string{
		event.DetailReason: "failed to restore task; will not run until server is contacted", event.DetailError: reason,
	})
	if st.leaving(t) {
		st.emit(t, event.TaskKilled, nil)
		st.dead(t)
		return
	}
	t.Phase = phaseUnsettled
	t.State.State = event.TaskPending
}

func (st *stepper) timer(t *taskState, kind timerKind) {
	switch {
	case kind == timerRestart && t.Phase == phaseBackoff:
		st.start(t)
	case kind == timerShutdownDelay && t.Phase == phaseDelay:
		st.stopNow(t)
	}
}

func (st *stepper) start(t *taskState) {
	t.Start++
	t.Handle, t.Again = nil, false
	t.Phase = phaseStarting
	t.State.State = event.TaskPending
	st.do(actStart{Task: t.Name, Start: t.Start})
}

// afterEnd applies the restart policy to a task that ended by itself or could not be started.
func (st *stepper) afterEnd(t *taskState, exit driver.Exit, unrecoverable bool) {
	r := st.rulesOf(t)
	v := restart(r.policy, r.againOnExit0, restartAccount{t.Count, t.IntervalStart}, exit.Successful(), unrecoverable,
		st.at.UnixNano(), st.chance)
	t.Count, t.IntervalStart = v.account.count, v.account.intervalStart
	switch {
	case v.again:
		st.startAgain(t, v.delay, v.reason)
	case v.failed:
		st.emit(t, event.TaskNotRestarting, map[string]string{event.DetailReason: v.reason, event.DetailFailsTask: "true"})
		st.fail(t)
	default:
		st.dead(t)
	}
}

// again follows the end of a start that was ended for the sake of another.
func (st *stepper) again(t *taskState) {
	if st.state.Renewing {
		st.gather(t)
		return
	}
	st.startAgain(t, 0, "")
}

// startAgain has the task wait for its next start.
func (st *stepper) startAgain(t *taskState, delay time.Duration, reason string) {
	t.Phase = phaseBackoff
	t.State.State = event.TaskPending
	t.State.Restarts++
	t.State.LastRestart = event.StampOf(st.at)
	details := map[string]string{event.DetailStartDelay: strconv.FormatInt(int64(delay), 10)}
	if reason != "" {
		details[event.DetailReason] = reason
	}
	st.emit(t, event.TaskRestarting, details)
	st.do(actTimer{Task: t.Name, Start: t.Start, Kind: timerRestart, After: delay})
}
