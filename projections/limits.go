package projections

import "time"

const (
	// jobVersionsKept is how many versions of a job can be looked at and gone
	// back to; the field's tools keep as many.
	jobVersionsKept = 6

	// nodeEventsKept is how many lines of a node's own history stand in the
	// state; the log has all of them.
	nodeEventsKept = 10

	// rememberFor is how long, in record time, a command ID is remembered so
	// that the same command sent again takes effect once. It covers a client's
	// retries over a change of leader with much to spare.
	rememberFor = 10 * time.Minute
)
