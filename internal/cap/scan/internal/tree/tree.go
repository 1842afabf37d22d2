// Package tree is a tree of files of which each folder is read once, however many look through it.
//
// Guarantee: all who walk a Tree see the same entries of a folder, also while somebody changes it; files are opened anew each time. What is kept is bounded:
// folders beyond that are read anew, never left out. Not guaranteed: that a file that was listed is still there when it is opened.
package tree

import (
	"io/fs"
	"slices"
	"sync"
)

// maxKept is how many entries are kept, of about 100 bytes each.
const maxKept = 200_000

// Tree is a file system. It may be used concurrently.
type Tree struct {
	fs.FS
	limit int
	mu    sync.Mutex // guards all below
	kept  int
	dirs  map[string][]fs.DirEntry
}

// Of is a tree with the files of another.
func Of(fsys fs.FS) *Tree { return &Tree{FS: fsys, limit: maxKept, dirs: map[string][]fs.DirEntry{}} }

// ReadDir implements fs.ReadDirFS. A folder that can't be read, or not whole, isn't kept.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if entries, ok := t.dirs[name]; ok {
		return slices.Clone(entries), nil
	}
	entries, err := fs.ReadDir(t.FS, name)
	if err == nil && t.kept+len(entries) < t.limit {
		t.kept += len(entries) + 1
		t.dirs[name] = slices.Clone(entries)
	}
	return entries, err
}

// Stat implements fs.StatFS.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return fs.Stat(t.FS, name) }

// ReadFile implements fs.ReadFileFS.
func (t *Tree) ReadFile(name string) ([]byte, error) { return fs.ReadFile(t.FS, name) }

// Lstat implements fs.ReadLinkFS.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(t.FS, name) }

// ReadLink implements fs.ReadLinkFS.
func (t *Tree) ReadLink(name string) (string, error) { return fs.ReadLink(t.FS, name) }
