package artifact

import "time"

// The defaults of the field, which an operator's settings replace.
const (
	// defaultTimeout bounds one artifact from request to last byte.
	defaultTimeout = 30 * time.Minute
	// defaultBytesMax bounds what is downloaded, and what an archive unpacks to: far above any artifact that is one.
	defaultBytesMax = 100 << 30
	// defaultFilesMax bounds the entries of an archive: one that is made to fill a disk's table of files has millions.
	defaultFilesMax = 4096
	// headTimeout bounds the wait for the headers of an answer.
	headTimeout = time.Minute
)
