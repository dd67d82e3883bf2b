package extproc_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"policyengine.dev/runtime/extproc/negotiate"
)

// withStamp has the stream come from a filter with this stamp.
func (r *replay) withStamp(stamp string) {
	r.stream.ctx = metadata.NewIncomingContext(context.Background(), metadata.Pairs(negotiate.StampKey, stamp))
}

// TestStampsAllocate proves that what a filter's stamp says is worked out once,
// whatever other filters say in between, and whether it can be read or not.
func TestStampsAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose what they hold under the race detector")
	}
	var log bytes.Buffer
	r := newReplayWith(t, headerChain(t, 5, false, ""), options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, stamps := range [][]string{
		{"v1 timeout=1s mode_override"},
		{"v1 timeout=1s mode_override", "v1 timeout=2s", "v1 max_headers=200"},
		{"v1 timeout=1s mode_override", "v1 tomorrow", "v7"},
	} {
		var ctxs []context.Context
		for _, s := range stamps {
			r.withStamp(s)
			ctxs = append(ctxs, r.stream.ctx)
		}
		i := 0
		// What it costs beside the stream itself is grpc's copy of the value.
		if got := testing.AllocsPerRun(500, func() {
			r.stream.ctx = ctxs[i%len(ctxs)]
			i++
			r.run(t)
		}); got > 3 {
			t.Errorf("%q: %v allocations for a stream, at most 3 allowed", stamps, got)
		}
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("%d lines about stamps that cannot be read, want one for that many streams", n)
	}
}

// TestManyStamps proves that more stamps than are remembered are told apart all the
// same, by many streams at a time.
func TestManyStamps(t *testing.T) {
	k := newService(oneChain(parseChain(t, "request_body=pass")), options{PreferModeOverride: true})
	first := requestHeaders(false)
	first.Attributes, first.ProtocolConfig = attributesFor("r"), serveConfig()
	message := marshal(t, first)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 400 {
				s := negotiate.Settings{MaxHeaders: 1 + (g+i)%300, ModeOverride: i%2 == 0}
				d := newDirect(&s, message)
				if err := handlerOf(k)(d); err != nil && status.Code(err) != codes.Canceled {
					t.Error(err)
					return
				}
				if asked := d.replies[0].GetModeOverride() != nil; asked != s.ModeOverride {
					t.Errorf("%s: asked for a body: %v", s.Stamp(), asked)
					return
				}
			}
		})
	}
	all.Wait()
	// One that is longer than a stamp may be is not remembered at all.
	d := newDirect(nil, message)
	d.ctx = metadata.NewIncomingContext(context.Background(), metadata.Pairs(negotiate.StampKey, "v1 mode_override"+strings.Repeat(" routing", 100)))
	if err := handlerOf(k)(d); err != nil || d.replies[0].GetImmediateResponse() == nil {
		t.Errorf("the replies are %v, %v", d.replies, err)
	}
}

func BenchmarkStamps(b *testing.B) {
	for _, n := range []int{1, 2, 20} {
		b.Run(fmt.Sprintf("stamps=%d", n), func(b *testing.B) {
			r := newReplay(b, 5, false)
			var ctxs []context.Context
			for i := range n {
				r.withStamp(fmt.Sprintf("v1 timeout=%ds", i+1))
				ctxs = append(ctxs, r.stream.ctx)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.stream.ctx = ctxs[i%n]
				r.run(b)
			}
		})
	}
}
