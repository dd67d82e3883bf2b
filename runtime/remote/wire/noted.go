package wire

import (
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"policyengine.dev/sdk/exchange"
)

func appendNoted(b []byte, n *exchange.Noted) []byte {
	if n == nil {
		return b
	}
	b, at := open(b, answerNoted)
	b = appendAnnotations(b, notedAnnotations, n.Annotations)
	for i := range n.Spans {
		s := &n.Spans[i]
		var span int
		b, span = open(b, notedSpans)
		b = appendText(b, spanName, s.Name)
		b = appendInt(b, spanBegan, int(s.Began.UnixNano()))
		b = appendInt(b, spanEnded, int(s.Ended.UnixNano()))
		if s.ID != [8]byte{} {
			b = appendText(b, spanID, s.ID[:])
		}
		b = appendBool(b, spanClient, s.Client)
		b = appendAnnotations(b, spanAttributes, s.Attributes)
		b = appendText(b, spanError, s.Error)
		b = shut(b, span)
	}
	b = appendInt(b, notedDropped, n.Dropped)
	return shut(b, at)
}

func appendAnnotations(b []byte, num protowire.Number, attrs []slog.Attr) []byte {
	varint := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	for _, a := range attrs {
		var at int
		b, at = open(b, num)
		b = appendText(b, annotationKey, a.Key)
		switch v := a.Value; v.Kind() {
		case slog.KindBool:
			b = varint(b, annotationBool, protowire.EncodeBool(v.Bool()))
		case slog.KindInt64:
			b = varint(b, annotationInt, uint64(v.Int64()))
		case slog.KindUint64:
			b = varint(b, annotationUint, v.Uint64())
		case slog.KindFloat64:
			b = protowire.AppendTag(b, annotationNumber, protowire.Fixed64Type)
			b = protowire.AppendFixed64(b, math.Float64bits(v.Float64()))
		case slog.KindDuration:
			b = varint(b, annotationDuration, uint64(v.Duration()))
		case slog.KindTime:
			b = varint(b, annotationTime, uint64(v.Time().UnixNano()))
		default:
			b = appendItem(b, annotationText, v.String())
		}
		b = shut(b, at)
	}
	return b
}

// decodeNoted reads what a call has noted. Whatever a worker sends, it keeps to the bounds of
// [exchange.Notes].
func decodeNoted(d data) (n *exchange.Noted, err error) {
	n = &exchange.Noted{}
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(notedAnnotations, protowire.BytesType):
			n.Annotations, wrong = addAnnotation(n.Annotations, f.data, exchange.MaxAnnotations)
		case f.is(notedSpans, protowire.BytesType):
			if len(n.Spans) == exchange.MaxSpans {
				return nil, errBounds
			}
			var s exchange.Span
			s, wrong = decodeSpan(f.data)
			n.Spans = append(n.Spans, s)
		case f.is(notedDropped, protowire.VarintType):
			n.Dropped = int(min(f.number, math.MaxInt32))
		}
		if wrong != nil {
			return nil, wrong
		}
	}
	return n, err
}

func addAnnotation(to []slog.Attr, d data, most int) ([]slog.Attr, error) {
	if len(to) == most {
		return nil, errBounds
	}
	a := slog.Attr{Value: slog.StringValue("")}
	var err error
	for f := range d.fields(&err) {
		switch {
		case f.is(annotationKey, protowire.BytesType):
			a.Key = short(f.data, exchange.MaxKey)
		case f.is(annotationText, protowire.BytesType):
			a.Value = slog.StringValue(short(f.data, exchange.MaxText))
		case f.is(annotationBool, protowire.VarintType):
			a.Value = slog.BoolValue(f.number != 0)
		case f.is(annotationInt, protowire.VarintType):
			a.Value = slog.Int64Value(int64(f.number))
		case f.is(annotationUint, protowire.VarintType):
			a.Value = slog.Uint64Value(f.number)
		case f.is(annotationNumber, protowire.Fixed64Type):
			a.Value = slog.Float64Value(math.Float64frombits(f.number))
		case f.is(annotationDuration, protowire.VarintType):
			a.Value = slog.DurationValue(time.Duration(f.number))
		case f.is(annotationTime, protowire.VarintType):
			a.Value = slog.TimeValue(time.Unix(0, int64(f.number)))
		}
	}
	return append(to, a), err
}

func decodeSpan(d data) (s exchange.Span, err error) {
	for f := range d.fields(&err) {
		var wrong error
		switch {
		case f.is(spanName, protowire.BytesType):
			s.Name = short(f.data, exchange.MaxKey)
		case f.is(spanBegan, protowire.VarintType):
			s.Began = time.Unix(0, int64(f.number))
		case f.is(spanEnded, protowire.VarintType):
			s.Ended = time.Unix(0, int64(f.number))
		case f.is(spanID, protowire.BytesType):
			copy(s.ID[:], f.data)
		case f.is(spanClient, protowire.VarintType):
			s.Client = f.number != 0
		case f.is(spanAttributes, protowire.BytesType):
			s.Attributes, wrong = addAnnotation(s.Attributes, f.data, exchange.MaxSpanAttributes)
		case f.is(spanError, protowire.BytesType):
			s.Error = short(f.data, exchange.MaxText)
		}
		if wrong != nil {
			return s, wrong
		}
	}
	return s, err
}

func short(d data, most int) string { return string(d[:min(len(d), most)]) }
