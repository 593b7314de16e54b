package executor

import (
	"context"
	"errors"
	"time"

	"drover/eventlog/event"
)

// report hands what changed of an allocation to the reporter. Runners call it.
func (a *Agent) report(d event.AllocDelta) {
	a.boxMu.Lock()
	a.box.add(d, time.Now())
	a.boxMu.Unlock()
	a.wakeReporter()
}

func (a *Agent) wakeReporter() {
	select {
	case a.reports <- struct{}{}:
	default:
	}
}

// reportAll reports all that runs and then that the agent is ready.
func (a *Agent) reportAll(runners map[event.ID]*runner) {
	for _, r := range runners {
		done := make(chan struct{})
		r.send(obsFull{done})
		select {
		case <-done:
		case <-r.gone:
		}
	}
	a.boxMu.Lock()
	a.box.becomeReady(time.Now())
	a.informed = true
	a.boxMu.Unlock()
	a.wakeReporter()
}

// sendReports sends what the outbox says is due. Nothing is due for sending before the first orders were taken in.
func (a *Agent) sendReports(ctx context.Context) {
	back := backoff{}
	timer := time.NewTimer(time.Hour)
	for {
		r, wait := a.nextReport()
		if r == nil {
			timer.Reset(wait)
			select {
			case <-a.reports:
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			continue
		}
		begin := time.Now()
		answer, err := a.conn.Report(ctx, r)
		if hook := a.cfg.Hooks.OnReport; hook != nil {
			hook(time.Since(begin), len(r.Deltas), err)
		}
		if ctx.Err() != nil && err != nil {
			return
		}
		switch {
		case err == nil, errors.Is(err, ErrOldReport) && a.repeated():
			a.acknowledge(answer)
			back = backoff{}
			continue
		case errors.Is(err, ErrOldReport):
			// Somebody reported in this node's name, or the state directory is an old copy: a new life, everything again.
			a.log.Error("reports of this node are out of order, beginning a new incarnation", "err", err)
			a.newIncarnation()
			a.registerAgain()
		case errors.Is(err, ErrUnknownNode):
			a.log.Warn("report refused", "err", err)
			a.registerAgain()
		default:
			a.log.Warn("cannot report, trying again", "err", err)
		}
		if !back.wait(ctx) {
			return
		}
	}
}

// nextReport is the report to send now, or how long to wait for one.
func (a *Agent) nextReport() (*event.NodeReport, time.Duration) {
	who := a.credentials()
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	if !a.informed {
		return nil, time.Hour // reportAll wakes the reporter
	}
	now := time.Now()
	r := a.box.next(now, who)
	if r != nil {
		a.box.attempts++
		return r, 0
	}
	if a.box.due.IsZero() {
		return nil, time.Hour
	}
	return nil, a.box.due.Sub(now)
}

// repeated reports whether the report on its way was sent before.
func (a *Agent) repeated() bool {
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	return a.box.attempts > 1
}

// acknowledge takes off the report that the servers have.
func (a *Agent) acknowledge(answer event.NodeAnswer) {
	a.boxMu.Lock()
	r := a.box.acknowledged()
	a.boxMu.Unlock()
	a.mu.Lock()
	runners := make([]*runner, len(r.Deltas))
	for i, d := range r.Deltas {
		runners[i] = a.runners[d.ID]
	}
	a.mu.Unlock()
	for i, d := range r.Deltas {
		times := map[string]int64{}
		for name, t := range d.Tasks {
			if n := len(t.Events); n > 0 {
				times[name] = t.Events[n-1].Time
			}
		}
		if runners[i] != nil && len(times) > 0 {
			go runners[i].send(obsAcked{times})
		}
	}
	a.wakeCollector() // what has ended may go once that is recorded
	if r.Ready {
		a.readyOnce.Do(func() { close(a.ready) })
	}
	if answer.Register {
		a.registerAgain()
	}
}

// newIncarnation starts counting reports anew.
func (a *Agent) newIncarnation() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.who.nextIncarnation(a.cfg.StateDir); err != nil {
		a.log.Error("cannot keep incarnation", "err", err)
	}
	a.boxMu.Lock()
	defer a.boxMu.Unlock()
	a.box.restart(time.Now())
}
