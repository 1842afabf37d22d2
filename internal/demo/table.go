package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// print writes the table.
func (r *Report) print(w io.Writer) error {
	rows := [][]string{{"ATTACK", "HOLE", "WITHOUT WARD", "WITH WARD", "STOPPED BY"}}
	stopped, open := 0, 0
	for i := range r.Rows {
		row := &r.Rows[i]
		rows = append(rows, []string{row.Attack, row.Hole, row.Without.word(), row.With.word(), row.last()})
		switch {
		case row.With.Succeeded:
			open++
		case row.With.Layer != "":
			stopped++
		}
	}
	width := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	b.WriteByte('\n')
	for _, cells := range rows {
		line := ""
		for i, c := range cells {
			line += c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "\n%d attacks: %d stopped, %d still open.\n", len(r.Rows), stopped, open)
	fmt.Fprintf(&b, "The shop without Ward: %s. With Ward: %s.\n", r.Without.text(), r.With.text())
	for i := range r.Rows {
		if row := &r.Rows[i]; !row.asExpected() {
			fmt.Fprintf(&b, "\nunexpected: %s\n  without Ward: %s\n  with Ward:    %s\n", row.Attack, row.Without.Evidence, row.With.Evidence)
		}
	}
	fmt.Fprintf(&b, "All in %.1f s; 'ward demo --once --json' shows the evidence of each cell.\n", r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) word() string {
	switch {
	case r.Succeeded:
		return "succeeds"
	case r.Layer != "":
		return "stopped"
	}
	return "fails"
}

// last is the last cell: the layer that stopped the attack, or why it is open.
func (r *Row) last() string {
	switch {
	case r.With.Layer != "":
		return r.With.Layer
	case r.With.Succeeded && r.Later != "":
		return "open: " + r.Later
	case r.With.Succeeded:
		return "NOTHING"
	}
	return "nothing of Ward's: " + words(r.With.Evidence)
}

func (s *Session) text() string {
	if s.OK {
		return "works (" + s.Detail + ")"
	}
	return "DOESN'T WORK: " + s.Detail
}
