package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/finding"
)

const (
	maxLinks    = 40 // that are followed on the way to one file, as Linux does
	maxProblems = 20
	whiteout    = ".wh."
	opaque      = ".wh..wh..opq"
)

// tree is the merged file system: its names in memory, its contents in one file.
type tree struct {
	lim      limits
	data     *os.File
	size     int64
	root     *node
	entries  int
	unpacked int64
	packed   int64
	past     map[string][]*node // databases of packages, by path: all their versions, lowest layer first
	problems []finding.Problem
}

// node is one file, folder or symbolic link.
type node struct {
	name     string
	mode     fs.FileMode
	mtime    time.Time
	layer    int
	link     string // of a symbolic link, as it is written
	off      int64
	size     int64
	children map[string]*node
}

func (t *tree) close() error { return t.data.Close() }

// layer puts a layer over what is there (OCI image specification, layer.md).
func (t *tree) layer(n int, r io.Reader) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read its archive: %w", err)
		}
		if err := t.entry(n, h, in); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
}

func (t *tree) entry(n int, h *tar.Header, in io.Reader) error {
	if len(h.Name) > t.lim.name || len(h.Linkname) > t.lim.name {
		return fmt.Errorf("a name longer than %d bytes", t.lim.name)
	}
	if err := t.count(); err != nil {
		return err
	}
	name := inside(h.Name)
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		if len(t.problems) < maxProblems {
			t.problems = append(t.problems, finding.Problem{Path: strings.ToValidUTF8(name, "\uFFFD"), Reason: "the name of this file in the image is not UTF-8"})
		}
		return nil
	}
	if name == "." {
		return nil
	}
	dir, base := path.Split(name)
	parent, err := t.folder(n, path.Clean(dir))
	if err != nil {
		return err
	}
	if base == opaque {
		for _, c := range parent.children {
			prune(parent, c, n)
		}
		return nil
	}
	if hidden, ok := strings.CutPrefix(base, whiteout); ok {
		if c := parent.children[hidden]; c != nil {
			prune(parent, c, n)
		}
		return nil
	}
	return t.put(n, parent, name, h, in)
}

// put adds what a header describes, in place of what has its name.
func (t *tree) put(n int, parent *node, name string, h *tar.Header, in io.Reader) error {
	base := path.Base(name)
	c := &node{name: base, mode: h.FileInfo().Mode(), mtime: h.ModTime, layer: n}
	switch h.Typeflag {
	case tar.TypeDir:
		c.children = map[string]*node{}
		if old := parent.children[base]; old != nil && old.children != nil {
			c.children = old.children
		}
	case tar.TypeSymlink:
		c.link = h.Linkname
	case tar.TypeReg, tar.TypeGNUSparse:
		size, err := io.Copy(io.NewOffsetWriter(t.data, t.size), in)
		if err != nil {
			return err
		}
		c.off, c.size = t.size, size
		t.size += size
		if database(name) {
			t.past[name] = append(t.past[name], c)
		}
	case tar.TypeLink:
		target, _, err := t.walk("link", inside(h.Linkname), false)
		if err != nil || target.children != nil {
			return fmt.Errorf("a hard link to %.200q, which is no file", h.Linkname)
		}
		c.mode, c.link, c.off, c.size = target.mode, target.link, target.off, target.size
	default: // devices and pipes hold nothing
		delete(parent.children, base)
		return nil
	}
	parent.children[base] = c
	return nil
}

// prune removes what lower layers brought.
func prune(parent, c *node, n int) {
	for _, below := range c.children {
		prune(c, below, n)
	}
	if c.layer < n && len(c.children) == 0 {
		delete(parent.children, c.name)
	}
}

// folder is the folder at a path, made where there is none, through symbolic links as a container runtime goes.
func (t *tree) folder(n int, name string) (*node, error) {
	at, rest, err := t.walk("make", name, true)
	if err == nil {
		if at.children == nil {
			return nil, errors.New("it lies in what is no folder")
		}
		return at, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, part := range rest {
		if part == ".." || at.children == nil {
			return nil, errors.New("it lies in what is no folder")
		}
		if err := t.count(); err != nil {
			return nil, err
		}
		c := &node{name: part, mode: fs.ModeDir | 0o755, layer: n, children: map[string]*node{}}
		at.children[part] = c
		at = c
	}
	return at, nil
}

func (t *tree) count() error {
	t.entries++
	if t.entries > t.lim.entries {
		return fmt.Errorf("more than %d files and folders", t.lim.entries)
	}
	return nil
}

// inside is a path of the image without its way out: absolute ones and ".." start at the root.
func inside(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}

// walk goes to a path, through symbolic links; last says whether the last one is followed too. Where something isn't there, it returns the last folder that is,
// and the rest of the way.
func (t *tree) walk(op, name string, last bool) (*node, []string, error) {
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	stack := []*node{t.root} // the folders above, for ".."
	todo, links := split(name), 0
	for len(todo) > 0 {
		at, part := stack[len(stack)-1], todo[0]
		if part == ".." {
			stack = stack[:max(1, len(stack)-1)]
			todo = todo[1:]
			continue
		}
		if at.children == nil {
			return at, todo, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		c := at.children[part]
		if c == nil {
			return at, todo, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		todo = todo[1:]
		if c.mode&fs.ModeSymlink == 0 || len(todo) == 0 && !last {
			stack = append(stack, c)
			continue
		}
		if links++; links > maxLinks {
			return nil, nil, &fs.PathError{Op: op, Path: name, Err: errors.New("too many symbolic links")}
		}
		if strings.HasPrefix(c.link, "/") {
			stack = stack[:1]
		}
		todo = append(split(c.link), todo...)
	}
	return stack[len(stack)-1], nil, nil
}

func split(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

// Open opens a file or folder.
func (t *tree) Open(name string) (fs.File, error) {
	n, _, err := t.walk("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.children != nil {
		return &folder{info: n, entries: n.list()}, nil
	}
	return &file{SectionReader: io.NewSectionReader(t.data, n.off, n.size), info: n}, nil
}

// ReadDir lists a folder by name.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, _, err := t.walk("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if n.children == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	return n.list(), nil
}

// Stat follows links.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	n, _, err := t.walk("stat", name, true)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Lstat doesn't.
func (t *tree) Lstat(name string) (fs.FileInfo, error) {
	n, _, err := t.walk("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink is a symbolic link's target as it is written.
func (t *tree) ReadLink(name string) (string, error) {
	n, _, err := t.walk("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.link, nil
}

func (n *node) list() []fs.DirEntry {
	var out []fs.DirEntry
	for _, name := range sortedKeys(n.children) {
		out = append(out, fs.FileInfoToDirEntry(n.children[name]))
	}
	return out
}

// A node describes itself.

func (n *node) Name() string {
	if n.name == "" {
		return "."
	}
	return n.name
}
func (n *node) Size() int64        { return n.size }
func (n *node) Mode() fs.FileMode  { return n.mode }
func (n *node) ModTime() time.Time { return n.mtime }
func (n *node) IsDir() bool        { return n.mode.IsDir() }
func (n *node) Sys() any           { return nil }

type file struct {
	*io.SectionReader
	info *node
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type folder struct {
	info    *node
	entries []fs.DirEntry
}

func (f *folder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *folder) Close() error               { return nil }
func (f *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.Name(), Err: errors.New("is a folder")}
}

func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := f.entries
		f.entries = nil
		return out, nil
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	out := f.entries[:n]
	f.entries = f.entries[n:]
	return out, nil
}
