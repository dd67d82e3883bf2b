package exchange

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// MaxRequestID bounds a request's id, in bytes.
const MaxRequestID = 128

// Identity is what the id of a request is made from that the proxy has given none. The zero
// value makes none.
type Identity struct {
	// Key is random, and the same for all exchanges of a runtime's.
	Key *[16]byte
	// Run and Use tell the exchange from all others with the same key.
	Run, Use uint64
}

// KnowRequestID notes the proxy's x-request-id, before anything can change the headers.
func (e *Exchange) KnowRequestID() {
	if i := e.Request.Headers.index("x-request-id"); i >= 0 {
		e.requestID = e.Request.Headers.fields[i].Value
	}
}

// SetRequestID sets what [Exchange.RequestID] returns if it is valid, such as where an exchange goes on in
// another process, or is replayed.
func (e *Exchange) SetRequestID(id string) { e.requestID = id }

// RequestID is the ID by which an exchange is found in the access log, the decision record,
// the trace and the log of policies. It is the same for the whole exchange, whatever policies
// do to headers. It is the proxy's, if that consists of 1 to [MaxRequestID] visible ASCII
// characters. Otherwise it is made from Identity, and empty if there is no Identity either.
func (e *Exchange) RequestID() string {
	// Checked here and not when the request arrives: of most requests nobody asks the ID.
	switch {
	case validRequestID(e.requestID):
		return e.requestID
	case e.Identity.Key != nil:
		return e.Identity.id()
	}
	return ""
}

// id is a UUID (RFC 9562, version 8) that tells nothing of the numbers. It is made when it is
// asked for, so that an exchange of which nobody asks costs nothing.
func (i Identity) id() string {
	var in [32]byte
	copy(in[:], i.Key[:])
	binary.BigEndian.PutUint64(in[16:], i.Run)
	binary.BigEndian.PutUint64(in[24:], i.Use)
	sum := sha256.Sum256(in[:])
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	text := make([]byte, 0, 36)
	for n, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if n > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, u[part[0]:part[1]])
	}
	return string(text)
}

func validRequestID(id string) bool {
	if id == "" || len(id) > MaxRequestID {
		return false
	}
	for i := 0; i < len(id); i++ {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return false
		}
	}
	return true
}
