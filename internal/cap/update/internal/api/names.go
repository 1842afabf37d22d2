package api

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"strconv"
	"strings"
)

// importer gives the packages of a module, and for all others packages that hold just the names which are used of them.
type importer struct {
	own    *source
	others map[string]map[string]bool // by import path
}

// Import implements types.Importer.
func (i importer) Import(p string) (*types.Package, error) {
	if p == "unsafe" {
		return types.Unsafe, nil
	}
	pkg, err := i.own.Import(p)
	if err == nil {
		return pkg, nil
	}
	return i.own.stand(p, i.others[p]), nil
}

// stand is a package in place of one that isn't known: each name is a type of its own, so that io.Reader and io.Writer differ. Where a name
// stands for a value, the type checker knows it isn't one, and takes what follows for unknown.
func (s *source) stand(p string, names map[string]bool) *types.Package {
	pkg := types.NewPackage(p, guess(p))
	for name := range names {
		t := types.NewTypeName(token.NoPos, pkg, name, nil)
		types.NewNamed(t, types.NewInterfaceType(nil, nil).Complete(), nil)
		pkg.Scope().Insert(t)
	}
	pkg.MarkComplete()
	return pkg
}

// namesOf are the names that files use of each package that they import; where a package's name isn't its path's end, of all that they might be.
func namesOf(files []*ast.File) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, f := range files {
		byName := map[string][]string{}
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				continue
			}
			if out[p] == nil {
				out[p] = map[string]bool{}
			}
			if im.Name != nil {
				byName[im.Name.Name] = append(byName[im.Name.Name], p)
			} else {
				byName[guess(p)] = append(byName[guess(p)], p)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if _, ok := n.(*ast.BlockStmt); ok {
				return false // bodies aren't checked
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok {
				for _, p := range byName[x.Name] {
					out[p][sel.Sel.Name] = true
				}
			}
			return true
		})
	}
	return out
}

// guess is the name that a package has by its path: gopkg.in/yaml.v3 is yaml, x/v2 is x. Where it is another, its types are unknown on both sides.
func guess(p string) string {
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	if i := strings.LastIndex(base, ".v"); i > 0 {
		base = base[:i]
	}
	return strings.TrimPrefix(base, "go-")
}
