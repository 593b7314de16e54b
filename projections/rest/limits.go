package rest

import "time"

const (
	// waitDefault is how long a blocking query waits when it names no time, and
	// waitMax the longest it may name; clients of the field expect both.
	waitDefault = 5 * time.Minute
	waitMax     = 5 * time.Minute

	// waitJitterPart spreads the ends of blocking queries that began together:
	// up to 1/16 of the wait is added, as clients allow for.
	waitJitterPart = 16

	// filterBytesMax bounds the text of a filter. People write tens of bytes,
	// tools some hundreds; the parser's work grows faster than the text.
	filterBytesMax = 4 << 10

	// filterStepsMax bounds the parser's steps over one filter. Long filters take
	// some thousands, but each level of parentheses inside one another multiplies
	// them; this allows a few levels and ends the rest within a tenth of a second.
	filterStepsMax = 1_000_000

	// gzipBytesMin is the smallest answer that is worth compressing: below it
	// fits into one packet as it is.
	gzipBytesMin = 1400

	// bufferBytesKept bounds a buffer that is kept for the next answer, so that
	// one large list does not hold its memory for ever.
	bufferBytesKept = 1 << 20

	// BodyBytesMax bounds the body of a request that names no limit of its own.
	BodyBytesMax = 1 << 20
)
