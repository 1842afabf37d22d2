// Command ward-gosec judges the Go modules of a folder by gosec, as a library, and prints a code.Result as JSON. It is a program of its own
// because gosec brings zxcvbn-go, whose init functions would take 50 ms and 18 MB of every process of Ward.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/securego/gosec/v2"
	"github.com/securego/gosec/v2/analyzers"
	"github.com/securego/gosec/v2/issue"
	"github.com/securego/gosec/v2/rules"
	"golang.org/x/tools/go/packages"

	"github.com/wardhq/ward/internal/cap/scan/internal/code"
	"github.com/wardhq/ward/internal/finding"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ward-gosec:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: ward-gosec DIR")
	}
	res, err := search(ctx, args[0])
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// maxModules bounds the modules of a tree that gosec looks at.
const maxModules = 1_000

// search lets gosec judge every Go module below dir, but for tests and generated files. It needs the program go and the modules that the code
// asks for in go's cache: nothing is fetched. The compiler runs for their types; nothing that it makes is run, cgo and the switching of
// toolchains are off, and neither the environment's nor the tree's settings of go count. What couldn't be loaded is a Problem. It fails when
// ctx ends or the tree can't be read.
func search(ctx context.Context, dir string) (code.Result, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return code.Result{}, fmt.Errorf("search Go code: %w", err)
	}
	modules, stray, err := modulesOf(ctx, dir)
	if err != nil {
		return code.Result{}, fmt.Errorf("search Go code: %w", err)
	}
	s := &goSearch{dir: dir, files: map[string]bool{}}
	switch _, err := exec.LookPath("go"); {
	case len(modules) == 0 && stray == "":
		return s.result, nil
	case err != nil:
		s.problem(".", "Go code wasn't searched by gosec: go isn't installed")
		return s.result, nil
	}
	if stray != "" {
		s.problem(stray, "Go code outside any module; gosec can't load it")
	}
	if len(modules) > maxModules {
		s.problem(modules[maxModules], fmt.Sprintf("more than %d Go modules; from here on gosec looked at none", maxModules))
		modules = modules[:maxModules]
	}
	for _, m := range modules {
		if err := s.module(ctx, m); err != nil {
			return code.Result{}, fmt.Errorf("search Go code: %w", err)
		}
	}
	s.result.Files = len(s.files)
	slices.SortStableFunc(s.result.Findings, func(a, b finding.Finding) int {
		if n := strings.Compare(a.Location.Path, b.Location.Path); n != 0 {
			return n
		}
		return a.Location.Line - b.Location.Line
	})
	return s.result, nil
}

// modulesOf lists the folders with a go.mod, slash-separated, and a Go file that is in none of them.
func modulesOf(ctx context.Context, dir string) (modules []string, stray string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	var sources []string
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil:
			return nil // Find reports it
		}
		switch {
		case d.IsDir() && (name != "." && slices.Contains([]string{".git", "node_modules", "vendor", "testdata"}, d.Name())):
			return fs.SkipDir
		case d.Name() == "go.mod" && d.Type().IsRegular():
			modules = append(modules, filepath.ToSlash(filepath.Dir(name)))
		case strings.HasSuffix(name, ".go") && d.Type().IsRegular() && !strings.HasSuffix(name, "_test.go"):
			sources = append(sources, name)
		}
		return nil
	})
	if slices.Contains(modules, ".") {
		return modules, "", err
	}
	for _, s := range sources {
		if !slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(s, m+"/") }) {
			return modules, s, err
		}
	}
	return modules, "", err
}

// goSearch is one call of Go.
type goSearch struct {
	dir    string
	files  map[string]bool
	result code.Result
}

func (s *goSearch) problem(name, reason string) {
	s.result.Problems = append(s.result.Problems, finding.Problem{Path: name, Reason: reason})
}

// module judges the packages of one module, in the folder m of the tree.
func (s *goSearch) module(ctx context.Context, m string) error {
	loaded, err := packages.Load(&packages.Config{Context: ctx, Mode: gosec.LoadMode, Dir: filepath.Join(s.dir, m), Env: goEnvironment()}, "./...")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.problem(m, "gosec couldn't load it: "+firstLine(err.Error()))
		return nil
	}
	for _, p := range loaded {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(p.Errors) > 0 {
			s.problem(s.place(p, m), fmt.Sprintf("gosec couldn't load all of package %s: %s", p.PkgPath, firstLine(p.Errors[0].Error())))
		}
		if len(p.Syntax) == 0 {
			continue
		}
		for _, f := range p.CompiledGoFiles {
			s.files[f] = true
		}
		for _, why := range s.judge(p) {
			s.problem(s.place(p, m), "gosec: "+why)
		}
	}
	return nil
}

