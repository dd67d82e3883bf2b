package engine

import (
	"os"
	"runtime"
	"runtime/debug"
)

// heapFloor is what the heap may grow to before the garbage collector has a reason to
// run, in bytes.
const heapFloor = 32 << 20

// holdHeap keeps the collector from running all the time. An engine keeps little and
// throws away a little with each request, and a heap that is small is collected each
// time that it has doubled, which is hundreds of times a second. An allocation that
// is never touched counts as heap and takes no memory of the machine's. Whoever sets
// GOGC has the collector's behaviour in mind, and gets it.
//
// The floor lasts until release is called.
func holdHeap() (release func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}

// loaded returns memory after the first load. Reading and compiling leaves garbage behind: it goes before there are
// requests that a collection would take time from.
func loaded() { debug.FreeOSMemory() }
