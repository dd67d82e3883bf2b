package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/klauspost/compress/gzip"
)

// bodies says what the floor does with a body.
type bodies string

const (
	// answer lets it pass, replace puts it in upper case in its own place, and decode
	// undoes gzip, with the codec that the engine uses, and lets it pass.
	answer  bodies = "answer"
	replace bodies = "replace"
	decode  bodies = "decode"
)

func (b bodies) reply(body []byte) (*extprocv3.BodyResponse, error) {
	switch b {
	case answer:
		return &extprocv3.BodyResponse{}, nil
	case replace:
		return &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
			Mutation: &extprocv3.BodyMutation_Body{Body: bytes.ToUpper(body)},
		}}}, nil
	case decode:
		return &extprocv3.BodyResponse{}, inflate(body)
	}
	return nil, fmt.Errorf("the floor has no body mode %q", b)
}

// readers are gzip readers that are used again: the codec alone.
var readers = sync.Pool{New: func() any { return new(gzip.Reader) }}

func inflate(body []byte) error {
	r := readers.Get().(*gzip.Reader)
	defer readers.Put(r)
	if err := r.Reset(bytes.NewReader(body)); err != nil {
		return err
	}
	plain := make([]byte, binary.LittleEndian.Uint32(body[len(body)-4:]))
	_, err := io.ReadFull(r, plain)
	return err
}
