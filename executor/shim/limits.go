package shim

import "time"

const (
	// startTimeout bounds how long a shim may take to start its task; it takes milliseconds. A disk that hangs for longer
	// fails the start, which the restart policy then repeats.
	startTimeout = 30 * time.Second
	// requestTimeout bounds the answer to anything but a wait.
	requestTimeout = 10 * time.Second
	// busyRetries and busyPause repeat a start whose binary is still open for writing in a process that is about to exec.
	busyRetries = 50
	busyPause   = 2 * time.Millisecond
	// cleanRounds bounds the attempts to kill leftovers of a dead shim; a fork bomb may outrun a few.
	cleanRounds = 200
	// cleanPause is between two attempts.
	cleanPause = 5 * time.Millisecond
)
