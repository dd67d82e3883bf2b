// Package wire reads and writes the messages of a call between a kernel and its workers,
// policyengine.worker.v1, in place. worker.proto documents each field.
//
// Both ends belong to the engine, but neither trusts the other: every size is limited by
// the length of the message, and malformed messages are errors. Unknown fields are skipped,
// as in every protobuf message.
package wire
