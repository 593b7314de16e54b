package agentconfig

const (
	// fileMax bounds one configuration file, in bytes. Real ones have a few
	// kilobytes; a larger one is some other file.
	fileMax = 4 << 20

	// depthMax bounds the nesting of blocks. The deepest known key stands at 5;
	// plugin settings go a little deeper.
	depthMax = 32
)
