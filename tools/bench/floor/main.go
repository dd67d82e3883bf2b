// Command floor is the yardstick: an ext_proc server that does nothing, as anybody
// would write it with grpc-go. It keeps grpc-go's defaults and its ordinary codec, and
// answers header messages with an empty reply, and bodies as -bodies says. Only the
// bound on messages is raised, so that large bodies can be measured.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
)

type processor struct {
	extprocv3.UnimplementedExternalProcessorServer
	bodies bodies
}

// Process answers each message with a reply of its kind.
func (p processor) Process(s extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		reply := &extprocv3.ProcessingResponse{}
		switch req.Request.(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			reply.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			reply.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}
		case *extprocv3.ProcessingRequest_RequestBody:
			body, err := p.bodies.reply(req.GetRequestBody().GetBody())
			if err != nil {
				return err
			}
			reply.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: body}
		default:
			return fmt.Errorf("the floor does not answer %T", req.Request)
		}
		if err := s.Send(reply); err != nil {
			return err
		}
	}
}

func main() {
	socket := flag.String("socket", "", "path of the Unix socket to listen on")
	does := flag.String("bodies", string(answer), "what to do with bodies: answer, replace, or decode")
	flag.Parse()
	if err := run(*socket, bodies(*does)); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// largest is the largest message, in bytes.
const largest = 64 << 20

func run(socket string, b bodies) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(largest))
	extprocv3.RegisterExternalProcessorServer(s, processor{bodies: b})
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		s.Stop()
	}()
	return s.Serve(l)
}
