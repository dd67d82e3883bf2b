package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"github.com/klauspost/compress/gzip"
	"google.golang.org/protobuf/proto"

	"policyengine.dev/tools/bench/load"
	"policyengine.dev/tools/bench/server"
)

const (
	buffered = modev3.ProcessingMode_BUFFERED
	streamed = modev3.ProcessingMode_STREAMED
)

// The floor's bodies: see package floor.
const (
	answerBodies  = "answer"
	replaceBodies = "replace"
	decodeBodies  = "decode"
)

// probe is a use of the test policy, whose version v2 wants bodies decoded.
func probe(version, params string) []string {
	return []string{fmt.Sprintf("{id: probe, name: probe, version: %s, params: %s}", version, params)}
}

// bodyChains are the chains that see bodies.
func bodyChains() ([]chain, error) {
	const see = `{requestBody: {metadata: {seen: "yes"}}}`
	var all []chain
	for _, size := range []struct {
		name            string
		bytes, inFlight int
	}{{"1 kB", 1000, 32}, {"100 kB", 100_000, 16}, {"1 MB", 1_000_000, 8}, {"8 MB", 8_000_000, 4}} {
		all = append(all, chain{
			name: "whole body of " + size.name, target: 0.80, policies: probe("v1", see), bodies: answerBodies, inFlight: size.inFlight,
			messages: load.WithBody("bench", buffered, [][]byte{load.Text(size.bytes)}),
		})
	}
	// Pieces are as large as an HTTP/2 frame.
	pieces := load.Split(load.Text(16*16<<10), 16<<10)
	for _, c := range []struct {
		name, params, bodies string
		target               float64
	}{
		{"16 chunks of 16 kB, passed", "{requestChunks: {}}", answerBodies, 0.80},
		{"16 chunks of 16 kB, replaced", "{requestChunks: {upper: true}}", replaceBodies, 1.00},
	} {
		all = append(all, chain{
			name: c.name, target: c.target, policies: probe("v1", c.params), bodies: c.bodies, inFlight: 16,
			messages: load.WithBody("bench", streamed, pieces),
		})
	}
	zipped, err := zip(load.Text(1_000_000))
	if err != nil {
		return nil, err
	}
	return append(all, chain{
		name: "1 MB decoded from gzip", target: 1.15, policies: probe("v2", see), bodies: decodeBodies, inFlight: 8,
		messages: load.WithBody("bench", buffered, [][]byte{zipped}, "content-encoding", "gzip"),
	}), nil
}

func zip(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// encoded are the messages of the chain's conversation.
func (c chain) encoded() ([][]byte, error) {
	if c.messages == nil {
		return load.Encode(load.RequestHeaders("bench"), load.ResponseHeaders())
	}
	all := make([]proto.Message, 0, len(c.messages))
	for _, m := range c.messages {
		all = append(all, m)
	}
	return load.Encode(all...)
}

// startFloor starts a floor that does with bodies what the chain does.
func startFloor(ctx context.Context, binary, dir string, c chain) (*server.Server, error) {
	dir, err := os.MkdirTemp(dir, "floor")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "floor.sock")
	bodies := c.bodies
	if bodies == "" {
		bodies = answerBodies
	}
	s, err := server.Start(ctx, socket, binary, "-socket", socket, "-bodies", bodies)
	if err != nil {
		return nil, fmt.Errorf("starting the floor: %w", err)
	}
	return s, nil
}
