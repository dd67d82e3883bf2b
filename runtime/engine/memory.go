package engine

import (
	"context"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"policyengine.dev/runtime/config"
	"policyengine.dev/runtime/memory"
)

const (
	// defaultBodyMemory is limits.memory where neither the file says it nor is the
	// process's memory limited.
	defaultBodyMemory = 512 << 20
	// bodyShare is the part of a limited memory that bodies may take: the garbage
	// collector lets the heap grow to twice what is in use.
	bodyShare = 2
)

// bodyMemory is what the bodies in flight may take together, in bytes.
func bodyMemory(static config.Engine) int64 {
	if n := static.Limits.Memory; n > 0 {
		return n
	}
	if n := min(debug.SetMemoryLimit(-1), groupLimit(os.DirFS("/"))); n != math.MaxInt64 {
		return max(n/bodyShare, 1)
	}
	return defaultBodyMemory
}

// limitHeap has the garbage collector work harder before the control group's limit is
// reached, where there is one and GOMEMLIMIT does not say otherwise.
func limitHeap() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if n := groupLimit(os.DirFS("/")); n != math.MaxInt64 {
		debug.SetMemoryLimit(n / 10 * 9)
	}
}

// groupLimit is the least memory limit of the control groups that the process is in, in
// bytes; math.MaxInt64 where there is none, or none that can be read. root is the file
// system's.
func groupLimit(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path, of which version 2 names no controllers
		// (cgroups(7)).
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		if parts[1] != "" {
			if !hasWord(parts[1], "memory") {
				continue
			}
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		// In a container the path may be one of the host's; the group itself is
		// mounted then.
		for group := path.Join("/", parts[2]); ; group = path.Dir(group) {
			least = min(least, readLimit(root, path.Join(mount, group, file)))
			if group == "/" {
				break
			}
		}
	}
	return least
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// noGroupLimit is above what any machine has: version 1 writes no limit as the largest
// number of whole pages.
const noGroupLimit = 1 << 60

// readLimit reads a file with a limit in bytes; math.MaxInt64 where it has none.
func readLimit(root fs.FS, name string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 || n >= noGroupLimit {
		return math.MaxInt64
	}
	return n
}

const (
	// watchEvery is how often it is checked how much bodies take, and returnEvery
	// how often whether memory can be returned.
	watchEvery  = 100 * time.Millisecond
	returnEvery = time.Second
	// returnAbove is how much bodies must have taken for that to be worth a
	// collection, in bytes.
	returnAbove = 32 << 20
	// returnBelow is the part of that below which they have to have fallen.
	returnBelow = 4
)

// returner decides when memory is returned to the operating system, which Go by itself
// does minutes after an engine has nothing to do any more.
type returner struct {
	// high is the most that bodies have taken since memory was returned.
	high int64
}

// due is told, each returnEvery, the most that bodies have taken since the last time.
func (r *returner) due(peak int64) bool {
	if peak > r.high {
		r.high = peak
	}
	if r.high < returnAbove || peak > r.high/returnBelow {
		return false
	}
	r.high = peak
	return true
}

const (
	// usualPercent is GOGC's default: the heap grows to twice what is in use before
	// it is collected. thriftyPercent holds while bodies take more than thriftyAbove:
	// bodies have no pointers, so that a collection costs little however many there
	// are.
	usualPercent   = 100
	thriftyPercent = 40
	thriftyAbove   = 64 << 20
)

// gcPercent is what GOGC is to be while bodies take that much.
func gcPercent(bodies int64) int {
	if bodies > thriftyAbove {
		return thriftyPercent
	}
	return usualPercent
}

// returnMemory returns memory that bodies have taken, and take no more, and keeps the
// garbage that they leave behind small, until ctx ends. Whoever sets GOGC has the
// collector's behaviour in mind, and gets it.
func returnMemory(ctx context.Context, account *memory.Account) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	percent := usualPercent
	// most is the most that bodies have taken in this period of returnEvery.
	var most int64
	next := time.Now().Add(returnEvery)
	defer func() {
		if percent != usualPercent {
			debug.SetGCPercent(usualPercent)
		}
	}()
	var r returner
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			most = max(most, account.TakePeak())
			if p := gcPercent(most); p != percent && os.Getenv("GOGC") == "" {
				debug.SetGCPercent(p)
				percent = p
			}
			if now.Before(next) {
				continue
			}
			if r.due(most) {
				debug.FreeOSMemory()
			}
			most, next = 0, now.Add(returnEvery)
		}
	}
}
