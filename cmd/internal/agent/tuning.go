package agent

import (
	"os"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
)

// What a server wants of Go's runtime. Whoever sets GOMAXPROCS or GOGC in the
// environment knows better, and is left alone.
const (
	// moreProcs is how many threads may run Go code beyond the machine's cores. The
	// runtime looks at the network when a thread has nothing else to run, else only
	// every 10 ms; so while as many goroutines compute as there are threads, every
	// request waits for that, several times on its way. With two threads more there
	// is one that waits at the network, and the kernel shares the cores out fairly:
	// on two cores under full load the 99th percentile of a small request falls from 130 ms to
	// 18; with one more it is 28, with three 15, and those take a tenth of the work done.
	moreProcs = 2

	// garbageMin is how much garbage may come together before it is collected, in
	// bytes, however little is in use. Go waits for as much as is in use; in a
	// small cluster that is little, and the price of many collections is a fifth
	// of what a job costs.
	garbageMin = 256 << 20
)

// tune sets the runtime for a server.
func tune() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + moreProcs)
	}
	if os.Getenv("GOGC") == "" {
		tuneGarbage()
	}
}

// tuneGarbage lets as much garbage come together as is in use, and at least
// garbageMin. It looks after each collection: between two of them a
// percentage that was right for a small heap would be far too much for one that
// has grown.
func tuneGarbage() {
	inUse := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(inUse)
	if inUse[0].Value.Kind() == runtimemetrics.KindUint64 {
		debug.SetGCPercent(garbagePercent(inUse[0].Value.Uint64()))
	}
	runtime.AddCleanup(&collected{}, func(struct{}) { tuneGarbage() }, struct{}{})
}

// collected is nothing that anybody uses, so that the next collection takes it.
// It has a pointer in it: objects without one share their memory with others.
type collected struct{ _ *int }

// garbagePercent is garbageMin, or all that is in use if that is more, as Go
// counts it: in percent of what is in use.
func garbagePercent(inUse uint64) int {
	const heapMin = 4 << 20 // Go never collects below it, times the percentage
	return int(max(100, 100*garbageMin/max(inUse, heapMin)))
}
