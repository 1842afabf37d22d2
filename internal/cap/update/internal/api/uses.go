package api

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// Uses are the names that Go files use of what they import.
type Uses struct {
	// Imports are, by import path, the names that files give the package, beside its own; dot where all its names are in a file's own scope.
	Imports map[string]map[string]bool `json:"imports"`
	// Names are, by what stands before the dot, the names behind it: fmt → Println.
	Names map[string]map[string]bool `json:"names"`
	// Members are the names of fields and methods that are selected anywhere, or set in literals.
	Members map[string]bool `json:"members"`
}

const dot = "."

// Limits of a project.
const (
	maxFiles = 200_000
	maxFile  = 16 << 20
)

// UsesOf reads the Go files below dir, tests too, without those of other modules below it, of vendor and of testdata. Files that don't parse
// count as far as they do: the build tells about them.
func UsesOf(tree fs.FS, dir string) (*Uses, error) {
	u := &Uses{Imports: map[string]map[string]bool{}, Names: map[string]map[string]bool{}, Members: map[string]bool{}}
	files := 0
	err := fs.WalkDir(tree, dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != dir:
			if base := path.Base(name); base == "vendor" || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
				return fs.SkipDir
			}
			if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular() || path.Ext(name) != ".go":
			return nil
		}
		if files++; files > maxFiles {
			return fault.New(fault.Exhausted, fmt.Sprintf("it has more than %d Go files", maxFiles))
		}
		if st, err := e.Info(); err != nil || st.Size() > maxFile {
			return err
		}
		b, err := fs.ReadFile(tree, name)
		if err == nil {
			u.file(b)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for uses: %w", err)
	}
	return u, nil
}

func (u *Uses) file(b []byte) {
	f, _ := parser.ParseFile(token.NewFileSet(), "", b, parser.SkipObjectResolution) // what is wrong, the build tells
	if f == nil {
		return
	}
	for _, im := range f.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			continue
		}
		name := ""
		if im.Name != nil {
			name = im.Name.Name
		}
		add(u.Imports, p, name)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			u.Members[n.Sel.Name] = true
			if x, ok := n.X.(*ast.Ident); ok {
				add(u.Names, x.Name, n.Sel.Name)
			}
		case *ast.KeyValueExpr:
			if k, ok := n.Key.(*ast.Ident); ok {
				u.Members[k.Name] = true
			}
		}
		return true
	})
}

func add(to map[string]map[string]bool, key, value string) {
	if to[key] == nil {
		to[key] = map[string]bool{}
	}
	to[key][value] = true
}

// names tells whether a name of a package is used.
func (u *Uses) names(pkg *types.Package, name string) bool {
	for as := range u.Imports[pkg.Path()] {
		if as == dot || u.Names[cmp.Or(as, pkg.Name())][name] {
			return true
		}
	}
	return false
}
