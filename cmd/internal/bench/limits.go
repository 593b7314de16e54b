package bench

import "time"

const (
	// nodesPerConnection is how many simulated nodes share one HTTP/2 connection.
	// A server lets 250 requests run on one: a node has its stream of orders, and
	// now and then a report or a heartbeat beside it.
	nodesPerConnection = 100

	// reportDeltasMax bounds one report, as node agents do.
	reportDeltasMax = 256

	// reportWindow gathers what changed on a node into one report, as node agents
	// do with changes of an allocation's status.
	reportWindow = 2 * time.Millisecond

	// callTimeout bounds a register, heartbeat or report, as in node agents.
	callTimeout = 30 * time.Second

	// streamSilenceMax is how long a stream of orders may say nothing, as in node
	// agents: three missed signs of life.
	streamSilenceMax = 30 * time.Second

	// orderBatchBytesMax bounds one message of that stream.
	orderBatchBytesMax = 64 << 20

	// registerParallel bounds the nodes that register at one time: a fleet that
	// starts is not what is measured.
	registerParallel = 64

	// stallPatience is how long a run waits without any progress before it gives
	// up and says where it stands.
	stallPatience = time.Minute

	// startPatience is how long the server may take to serve, which includes the
	// fold of a whole log.
	startPatience = 10 * time.Minute

	// stopPatience is how long the server may take to end by itself.
	stopPatience = time.Minute

	// apiSampleEvery is the pause between two samples of an API request.
	apiSampleEvery = 20 * time.Millisecond

	// progressEvery is how often a line about the progress is written where the
	// output is no terminal; on one it is written over every progressTick.
	progressEvery = 5 * time.Second
	progressTick  = 250 * time.Millisecond

	// scaleMax bounds each of -nodes, -jobs and -count: beyond it is a typing error.
	scaleMax = 10_000_000

	// sparePercent is how much more the simulated fleet has than its jobs need.
	sparePercent = 15
)

// What a task of the shapes asks for: the least that a job may ask for, so that
// it is the number of allocations that counts.
const (
	taskMHz    = 20
	taskMB     = 10
	taskDiskMB = 10
)
