// Package wire reads the messages of Envoy's external processing filter
// (envoy.service.ext_proc.v3.ProcessingRequest) and writes the replies (ProcessingResponse)
// without building the generated types.
//
// Reading is one pass over the bytes, by the field numbers that the engine uses. A message
// that does not have the plain form that Envoy sends (a field out of order or repeated, an
// unknown field, a nested attribute, malformed bytes) goes to the generated types and the
// protobuf library, which defines what a message means. So [Decode] can only be wrong by
// treating a message as plain that the library reads differently. The package's fuzz
// targets compare the two.
//
// A message with headers is copied once, into an immutable string. All names and values are
// substrings of it and may be kept. Bodies are copied into separate memory, which is never
// pooled.
//
// Replies are composed in pooled buffers by a [Reply] and passed to grpc by the [Codec].
package wire
