// Package code finds weak places in source code: by a few rules for every language (rules/*.yaml), for Go by gosec, and by analysers that
// are installed.
//
// The rules see one line at a time, without comments and with strings told apart. Guarantee: each file of a language that they know was
// searched, or a Problem says why not; a package that gosec couldn't load is a Problem; `#nosec` doesn't silence anything, it becomes a
// suppression with its reason; nothing of the tree is run. Not guaranteed: that what spans lines or is hidden is found. External
// analysers run as the user's own programs, outside any sandbox.
package code

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/gobox"
	"github.com/wardhq/ward/internal/finding"
)

// The bounds of a tree and of one file.
const (
	maxFile     = 4 << 20
	maxEntries  = 2_000_000
	maxFindings = 1_000 // of one file
	maxLine     = 2_000 // bytes; longer lines were written by programs, and are cut
)

// Options say where to look.
type Options struct {
	// Skip leaves a folder or file out, besides .git, node_modules and vendor, where others' code lies. nil skips none.
	Skip func(name string) bool
	// Box is asked for where gosec loads the code, if it does; nil, or its nil, for outside of any sandbox.
	Box func(context.Context) (*gobox.Box, error)
}

// Result is what was found, in the order of paths and lines.
type Result struct {
	Findings []finding.Finding
	Files    int // those that were searched
	Problems []finding.Problem
}

// Find searches the tree by the rules for every language. It fails only when ctx ends or the root can't be read; all else is a Problem.
// Symbolic links aren't followed. Tests aren't searched: what they do, they do to themselves.
func Find(ctx context.Context, fsys fs.FS, o Options) (Result, error) {
	rules, err := loadRules()
	if err != nil {
		return Result{}, err
	}
	var res Result
	entries := 0
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && name == ".":
			return err
		case err != nil:
			res.problem(name, "read: "+reason(err))
			return nil
		}
		if entries++; entries > maxEntries {
			res.problem(name, fmt.Sprintf("the tree has more than %d entries; what follows wasn't searched", maxEntries))
			return fs.SkipAll
		}
		skip := name != "." && o.Skip != nil && o.Skip(name)
		switch {
		case d.IsDir() && (skip || d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "vendor"):
			return fs.SkipDir
		case skip || !d.Type().IsRegular() || isTest(name):
			return nil
		}
		if l := languageOf(name); l != nil {
			res.file(rules, fsys, name, l)
		}
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("search code: %w", err)
	}
	return res, nil
}

func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

func (r *Result) problem(name, reason string) {
	r.Problems = append(r.Problems, finding.Problem{Path: name, Reason: reason})
}

// isTest tells files that only tests use.
func isTest(name string) bool {
	for dir := range strings.SplitSeq(path.Dir(name), "/") {
		switch dir {
		case "test", "tests", "testdata", "__tests__", "spec", "fixtures", "mocks", "__mocks__":
			return true
		}
	}
	base := path.Base(name)
	stem := strings.TrimSuffix(base, path.Ext(base))
	return strings.HasSuffix(stem, "_test") || strings.HasSuffix(stem, ".test") || strings.HasSuffix(stem, ".spec") || strings.HasSuffix(stem, "_spec") ||
		strings.HasPrefix(stem, "test_") || strings.HasSuffix(stem, "Test") || strings.HasSuffix(stem, "Tests")
}

func (r *Result) file(rules []*rule, fsys fs.FS, name string, l *language) {
	f, err := fsys.Open(name)
	if err != nil {
		r.problem(name, "read: "+reason(err))
		return
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		r.problem(name, "read: "+reason(err))
		return
	case len(src) > maxFile:
		r.problem(name, fmt.Sprintf("larger than %d MiB", maxFile>>20))
		return
	}
	r.Files++
	if bytes.IndexByte(src, 0) >= 0 {
		r.problem(name, "isn't text")
		return
	}
	found := judge(rules, l, src)
	if len(found) > maxFindings {
		r.problem(name, fmt.Sprintf("more than %d findings; the rest isn't listed", maxFindings))
		found = found[:maxFindings]
	}
	for i := range found {
		found[i].Location.Path = name
	}
	r.Findings = append(r.Findings, found...)
}

// judge applies the rules of a language to a text.
func judge(rules []*rule, l *language, src []byte) []finding.Finding {
	lower := lowered(src)
	rules = slices.DeleteFunc(slices.Clone(rules), func(r *rule) bool { return !slices.Contains(r.Languages, l.name) || !r.mayMatch(lower) })
	if len(rules) == 0 {
		return nil
	}
	code, blank := l.split(src)
	var out []finding.Finding
	lines, bare, words := bytes.Split(code, []byte("\n")), bytes.Split(blank, []byte("\n")), bytes.Split(lower, []byte("\n"))
	for _, r := range rules {
		for i := range lines {
			if !r.mayMatch(words[i]) {
				continue
			}
			text := lines[i]
			if r.Bare {
				text = bare[i]
			}
			text = text[:min(len(text), maxLine)]
			loc := r.pattern().FindIndex(text)
			if loc == nil || r.unless != nil && r.unless().Match(text) {
				continue
			}
			out = append(out, r.finding(finding.Location{Line: i + 1, Column: len([]rune(string(text[:loc[0]]))) + 1}))
		}
	}
	slices.SortStableFunc(out, func(a, b finding.Finding) int { return a.Location.Line - b.Location.Line })
	return out
}

// lowered is the text with its ASCII letters in lower case, byte for byte.
func lowered(src []byte) []byte {
	out := bytes.Clone(src)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
