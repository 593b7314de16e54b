package event

import (
	"fmt"
	"time"
)

// The statuses below are small integers in the log and words in JSON. A number,
// once released, keeps its meaning; new words take the next number.

// EvalStatus is where an evaluation stands.
type EvalStatus uint8

const (
	EvalPending EvalStatus = iota + 1
	EvalBlocked
	EvalComplete
	EvalFailed
	EvalCanceled
)

var evalStatusNames = []string{"", "pending", "blocked", "complete", "failed", "canceled"}

// Terminal reports whether the evaluation will never run again.
func (s EvalStatus) Terminal() bool { return s >= EvalComplete }
func (s EvalStatus) String() string { return wordOf(evalStatusNames, uint8(s)) }

// MarshalText is the word; JSON uses it.
func (s EvalStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *EvalStatus) UnmarshalText(text []byte) error {
	n, err := numberOf("evaluation status", evalStatusNames, string(text))
	*s = EvalStatus(n)
	return err
}

// DesiredStatus is what the servers want of an allocation.
type DesiredStatus uint8

const (
	DesiredRun DesiredStatus = iota + 1
	DesiredStop
	DesiredEvict
)

var desiredStatusNames = []string{"", "run", "stop", "evict"}

func (s DesiredStatus) String() string { return wordOf(desiredStatusNames, uint8(s)) }

// MarshalText is the word; JSON uses it.
func (s DesiredStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *DesiredStatus) UnmarshalText(text []byte) error {
	n, err := numberOf("desired status", desiredStatusNames, string(text))
	*s = DesiredStatus(n)
	return err
}

// ClientStatus is what the node says of an allocation.
type ClientStatus uint8

const (
	ClientPending ClientStatus = iota + 1
	ClientRunning
	ClientComplete
	ClientFailed
	ClientLost
	ClientUnknown
)

var clientStatusNames = []string{"", "pending", "running", "complete", "failed", "lost", "unknown"}

// Terminal reports whether the allocation has ended for good: it runs nothing
// and holds no room.
func (s ClientStatus) Terminal() bool {
	return s == ClientComplete || s == ClientFailed || s == ClientLost
}
func (s ClientStatus) String() string { return wordOf(clientStatusNames, uint8(s)) }

// MarshalText is the word; JSON uses it.
func (s ClientStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *ClientStatus) UnmarshalText(text []byte) error {
	n, err := numberOf("client status", clientStatusNames, string(text))
	*s = ClientStatus(n)
	return err
}

// NodeStatus is whether a node can be reached.
type NodeStatus uint8

const (
	NodeInitializing NodeStatus = iota + 1
	NodeReady
	NodeDown
	NodeDisconnected
)

var nodeStatusNames = []string{"", "initializing", "ready", "down", "disconnected"}

func (s NodeStatus) String() string { return wordOf(nodeStatusNames, uint8(s)) }

// MarshalText is the word; JSON uses it.
func (s NodeStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *NodeStatus) UnmarshalText(text []byte) error {
	n, err := numberOf("node status", nodeStatusNames, string(text))
	*s = NodeStatus(n)
	return err
}

// TaskStatus is where a task stands on its node.
type TaskStatus uint8

const (
	TaskPending TaskStatus = iota + 1
	TaskRunning
	TaskDead
)

var taskStatusNames = []string{"", "pending", "running", "dead"}

func (s TaskStatus) String() string { return wordOf(taskStatusNames, uint8(s)) }

// MarshalText is the word; JSON uses it.
func (s TaskStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *TaskStatus) UnmarshalText(text []byte) error {
	n, err := numberOf("task state", taskStatusNames, string(text))
	*s = TaskStatus(n)
	return err
}

// Trigger is why an evaluation was created.
type Trigger uint8

const (
	TriggerJobRegister Trigger = iota + 1
	TriggerJobDeregister
	TriggerNodeUpdate
	TriggerAllocStop
	TriggerAllocFailure
	TriggerQueuedAllocs
	TriggerMaxPlanAttempts
	TriggerPeriodicJob
	TriggerNodeDrain
	TriggerScheduled
	TriggerRollingUpdate
	TriggerDeploymentWatcher
	TriggerFailedFollowUp
	TriggerPreemption
	TriggerJobScaling
	TriggerMaxDisconnectTimeout
	TriggerReconnect
	TriggerAllocReschedule
)

var triggerNames = []string{
	"", "job-register", "job-deregister", "node-update", "alloc-stop", "alloc-failure", "queued-allocs",
	"max-plan-attempts", "periodic-job", "node-drain", "scheduled", "rolling-update", "deployment-watcher",
	"failed-follow-up", "preemption", "job-scaling", "max-disconnect-timeout", "reconnect", "alloc-reschedule",
}

func (t Trigger) String() string { return wordOf(triggerNames, uint8(t)) }

// MarshalText is the word; JSON uses it.
func (t Trigger) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (t *Trigger) UnmarshalText(text []byte) error {
	n, err := numberOf("trigger", triggerNames, string(text))
	*t = Trigger(n)
	return err
}

func wordOf(names []string, n uint8) string {
	if int(n) < len(names) {
		return names[n]
	}
	return fmt.Sprintf("unknown(%d)", n)
}

func numberOf(what string, names []string, word string) (uint8, error) {
	for i, name := range names {
		if name == word {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q", what, word)
}

// Stamp is a moment in Unix nanoseconds; zero means "never". JSON shows it in
// RFC 3339 (the zero stamp as 0001-01-01T00:00:00Z), the log keeps the number.
type Stamp int64

// StampOf is the stamp of t.
func StampOf(t time.Time) Stamp {
	if t.IsZero() {
		return 0
	}
	return Stamp(t.UnixNano())
}

// Time is the moment as a time in UTC; the zero stamp gives the zero time.
func (s Stamp) Time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(s)).UTC()
}

// MarshalJSON is the RFC 3339 form with nanoseconds.
func (s Stamp) MarshalJSON() ([]byte, error) { return s.Time().MarshalJSON() }

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *Stamp) UnmarshalJSON(data []byte) error {
	var t time.Time
	if err := t.UnmarshalJSON(data); err != nil {
		return err
	}
	*s = StampOf(t)
	return nil
}
