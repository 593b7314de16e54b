package rawexec

import "time"

const (
	// sessionRounds and sessionPause bound how long is looked for what a killed session still starts. A killed process is
	// gone within a few ms.
	sessionRounds = 200
	sessionPause  = 5 * time.Millisecond
)
