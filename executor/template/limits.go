package template

const (
	// SourceBytesMax bounds a template and every file that it reads: they are held in memory.
	SourceBytesMax = 4 << 20
	// outputBytesMax bounds what a template becomes: one with a loop could fill a disk.
	outputBytesMax = 16 << 20
	// loopMax bounds the numbers that a template counts through.
	loopMax = 1 << 20
)
