package eventlog

import (
	"errors"
	"fmt"
)

// The outcomes of an append that are not success fall in two kinds. After ErrNotLeader, ErrBusy, ErrTooLarge, ErrDiskFull,
// ErrClosed and *StaleError nothing was written and nothing will be. After ErrUnknownOutcome the append may have been written,
// or may still be written later: the caller settles that by reading the log from Barrier's head.
var (
	ErrNotLeader      = errors.New("this server does not lead the log")
	ErrBusy           = errors.New("the log is busy")
	ErrTooLarge       = errors.New("append is too large")
	ErrDiskFull       = errors.New("disk is nearly full")
	ErrClosed         = errors.New("log is closed")
	ErrUnknownOutcome = errors.New("outcome of append is unknown")
)

// StaleError refuses an append whose position is not the head. Nothing was written.
type StaleError struct {
	After Position // where the append wanted to go
	Head  Position // the head it was compared with
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("append after %v refused: the head is %v", e.After, e.Head)
}

// CorruptionError says that stored data is damaged: where and how. Index is 0 when the damage is not tied to an entry.
type CorruptionError struct {
	Path   string
	Index  uint64
	Reason string
}

func (e *CorruptionError) Error() string {
	if e.Index != 0 {
		return fmt.Sprintf("%s: entry %d is damaged: %s", e.Path, e.Index, e.Reason)
	}
	return fmt.Sprintf("%s: damaged: %s", e.Path, e.Reason)
}

// IdentityError says that a directory belongs to something else: another cluster, replica, format or program.
type IdentityError struct {
	Path   string
	Reason string
	Advice string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("%s: %s; %s", e.Path, e.Reason, e.Advice)
}
