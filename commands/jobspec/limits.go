package jobspec

const (
	// sourceBytesMax bounds a job file that is parsed, and the text kept with a job: people read it again later, and a
	// megabyte is far above what people write.
	sourceBytesMax = 1 << 20

	// nestingMax and operatorsMax bound what one text can make the recursive HCL parser and evaluator do, so that no
	// text exhausts the stack. Hand-written files stay below a hundredth of both.
	nestingMax   = 500
	operatorsMax = 20_000

	// syntaxErrorsMax bounds what is reported of a text that cannot be read: an unclosed quote makes each line after it
	// an error that says nothing new.
	syntaxErrorsMax = 5

	// expandedBlocksMax bounds how many blocks dynamic blocks may make: more than the groups and tasks of any job that people write.
	expandedBlocksMax = 20_000

	// bcryptCostMax keeps one function call below a second.
	bcryptCostMax = 14

	// countMax is how many allocations all groups of a job may ask for together.
	countMax = 50_000

	// priorityMax is the highest priority of a job.
	priorityMax = 100

	// What no machine has: a group that asks for more was mistyped, and sums below cannot overflow.
	groupCPUMHzMax   = 1 << 30
	groupMemoryMBMax = 1 << 30
	groupDiskMBMax   = 1 << 40

	// Lowest sensible needs: the kernel accounts nothing smaller.
	taskCPUMHzMin   = 1
	taskMemoryMBMin = 10
	groupDiskMBMin  = 10

	// checkNotesMax is how many characters the field's registry keeps of a check's notes.
	checkNotesMax = 255

	// restartIntervalMin keeps a broken task from spinning.
	restartIntervalMinSeconds = 5

	// jobNameBytesMax bounds the names of jobs, groups and tasks: they become names of files and of environment
	// variables, and file systems stop at 255 bytes.
	jobNameBytesMax = 255

	// opaqueNestingMax bounds driver configurations and the like. The log's encoding reads 32 levels in all, of which the
	// job around them takes up to 16.
	opaqueNestingMax = 12

	// actionNameMax bounds a name that is typed on a command line.
	actionNameMax = 128

	// hostnameBytesMax is the longest name of DNS.
	hostnameBytesMax = 253

	// uiDescriptionMax bounds a text that lists show in full.
	uiDescriptionMax = 1000
)
