// Package xds gets chains and routes from a control plane over the xDS protocol.
//
// A [Machine] is the protocol without any input or output: a control plane's responses go
// in, requests and proposals of whole configurations come out. A [Source] connects one to
// servers over gRPC, and is a [config.Source].
//
// A control plane's resources are put together into one configuration. It takes effect as
// a whole, or not at all, once everything that it refers to has come. Where the control
// plane serves a revision (policyengine.discovery.v1), a configuration consists of exactly
// the resources of that revision. docs/decisions/xds-client.md says why the client is
// written on the protocol's messages.
package xds
