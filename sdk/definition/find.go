package definition

import (
	"io/fs"
	"path"
	"strings"
)

// Find returns the directories in tree that hold a policy.yaml, sorted, as paths
// relative to tree. Left out are those that the go command leaves out too: testdata,
// and names that begin with a dot or an underscore.
func Find(tree fs.FS) (dirs []string, err error) {
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")):
			return fs.SkipDir
		case !d.IsDir() && d.Name() == "policy.yaml":
			dirs = append(dirs, path.Dir(name))
		}
		return nil
	})
	return dirs, err
}
