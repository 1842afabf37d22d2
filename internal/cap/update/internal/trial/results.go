package trial

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// results are what tests came to.
type results struct {
	passed, failed map[string]bool
	output         string
}

// flap takes what another run of the same says: only what passed both times counts.
func (r *results) flap(other results) {
	for name := range r.passed {
		if !other.passed[name] {
			delete(r.passed, name)
			r.failed[name] = true
		}
	}
}

// broken are the tests that counted and don't pass.
func (r *results) broken(now results) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(r.passed)) {
		if !now.passed[name] {
			out = append(out, name)
		}
	}
	return out
}

func list(names []string) string { return strings.Join(names, ", ") }

// Limits of what is kept of a command's output.
const (
	maxTail  = 32 << 10
	maxLine  = 1 << 20
	maxTests = 200_000
)

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	if len(p) > maxTail {
		t.b = append(t.b[:0], p[len(p)-maxTail:]...)
		return len(p), nil
	}
	if t.b = append(t.b, p...); len(t.b) > 2*maxTail {
		t.b = append(t.b[:0], t.b[len(t.b)-maxTail:]...)
	}
	return len(p), nil
}

// String is the end without anything that steers a terminal.
func (t *tail) String() string {
	b := t.b[max(0, len(t.b)-maxTail):]
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), ""))
}

// events reads the lines of "go test -json" (go doc test2json). Longer lines and what isn't JSON tell nothing.
type events struct {
	results
	rest []byte
	skip bool // within a line that is too long
	text tail
}

func newEvents() *events {
	return &events{results: results{passed: map[string]bool{}, failed: map[string]bool{}}}
}

func (e *events) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			if e.rest = append(e.rest, p...); len(e.rest) > maxLine {
				e.rest, e.skip = nil, true
			}
			break
		}
		line := append(e.rest, p[:i]...)
		if !e.skip && len(line) <= maxLine {
			e.line(line)
		}
		e.rest, e.skip, p = nil, false, p[i+1:]
	}
	return n, nil
}

func (e *events) line(b []byte) {
	var x struct{ Action, Package, ImportPath, Test, Output string }
	if json.Unmarshal(b, &x) != nil {
		return
	}
	if x.Output != "" {
		_, _ = e.text.Write([]byte(x.Output)) // it can't fail
	}
	name := strings.TrimSpace(x.Package + " " + x.Test)
	if name == "" || len(e.passed)+len(e.failed) >= maxTests {
		return
	}
	switch x.Action {
	case "pass":
		if !e.failed[name] {
			e.passed[name] = true
		}
	case "fail":
		delete(e.passed, name)
		e.failed[name] = true
	}
}
