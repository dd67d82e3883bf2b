// Package wire reads the messages that Envoy's external processing filter sends
// (envoy.service.ext_proc.v3.ProcessingRequest) and writes the replies to them
// (ProcessingResponse) without building the generated types.
//
// Reading goes over the bytes once, by the field numbers that the engine has a use
// for. Whatever is not of the plain form that Envoy sends (a field out of place or
// twice, an unknown field, a nested attribute, anything malformed) is left to the
// generated types and the protobuf library, which is the judge of what a message
// means and whether it is one at all. So there is one way only in which [Decode]
// could go wrong, by taking for plain what the library reads otherwise, and the
// package's fuzz targets compare the two.
//
// Of a message with headers one copy is made, an immutable string of which every
// name and value is a part: they may be kept forever. Bodies are copied into
// memory of their own, which is never pooled.
//
// Replies are composed into pooled buffers by a [Reply] and handed to grpc as they
// are, by the [Codec].
package wire
