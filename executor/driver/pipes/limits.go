package pipes

import "time"

const (
	// outputWait is how long is waited for more output of a program that has ended when something that is none of it still
	// holds it open. What the program has written is there by then, and read at once.
	outputWait = 200 * time.Millisecond
	// bufferBytes is half a pipe.
	bufferBytes = 32 << 10
)
