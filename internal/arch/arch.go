// Package arch holds the house's conventions as rules that run in tests: which level may import
// which, how large things may be, what every package and parser must have.
//
// Guarantee: each rule finds the breach that its test plants. Not guaranteed: good taste.
package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const modulePath = "github.com/wardhq/ward/"

// Rule is one convention.
type Rule struct {
	Name  string
	Check func(*Tree) []string // what breaks it, one sentence each
}

// Rules are all of them.
func Rules() []Rule {
	return []Rule{
		{"imports point to lower levels", checkLevels},
		{"forbidden imports", checkForbidden},
		{"sizes", checkSizes},
		{"no init functions", checkInit},
		{"one package comment of at most 15 lines", checkComments},
		{"capabilities have a README with the agreed sections", checkReadmes},
		{"every exported parser has a fuzz test", checkFuzz},
	}
}

// File is one Go file.
type File struct {
	Path   string // slash-separated, from the root of the module
	AST    *ast.File
	Source []byte
	Test   bool
}

// Package is a folder of Go files.
func (f *File) Package() string { return path.Dir(f.Path) }

// Tree is the module's source.
type Tree struct {
	FS    fs.FS
	Set   *token.FileSet
	Files []*File
}

// Read parses every Go file of the main module.
func Read(fsys fs.FS) (*Tree, error) {
	t := &Tree{FS: fsys, Set: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || p == "bench" || p == "tools" || p == "examples") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(t.Set, p, src, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("parse %s: %w", p, err)
		}
		t.Files = append(t.Files, &File{Path: p, AST: file, Source: src, Test: strings.HasSuffix(p, "_test.go")})
		return nil
	})
	return t, err
}

// level of a package in DESIGN's layout; -1 for one that has no place there.
func level(pkg string) int {
	for _, l := range []struct {
		prefix string
		level  int
	}{
		{"sdk/", 0},
		{"internal/base/", 0},
		{"internal/model", 1},
		{"internal/plan", 2},
		{"internal/wire", 3},
		{"internal/ledger", 3},
		{"internal/store", 3},
		{"internal/proxy", 3},
		{"internal/learn", 3},
		{"internal/telemetry", 3},
		{"internal/capability", 3},
		{"internal/txn", 3},
		{"internal/leak", 3},
		{"internal/seal", 3},
		{"internal/pglogin", 3},
		{"internal/finding", 3},
		{"internal/cap/", 4},
		{"internal/console", 5},
		{"internal/control", 5},
		{"internal/agent", 5},
		{"internal/prove", 5},
		{"internal/up", 6},
		{"internal/caps", 6},
		{"internal/wardtest", 7},
		{"internal/demo", 7},
		{"internal/arch", 0},
		{"cmd/", 8},
	} {
		if pkg == l.prefix || strings.HasPrefix(pkg, strings.TrimSuffix(l.prefix, "/")+"/") {
			return l.level
		}
	}
	return -1
}

// capability is the name of the capability that a package belongs to, or "".
func capability(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, "internal/cap/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func checkLevels(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		from := level(f.Package())
		if from < 0 {
			out = append(out, fmt.Sprintf("%s: its folder has no level; give it one in internal/arch, or another place", f.Path))
			continue
		}
		if f.Test {
			continue // tests may use the whole world
		}
		for _, im := range f.AST.Imports {
			to, ok := strings.CutPrefix(importPath(im), modulePath)
			if !ok {
				continue
			}
			switch a, b := capability(f.Package()), capability(to); {
			case level(to) > from:
				out = append(out, fmt.Sprintf("%s: level %d imports %s of level %d", f.Path, from, to, level(to)))
			case a != "" && b != "" && a != b:
				out = append(out, fmt.Sprintf("%s: capability %s imports capability %s; they meet in the plan", f.Path, a, b))
			}
		}
	}
	return out
}

func importPath(im *ast.ImportSpec) string {
	p, _ := strconv.Unquote(im.Path.Value) // the parser has checked it
	return p
}

const (
	drawsFromCrypto = "security code draws from crypto/rand"
	structuredLogs  = "slog, so that every line has keys"
)

// forbidden imports, each with its reason.
var forbidden = []struct{ pkg, imports, reason string }{
	{"sdk", "^github.com/wardhq/ward/internal", "a service's own program doesn't carry the server"},
	{"internal/model", "^(net|net/http|os|time|math/rand.*|crypto/rand)$", "the model is what the file says, on every machine and day"},
	{"internal/plan", "^(net|net/http|os|time|math/rand.*|crypto/rand)$", "equal models give equal plans"},
	{"internal/base/canon", "^(net/http|net/url)$", "one reading of a request, ours; net/url forgives what others read otherwise"},
	{"internal", "^(github.com/ory/fosite|github.com/open-policy-agent/opa|github.com/casbin/casbin|github.com/lestrrat-go/jwx|github.com/stretchr/testify).*", "see DESIGN §9: frozen, slow or heavy"},
	{"internal/base", "^(math/rand|math/rand/v2)$", drawsFromCrypto},
	{"internal/cap", "^(math/rand|math/rand/v2)$", drawsFromCrypto},
	{"internal/console", "^(math/rand|math/rand/v2)$", drawsFromCrypto},
	{"internal/control", "^(math/rand|math/rand/v2)$", drawsFromCrypto},
	{"internal/agent", "^(math/rand|math/rand/v2)$", drawsFromCrypto},
	{"internal/cap", "^log$", structuredLogs},
	{"internal/console", "^log$", structuredLogs},
	{"internal/control", "^log$", structuredLogs},
	{"internal/agent", "^log$", structuredLogs},
	{"internal/up", "^log$", structuredLogs},
}

