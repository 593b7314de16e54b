package eventlog

import "time"

const (
	// AppendBytesMax bounds the data of one append. The committer keeps its batches at 512 KiB, so that one proposal
	// neither holds up heartbeats nor fills Raft's memory; the rest is room for the framing of the last command.
	AppendBytesMax = 512<<10 + 64<<10

	// AppendEntriesMax bounds the entries of one append: entries of a few bytes must not make a batch of a hundred
	// thousand keys.
	AppendEntriesMax = 64 << 10

	// raftMemoryBytesMax bounds what Raft holds of commands not applied yet. At 20 MB/s it is several seconds; beyond it an
	// append is refused as busy.
	raftMemoryBytesMax = 64 << 20

	// readBatchBytesMax and readBatchEntriesMax bound what Reader.Next returns at once, so that a reader of a long history
	// holds little memory and stays interruptible.
	readBatchBytesMax   = 1 << 20
	readBatchEntriesMax = 1024

	// recentBytesMax bounds the newest entries kept in memory for live readers. A reader that falls further behind reads
	// from the store, so it costs others nothing.
	recentBytesMax = 16 << 20

	// tailCheckEntriesMax and tailCheckBytesMax bound the entries whose chain is checked at every start. A power loss damages the end; the
	// rest is checked by every read and by Verify.
	tailCheckEntriesMax = 1024
	tailCheckBytesMax   = 8 << 20

	// storeMemtableBytes bounds the records that have to be replayed from the store's own log at start.
	storeMemtableBytes = 16 << 20
	// storeCacheBytes is small because history is mostly read once, in order.
	storeCacheBytes = 16 << 20

	// snapshotEntries is the number of commands after which Raft's log is cut; half of them stay, so that a replica that
	// was away for a moment catches up from the log and not from a whole copy of the store.
	snapshotEntries = 10_000

	// raftLogBytesMax is the size of commands after which Raft's log is cut even if they are few: it is read at every
	// start, and 10,000 of the largest commands would be 5 GB. raftLogKeep of them stay.
	raftLogBytesMax = 128 << 20
	raftLogKeep     = 100
	// raftLogBytesMaxSingle is the same for a replica that started alone: nobody catches up from its log, so all it does is
	// to be read twice at a start, 100 MB in more than half a second. A cut costs two or three fsyncs, once in a second and more.
	raftLogBytesMaxSingle = 32 << 20

	// appendTimeout is how long an append waits when its context has no deadline of its own.
	appendTimeout = 10 * time.Second

	// diskCheckEvery is how often free space is looked at: at full speed it shrinks by some 100 MB in it, so the default
	// reserve is about that.
	diskCheckEvery = time.Second

	// checkpointsKeep is how many of the newest checkpoints are always kept: enough that one or two damaged ones do not mean a
	// fold from the first entry.
	checkpointsKeep = 4

	// restoreBatchBytes bounds one write while a replica is restored from a stream.
	restoreBatchBytes = 4 << 20
)
