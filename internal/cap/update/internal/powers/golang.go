package powers

import (
	"archive/zip"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/wardhq/ward/internal/base/fault"
)

// file looks at one file of an archive.
type file func(name string, content []byte, whole bool)

// eachOfZip reads a module zip (https://go.dev/ref/mod#zip-files): everything is below "path@version/".
func eachOfZip(archive []byte, limit int64, f file) error {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return fault.Wrap(fault.Invalid, "the module zip can't be read", err)
	}
	b := &budget{left: limit}
	for _, e := range z.File {
		if err := b.entry(); err != nil {
			return err
		}
		i := strings.Index(e.Name, "@")
		if i < 0 || strings.HasSuffix(e.Name, "/") {
			return fault.New(fault.Invalid, "the archive isn't a module zip")
		}
		name := local(e.Name[i+1:])
		r, err := e.Open()
		if err != nil {
			return fault.Wrap(fault.Invalid, "the module zip can't be read", err)
		}
		content, whole, err := b.read(r)
		r.Close()
		if err != nil {
			return err
		}
		f(name, content, whole)
	}
	return nil
}

// goImports are the powers that importing a package gives; its folders too, if it ends with a slash.
func goImports(p string) string {
	switch {
	case p == "net", strings.HasPrefix(p, "net/") && p != "net/url" && p != "net/netip" && p != "net/mail" && p != "net/textproto", strings.HasPrefix(p, "golang.org/x/net/"):
		return Network
	case p == "os/exec":
		return Exec
	case p == "os", p == "io/ioutil":
		return Files
	case p == "syscall", p == "runtime/cgo", strings.HasPrefix(p, "golang.org/x/sys/"):
		return Syscalls
	case p == "unsafe":
		return Unsafe
	case p == "C":
		return Native
	case p == "plugin":
		return Plugin
	}
	return ""
}

// goFile looks at a file of a module. Tests and their data aren't part of what others build.
func (c *collector) goFile(name string, content []byte, whole bool) {
	c.files++
	dir, ext := path.Dir(name), path.Ext(name)
	switch {
	case name == "":
		c.add(Unreadable, "")
		return
	case name == "go.mod":
		m, err := modfile.ParseLax(name, content, nil)
		if err != nil {
			c.add(Unreadable, name)
			return
		}
		for _, r := range m.Require {
			c.requires[r.Mod.Path] = true
		}
		return
	case strings.HasSuffix(name, "_test.go"), strings.Contains("/"+name, "/testdata/"):
		return
	case ext == ".s", ext == ".S", ext == ".syso", ext == ".c", ext == ".cc", ext == ".cpp", ext == ".m", ext == ".f", ext == ".swig", ext == ".swigcxx", ext == ".sx":
		c.add(Native, dir)
		return
	case ext != ".go":
		return
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || !whole {
		c.add(Unreadable, name)
	}
	if f == nil {
		return
	}
	for _, im := range f.Imports {
		p, _ := strconv.Unquote(im.Path.Value) // the parser has checked it, or the file is unreadable
		if power := goImports(p); power != "" {
			c.add(power, dir)
		}
	}
	for _, g := range f.Comments {
		for _, l := range g.List {
			if strings.HasPrefix(l.Text, "//go:linkname") {
				c.add(Linkname, dir)
			}
			if strings.HasPrefix(l.Text, "//go:cgo_") {
				c.add(Native, dir)
			}
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && calls(fn) {
			c.add(Init, dir)
		}
	}
}

// calls tells whether a function does more than set variables.
func calls(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.CallExpr, *ast.GoStmt, *ast.SendStmt:
			found = true
		}
		return !found
	})
	return found
}
