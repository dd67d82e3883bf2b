// Package droplines drops lines that contain a text from responses, while they pass.
package droplines

import (
	"bytes"
	"context"
	"fmt"

	"policyengine.dev/sdk/policy"
)

// Policy is drop-lines v1.0.0.
var Policy = policy.Define(New)

// Params are the policy's parameters, as policy.yaml describes them.
type Params struct {
	Containing  string `json:"containing"`
	LongestLine int    `json:"longestLine"`
}

// DropLines drops lines.
type DropLines struct {
	text    []byte
	longest int
}

// New prepares the text.
func New(p Params, _ policy.Host) (*DropLines, error) {
	return &DropLines{text: []byte(p.Containing), longest: p.LongestLine}, nil
}

// OnResponseBodyChunk passes whole lines, and keeps the beginning of the last one in the
// chunk's State until its end arrives.
func (d *DropLines) OnResponseBodyChunk(_ context.Context, _ *policy.ResponseContext, chunk *policy.Chunk) (policy.ChunkAction, error) {
	begun, _ := chunk.State.([]byte)
	data := append(begun, chunk.Data...)
	var out []byte
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 && !chunk.Last {
			break
		}
		if end == 0 {
			end = len(data)
		}
		if line := data[:end]; !bytes.Contains(line, d.text) {
			out = append(out, line...)
		}
		data = data[end:]
	}
	if len(data) > d.longest {
		return nil, fmt.Errorf("a line is longer than %d bytes", d.longest)
	}
	chunk.State = bytes.Clone(data)
	return policy.ReplaceChunk(out), nil
}
