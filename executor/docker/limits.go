package docker

import "time"

const (
	// fingerprintTimeout bounds the look at the daemon: one that does not answer must not keep the agent from starting.
	fingerprintTimeout = 3 * time.Second
	// pullTimeoutDefault bounds a pull unless the task says image_pull_timeout; the field's value.
	pullTimeoutDefault = 5 * time.Minute
	// pullSilenceMax cancels a pull that shows no progress; the field's value.
	pullSilenceMax = 2 * time.Minute
	// refreshSilenceMax is the same for an image that is here already and might only be renewed: without a network its task
	// must not wait long.
	refreshSilenceMax = 10 * time.Second
	// progressInterval is between two lines on a pull in the task's history, which keeps ten lines only.
	progressInterval = 30 * time.Second
	// imageDelayDefault is how long an image that was pulled here outlives its last task; the field's value.
	imageDelayDefault = 3 * time.Minute
	// drainTimeout bounds the wait for the last output of a container that has ended.
	drainTimeout = 5 * time.Second
	// streamsApart is how much later than a piece of one stream an earlier one of the other may come: the daemon copies
	// them side by side.
	streamsApart = 10 * time.Second
	// reconnectMin and reconnectMax are the pauses between attempts to reach a daemon that went away.
	reconnectMin = 20 * time.Millisecond
	reconnectMax = 5 * time.Second
	// execPauseMin and execPauseMax are between two questions whether a program beside a task has ended.
	execPauseMin = 5 * time.Millisecond
	execPauseMax = 200 * time.Millisecond
	// resizeRetries is how often a terminal is given its size while its program begins, in growing pauses: half a second.
	resizeRetries = 14
	// danglingDefault is between two looks for containers that nobody knows, and how old such a one must be; the field's
	// values.
	danglingDefault = 5 * time.Minute
	// nameRetries is how often a container's name is tried again after an older start of the task was removed.
	nameRetries = 5
	// logFilesKept and logBytesKept bound the daemon's own copy of the output: enough to bridge an agent's restart.
	logFilesKept = "2"
	logBytesKept = "2m"
	// frameBytesMax bounds one piece of output; the daemon's are 16 KB and a time stamp.
	frameBytesMax = 4 << 20
	// cpuPeriodDefault is the kernel's own period of a processor quota, in microseconds.
	cpuPeriodDefault = 100_000
	// cpuSharesMin is the least weight that the kernel takes.
	cpuSharesMin = 2
	// credentialTimeout bounds a credential helper.
	credentialTimeout = 30 * time.Second
	// credentialBytesMax bounds a file of credentials.
	credentialBytesMax = 1 << 20
)
