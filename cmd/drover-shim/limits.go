package main

import "time"

const (
	// tellTimeout bounds the wait for an agent that is connected and does not read. What it would have read is on disk.
	tellTimeout = 5 * time.Second
	// drainTimeout bounds the wait for the end of the output once the whole tree is dead. A pipe that is still open then
	// was handed to a process outside the tree.
	drainTimeout = 2 * time.Second
	// killPause is between two rounds of killing: long enough for the kernel to take a process down.
	killPause = 2 * time.Millisecond
	// copyBytes is the size of the buffer of each output stream; half a pipe.
	copyBytes = 32 << 10
	// makeTimeout bounds how long the making of a container may take; it takes tens of milliseconds. It is shorter than the
	// agent waits for the shim, so that the agent is told.
	makeTimeout = 25 * time.Second
	// listenBacklog is how many agents may attach at one moment; there is one agent.
	listenBacklog = 8
)
