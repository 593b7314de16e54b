package executor

import (
	"time"

	"drover/eventlog/event"
)

// settle brings the tasks of a group in line with one another after every step: the end of one may end others, and
// tasks whose turn has come are started.
func (st *stepper) settle() {
	s := st.state
	if !s.Stopping && !s.Renewing {
		st.react()
	}
	if s.Renewing {
		st.renewNext()
	}
	if s.Stopping {
		st.killNext()
	} else if s.Begun && !s.Renewing {
		st.startNext()
	}
	st.poststop()
}

// react looks for a reason to stop the group: a failed task, a dead leader, nothing left but sidecars.
func (st *stepper) react() {
	s := st.state
	mains, mainsDead := 0, 0
	for _, t := range s.Tasks {
		r := st.rulesOf(t)
		if r.role == rolePoststop {
			continue
		}
		if t.State.Failed {
			for _, other := range s.Tasks {
				if other != t && other.Phase != phaseDead && st.rulesOf(other).role != rolePoststop {
					st.emit(other, event.TaskSiblingFailed, map[string]string{event.DetailFailedTask: t.Name})
				}
			}
			st.stopAll()
			return
		}
		if r.leader && t.Phase == phaseDead {
			for _, other := range s.Tasks {
				if other != t && other.Phase != phaseDead && st.rulesOf(other).role != rolePoststop {
					st.emit(other, event.TaskLeaderDead, nil)
				}
			}
			st.stopAll()
			return
		}
		if r.role == roleMain {
			mains++
			if t.Phase == phaseDead {
				mainsDead++
			}
		}
	}
	if mains == 0 || mainsDead < mains {
		return
	}
	var sidecars []*taskState
	for _, t := range s.Tasks {
		switch r := st.rulesOf(t); {
		case t.Phase == phaseDead || r.role == rolePoststop:
		case r.role.sidecar():
			sidecars = append(sidecars, t)
		default:
			return // a task with an end of its own is still at work
		}
	}
	if len(sidecars) == 0 {
		return
	}
	for _, t := range sidecars {
		st.emit(t, event.TaskMainTasksDead, nil)
	}
	st.stopAll()
}

// stopAll begins the end of the group. What has not started yet never will; the rest is killed in order by killNext.
func (st *stepper) stopAll() {
	s := st.state
	if s.Stopping {
		return
	}
	s.Stopping, s.Renewing = true, false
	live := false
	for _, t := range s.Tasks {
		r := st.rulesOf(t)
		if r.role == rolePoststop && s.Begun && !s.Exceeded {
			continue
		}
		switch t.Phase {
		case phaseWaiting, phaseUnsettled:
			st.dead(t)
		case phaseBackoff:
			st.emit(t, event.TaskKilled, nil)
			st.dead(t)
		case phaseDead:
		default:
			live = true
		}
	}
	if live && st.rules.shutdownDelay > 0 && s.Delay == delayNone {
		s.Delay = delayRuns
		st.do(actGroupDelay{After: st.rules.shutdownDelay})
	}
}

// exceeded ends what has run for too long, with what would run after the end.
func (st *stepper) exceeded() {
	s := st.state
	s.Exceeded = true
	if !s.Stopping {
		st.stopAll()
		return
	}
	for _, t := range s.Tasks {
		if t.Phase == phaseWaiting { // after the end of the others
			st.dead(t)
		}
	}
}

// hurry skips all shutdown delays, also those that are being waited out.
func (st *stepper) hurry() {
	s := st.state
	s.NoDelay = true
	if s.Delay == delayRuns {
		s.Delay = delayOver
	}
	for _, t := range s.Tasks {
		if t.Phase == phaseDelay {
			st.emit(t, event.TaskSkippingShutdownDelay, nil)
			st.stopNow(t)
		}
	}
}

