// Package redisstore keeps the state of limits in Redis or Valkey, where several engines
// share it. All limits of a request are decided and charged by one script, in one round
// trip, by the server's time.
//
// What a server answers is not trusted: [guard] bounds it before it is parsed, and numbers
// are checked after. No text of a server goes into an error or a log but its error code.
package redisstore