func checkForbidden(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		for _, im := range f.AST.Imports {
			for _, r := range forbidden {
				if within(f.Package(), r.pkg) && regexp.MustCompile(r.imports).MatchString(importPath(im)) {
					out = append(out, fmt.Sprintf("%s imports %s: %s", f.Path, importPath(im), r.reason))
				}
			}
		}
	}
	return out
}

func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// The house's sizes.
const (
	maxFile      = 600  // lines
	maxFunction  = 80   // lines
	maxMethods   = 6    // of an interface
	maxParams    = 5    // of a function
	maxPackage   = 3000 // lines, without tests
	maxPkgDocLen = 15   // lines
)

// larger are the exceptions; the list may only shrink. The key is the path, or path and name.
var larger = map[string]string{}

func checkSizes(t *Tree) []string {
	var out []string
	add := func(key, format string, args ...any) {
		if _, ok := larger[key]; !ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	packages := map[string]int{}
	for _, f := range t.Files {
		lines := strings.Count(string(f.Source), "\n")
		if !f.Test {
			packages[f.Package()] += lines
		}
		if lines > maxFile {
			add(f.Path, "%s has %d lines, more than %d", f.Path, lines, maxFile)
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				key := f.Path + " " + n.Name.Name
				if l := t.lines(n); l > maxFunction && !f.Test {
					add(key, "%s: %s has %d lines, more than %d", f.Path, n.Name.Name, l, maxFunction)
				}
				if p := n.Type.Params.NumFields(); p > maxParams && !f.Test {
					add(key, "%s: %s has %d parameters, more than %d", f.Path, n.Name.Name, p, maxParams)
				}
			case *ast.InterfaceType:
				if m := n.Methods.NumFields(); m > maxMethods {
					add(f.Path, "%s: an interface has %d methods, more than %d", f.Path, m, maxMethods)
				}
			}
			return true
		})
	}
	for pkg, n := range packages {
		if n > maxPackage {
			add(pkg, "%s has %d lines, more than %d", pkg, n, maxPackage)
		}
	}
	slices.Sort(out)
	return out
}

func (t *Tree) lines(n ast.Node) int {
	return t.Set.Position(n.End()).Line - t.Set.Position(n.Pos()).Line + 1
}

func checkInit(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, f.Path+" has an init function; call it from main, so that many worlds fit one process")
			}
		}
	}
	return out
}

func checkComments(t *Tree) []string {
	comments, seen := map[string]int{}, map[string]bool{}
	var out []string
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		seen[f.Package()] = true
		if f.AST.Doc == nil {
			continue
		}
		comments[f.Package()]++
		if n := t.lines(f.AST.Doc); n > maxPkgDocLen {
			out = append(out, fmt.Sprintf("%s: the package comment has %d lines, more than %d", f.Path, n, maxPkgDocLen))
		}
	}
	for pkg := range seen {
		if comments[pkg] != 1 {
			out = append(out, fmt.Sprintf("%s has %d package comments instead of one", pkg, comments[pkg]))
		}
	}
	slices.Sort(out)
	return out
}

// readmeSections are what the README of every capability says, in this order.
var readmeSections = []string{"# ", "## Threat", "## Model words", "## Commands", "## Metrics", "## Failure", "## Probes"}

func checkReadmes(t *Tree) []string {
	caps := map[string]bool{}
	for _, f := range t.Files {
		if c := capability(f.Package()); c != "" {
			caps[c] = true
		}
	}
	var out []string
	for c := range caps {
		file := "internal/cap/" + c + "/README.md"
		b, err := fs.ReadFile(t.FS, file)
		if err != nil {
			out = append(out, file+" is missing")
			continue
		}
		rest := "\n" + string(b)
		for _, s := range readmeSections {
			i := strings.Index(rest, "\n"+s)
			if i < 0 {
				out = append(out, fmt.Sprintf("%s has no section %q in its place", file, s))
				break
			}
			rest = rest[i+1:]
		}
	}
	slices.Sort(out)
	return out
}

var parserName = regexp.MustCompile(`^(Parse|Decode|Unmarshal)`)

func checkFuzz(t *Tree) []string {
	fuzzed := map[string]string{} // package → names and bodies of its fuzz tests
	for _, f := range t.Files {
		if !f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				from, to := t.Set.Position(fn.Pos()).Offset, t.Set.Position(fn.End()).Offset
				fuzzed[f.Package()] += string(f.Source[from:to])
			}
		}
	}
	var out []string
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || !parserName.MatchString(fn.Name.Name) {
				continue
			}
			if !strings.Contains(fuzzed[f.Package()], fn.Name.Name) {
				out = append(out, fmt.Sprintf("%s: no fuzz test of its package calls %s", f.Path, fn.Name.Name))
			}
		}
	}
	return out
}
