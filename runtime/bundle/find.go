package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrNotFound is what Find returns for a binary without a manifest.
var ErrNotFound = errors.New("there is no bundle's manifest in it; it is no binary of a policy_engine_bundle, or of a version before manifests")

// maxStarts is how many places Find looks at that begin like a manifest. A file can be made of such places, each as long as
// a manifest may be.
const maxStarts = 16

// Find returns the manifest that is embedded in a binary for any architecture, without running it. The error wraps
// [ErrNotFound], or says what is wrong with a manifest. A binary can be made to say anything: what Find returns is as
// trustworthy as the binary.
func Find(binary []byte) (*Manifest, error) {
	start := []byte(`{"schema":"` + Schema + `"`)
	problem := ErrNotFound
	rest := binary
	for range maxStarts {
		i := bytes.Index(rest, start)
		if i < 0 {
			return nil, problem
		}
		rest = rest[i:]
		var text json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(rest[:min(len(rest), MaxSize)])).Decode(&text); err == nil {
			m, err := Parse(text)
			if err == nil {
				return m, nil
			}
			problem = err
		}
		rest = rest[len(start):]
	}
	return nil, problem
}
