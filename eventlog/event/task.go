package event

import (
	"fmt"
	"strings"
	"time"
)

// TaskEventsKept is how many of a task's newest events stand in the state; the
// log has all of them.
const TaskEventsKept = 10

// TaskState is what a node last said of one task.
type TaskState struct {
	State       TaskStatus  `cbor:"1,keyasint,omitempty"`
	Failed      bool        `cbor:"2,keyasint,omitempty"`
	Restarts    uint64      `cbor:"3,keyasint,omitempty"`
	LastRestart Stamp       `cbor:"4,keyasint,omitempty"`
	StartedAt   Stamp       `cbor:"5,keyasint,omitempty"`
	FinishedAt  Stamp       `cbor:"6,keyasint,omitempty"`
	Events      []TaskEvent `cbor:"7,keyasint,omitempty"` // oldest first, at most TaskEventsKept in the state
}

// Successful reports whether the task ran to its end and did not fail.
func (t *TaskState) Successful() bool { return t.State == TaskDead && !t.Failed }

// TaskEventType is what happened to a task.
type TaskEventType uint8

const (
	TaskReceived TaskEventType = iota + 1
	TaskSetup
	TaskSetupFailure
	TaskFailedValidation
	TaskDriverMessage
	TaskDriverFailure
	TaskStarted
	TaskTerminated
	TaskRestarting
	TaskNotRestarting
	TaskRestartSignaled
	TaskSignaling
	TaskKilling
	TaskKilled
	TaskSiblingFailed
	TaskLeaderDead
	TaskMainTasksDead
	TaskFailedRestoring
	TaskWaitingShutdownDelay
	TaskDownloadingArtifacts
	TaskFailedArtifactDownload
	TaskDiskExceeded
	TaskHookFailed
	TaskHookMessage
	TaskReconnected
	TaskSkippingShutdownDelay
)

var taskEventNames = []string{
	"", "Received", "Task Setup", "Setup Failure", "Failed Validation", "Driver", "Driver Failure", "Started",
	"Terminated", "Restarting", "Not Restarting", "Restart Signaled", "Signaling", "Killing", "Killed",
	"Sibling Task Failed", "Leader Task Dead", "Main Tasks Dead", "Failed Restoring Task",
	"Waiting for shutdown delay", "Downloading Artifacts", "Failed Artifact Download", "Disk Resources Exceeded",
	"Task hook failed", "Task hook message", "Reconnected", "Skipping shutdown delay",
}

func (t TaskEventType) String() string { return wordOf(taskEventNames, uint8(t)) }

