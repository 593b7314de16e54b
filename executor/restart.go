package executor

import (
	"fmt"
	"time"

	"drover/eventlog/event"
)

// restartAccount is what a restart policy remembers.
type restartAccount struct {
	count         int
	intervalStart int64 // Unix nanoseconds
}

// restartVerdict is what a restart policy decides.
type restartVerdict struct {
	account restartAccount
	again   bool
	delay   time.Duration // before the next start
	failed  bool          // the task failed; otherwise, if not again, it is done
	reason  string
}

// restart applies a policy to the end of a task. chance spreads the delay by up to a quarter, so that tasks which fail
// together do not return together.
func restart(p event.RestartPolicy, againOnExit0 bool, a restartAccount, success, unrecoverable bool, now int64, chance uint64) restartVerdict {
	done := success && !againOnExit0
	if p.Attempts == 0 && p.Mode != restartModeDelay {
		if done {
			return restartVerdict{account: a}
		}
		return restartVerdict{account: a, failed: true, reason: "Policy allows no restarts"}
	}
	if a.intervalStart == 0 || now >= a.intervalStart+int64(p.Interval) {
		a = restartAccount{intervalStart: now}
	}
	a.count++
	switch {
	case unrecoverable:
		return restartVerdict{account: a, failed: true, reason: "Error was unrecoverable"}
	case done:
		return restartVerdict{account: a}
	case a.count > p.Attempts && p.Mode != restartModeDelay:
		return restartVerdict{account: a, failed: true, reason: fmt.Sprintf(
			`Exceeded allowed attempts %d in interval %v and mode is "fail"`, p.Attempts, p.Interval)}
	case a.count > p.Attempts:
		return restartVerdict{account: a, again: true, delay: time.Duration(a.intervalStart + int64(p.Interval) - now),
			reason: "Exceeded allowed attempts, applying a delay"}
	}
	return restartVerdict{account: a, again: true, delay: p.Delay + spread(p.Delay, chance)}
}

// restartModeDelay is the mode that waits for the end of the interval; every other mode fails the task.
const restartModeDelay = "delay"

// spread is 0 to 25 % of d, in steps that chance picks.
func spread(d time.Duration, chance uint64) time.Duration {
	const steps = 1 << 20
	return time.Duration(uint64(d/4/steps)*(chance%steps) + uint64(d/4%steps)*(chance%steps)/steps)
}
