package executor

import (
	"strconv"

	"drover/eventlog/event"
)

// renew begins the restart of a whole group: all that runs is ended, in the order of a kill, and then every task starts
// as if the allocation were new. Tasks that run after the end of the group take no part.
func (st *stepper) renew(reason string) {
	s := st.state
	if !s.renewable(st.rules) {
		return
	}
	s.Renewing = true
	for _, t := range s.Tasks {
		if st.rulesOf(t).role == rolePoststop {
			continue
		}
		st.emit(t, event.TaskRestartSignaled, map[string]string{event.DetailReason: reason})
		switch t.Phase {
		case phaseBackoff, phaseDead:
			t.Phase = phaseWaiting
			t.State.State = event.TaskPending
		case phaseStarting:
			t.Again = true
			st.do(actGiveUp{Task: t.Name, Start: t.Start})
		case phaseRunning, phaseStopping:
			t.Again = true
		}
	}
}

// renewable reports whether the group can be restarted as a whole: it has begun, and it is not at its end.
func (s *allocState) renewable(r *allocRules) bool {
	if !s.Begun || s.Stopping {
		return false
	}
	for _, t := range s.Tasks {
		if t.Phase != phaseDead && r.task(t.Name).role != rolePoststop {
			return true
		}
	}
	return false
}

// gather has a task that ended during a renewal wait for the others.
func (st *stepper) gather(t *taskState) {
	t.Phase = phaseWaiting
	t.State.State = event.TaskPending
	t.State.Restarts++
	t.State.LastRestart = event.StampOf(st.at)
	st.emit(t, event.TaskRestarting, map[string]string{event.DetailStartDelay: strconv.Itoa(0)})
}

// renewNext ends what may be ended now. Once nothing is left, all tasks are as they were at the beginning.
func (st *stepper) renewNext() {
	for _, wave := range killWaves {
		live := false
		for _, t := range st.state.Tasks {
			r := st.rulesOf(t)
			if r.role == rolePoststop || !wave(r) {
				continue
			}
			switch t.Phase {
			case phaseRunning:
				t.Again = true
				st.stopNow(t)
				live = true
			case phaseStarting, phaseDelay, phaseStopping:
				live = true
			}
		}
		if live {
			return
		}
	}
	st.state.Renewing = false
	for _, t := range st.state.Tasks {
		if st.rulesOf(t).role == rolePoststop {
			continue
		}
		if t.Phase != phaseUnsettled { // the servers may not want it any more
			t.Phase = phaseWaiting
		}
		t.State.State = event.TaskPending
		t.State.Failed, t.Killed, t.Again = false, false, false
		t.State.StartedAt, t.State.FinishedAt = 0, 0
	}
}
