// Command judge measures what Ward makes of gosec against gosec's own samples: each has a rule, and the number of places where the rule must
// speak. -dir names gosec's sources, as Go's module cache has them; the program ward-gosec must be in PATH. The samples become the packages
// of one module, with the requirements of this one, and are looked at as a team's tree would be: with every rule, and gosec's own settings.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/code"
)

func main() {
	dir := flag.String("dir", "", "gosec's sources")
	verbose := flag.Bool("v", false, "show what differs")
	flag.Parse()
	if err := run(*dir, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

// sample is one of gosec's.
type sample struct {
	rule, name string
	files      []string
	places     int
	settings   bool // it comes with settings of its own
}

func run(dir string, verbose bool) error {
	samples, err := samplesOf(dir)
	if err != nil {
		return fmt.Errorf("read gosec's samples: %w", err)
	}
	tree, err := os.MkdirTemp("", "judge")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	for i, s := range samples {
		if err := s.write(filepath.Join(tree, folder(i))); err != nil {
			return err
		}
	}
	if err := requirements(tree); err != nil {
		return err
	}
	res, err := code.Go(context.Background(), tree, code.Options{})
	if err != nil {
		return err
	}
	found, problems := map[string]map[string]int{}, map[string]string{} // by folder
	for _, f := range res.Findings {
		at := path.Dir(f.Location.Path)
		if found[at] == nil {
			found[at] = map[string]int{}
		}
		if f.Suppressed == nil {
			found[at][f.ID]++
		}
	}
	for _, p := range res.Problems {
		problems[p.Path] = p.Reason
		if p.Path == "." {
			return errors.New(p.Reason)
		}
	}
	compare(samples, found, problems, verbose)
	return nil
}

func folder(i int) string { return fmt.Sprintf("s%04d", i) }

// compare prints how many samples have the number of places that gosec expects.
func compare(samples []sample, found map[string]map[string]int, problems map[string]string, verbose bool) {
	type score struct{ all, told, equal int }
	bad, good, settings, unloaded := score{}, score{}, 0, 0
	for i, s := range samples {
		to, got := &good, found[folder(i)][s.rule]
		if s.places > 0 {
			to = &bad
		}
		to.all++
		if got > 0 {
			to.told++
		}
		if got == s.places {
			to.equal++
			continue
		}
		if s.settings {
			settings++
		} else if problems[folder(i)] != "" {
			unloaded++
		}
		if verbose {
			fmt.Printf("%s %s: want %d, got %d, settings %t, problem %q\n", s.rule, s.name, s.places, got, s.settings, problems[folder(i)])
		}
	}
	fmt.Printf("bad %d: told of %d, as many places as expected %d\ngood %d: told of %d\n", bad.all, bad.told, bad.equal, good.all, good.told)
	fmt.Printf("of the differences %d are of samples with settings of their own, %d of samples that couldn't be loaded; problems in all: %d\n", settings, unloaded, len(problems))
}

// samplesOf reads which samples are for which rule out of gosec's tests, and the samples out of its testutils.
func samplesOf(dir string) ([]sample, error) {
	lists := map[string][]sample{}
	files, err := filepath.Glob(filepath.Join(dir, "testutils", "*_samples.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == 1 && len(v.Values) == 1 {
				if list, ok := v.Values[0].(*ast.CompositeLit); ok {
					lists[v.Names[0].Name] = listed(v.Names[0].Name, list)
				}
			}
			return true
		})
	}
	var out []sample
	for _, name := range []string{"rules/rules_test.go", "analyzers/analyzers_test.go"} {
		src, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		for _, m := range regexp.MustCompile(`runner\("(G\d+)", testutils\.(\w+)\)`).FindAllStringSubmatch(string(src), -1) {
			if lists[m[2]] == nil {
				return nil, fmt.Errorf("no samples are called %s", m[2])
			}
			if m[1] != "G601" { // which its tests leave out, too, as of Go 1.22
				for _, s := range lists[m[2]] {
					s.rule = m[1]
					out = append(out, s)
				}
			}
			delete(lists, m[2])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		fmt.Printf("of no rule: %s (%d)\n", name, len(lists[name]))
	}
	return out, nil
}

// listed reads {[]string{…}, n, config}, again and again.
func listed(name string, list *ast.CompositeLit) []sample {
	var out []sample
	for i, e := range list.Elts {
		c, ok := e.(*ast.CompositeLit)
		if !ok || len(c.Elts) < 2 {
			continue
		}
		s := sample{name: fmt.Sprintf("%s[%d]", name, i)}
		for _, field := range c.Elts {
			s.field(value(field))
		}
		out = append(out, s)
	}
	return out
}

func value(e ast.Expr) ast.Expr {
	if kv, ok := e.(*ast.KeyValueExpr); ok {
		return kv.Value
	}
	return e
}

// field takes a field of a sample in: files, number or settings.
func (s *sample) field(e ast.Expr) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s.places, _ = strconv.Atoi(e.Value)
	case *ast.CallExpr: // gosec.NewConfig(), or a function that sets something, too
		_, literal := e.Fun.(*ast.FuncLit)
		s.settings = s.settings || literal
	case *ast.CompositeLit:
		if _, ok := e.Type.(*ast.ArrayType); !ok {
			s.settings = true
			return
		}
		for _, file := range e.Elts {
			s.files = append(s.files, text(file))
		}
	}
}

// text is a string, of literals.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	case *ast.ParenExpr:
		return text(e.X)
	}
	return ""
}

func (s *sample) write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, f := range s.files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("sample_%d.go", i)), []byte(f), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// requirements gives the samples this module's.
func requirements(tree string) error {
	for _, name := range []string{"go.mod", "go.sum"} {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(src), "\n")
		if name == "go.mod" {
			src = []byte("module judge.test/samples\n" + rest)
		}
		if err := os.WriteFile(filepath.Join(tree, name), src, 0o600); err != nil {
			return err
		}
	}
	return nil
}
