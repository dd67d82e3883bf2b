// Package kernel decides HTTP exchanges by chains of policies. It knows neither the
// policies nor the protocol by which an exchange comes.
package kernel
