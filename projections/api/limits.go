package api

import "time"

const (
	// topicHeartbeat is how often the event stream says that it lives while
	// nothing happens; clients of the field expect it.
	topicHeartbeat = 30 * time.Second

	// newsEventsMax is how many events of the last commits are kept, shown and
	// encoded, for subscribers of the event stream who come a little later: some
	// kilobytes each.
	newsEventsMax = 4096

	// linesTogether is after how many bytes the lines for a subscriber are sent.
	linesTogether = 64 << 10

	// logHeartbeat is the same for a followed audit log.
	logHeartbeat = 10 * time.Second

	// ordersHeartbeat is the longest silence on a node's stream of orders. An
	// agent that hears nothing for a small multiple of it opens a new stream.
	ordersHeartbeat = 10 * time.Second

	// heartbeatsTogether is how far apart heartbeats begin: of 5,000 idle streams
	// about a hundred beat together, which takes some milliseconds.
	heartbeatsTogether = 250 * time.Millisecond

	// writeTimeout is how long a stream waits for a peer that does not read.
	// It is longer than any heartbeat, so that a slow peer is not cut off for
	// one lost packet.
	writeTimeout = 45 * time.Second

	// statusesPerPage is the page of /v1/jobs/statuses when the caller names
	// none: user interfaces poll this route.
	statusesPerPage = 100

	// statusesBytesMax bounds the list of jobs that such a caller names.
	statusesBytesMax = 1 << 20

	// readersTogether is how many of those who wait for a change are woken at a
	// time, and readersPause how long the next ones wait: a thousand of them are
	// answered within a quarter of a second, about as fast as two cores can, and a
	// placement passes them all on its way to its node.
	readersTogether = 8
	readersPause    = 2 * time.Millisecond

	// ordersNotedMax is how many touched allocations are noted for a stream of
	// orders that is not read. Beyond it everything is sent anew, which for a
	// node of some hundred allocations costs no more.
	ordersNotedMax = 1000

	// specsNotedMax is how many of the specs that it sent a stream of orders
	// remembers. Jobs are placed one after the other, so a few save most of the
	// repetition; with 5,000 streams each one costs a quarter of a megabyte.
	specsNotedMax = 8

	// searchResultsMax is how many matches of each context a search shows; clients
	// of the field expect it.
	searchResultsMax = 20

	// fuzzyMatchesMax is among how many matches of a context the best ones are
	// chosen, so that a text that everything holds ends a walk soon.
	fuzzyMatchesMax = 100

	// fuzzyTextMin is the shortest text, in characters, that is searched for: a
	// single one is in nearly every name.
	fuzzyTextMin = 2

	// searchBytesMax bounds the question of a search.
	searchBytesMax = 64 << 10
)
