package image

import "time"

const (
	// configBytesMax bounds an image's manifest and configuration; real ones have a few KB.
	configBytesMax = 4 << 20
	// layersMax is how many layers fit into the options of one mount, which have a page: 33 bytes a layer.
	layersMax = 100
	// unusedKept is how long layers stay that no task uses: a restart or the next version of a job wants them again.
	unusedKept = time.Hour
	// nameBytes is how much of a digest names a layer's directory; 128 bits do not meet by chance.
	nameBytes = 32
)
