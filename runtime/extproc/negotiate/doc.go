// Package negotiate compares what a chain needs to see of an exchange with what Envoy's
// external processing filter shows of it.
//
//   - [Demand] is what a chain needs of the request and of the response. The engine asks
//     Envoy for it, and pectl writes and checks Envoy's configuration by it.
//   - [Settings] is what a filter allows. Envoy tells a processor the body modes and
//     nothing else: not whether it heeds a mode override, how long a reply may take, or
//     which headers may be changed. These settings are either stamped into the filter's
//     grpc_initial_metadata, which comes with every stream ([Settings.Stamp] under
//     [StampKey]), or declared to the engine. A filter of which nothing is known has
//     Envoy's defaults.
//   - [Ledger] remembers filters that did other than their settings say. Some settings
//     cannot be verified in advance. When a request shows that one is wrong, the engine
//     stops relying on settings of that kind for streams with the same stamp on the same
//     connection. A finding lasts as long as its connection: a filter does not change on a
//     stream, but a corrected configuration may come with the same stamp.
package negotiate
