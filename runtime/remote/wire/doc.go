// Package wire reads and writes the messages of a call in the protocol between a kernel
// and its workers, policyengine.worker.v1, in place: see worker.proto, which says what each
// field means.
//
// Both ends are the engine's, but neither trusts the other: whatever comes is bounded by
// its own length, and what is malformed is an error. Fields that are not known are passed
// over, as in every protobuf message.
package wire
