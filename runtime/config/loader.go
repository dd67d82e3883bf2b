package config

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Counts say what a [FileSource] has had to do. It is in proportion to what has changed,
// and nothing while nothing has. Safe for concurrent use.
type Counts struct {
	// FilesRead and BytesRead are files that were read, since they may have changed,
	// and FilesParsed those that had.
	FilesRead, BytesRead, FilesParsed atomic.Uint64
}

// loader reads files, and remembers what they said.
type loader struct {
	path   string
	counts *Counts
	now    func() time.Time
	known  map[string]known
}

// known is a file that was read.
type known struct {
	document *document
	identity identity
	// settled says that the file was not written around the time when it was read:
	// it would have another identity if it were written again.
	settled bool
}

// settling is for how long after it was written a file may be written again without a
// change of its times.
const settling = 2 * time.Second

// load returns what the file, or the directory's files in the order of their names, said
// at one moment.
func (l *loader) load() ([]*document, error) {
	for try := 1; ; try++ {
		before, err := list(l.path)
		if err != nil {
			return nil, err
		}
		read, err := l.read(before)
		if after, again := list(l.path); again == nil && sameFiles(before, after) {
			if err != nil {
				return nil, err
			}
			return l.documents(read), nil
		}
		if try == readTries {
			return nil, fmt.Errorf("%s keeps changing while it is read", l.path)
		}
	}
}

// reading is a file on its way to a document.
type reading struct {
	path string
	known
	src []byte // where document is nil
}

// read reads those files that may have changed.
func (l *loader) read(all []listed) ([]reading, error) {
	var files []reading
	left := int64(maxTotal)
	for _, f := range all {
		r := reading{path: f.path}
		old, there := l.known[f.path]
		id, known := identify(f.info)
		if there && known && old.settled && old.identity == id {
			r.known = old
		} else {
			now := l.now()
			src, err := readFile(f.path, maxFile)
			if err != nil {
				return nil, err
			}
			l.counts.FilesRead.Add(1)
			l.counts.BytesRead.Add(uint64(len(src)))
			r.identity, r.settled = id, known && now.Sub(id.changed) > settling
			if there && old.document.sum == sha256.Sum256(src) {
				r.document = old.document
			} else {
				r.src = src
			}
		}
		if left -= f.info.Size(); left < 0 {
			return nil, fmt.Errorf("the files in %s have more than %d bytes together", filepath.Dir(f.path), maxTotal)
		}
		files = append(files, r)
	}
	return files, nil
}

// documents decodes what has changed, several files at a time, and forgets files that are gone.
func (l *loader) documents(files []reading) []*document {
	var changed []*reading
	for i := range files {
		if files[i].document == nil {
			changed = append(changed, &files[i])
		}
	}
	l.decode(changed)
	l.known = make(map[string]known, len(files))
	documents := make([]*document, len(files))
	for i, r := range files {
		l.known[r.path] = r.known
		documents[i] = r.document
	}
	return documents
}

// decode parses files: on all processors before there are requests, and on half of them afterwards.
func (l *loader) decode(files []*reading) {
	at := runtime.GOMAXPROCS(0)
	if l.known != nil {
		at = max(1, at/2)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(at, len(files)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files); i = int(next.Add(1)) - 1 {
				r := files[i]
				l.counts.FilesParsed.Add(1)
				d := parse(File{Name: plainName(r.path), Src: r.src}, sha256.Sum256(r.src))
				path := r.path
				d.again = func() ([]byte, error) { return readFile(path, maxFile) }
				r.document, r.src = d, nil
			}
		})
	}
	all.Wait()
}

// identity tells a file, and each of its contents, from every other.
type identity struct {
	device, inode uint64
	size          int64
	// changed is the latest of the file's times: of its content or of its metadata.
	changed, modified time.Time
}

// identify returns the identity of a file, and whether the operating system tells it.
func identify(info fs.FileInfo) (identity, bool) {
	id := identity{size: info.Size(), modified: info.ModTime()}
	return id, id.complete(info)
}
