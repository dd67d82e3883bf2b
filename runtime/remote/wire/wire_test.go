package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	workerv1 "policyengine.dev/proto/policyengine/worker/v1"
	"policyengine.dev/runtime/remote/wire"
	"policyengine.dev/runtime/worker"
	"policyengine.dev/sdk/exchange"
	"policyengine.dev/sdk/policy"
)

// fill gives every field that can be reached from v a value that is not the zero value, each
// another one. A field that is added to an action is so covered at once.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d\xff", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(fmt.Appendf(nil, "bytes %d\xff", *n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"a": value(*n), "b": false}))
	case reflect.Interface:
		v.Set(reflect.ValueOf(value(*n)))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[policy.Body]() {
			v.Set(reflect.ValueOf(policy.NewBody(fmt.Appendf(nil, "body %d\xff", *n))))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		panic("no value for " + v.Type().String())
	}
}

// value has every type that may leave the process.
func value(n int) any {
	return map[string]any{"n": float64(n), "d": json.Number("12345678901234567890"), "l": []any{nil, true, "x\xff", []any{}, map[string]any{}}}
}

func full[T any]() *T {
	v, n := new(T), 0
	fill(reflect.ValueOf(v).Elem(), &n)
	return v
}

// noted has every kind of annotation, and every field of a span.
func noted() *exchange.Noted {
	at := time.Unix(1_700_000_000, 5)
	all := []slog.Attr{slog.String("s", "x"), slog.String("none", ""), slog.Bool("b", true), slog.Bool("f", false), slog.Int64("i", -7), slog.Uint64("u", 1<<63),
		slog.Float64("n", -0.5), slog.Duration("d", time.Second), slog.Time("t", at)}
	return &exchange.Noted{Annotations: all, Dropped: 3, Spans: []exchange.Span{
		{Name: "ask", Began: at, Ended: at.Add(time.Second), ID: [8]byte{1, 0xff}, Client: true, Attributes: all[:exchange.MaxSpanAttributes], Error: "no"},
		{Name: "plain", Began: at, Ended: at},
	}}
}

// TestNotesAreBounded proves that a worker cannot have a kernel keep more of a call than a
// policy in its own process can note.
func TestNotesAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*exchange.Noted)
		ok     bool
	}{
		"a long text and a long key": {func(n *exchange.Noted) {
			n.Annotations = []slog.Attr{slog.String(strings.Repeat("k", 999), strings.Repeat("v", 9999))}
		}, true},
		"too many annotations": {func(n *exchange.Noted) { n.Annotations = make([]slog.Attr, exchange.MaxAnnotations+1) }, false},
		"too many spans":       {func(n *exchange.Noted) { n.Spans = make([]exchange.Span, exchange.MaxSpans+1) }, false},
		"too many attributes":  {func(n *exchange.Noted) { n.Spans[0].Attributes = make([]slog.Attr, exchange.MaxSpanAttributes+1) }, false},
	} {
		n := noted()
		tc.change(n)
		got, err := wire.DecodeAnswers(wire.AppendAnswers(nil, 1, []worker.Answer{{Noted: n}}), func(uint64) (policy.Phase, bool) { return 0, true })
		if tc.ok != (err == nil) {
			t.Errorf("%s: error is %v", name, err)
		}
		if err == nil {
			if a := got.Answers[0].Noted.Annotations[0]; len(a.Key) > exchange.MaxKey || len(a.Value.String()) > exchange.MaxText {
				t.Errorf("%s: a key of %d bytes and a value of %d", name, len(a.Key), len(a.Value.String()))
			}
		}
	}
}

