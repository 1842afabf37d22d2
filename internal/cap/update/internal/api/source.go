package api

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"path"
	"runtime"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// Limits of an archive.
const (
	maxEntries = 50_000
	maxTotal   = 256 << 20
)

// source is one version of a module, whose packages are type-checked when they are asked for. It is a types.Importer of its own packages.
type source struct {
	module string
	files  map[string]map[string][]byte // by import path and name: Go files without tests
	done   map[string]*types.Package
	set    *token.FileSet
}

func open(module string, archive []byte) (*source, error) {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "the module zip can't be read", err)
	}
	if len(z.File) > maxEntries {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("the module zip has more than %d entries", maxEntries))
	}
	s := &source{module: module, files: map[string]map[string][]byte{}, done: map[string]*types.Package{}, set: token.NewFileSet()}
	left := int64(maxTotal)
	for _, e := range z.File {
		// "path@version/" comes first; a path may have slashes, a version has none.
		_, rest, ok := strings.Cut(e.Name, "@")
		_, name, _ := strings.Cut(rest, "/")
		if !ok || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || path.Clean("/"+name) != "/"+name {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "the module zip can't be read", err)
		}
		b, err := io.ReadAll(io.LimitReader(r, min(left, maxFile)+1))
		r.Close()
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "the module zip can't be read", err)
		}
		if left -= int64(len(b)); left < 0 || len(b) > maxFile {
			return nil, fault.New(fault.Exhausted, "the module zip unpacks to too much")
		}
		at := path.Join(module, path.Dir(name))
		if s.files[at] == nil {
			s.files[at] = map[string][]byte{}
		}
		s.files[at][path.Base(name)] = b
	}
	return s, nil
}

// errElsewhere is for packages of others: the type checker goes on with what package names holds.
var errElsewhere = errors.New("not of this module")

// Import type-checks a package of the module, declarations alone.
func (s *source) Import(p string) (*types.Package, error) {
	if done, ok := s.done[p]; ok {
		if done == nil {
			return nil, fault.New(fault.Conflict, "the import of "+p+" leads back to itself")
		}
		return done, nil
	}
	if s.files[p] == nil {
		return nil, errElsewhere
	}
	s.done[p] = nil
	files, err := s.parse(p)
	if err != nil {
		delete(s.done, p)
		return nil, err
	}
	conf := types.Config{
		IgnoreFuncBodies: true, FakeImportC: true, Importer: importer{s, namesOf(files)}, Error: func(error) {}, Sizes: types.SizesFor("gc", runtime.GOARCH),
	}
	pkg, _ := conf.Check(p, s.set, files, nil) // what isn't known of others is no error here
	if pkg == nil {
		return nil, fault.New(fault.Invalid, "it can't be checked")
	}
	s.done[p] = pkg
	return pkg, nil
}

// parse reads the files that are built here.
func (s *source) parse(p string) ([]*ast.File, error) {
	c := build.Context{
		GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Compiler: "gc", CgoEnabled: false, ReleaseTags: build.Default.ReleaseTags,
		JoinPath: path.Join,
		OpenFile: func(name string) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(s.files[p][path.Base(name)])), nil
		},
	}
	var files []*ast.File
	for name, b := range s.files[p] {
		if ok, err := c.MatchFile(p, name); err != nil || !ok {
			continue // what can't be read, the parser below would tell of; what isn't built here doesn't count
		}
		f, err := parser.ParseFile(s.set, name, b, parser.SkipObjectResolution)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "it can't be parsed", err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Invalid, "it has no files for this system")
	}
	return files, nil
}
