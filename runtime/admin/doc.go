// Package admin serves the pages for operators: health and readiness, the configuration in
// force and why a newer one was refused, metrics, profiles, and an overview as HTML. The
// pages are read-only and show no secrets. By default they listen on loopback.
package admin
