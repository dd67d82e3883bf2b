// Package admin serves what an operator looks at: health and readiness, the
// configuration in force and why a newer one was refused, metrics, profiles, and a
// page for people. It changes nothing, shows no secrets, and listens on loopback
// unless told otherwise.
package admin
