// Package credential finds credentials where none belongs: in the files of a tree and in git's history. Rules are data (rules/*.yaml):
// keywords, a pattern, what it opens, how to revoke it, and examples that run as tests.
//
// One pass over a file finds the keywords; patterns are tried only there. Guarantee: each file was searched by every rule, or it is
// counted as binary, or a Problem says why not; no finding holds a credential, only its kind, at most the 4 first characters of a public
// prefix, and 16 bits of a keyed hash. Not guaranteed: that a credential still works, and that one without a form of its own (a password in a sentence) is
// found. Nothing is sent anywhere.
package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/wardhq/ward/internal/finding"
)

// The bounds of a tree and of one file.
const (
	maxFile     = 32 << 20
	maxEntries  = 2_000_000
	maxFindings = 1_000 // of one file
	sniffed     = 8_000 // bytes that tell what is binary, as git has it
)

// Options say where to look.
type Options struct {
	// Skip leaves a folder or file out, besides .git and node_modules, where others' files lie. nil skips none.
	Skip func(name string) bool
	// Tree is what Find said of the same repository: History leaves out what is in it already. nil leaves out nothing.
	Tree *Result
}

// Result is what was found, in the order of paths and lines.
type Result struct {
	Findings []finding.Finding
	Files    int // files, or versions of files, that were searched
	Binary   int // those that weren't, because they aren't text
	Problems []finding.Problem

	values map[digest]bool // the credentials, so that History knows them again; never leaves this process
}

// Find searches every text file of the tree. It fails only when ctx ends or the root can't be read; all else is a Problem. Symbolic
// links aren't followed. Concurrent calls don't share anything.
func Find(ctx context.Context, fsys fs.FS, o Options) (Result, error) {
	m, err := newMatcher()
	if err != nil {
		return Result{}, err
	}
	res, entries := Result{values: map[digest]bool{}}, 0
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
		case d.IsDir() && (skip || d.Name() == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case skip || !d.Type().IsRegular():
			return nil
		}
		res.file(m, fsys, name)
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("find credentials: %w", err)
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

func (r *Result) file(m *matcher, fsys fs.FS, name string) {
	f, err := fsys.Open(name)
	if err != nil {
		r.problem(name, "read: "+reason(err))
		return
	}
	defer f.Close()
	src, text, err := read(f)
	switch {
	case err != nil:
		r.problem(name, "read: "+reason(err))
	case namedKeystore(name) || !text && isKeystore(src):
		r.Files++
		r.take(m.keystore(src), finding.Location{Path: name})
	case !text && calledText(name):
		r.problem(name, "isn't text, whatever its name says; it wasn't searched")
	case !text:
		r.Binary++
	default:
		r.Files++
		r.text(m, name, src)
	}
}

// text searches a file's content.
func (r *Result) text(m *matcher, name string, src []byte) {
	hits := m.find(name, src)
	if len(hits) > maxFindings {
		r.problem(name, fmt.Sprintf("looks like more than %d credentials; the rest isn't listed", maxFindings))
		hits = hits[:maxFindings]
	}
	lines := lineCounter{src: src}
	for _, h := range hits {
		if h.rule.guesses() && dull(name, src) {
			continue
		}
		at := lines.at(h.start)
		at.Path = name
		r.take(h, at)
	}
}

func (r *Result) take(h hit, at finding.Location) {
	r.values[h.value] = true
	r.Findings = append(r.Findings, h.finding(at))
}

// lineCounter tells lines of offsets that only grow.
type lineCounter struct {
	src         []byte
	line, start int // line counts from 0; start is where it begins
}

func (l *lineCounter) at(offset int) finding.Location {
	for {
		i := bytes.IndexByte(l.src[l.start:offset], '\n')
		if i < 0 {
			return finding.Location{Line: l.line + 1, Column: len([]rune(string(l.src[l.start:offset]))) + 1}
		}
		l.line, l.start = l.line+1, l.start+i+1
	}
}
