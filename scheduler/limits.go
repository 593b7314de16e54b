package scheduler

import "time"

const (
	// attemptsService and attemptsBatch are how often an evaluation is tried
	// without any progress before it is given up; batch work can wait, and its
	// blocked evaluation takes over.
	attemptsService = 5
	attemptsBatch   = 2

	// workersMax bounds how many workers a server may be told to have: more than the cores of any machine that it runs
	// on, and each keeps memory for its decisions.
	workersMax = 256

	// attemptsStale is how often a plan may be refused because its job moved on
	// meanwhile. That is no conflict over room, only a busy job (a thousand short
	// tasks end one by one), so it is tried more often.
	attemptsStale = 100

	// planBytesMax bounds the size of a plan as estimated by the weights below.
	// One append takes 512 KB; the rest is for the evaluations that the plan's
	// command makes and ends. A larger decision is several plans, and the
	// evaluation stays open until the last.
	planBytesMax = 384 << 10

	// Upper bounds of the encoded bytes of the parts of a plan. Names and texts
	// come on top.
	planBytes        = 512 // what every plan has
	placementBytes   = 28
	portBytes        = 2
	previousBytes    = 16
	nodeBytes        = 16 + 72 // in the list of nodes, and with a reason should it be dropped
	stopBytes        = 20
	descriptionBytes = 48 // once for stops of one description in a row
	inPlaceBytes     = 16
	groupBytes       = 32
	queuedBytes      = 8 // of one group in the list of what is queued
	metricBytes      = 16
	walkBytes        = 40 // that no metric before had
	countBytes       = 8  // one key of a map of counts
	nodeScoreBytes   = 48

	// eligibilityBytesMax bounds what a plan says of computed classes. What is left
	// out counts as never seen: room there wakes the evaluation for nothing.
	eligibilityBytesMax = 64 << 10

	// scoresKept is how many of the best nodes a decision names.
	scoresKept = 5

	// portDraws is how many ports are drawn before free ones are searched for
	// one by one. Draws keep neighbours' numbers apart, so that a port just given
	// back is not the next one handed out.
	portDraws = 20

	// heartbeatTTLMin is the shortest time between two heartbeats of a node.
	heartbeatTTLMin = 10 * time.Second

	// heartbeatsPerSecond bounds the heartbeats that all nodes together send.
	heartbeatsPerSecond = 50

	// heartbeatGrace is how late a heartbeat may be: a busy node or network is
	// not a dead one.
	heartbeatGrace = 10 * time.Second

	// heartbeatTick is how often deadlines are looked at, and pauseMin how long
	// after the last look a tick means that this process stood still and can
	// have missed heartbeats that were sent.
	heartbeatTick = time.Second
	pauseMin      = 5 * heartbeatTick

	// markDownMax is how many nodes are declared down in one command, so that it
	// stays well inside one append.
	markDownMax = 1000

	// unblockMax is the same for evaluations that are woken.
	unblockMax = 1000

	// lineBlockMax bounds the blocks of a line: about the square root of the
	// largest lines, so that neither finding a block nor searching it is long.
	lineBlockMax = 512

	// cameSlack is how many notes of room that are out of date are kept at least
	// before they are cleared away, so that a small fleet does not clear all the time.
	cameSlack = 1024

	// retryFirst and retryMax bound the wait before a command is sent again that
	// was neither accepted nor refused (no leader, for instance).
	retryFirst = 50 * time.Millisecond
	retryMax   = 2 * time.Second

	// attemptsRetry is how long an evaluation rests that was blocked because its
	// plans were refused too often: its trouble was contention, not room.
	attemptsRetry = time.Minute

	// How old what has ended grows before it leaves the state, and how often that
	// is looked at: the field's defaults. blobAge is that of a spec that was sent
	// ahead and never submitted: long after its request has ended.
	collectInterval = 5 * time.Minute
	jobAge          = 4 * time.Hour
	evalAge         = time.Hour
	batchEvalAge    = 24 * time.Hour
	nodeAge         = 24 * time.Hour
	blobAge         = time.Hour

	// endedKept is how many ended allocations, and evaluations, stand in the state
	// before the oldest leave whatever their age: some tens of megabytes, and half
	// a minute of 2,000 ended tasks a second.
	endedKept = 50_000

	// collectTick is how often they are counted. At 8,000 a second, 2,000 more of
	// them come in that time.
	collectTick = 250 * time.Millisecond

	// One command collects at most this many names, and about as many allocations
	// and bytes of names: a few milliseconds of the committer. One job leaves
	// whole, however much it had.
	collectNames       = 1000
	collectAllocations = 2000
	collectBytes       = 64 << 10
)
