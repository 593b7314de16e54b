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

	// blobChunksMax bounds one blob at 16 MiB, twice the largest request that
	// carries a job: every server holds all of it in memory.
	blobChunksMax = 128

	// batchCommandsMax bounds the commands of one append, so that the first of
	// a burst is answered soon.
	batchCommandsMax = 4096

	// passPlansMax is how many commands that came with a plan or later may be
	// decided before it. A worker hands over one plan at a time and waits for it,
	// so between two plans there is time for others anyway; were more to pass,
	// jobs would be registered faster than they are placed.
	passPlansMax = 4

	// showEvery is after how many commands of a long batch a worker that waits
	// for something to do is shown what there is.
	showEvery = 64

	// backlogMax is how many evaluations may wait for a worker before jobs are
	// held back: a fraction of a second of work for a busy server.
	backlogMax = 512

	// jobPatience is how long a job that is held back waits for a plan to come.
	jobPatience = 10 * time.Millisecond

	// queueCommandsMax bounds the commands that wait; one more is told "busy"
	// at once instead of waiting beyond its deadline.
	queueCommandsMax = 16384

	// noLeaderWait is how long a command waits for this server to lead, or to
	// learn that it does not, before it is told so. Elections take less.
	noLeaderWait = 5 * time.Second

	// complainEvery is the shortest time between two lines in the server's own
	// log about why it cannot commit: often enough to be seen, too rare to fill
	// what is left of a full disk.
	complainEvery = 10 * time.Second

	// clockAheadMax is how far the server's clock may be ahead of the last
	// record. A clock beyond that is wrong, and a record stamped with it would
	// push every later record's time with it for good.
	clockAheadMax = 5 * 365 * 24 * time.Hour

	// collectMax bounds the names in one command that collects garbage: what it
	// leads to stays well inside one append, and is folded before anybody notices.
	collectMax = 4096

	// deleteEvaluationsMax is how many evaluations one command deletes: each may
	// take two records' worth of an append, some 150 bytes.
	deleteEvaluationsMax = 2048

	// nodesDownBytesMax bounds what one command that declares nodes down leads to,
	// counted by the upper bounds below (a job's name comes on top). The rest of
	// the append is left to other commands.
	nodesDownBytesMax = 400 << 10
	nodeDownBytes     = 200
	evaluationBytes   = 240

	// systemJobsMax bounds the jobs of type system: each has an evaluation when a node
	// comes, all in the append that says so. Each also takes a part of every node, so
	// real clusters have tens.
	systemJobsMax = 1000

	// descriptionMax bounds, in bytes, what is said about a node pool or namespace in
	// a list, where it takes up a column.
	descriptionMax = 256

	// tagsMax bounds the versions of one job that have tags: each keeps its spec and
	// source in every server's memory, however old it is.
	tagsMax = 64

	// tagNameMax bounds, in bytes, the name of a version, which is part of a path.
	tagNameMax = 128

	// markedMax bounds the allocations that one record marks: 16 bytes each, in an
	// append of appendBytesMax.
	markedMax = 20_000

	// jobCountMax bounds the allocations of one job.
	jobCountMax = 50_000

	// requestWaitMax is how long an HTTP request waits for its command. A change
	// of leader takes a few seconds; clients give up after about a minute.
	requestWaitMax = 30 * time.Second

	// jobBytesMax bounds the body of a request that carries a job: the largest
	// job files of the field are some hundred kilobytes, with source beside it.
	jobBytesMax = 8 << 20

	// settingBytesMax bounds a request that sets a few words of one object.
	settingBytesMax = 64 << 10

	// registrationBytesMax bounds a node's fingerprint; real ones are tens of
	// kilobytes.
	registrationBytesMax = 1 << 20

	// heartbeatBytesMax bounds a heartbeat: an ID, a secret and a number.
	heartbeatBytesMax = 4 << 10

	// reportBytesMax bounds one report of a node. What it carries must fit into
	// one append; an agent with more to say sends several.
	reportBytesMax = 1 << 20

	// heartbeatRetry is the time to its next heartbeat that an agent is told by
	// a server that has just ceased to lead.
	heartbeatRetry = time.Second
)
