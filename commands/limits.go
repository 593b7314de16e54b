package commands

import "time"

const (
	// appendBytesMax bounds one append: large enough that batching pays, small
	// enough that one slow disk write does not hold up heartbeats of the log.
	appendBytesMax = 512 << 10

	// chunkBytesMax is the largest piece of a blob in one record. Blobs up to
	// inlineBytesMax travel with the command that needs them.
	chunkBytesMax  = 128 << 10
	inlineBytesMax = 256 << 10

	// batchCommandsMax bounds the commands of one append, so that the first of
	// a burst is answered soon.
	batchCommandsMax = 4096

	// queueCommandsMax bounds the commands that wait; one more is told "busy"
	// at once instead of waiting beyond its deadline.
	queueCommandsMax = 16384

	// clockAheadMax is how far the server's clock may be ahead of the last
	// record. A clock beyond that is wrong, and a record stamped with it would
	// push every later record's time with it for good.
	clockAheadMax = 5 * 365 * 24 * time.Hour

	// jobCountMax bounds the allocations of one job.
	jobCountMax = 50_000
)
