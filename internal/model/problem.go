package model

import (
	"fmt"
	"strings"
)

// Severity says whether a Problem makes the Model unusable. The zero Severity
// is Error.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// String is "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText makes the severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing to say about a line of ward.yaml.
type Problem struct {
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule,omitempty"` // of a warning: its kind, such as "broad-grant"
	File     string   `json:"file"`
	Pos      Pos      `json:"pos"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`    // what to do about it
	Excerpt  string   `json:"excerpt,omitempty"` // the line, cut to a readable length around Pos
	// Caret is where in Excerpt the place stands, in characters from 0.
	Caret int `json:"caret"`
}

// Problems are in the order of the file.
type Problems []Problem

// HasErrors says that at least one Problem is an Error.
func (ps Problems) HasErrors() bool { return ps.Count(Error) > 0 }

// Count is the number of problems of one severity.
func (ps Problems) Count(s Severity) int {
	n := 0
	for i := range ps {
		if ps[i].Severity == s {
			n++
		}
	}
	return n
}

// Only is the problems of one severity.
func (ps Problems) Only(s Severity) Problems {
	var out Problems
	for _, p := range ps {
		if p.Severity == s {
			out = append(out, p)
		}
	}
	return out
}

// String is every problem, each as Problem.String.
func (ps Problems) String() string {
	var b strings.Builder
	for i := range ps {
		b.WriteString(ps[i].String())
	}
	return b.String()
}

// String is "name:line:col: error: message", the line with a caret under the
// place, and the hint; it ends with a line feed.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Pos.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Pos.Line, p.Pos.Col)
	}
	fmt.Fprintf(&b, ": %s: %s\n", p.Severity, p.Message)
	if p.Excerpt != "" {
		fmt.Fprintf(&b, "    %s\n    %s^\n", p.Excerpt, strings.Repeat(" ", p.Caret))
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "    hint: %s\n", p.Hint)
	}
	return b.String()
}