// TestAnswersArrive proves that every field of every action arrives, and that what is written
// is what worker.proto says.
func TestAnswersArrive(t *testing.T) {
	for name, tc := range map[string]struct {
		phase  policy.Phase
		answer worker.Answer
	}{
		"a request's mutation":       {policy.RequestBody, worker.Answer{Request: full[policy.RequestMutation](), At: 5, Took: 7}},
		"a response's mutation":      {policy.ResponseBody, worker.Answer{Response: full[policy.ResponseMutation]()}},
		"an empty mutation":          {policy.RequestHeaders, worker.Answer{Request: &policy.RequestMutation{}}},
		"an answer to a request":     {policy.RequestHeaders, worker.Answer{Request: full[policy.ImmediateResponse]()}},
		"an answer to a response":    {policy.ResponseHeaders, worker.Answer{Response: full[policy.ImmediateResponse]()}},
		"an answer to a chunk":       {policy.RequestBodyChunks, worker.Answer{Chunk: full[policy.ImmediateResponse]()}},
		"an answer with few parts":   {policy.RequestHeaders, worker.Answer{Request: &policy.ImmediateResponse{Status: -1, GRPCStatus: new(int), Body: []byte{}}}},
		"a chunk":                    {policy.ResponseBodyChunks, worker.Answer{Chunk: policy.ReplaceChunk([]byte("x\xff"))}},
		"a chunk that is held":       {policy.ResponseBodyChunks, worker.Answer{Chunk: policy.Hold()}},
		"nothing":                    {policy.RequestHeaders, worker.Answer{}},
		"what was noted":             {policy.RequestHeaders, worker.Answer{Noted: noted()}},
		"what a failure has noted":   {policy.RequestHeaders, worker.Answer{Kind: worker.Failed, Failure: worker.NewFailure(worker.ReturnedError, "no", nil), Noted: noted()}},
		"a step that was skipped":    {policy.RequestHeaders, worker.Answer{Kind: worker.Skipped, At: time.Second}},
		"a step that was left out":   {policy.RequestHeaders, worker.Answer{Kind: worker.LeftOut}},
		"a panic":                    {policy.RequestHeaders, worker.Answer{Kind: worker.Failed, Failure: worker.NewFailure(worker.Panicked, "boom", []byte("stack"))}},
		"a step with no time left":   {policy.RequestHeaders, worker.Answer{Kind: worker.Failed, Failure: worker.Failure{Kind: worker.NoTime}}},
		"an error of the condition":  {policy.RequestHeaders, worker.Answer{Kind: worker.Failed, Failure: worker.NewFailure(worker.ConditionError, "no\xff", nil)}},
		"an action that is too much": {policy.RequestHeaders, worker.Answer{Kind: worker.Failed, Failure: worker.NewFailure(worker.BadAction, "no", nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			written := wire.AppendAnswers(nil, 9, []worker.Answer{tc.answer, {Kind: worker.Skipped}})
			var m workerv1.Answers
			read(t, written, &m)
			for _, b := range [][]byte{written, marshal(t, &m)} {
				got, err := wire.DecodeAnswers(b, func(call uint64) (policy.Phase, bool) { return tc.phase, call == 9 })
				if err != nil || got.Call != 9 || len(got.Answers) != 2 {
					t.Fatalf("%+v, %v", got, err)
				}
				clear(b)
				arrived, want := got.Answers[0], tc.answer
				if diff := cmp.Diff(want.Noted, arrived.Noted); diff != "" {
					t.Errorf("what was noted differs (-want +got):\n%s", diff)
				}
				arrived.Noted, want.Noted = nil, nil
				if !reflect.DeepEqual(arrived, want) {
					t.Errorf("got  %+v\nwant %+v", arrived, want)
				}
			}
		})
	}
}

// read has the library read what was written. A field that worker.proto does not have is an
// error.
func read(t *testing.T, b []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(m); len(m.ProtoReflect().GetUnknown()) > 0 || strings.Contains(text, "unknown") {
		t.Fatalf("fields are unknown: %s", text)
	}
	again := marshal(t, m)
	if len(again) != len(b) {
		t.Fatalf("the library writes %d bytes, and %d were written: fields of a nested message are unknown or empty", len(again), len(b))
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestErrorsArrive(t *testing.T) {
	got, err := wire.DecodeAnswers(wire.AppendError(nil, 3, strings.Repeat("x", 10_000)), func(uint64) (policy.Phase, bool) { return 0, true })
	if err != nil || got.Call != 3 || len(got.Error) != 4096 || len(got.Answers) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// passing is a policy that does nothing, at a site that calls f.
type passing struct{}

func (passing) OnRequestHeaders(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}
func (passing) OnRequestBody(context.Context, *policy.RequestContext) (policy.RequestAction, error) {
	return nil, nil
}
func (passing) OnRequestBodyChunk(context.Context, *policy.RequestContext, *policy.Chunk) (policy.ChunkAction, error) {
	return nil, nil
}

type site func(worker.Place, *worker.Call)

type caller struct {
	site *site
	at   worker.Place
}

func (s *site) Caller(p worker.Place) worker.Caller { return &caller{s, p} }

func (c *caller) Call(_ context.Context, call *worker.Call) { (*c.site)(c.at, call) }

type clock struct{}

func (clock) Now() time.Time                      { return time.Now() }
func (clock) NewTimer(time.Duration) policy.Timer { panic("no timer") }

// begin starts an exchange on a chain of one policy, at the site.
func begin(t *testing.T, s site) worker.Executor {
	t.Helper()
	return load(t, &s)()
}

// load returns what starts exchanges on a chain of one policy, at the site.
func load(t testing.TB, s *site) func() worker.Executor {
	t.Helper()
	type none struct{}
	registry, err := worker.NewRegistry(worker.Entry{Factory: policy.Define(func(none, policy.Host) (passing, error) { return passing{}, nil }), Definition: `{
		"apiVersion": "policyengine/v1", "name": "pass", "version": "v1.0.0", "description": "Passes.",
		"phases": ["request_headers", "request_body", "request_body_chunks"], "attributes": {"request": ["source.address"]},
		"parameters": {"type": "object", "additionalProperties": false}}`})
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(registry, worker.Options{Host: policy.Host{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clock{}},
		Sites: func(*worker.Version) worker.Site { return s }})
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	_, err = w.Update(context.Background(), worker.Spec{Chains: []worker.ChainSpec{{Name: "c", Policies: []worker.PolicySpec{{Name: "pass", Version: "v1"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := w.Acquire()
	t.Cleanup(snapshot.Release)
	c, _ := snapshot.ChainNamed("c")
	return func() worker.Executor { return snapshot.Begin(c) }
}

type noResume struct{}

func (noResume) Resume(worker.Executor, worker.Outcome) { panic("a call was abandoned") }

type attributes map[string]any

func (a attributes) Lookup(name string) (any, bool) { v, ok := a[name]; return v, ok }
func (a attributes) All() iter.Seq2[string, any]    { return maps.All(a) }

// TestCallsArrive proves that all of an exchange arrives which the steps can read, and that
// what is written is what worker.proto says.
func TestCallsArrive(t *testing.T) {
	var want *exchange.Exchange
	calls := 0
	x := begin(t, func(p worker.Place, c *worker.Call) {
		calls++
		if !p.Body && c.Phase() == policy.RequestBody || p.Trailers || len(p.Attributes) != 1 {
			t.Errorf("in the phase %s the place is %+v", c.Phase(), p)
		}
		b, err := wire.AppendCall(nil, wire.Target{ID: 1, Exchange: 2, Config: 3, Chain: p.Chain, First: p.First}, c, &wire.Everything)
		if err != nil {
			t.Fatal(err)
		}
		var m workerv1.Call
		read(t, b, &m)
		for _, b := range [][]byte{b, marshal(t, &m)} {
			got := &exchange.Exchange{}
			to, g, err := wire.DecodeCall(b, func(wire.Target) *exchange.Exchange { return got })
			clear(b)
			if err != nil || to != (wire.Target{ID: 1, Exchange: 2, Config: 3, Chain: "c"}) {
				t.Fatalf("%+v, %v", to, err)
			}
			wantGroup := worker.Group{Phase: c.Phase(), Conditions: []worker.Condition{0}, Chunk: c.Chunk(), Budget: c.Budget(), Age: c.Age()}
			if !reflect.DeepEqual(g, wantGroup) {
				t.Errorf("group %+v\nwant  %+v", g, wantGroup)
			}
			got.Attributes = attributes(maps.Collect(got.Attributes.All()))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		}
		c.Answer(&worker.Answer{})
	})
	n := 0
	fields := func() (fs []exchange.Field) {
		for range 3 {
			n++
			fs = append(fs, exchange.Field{Name: fmt.Sprintf("x-%d", n), Value: strings.Repeat("v\xff", n*9)})
		}
		return fs
	}
	e := x.Exchange()
	e.Route, e.TraceParent, e.TraceState, e.Principal = "r\xff", "tp", "ts", full[exchange.Principal]()
	e.Metadata.Set("k", value(1))
	e.Metadata.Set("none", nil)
	e.Attributes = attributes{"source.address": "192.0.2.1:1", "n": value(2)}
	q, p := &e.Request, &e.Response
	q.Method, q.Scheme, q.Authority, q.Path, p.Status = "M", "S", "A", "/p", 299
	q.Headers.Reset(fields())
	q.Trailers.Reset(fields())
	p.Headers.Reset(fields())
	p.Trailers.Reset(fields())
	q.Body = exchange.Body{Bytes: []byte("body\xff"), Present: true}
	p.Body = exchange.Body{Present: true}
	e.SetRequestID("the-id")
	want = e.Clone()
	// The ID crosses, and not what it would be made from.
	want.Identity = exchange.Identity{}
	if out := x.Run(context.Background(), policy.RequestBody, time.Second, noResume{}); out.Kind != worker.Continue {
		t.Errorf("the outcome is %+v", out)
	}
	x.RunChunk(context.Background(), policy.RequestBodyChunks, time.Second, worker.Chunk{Data: []byte("chunk\xff"), Last: true, Changed: true}, noResume{})
	x.End(false)
	if calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

// TestWhatCannotBeGivenAway proves that metadata and claims that other Go values are in are
// refused, and the key named.
func TestWhatCannotBeGivenAway(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(*exchange.Exchange)
		want string
	}{
		"metadata": {func(x *exchange.Exchange) { x.Metadata.Set("began", time.Now()) }, `metadata "began" cannot be sent to a policy in another process: it holds a time.Time`},
		"a claim": {func(x *exchange.Exchange) {
			x.Principal = &exchange.Principal{Claims: map[string]any{"tiers": []any{[]string{"gold"}}}}
		}, `the principal's claim "tiers" cannot be sent to a policy in another process: it holds a []string`},
	} {
		t.Run(name, func(t *testing.T) {
			var got error
			x := begin(t, func(_ worker.Place, c *worker.Call) {
				_, got = wire.AppendCall(nil, wire.Target{}, c, &wire.Everything)
				c.Fail(worker.Failure{Kind: worker.BadAction, Err: got})
			})
			tc.set(x.Exchange())
			out := x.Run(context.Background(), policy.RequestHeaders, time.Second, noResume{})
			x.End(false)
			if got == nil || !strings.Contains(got.Error(), tc.want) {
				t.Errorf("error is %v, want %s", got, tc.want)
			}
			if out.Kind != worker.Respond || out.Response.Reason != "POLICY_ERROR" {
				t.Errorf("the outcome is %+v, want a refusal", out)
			}
		})
	}
}

// TestAnswersThatCannotBe proves that answers which contradict what is known count as the
// step's errors, and that steps without an answer do, too.
func TestAnswersThatCannotBe(t *testing.T) {
	bad := errors.New("bad")
	for name, answer := range map[string]*worker.Answer{
		"none":                            nil,
		"a step without condition skips":  {Kind: worker.Skipped},
		"a step that runs is left out":    {Kind: worker.LeftOut},
		"a failure of no condition":       {Kind: worker.Failed, Failure: worker.Failure{Kind: worker.ConditionError, Err: bad}},
		"an unknown kind of answer":       {Kind: 77},
		"an unknown kind of failure":      {Kind: worker.Failed, Failure: worker.Failure{Kind: 77, Err: bad}},
		"a failure that says nothing":     {Kind: worker.Failed, Failure: worker.Failure{Kind: worker.ReturnedError}},
		"a chunk's answer to requests":    {Chunk: policy.Hold()},
		"a response's answer to requests": {Response: &policy.ResponseMutation{Status: 204}},
		"an invalid mutation":             {Request: &policy.RequestMutation{Path: "no path"}},
		"an answer that is no response":   {Request: &policy.ImmediateResponse{}},
	} {
		t.Run(name, func(t *testing.T) {
			x := begin(t, func(_ worker.Place, c *worker.Call) {
				if answer != nil && c.Answer(answer) {
					t.Error("another step is to run")
				}
				if answer != nil && c.Answer(&worker.Answer{}) {
					t.Error("an answer for a step that is not there was taken")
				}
			})
			out := x.Run(context.Background(), policy.RequestHeaders, time.Second, noResume{})
			x.End(false)
			if out.Kind != worker.Respond || out.Response.Reason != "POLICY_ERROR" {
				t.Errorf("the outcome is %+v, want a refusal", out)
			}
		})
	}
}

// FuzzDecodeCall proves that no call makes a worker panic, and that what is taken for a call
// is one to the library, too.
func FuzzDecodeCall(f *testing.F) {
	whole := &workerv1.Call{Id: 1, Chain: []byte("c"), Conditions: []byte{0, 1, 2, 3}, Chunk: &workerv1.Chunk{Data: []byte("x")}, View: &workerv1.View{
		Request:   &workerv1.Message{Headers: []*workerv1.Field{{Name: []byte("A"), Value: []byte("1")}}, Body: &workerv1.Body{Bytes: []byte("b")}},
		Response:  &workerv1.Message{Status: 200},
		Principal: &workerv1.Principal{Subject: []byte("me"), Claims: []*workerv1.Entry{{Key: []byte("k"), Value: &workerv1.Value{Kind: &workerv1.Value_Decimal{Decimal: []byte("1")}}}}},
		Metadata:  []*workerv1.Entry{{Key: []byte("k"), Value: &workerv1.Value{Kind: &workerv1.Value_List{List: &workerv1.List{Items: []*workerv1.Value{{}}}}}}},
	}}
	b, err := proto.Marshal(whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := &exchange.Exchange{}
		if _, _, err := wire.DecodeCall(b, func(wire.Target) *exchange.Exchange { return x }); err != nil {
			return
		}
		if err := proto.Unmarshal(b, &workerv1.Call{}); err != nil {
			t.Fatalf("the library says %v", err)
		}
	})
}

// FuzzDecodeAnswers proves that no answer makes a kernel panic, or become something that it
// would not write.
func FuzzDecodeAnswers(f *testing.F) {
	for _, a := range []worker.Answer{{Request: full[policy.RequestMutation]()}, {Response: full[policy.ResponseMutation]()}, {Request: full[policy.ImmediateResponse]()},
		{Chunk: policy.ReplaceChunk(nil)}, {Kind: worker.Failed, Failure: worker.NewFailure(worker.Panicked, "a", []byte("b"))}} {
		f.Add(wire.AppendAnswers(nil, 1, []worker.Answer{a}), byte(0))
	}
	var now *worker.Answer
	s := site(func(_ worker.Place, c *worker.Call) { c.Answer(now) })
	start := load(f, &s)
	f.Fuzz(func(t *testing.T, b []byte, p byte) {
		phase := policy.Phase(p % policy.PhaseCount)
		got, err := wire.DecodeAnswers(b, func(uint64) (policy.Phase, bool) { return phase, true })
		if err != nil {
			return
		}
		if err := proto.Unmarshal(b, &workerv1.Answers{}); err != nil {
			t.Fatalf("the library says %v", err)
		}
		for i := range got.Answers {
			now = &got.Answers[i]
			x := start()
			if out := x.Run(context.Background(), policy.RequestHeaders, time.Second, noResume{}); out.Kind == worker.Respond && out.Response.Status < 200 {
				t.Fatalf("the outcome is %+v", out.Response)
			}
			x.End(false)
		}
	})
}
