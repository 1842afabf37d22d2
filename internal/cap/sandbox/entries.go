package sandbox

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/sandbox/internal/spec"
)

// maxEntries bounds the entries that are shown one by one.
const maxEntries = 400

// holdsHidden tells whether a hidden path lies in dir.
func (b *builder) holdsHidden(dir string) bool {
	return slices.ContainsFunc(b.host.Hide, func(h string) bool { return h != dir && within(h, dir) })
}

// ownEntries shows a folder that holds hidden paths entry by entry, without them. A mask over a file isn't enough: an
// editor saves by renaming a new file over the old one, and the mask goes with the old. What comes into
// the folder itself later is seen at the next start; what comes into its folders, at once.
func (b *builder) ownEntries(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	b.spec.Dirs = append(b.spec.Dirs, dir)
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if b.hidden(path) {
			continue
		}
		if b.entries++; b.entries > maxEntries {
			return fmt.Errorf("%s holds ward.yaml and more than %d entries; give the service a workdir of its own", dir, maxEntries)
		}
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.spec.Links = append(b.spec.Links, spec.Link{Path: path, To: to})
		case e.IsDir() && b.holdsHidden(path):
			err = b.ownEntries(path)
		case e.IsDir() || e.Type().IsRegular():
			err = b.mountOwn(path, path, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hidden tells whether a path is hidden, or is what an editor or Ward keeps beside a hidden file while it changes.
func (b *builder) hidden(path string) bool {
	dir, name := filepath.Split(path)
	return slices.ContainsFunc(b.host.Hide, func(h string) bool {
		hDir, hName := filepath.Split(h)
		return within(path, h) || dir == hDir && (strings.HasPrefix(name, hName) || strings.HasPrefix(name, "."+hName) || strings.HasPrefix(name, ".ward"))
	})
}
