// Package negotiate compares what a chain needs of an exchange with what Envoy's external
// processing filter sends of it.
//
//   - [Demand] is what a chain needs of the request and of the response. The engine requests
//     it from Envoy, and pectl writes and checks Envoy's configuration by it.
//   - [Settings] is what a filter allows. Envoy sends a processor only the body modes. It does
//     not send whether it accepts a mode override, how long a reply may take, or which headers
//     may be changed. These settings are either stamped into the filter's
//     grpc_initial_metadata, which comes with every stream ([Settings.Stamp] under
//     [StampKey]), or configured in the engine. A filter without either is assumed to have
//     Envoy's defaults.
//   - [Ledger] records filters that contradicted their settings. Some settings cannot be
//     verified in advance. When a request shows that one is wrong, the engine stops relying on
//     settings of that kind for streams with the same stamp on the same connection. A finding
//     lasts as long as its connection: a filter does not change on a stream, but a corrected
//     configuration may come with the same stamp.
package negotiate
