package rawexec

import "time"

const (
	// outputWait is how long the output of a program that was run beside a task is waited for when something that left its
	// session still holds it open. All else has been killed by then, so what is there is read at once.
	outputWait = 200 * time.Millisecond

	// sessionRounds and sessionPause bound how long is looked for what a killed session still starts. A killed process is
	// gone within a few ms.
	sessionRounds = 200
	sessionPause  = 5 * time.Millisecond
)
