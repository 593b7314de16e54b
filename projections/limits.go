package projections

import "time"

const (
	// jobVersionsKept is how many versions of a job can be looked at and gone
	// back to, besides those with a tag; the field's tools keep as many.
	jobVersionsKept = 6

	// scalingEventsKept is how many scaling events of a group can be looked at; the
	// field's tools show as many.
	scalingEventsKept = 20

	// nodeEventsKept is how many lines of a node's own history stand in the
	// state; the log has all of them.
	nodeEventsKept = 10

	// rememberFor is how long, in record time, a command ID is remembered so
	// that the same command sent again takes effect once. It covers a client's
	// retries over a change of leader with much to spare.
	rememberFor = 10 * time.Minute

	// commitsKept and commitBytesKept, the latter in bytes of records, bound the
	// newest commits that a Store keeps for streams: enough to cover a pause of
	// the reader, little beside the state itself.
	commitsKept     = 1024
	commitBytesKept = 8 << 20

	// statesKept and stateBytesKept bound those of them that keep their own
	// state, to show objects as they were just then. A state that is not the
	// newest pins what later ones have replaced, which for a plan of a thousand
	// placements is many times the size of its record.
	statesKept     = 64
	stateBytesKept = 1 << 20
)
