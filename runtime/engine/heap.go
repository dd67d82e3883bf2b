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

// loadingPercent is what GOGC is while the first configuration is read and compiled: nearly all that is allocated then
// stays, so that each collection looks at much and frees little.
const loadingPercent = 200

// loadFast has the collector run less often until the first configuration is in force.
func loadFast() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(loadingPercent)
	}
}

// loaded ends what loadFast began. Reading and compiling leaves garbage behind that is larger than the configuration: it
// goes before there are requests that a collection would take time from.
func loaded() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(usualPercent)
	}
	debug.FreeOSMemory()
}