// place is the folder of a package in the tree.
func (s *goSearch) place(p *packages.Package, module string) string {
	if len(p.GoFiles) > 0 {
		if name, ok := s.inTree(p.GoFiles[0]); ok {
			return filepath.ToSlash(filepath.Dir(name))
		}
	}
	return module
}

func (s *goSearch) inTree(file string) (string, bool) {
	name, err := filepath.Rel(s.dir, file)
	return filepath.ToSlash(name), err == nil && filepath.IsLocal(name)
}

// judge returns what gosec couldn't do.
func (s *goSearch) judge(p *packages.Package) (problems []string) {
	defer func() {
		if broken := recover(); broken != nil {
			problems = append(problems, firstLine(fmt.Sprint("broke down: ", broken)))
		}
	}()
	var said trouble
	a := gosec.NewAnalyzer(gosec.NewConfig(), false, true, true, 1, slog.NewLogLogger(&said, slog.LevelInfo))
	a.LoadRules(rules.Generate(true).RulesInfo())
	a.LoadAnalyzers(analyzers.Generate(true).AnalyzersInfo())
	a.CheckRules(p)
	a.CheckAnalyzers(p)
	found, _, errs := a.Report()
	for _, i := range found {
		name, ok := s.inTree(i.File)
		if ok {
			s.result.Findings = append(s.result.Findings, goFinding(i, name))
		}
	}
	for file, list := range errs {
		for _, e := range list {
			said = append(said, fmt.Sprintf("%s:%d: %s", filepath.Base(file), e.Line, firstLine(e.Err)))
		}
	}
	return said
}

// trouble keeps of gosec's chatter what it says in no other way: that it left analyses out.
type trouble []string

// Enabled is slog.Handler's, as are the others.
func (t *trouble) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a line.
func (t *trouble) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "Error") || strings.Contains(r.Message, "panic") {
		*t = append(*t, firstLine(r.Message))
	}
	return nil
}

// WithAttrs isn't asked for by a log.Logger.
func (t *trouble) WithAttrs([]slog.Attr) slog.Handler { return t }

// WithGroup neither.
func (t *trouble) WithGroup(string) slog.Handler { return t }

func goFinding(i *issue.Issue, name string) finding.Finding {
	first, _, _ := strings.Cut(i.Line, "-")
	line, errLine := strconv.Atoi(first)
	column, errColumn := strconv.Atoi(i.Col)
	if err := errors.Join(errLine, errColumn); err != nil {
		line, column = 0, 0 // the whole file
	}
	f := finding.Finding{
		ID: i.RuleID, Kind: finding.Code, Tool: "gosec", Title: firstLine(i.What), Severity: severityOf(i.Severity), Fix: i.Autofix,
		Location: finding.Location{Path: name, Line: line, Column: column},
	}
	if i.Cwe != nil {
		f.Detail, f.URL = i.Cwe.Name+" (CWE-"+i.Cwe.ID+")", i.Cwe.SprintURL()
	}
	if i.Confidence == issue.Low {
		f.Unsure = "gosec has little confidence in it"
	}
	for _, x := range i.Suppressions {
		why := x.Justification
		if why == "" {
			why = "no reason given"
		}
		f.Suppressed = &finding.Suppression{By: "#nosec", Reason: why}
	}
	return f
}

func severityOf(s issue.Score) finding.Severity {
	switch s {
	case issue.High:
		return finding.High
	case issue.Medium:
		return finding.Medium
	case issue.Low:
		return finding.Low
	}
	return finding.SeverityUnknown
}

// goEnvironment is what go gets of ours: where its caches are.
func goEnvironment() []string {
	out := []string{
		"GOPROXY=off", "GOFLAGS=", "GOENV=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOSUMDB=off", "GOVCS=*:off", "GOPACKAGESDRIVER=off", "GOTELEMETRY=off", "LC_ALL=C",
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOPATH", "GOCACHE", "GOMODCACHE", "GOROOT", "XDG_CACHE_HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:299]) + "…"
	}
	return s
}
