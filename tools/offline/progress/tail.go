package progress

import (
	"bytes"
	"os"
)

// A Tail reads the lines that are added to a file.
type Tail struct {
	// Path is the file, which need not be there yet.
	Path string

	offset int64
	rest   []byte
}

// maxRest bounds how much of a line that has no end yet is kept.
const maxRest = 8 << 20

// Read calls line with each line that was written since the last call. A problem
// with the file is no problem of the build: it is tried again with the next call.
func (t *Tail) Read(line func([]byte)) {
	f, err := os.Open(t.Path)
	if err != nil {
		return
	}
	defer f.Close()
	chunk := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(chunk, t.offset)
		t.offset += int64(n)
		t.rest = append(t.rest, chunk[:n]...)
		for {
			text, rest, whole := bytes.Cut(t.rest, []byte("\n"))
			if !whole {
				break
			}
			line(text)
			t.rest = rest
		}
		if len(t.rest) > maxRest {
			t.rest = nil
		}
		if err != nil {
			return
		}
	}
}
