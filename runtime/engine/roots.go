package engine

// The roots that Mozilla trusts, for where the system has none: the image of a
// bundle holds nothing but the binary, and policies fetch keys over HTTPS. The
// system's own, such as those mounted at /etc/ssl/certs, take their place.
import _ "golang.org/x/crypto/x509roots/fallback"
