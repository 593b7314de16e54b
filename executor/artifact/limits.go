package artifact

import "time"

// The defaults of the field, which an operator's settings replace.
const (
	// DefaultTimeout bounds one artifact from request to last byte.
	DefaultTimeout = 30 * time.Minute
	// DefaultBytesMax bounds what is downloaded, and what an archive unpacks to: far above any artifact that is one.
	DefaultBytesMax = 100 << 30
	// DefaultFilesMax bounds the entries of an archive: one that is made to fill a disk's table of files has millions.
	DefaultFilesMax = 4096
	// headTimeout bounds the wait for the headers of an answer.
	headTimeout = time.Minute
)
