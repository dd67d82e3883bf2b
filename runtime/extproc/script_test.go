package extproc_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

var action = regexp.MustCompile(`^([a-z_]+)(?:\(([^()]*)\))?$`)

// parseChain makes a chain of words such as
//
//	request_headers=set(x-a,1)+remove(x-b) response_body=body(new) limit=100
//
// Actions of a phase are joined by a plus. Chunk phases know pass, upper, hold (until
// the last piece), drop and deny. without=PHASE,... are phases that conditions rule
// out, as the first phase shows. Chunk phases may change pieces, except where the action is
// read, which is pass.
func parseChain(t testing.TB, text string) *chain {
	t.Helper()
	c := &chain{steps: map[policy.Phase]step{}, release: make(chan struct{}), stuck: map[policy.Phase]bool{}, exits: map[policy.Phase]bool{}}
	chunks := map[policy.Phase]func(worker.Chunk) (worker.Chunk, *policy.ImmediateResponse){}
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		if p, ok := policy.ParsePhase(name); ok {
			if p == policy.RequestBodyChunks || p == policy.ResponseBodyChunks {
				c.needs.Phases = c.needs.Phases.With(p)
				if value == "read" {
					value = "pass"
				} else {
					c.needs.ChangesRequestChunks = c.needs.ChangesRequestChunks || p == policy.RequestBodyChunks
					c.needs.ChangesResponseChunks = c.needs.ChangesResponseChunks || p == policy.ResponseBodyChunks
				}
				chunks[p] = chunkAction(t, c, value)
				if value == "hold" {
					c.needs.HoldsRequestChunks = c.needs.HoldsRequestChunks || p == policy.RequestBodyChunks
					c.needs.HoldsResponseChunks = c.needs.HoldsResponseChunks || p == policy.ResponseBodyChunks
				}
				continue
			}
			c.steps[p] = actions(t, c, p, value)
			continue
		}
		switch name {
		case "limit":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c.needs.BodyLimit = n
		case "without":
			for _, name := range strings.Split(value, ",") {
				p, ok := policy.ParsePhase(name)
				if !ok {
					t.Fatalf("no phase: %q", name)
				}
				c.ruledOut = c.ruledOut.With(p)
			}
			c.needs.Conditional = true
		case "decode":
			c.needs.DecodeRequestBody, c.needs.DecodeResponseBody = true, true
		case "reroute":
			c.needs.Reroute = true
			if value != "" {
				c.needs.RerouteHeaders = strings.Split(value, ",")
			}
		default:
			t.Fatalf("a chain has no %q", word)
		}
	}
	c.chunks = func(p policy.Phase, piece worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
		return chunks[p](piece)
	}
	return c
}

func chunkAction(t testing.TB, chain *chain, name string) func(worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
	t.Helper()
	var held []byte
	switch name {
	case "pass":
		return func(c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) { return c, nil }
	case "upper":
		return func(c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
			return worker.Chunk{Data: []byte(strings.ToUpper(string(c.Data))), Last: c.Last, Changed: true}, nil
		}
	case "drop":
		return func(c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
			return worker.Chunk{Last: c.Last, Changed: true}, nil
		}
	case "hold":
		chain.held = func() int64 { return int64(len(held)) }
		return func(c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
			held = append(held, c.Data...)
			if !c.Last {
				return worker.Chunk{Changed: true}, nil
			}
			data := held
			held = nil
			return worker.Chunk{Data: data, Last: true, Changed: true}, nil
		}
	case "deny":
		return func(c worker.Chunk) (worker.Chunk, *policy.ImmediateResponse) {
			return worker.Chunk{}, policy.Reject(403, "NO", "")
		}
	}
	t.Fatalf("chunks know no %q", name)
	return nil
}