// killWaves are the tasks that are ended together, one wave after the other.
var killWaves = []func(*taskRules) bool{
	func(r *taskRules) bool { return r.leader },
	func(r *taskRules) bool { return !r.leader && !r.role.sidecar() },
	func(r *taskRules) bool { return !r.leader && r.role.sidecar() },
}

// killNext kills what may be killed now: leaders first, then main and other tasks, sidecars last. It is called again
// whenever something ended.
func (st *stepper) killNext() {
	if st.state.Delay == delayRuns {
		return
	}
	for _, wave := range killWaves {
		live := false
		for _, t := range st.state.Tasks {
			r := st.rulesOf(t)
			if r.role == rolePoststop && !st.state.Exceeded || t.Phase == phaseDead || !wave(r) {
				continue
			}
			if !t.Killed {
				st.kill(t, r.shutdownDelay)
			}
			live = live || t.Phase != phaseDead
		}
		if live {
			return
		}
	}
}

// poststop starts the tasks that run after all others are dead.
func (st *stepper) poststop() {
	s := st.state
	if !s.Begun || s.Exceeded {
		return
	}
	for _, t := range s.Tasks {
		if t.Phase != phaseDead && st.rulesOf(t).role != rolePoststop {
			return
		}
	}
	for _, t := range s.Tasks {
		if t.Phase == phaseWaiting && st.rulesOf(t).role == rolePoststop {
			st.start(t)
		}
	}
}

// startNext starts the tasks whose turn has come.
func (st *stepper) startNext() {
	prestarted, mainPending := true, false
	for _, t := range st.state.Tasks {
		switch st.rulesOf(t).role {
		case rolePrestart:
			prestarted = prestarted && t.Phase == phaseDead && !t.State.Failed
		case rolePrestartSidecar:
			prestarted = prestarted && t.State.State == event.TaskRunning
		case roleMain:
			mainPending = mainPending || t.State.StartedAt == 0 && t.Phase != phaseDead
		}
	}
	for _, t := range st.state.Tasks {
		if t.Phase != phaseWaiting {
			continue
		}
		switch st.rulesOf(t).role {
		case rolePrestart, rolePrestartSidecar:
			st.start(t)
		case roleMain:
			if prestarted || t.State.StartedAt != 0 {
				st.start(t)
			}
		case rolePoststart, rolePoststartSidecar:
			if !mainPending {
				st.start(t)
			}
		}
	}
}

// kill asks one task to end, after a delay in which others may notice that it is leaving.
func (st *stepper) kill(t *taskState, delay time.Duration) {
	t.Killed = true
	switch t.Phase {
	case phaseStarting:
		st.do(actGiveUp{Task: t.Name, Start: t.Start})
		return // started or startFailed comes first
	case phaseWaiting, phaseUnsettled, phaseBackoff:
		st.emit(t, event.TaskKilled, nil)
		st.dead(t)
		return
	case phaseRunning:
	default:
		return
	}
	r := st.rulesOf(t)
	details := map[string]string{}
	if st.state.Exceeded {
		details[event.DetailReason] = "allocation exceeded max_run_duration"
	}
	if r.killTimeout > 0 {
		details[event.DetailKillTimeout] = r.killTimeout.String()
	}
	st.emit(t, event.TaskKilling, details)
	if delay > 0 && st.state.NoDelay {
		st.emit(t, event.TaskSkippingShutdownDelay, nil)
		delay = 0
	}
	if delay > 0 {
		t.Phase = phaseDelay
		st.emit(t, event.TaskWaitingShutdownDelay, map[string]string{event.DetailDelay: delay.String()})
		st.do(actTimer{Task: t.Name, Start: t.Start, Kind: timerShutdownDelay, After: delay})
		return
	}
	st.stopNow(t)
}

// stopNow has the driver end the task.
func (st *stepper) stopNow(t *taskState) {
	r := st.rulesOf(t)
	t.Phase = phaseStopping
	st.do(actStop{Task: t.Name, Start: t.Start, Signal: r.killSignal, Timeout: r.killTimeout})
}