// MarshalText is the words that users see; JSON uses it.
func (t TaskEventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (t *TaskEventType) UnmarshalText(text []byte) error {
	n, err := numberOf("task event", taskEventNames, string(text))
	*t = TaskEventType(n)
	return err
}

// Keys of TaskEvent.Details. The log holds the type and these parameters; the
// sentence is made by [TaskEvent.Message] when somebody reads it.
const (
	DetailReason       = "reason"           // free text: why
	DetailError        = "error"            // free text: what went wrong
	DetailMessage      = "message"          // free text
	DetailExitCode     = "exit_code"        // decimal
	DetailSignal       = "signal"           // decimal number, or name for Signaling
	DetailOOMKilled    = "oom_killed"       // "true"
	DetailStartDelay   = "start_delay"      // decimal nanoseconds
	DetailKillTimeout  = "kill_timeout"     // Go duration
	DetailFailsTask    = "fails_task"       // "true" when the task is failed by it
	DetailFailedTask   = "failed_sibling"   // name of a task
	DetailDelay        = "delay"            // Go duration
	DetailUnrecovered  = "unrecoverable"    // "true"
	DetailTaskSetupMsg = "task_setup_phase" // "Building Task Directory"
)

// TaskEvent is one thing that happened to a task: a type and its parameters.
type TaskEvent struct {
	Type    TaskEventType     `cbor:"1,keyasint"`
	Time    int64             `cbor:"2,keyasint,omitempty"` // Unix nanoseconds, the node's clock
	Details map[string]string `cbor:"3,keyasint,omitempty"`
}

// Message renders the event as users of the field's tools know it.
func (e TaskEvent) Message() string {
	d := func(key string) string { return e.Details[key] }
	or := func(text, otherwise string) string {
		if text != "" {
			return text
		}
		return otherwise
	}
	switch e.Type {
	case TaskReceived:
		return "Task received by client"
	case TaskSetup:
		return or(d(DetailMessage), "Building Task Directory")
	case TaskSetupFailure:
		return or(d(DetailError), "Task setup failed")
	case TaskFailedValidation:
		return or(d(DetailError), "Validation of task failed")
	case TaskDriverMessage:
		return d(DetailMessage)
	case TaskDriverFailure:
		return or(d(DetailError), "Failed to start task")
	case TaskStarted:
		return "Task started by client"
	case TaskTerminated:
		parts := []string{"Exit Code: " + or(d(DetailExitCode), "0")}
		if s := d(DetailSignal); s != "" && s != "0" {
			parts = append(parts, "Signal: "+s)
		}
		if m := d(DetailMessage); m != "" {
			parts = append(parts, fmt.Sprintf("Exit Message: %q", m))
		}
		return strings.Join(parts, ", ")
	case TaskRestarting:
		text := "Task restarting in " + nanos(d(DetailStartDelay)).String()
		if r := d(DetailReason); r != "" {
			return r + " - " + text
		}
		return text
	case TaskNotRestarting:
		return or(d(DetailReason), "Task exceeded restart policy")
	case TaskRestartSignaled:
		return or(d(DetailReason), "Task signaled to restart")
	case TaskSignaling:
		switch s, r := d(DetailSignal), d(DetailReason); {
		case s == "" && r == "":
			return "Task being sent a signal"
		case s == "":
			return r
		case r == "":
			return "Task being sent signal " + s
		default:
			return "Task being sent signal " + s + ": " + r
		}
	case TaskKilling:
		if r := d(DetailReason); r != "" {
			return r
		}
		if t := d(DetailKillTimeout); t != "" {
			return "Sent interrupt. Waiting " + t + " before force killing"
		}
		return "Sent interrupt"
	case TaskKilled:
		return or(d(DetailError), "Task successfully killed")
	case TaskSiblingFailed:
		if s := d(DetailFailedTask); s != "" {
			return fmt.Sprintf("Task's sibling %q failed", s)
		}
		return "Task's sibling failed"
	case TaskLeaderDead:
		return "Leader Task in Group dead"
	case TaskMainTasksDead:
		return "Main tasks in the group died"
	case TaskFailedRestoring:
		return or(d(DetailReason), "failed to restore task; will not run until server is contacted")
	case TaskWaitingShutdownDelay:
		return fmt.Sprintf("Waiting for shutdown_delay of %s before killing the task.", d(DetailDelay))
	case TaskSkippingShutdownDelay:
		return "Skipping shutdown_delay before killing the task."
	case TaskDownloadingArtifacts:
		return "Client is downloading artifacts"
	case TaskFailedArtifactDownload:
		return or(d(DetailError), "Failed to download artifacts")
	case TaskReconnected:
		return "Client reconnected"
	}
	return or(d(DetailMessage), or(d(DetailReason), d(DetailError)))
}

func nanos(decimal string) time.Duration {
	var n int64
	for _, c := range decimal {
		if c < '0' || c > '9' {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return time.Duration(n)
}

// ClientStatusOf derives an allocation's client status from the states of its
// tasks: any failed, else any running, else any pending, else complete. An
// allocation of which nothing is known yet is pending.
func ClientStatusOf(tasks map[string]*TaskState) ClientStatus {
	var failed, running, pending bool
	for _, t := range tasks {
		switch {
		case t.Failed:
			failed = true
		case t.State == TaskRunning:
			running = true
		case t.State == TaskPending || t.State == 0:
			pending = true
		}
	}
	switch {
	case failed:
		return ClientFailed
	case running:
		return ClientRunning
	case pending || len(tasks) == 0:
		return ClientPending
	}
	return ClientComplete
}

// ClientDescription is the sentence that goes with a client status.
func ClientDescription(s ClientStatus) string {
	switch s {
	case ClientFailed:
		return "Failed tasks"
	case ClientRunning:
		return "Tasks are running"
	case ClientPending:
		return "No tasks have started"
	case ClientComplete:
		return "All tasks have completed"
	}
	return ""
}
