package kernel

import (
	"math"
	"runtime"

	"google.golang.org/grpc"

	"policyengine.dev/runtime/kernel/wire"
)

// ServerOptions are the options that a grpc server for a [Kernel] needs (the codec)
// or is faster with. What each is worth is in docs/performance.md.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec{}),
		// Streams are short: a goroutine that is there already has grown its
		// stack.
		grpc.NumStreamWorkers(uint32(workersPerCPU * runtime.GOMAXPROCS(0))),
		grpc.MaxConcurrentStreams(math.MaxUint32),
	}
}

const workersPerCPU = 32