// actions makes the step of one phase.
func actions(t testing.TB, c *chain, p policy.Phase, text string) step {
	t.Helper()
	var all []step
	for _, word := range strings.Split(text, "+") {
		m := action.FindStringSubmatch(word)
		if m == nil {
			t.Fatalf("no action: %q", word)
		}
		if m[1] == "stuck" {
			c.stuck[p] = true
			continue
		}
		if m[1] == "exit" {
			c.exits[p] = true
			continue
		}
		c.panics = c.panics || m[1] == "panic"
		all = append(all, oneAction(t, p, m[1], strings.Split(m[2]+",", ",")))
	}
	return func(ctx context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
		for _, s := range all {
			if r := s(ctx, x); r != nil {
				return r
			}
		}
		return nil
	}
}

func oneAction(t testing.TB, p policy.Phase, name string, args []string) step {
	t.Helper()
	edit := func(f func(h *exchange.Headers)) step {
		return func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
			switch {
			case p == policy.RequestTrailers:
				f(&x.Request.Trailers)
			case p == policy.ResponseTrailers:
				f(&x.Response.Trailers)
			case p.IsResponse():
				f(&x.Response.Headers)
			default:
				f(&x.Request.Headers)
			}
			return nil
		}
	}
	body := func(f func(b *exchange.Body)) step {
		return func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse {
			if p.IsResponse() {
				f(&x.Response.Body)
			} else {
				f(&x.Request.Body)
			}
			return nil
		}
	}
	change := func(f func(x *exchange.Exchange)) step {
		return func(_ context.Context, x *exchange.Exchange) *policy.ImmediateResponse { f(x); return nil }
	}
	switch name {
	case "pass":
		return passes
	case "set":
		return edit(func(h *exchange.Headers) { h.Set(args[0], args[1]) })
	case "append":
		return edit(func(h *exchange.Headers) { h.Append(args[0], args[1]) })
	case "remove":
		return edit(func(h *exchange.Headers) { h.Remove(args[0]) })
	case "many":
		return edit(func(h *exchange.Headers) {
			n, _ := strconv.Atoi(args[0])
			for i := range n {
				h.Set(fmt.Sprintf("x-%d", i), "v")
			}
		})
	case "body":
		return body(func(b *exchange.Body) { b.Replace([]byte(args[0])) })
	case "twice":
		return body(func(b *exchange.Body) { b.Replace([]byte(string(b.Bytes) + string(b.Bytes))) })
	case "large":
		return body(func(b *exchange.Body) { b.Replace(make([]byte, 150_000)) })
	case "see":
		// What the policy sees of the body goes into a header.
		return change(func(x *exchange.Exchange) {
			h, b := &x.Request.Headers, x.Request.Body
			if p.IsResponse() {
				h, b = &x.Response.Headers, x.Response.Body
			}
			h.Set("x-seen", fmt.Sprintf("%s (%v)", b.Bytes, b.Present))
		})
	case "method":
		return change(func(x *exchange.Exchange) { x.Request.SetMethod(args[0]) })
	case "path":
		return change(func(x *exchange.Exchange) { x.Request.SetPath(args[0]) })
	case "authority":
		return change(func(x *exchange.Exchange) { x.Request.SetAuthority(args[0]) })
	case "status":
		n, _ := strconv.Atoi(args[0])
		return change(func(x *exchange.Exchange) { x.Response.SetStatus(n) })
	case "dynamic":
		return change(func(x *exchange.Exchange) { x.Dynamic.Set(args[0], args[1]) })
	case "attribute":
		return change(func(x *exchange.Exchange) {
			v, ok := x.Attributes.Lookup(args[0])
			x.Request.Headers.Set("x-attribute", fmt.Sprint(v, ok))
		})
	case "panic":
		return func(context.Context, *exchange.Exchange) *policy.ImmediateResponse { panic("the kernel's fault") }
	case "deny":
		n, _ := strconv.Atoi(args[0])
		return func(context.Context, *exchange.Exchange) *policy.ImmediateResponse {
			return &policy.ImmediateResponse{Status: n, Reason: "NO"}
		}
	}
	t.Fatalf("no action is called %q", name)
	return nil
}
