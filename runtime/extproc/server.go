package extproc

import (
	"runtime"

	"google.golang.org/grpc"

	"policyengine.dev/runtime/extproc/wire"
)

const (
	// workersPerCPU is how many goroutines stand ready for streams, each with
	// a stack that has grown already. Streams beyond them get a new one.
	workersPerCPU = 32
	// streamWindow and connectionWindow are HTTP/2's flow control windows.
	// Fixed ones keep grpc from measuring the connection's bandwidth, for
	// which it sends a ping with the data of every round trip. What a stream
	// has sent and is not read yet takes memory that nothing else bounds.
	streamWindow     = 64 << 10
	connectionWindow = 16 << 20
)

// ServerOptions are the options that a grpc server for a [Service] needs (the codec)
// or is faster with. What each is worth is in docs/performance.md.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.NumStreamWorkers(uint32(workersPerCPU * runtime.GOMAXPROCS(0))),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
	}
}
