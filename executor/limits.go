package executor

import "time"

const (
	// defaultMinDynamicPort and defaultMaxDynamicPort are what jobs of the field expect; they lie below the range that
	// Linux takes ports from for outgoing connections (32768 and up).
	defaultMinDynamicPort = 20000
	defaultMaxDynamicPort = 32000
	// defaultMaxKillTimeout keeps one job from blocking a drain for long.
	defaultMaxKillTimeout = 30 * time.Second

	// defaultDriverPeriod is between two looks at a driver, the field's value. What was away is looked for in a part of it:
	// somebody who has just started a daemon waits for it.
	defaultDriverPeriod = 30 * time.Second
	driverPeriodParts   = 6

	// defaultSecretsMB is the size of a task's directory of secrets unless its job says otherwise, the field's value.
	defaultSecretsMB = 1

	// urgentWindow gathers changes of client status into one report. It must be short, a deployment waits for it, but
	// tasks of one group start within a few ms of each other.
	urgentWindow = 2 * time.Millisecond
	// eventWindow gathers task events that change no client status: nobody decides anything on them.
	eventWindow = 200 * time.Millisecond
	// reportDeltasMax bounds one report, and with it one record of the log: a delta is some hundreds of bytes, an append at
	// most 512 KB.
	reportDeltasMax = 256

	// retryMin and retryMax bound the wait after a failed call of a server: short at first, so that a server which just
	// restarts is found at once, and long enough in the end that a fleet does not drown one that comes up.
	retryMin = 100 * time.Millisecond
	retryMax = 15 * time.Second
	// callTimeout bounds a register, heartbeat or report; a server answers only after its commit.
	callTimeout = 30 * time.Second
	// streamSilenceMax is how long an order stream may say nothing: three missed signs of life.
	streamSilenceMax = 30 * time.Second
	// orderBatchBytesMax bounds a frame of the order stream. A full list of a thousand allocations with their jobs is
	// below 10 MB.
	orderBatchBytesMax = 64 << 20
	// answerBytesMax bounds an answer to the other calls.
	answerBytesMax = 1 << 20
	// heartbeatDefault is used until a server names a time to live.
	heartbeatDefault = 10 * time.Second

	// driverRetries, driverRetryMin and driverRetryMax repeat a stop that the driver failed: a task that cannot be stopped
	// holds its room for ever.
	driverRetries  = 5
	driverRetryMin = 5 * time.Second
	driverRetryMax = 2 * time.Minute

	// lockWait is how long a new agent waits for the state directory of one that has just died, looking every lockPause.
	lockWait  = time.Second
	lockPause = 10 * time.Millisecond
	// devShutdownSlack is what the end of an allocation may take beyond its kill timeout before it is forced.
	devShutdownSlack = time.Second
	// stateFileBytesMax bounds what is read as a state file; a job is at most a few MB.
	stateFileBytesMax = 64 << 20
	// inboxLength lets bursts of observations in without blocking who saw them.
	inboxLength = 64
	// restoreParallel bounds how many allocations are recovered at a time after a restart; each needs a few descriptors.
	restoreParallel = 16

	// artifactsParallel bounds the downloads of one task at a time.
	artifactsParallel = 3

	// The limits that ended allocations are kept within unless the operator says otherwise; they are the field's.
	defaultCollectInterval = time.Minute
	defaultCollectParallel = 2
	defaultDiskPercentMax  = 80
	defaultInodePercentMax = 70
	defaultAllocationsMax  = 50

	// scriptOutputBytesMax is how much a failed script of a template says in the task's history.
	scriptOutputBytesMax = 200
	// missingNamed is how many of the files that templates wait for are named in the task's history.
	missingNamed = 3
	// templatePoll is how often the files are looked at that a task's templates read, or wait for.
	templatePoll = 2 * time.Second

	// usageWindow is the shortest time over which a task's share of the processors is told: the kernel counts in
	// hundredths of a second where there is no cgroup.
	usageWindow = 250 * time.Millisecond
	// usageFresh is how old a sample may be to begin such a time. An average over an hour says nothing of now.
	usageFresh = 10 * time.Second

	// logFrameBytes is the most data in one frame of a followed file.
	logFrameBytes = 64 << 10
	// logHeartbeat is how often a followed file that does not grow shows a sign of life.
	logHeartbeat = time.Second
	// logPoll is how often a followed file is looked at. The file system's notices are not used: they are lost on many
	// network and overlay file systems.
	logPoll = 50 * time.Millisecond

	// opBodyBytesMax bounds what may be said with a wish about an allocation or the node: names and some metadata.
	opBodyBytesMax = 1 << 20

	// metadataBytesMax bounds the metadata that operators set on a node: a registration is one record, and a record that says
	// all of it must stay far below an append's 512 KB.
	metadataBytesMax = 64 << 10

	// serverProbeTimeout is how long a server that an operator named may take to answer.
	serverProbeTimeout = 2 * time.Second

	// execMessageBytesMax bounds one message of an exec session's client: clients send a few KB at a time.
	execMessageBytesMax = 1 << 20
	// execReasonBytesMax is the room for words in the message that closes a websocket (RFC 6455, 5.5).
	execReasonBytesMax = 123
	// execHelloTimeout bounds the wait for a client's token.
	execHelloTimeout = 10 * time.Second
	// execHeartbeat is how often a session shows a sign of life, as its clients do.
	execHeartbeat = 10 * time.Second
	// execFirstSizeWait is how long a program in a terminal waits for the size of that. Clients send it first of all, and
	// some not at all.
	execFirstSizeWait = 100 * time.Millisecond
)
