package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// print writes the table and what follows from it.
func (r *Report) print(w io.Writer, color bool) error {
	var b strings.Builder
	b.WriteString("\n")
	r.table(&b, color)
	stopped, open := 0, 0
	for i := range r.Rows {
		switch row := &r.Rows[i]; {
		case row.With.Succeeded:
			open++
		case row.With.Layer != "":
			stopped++
		}
	}
	b.WriteString("\n\"mailer:\" is done inside of that service, taken over by an order whose note its template engine runs.\n")
	fmt.Fprintf(&b, "%d attacks: %d stopped, %d open. The shop without Ward %s, with Ward %s.\n",
		len(r.Rows), stopped, open, r.Without.text(), r.With.text())
	for i := range r.Rows {
		if row := &r.Rows[i]; !row.asExpected() {
			fmt.Fprintf(&b, "\nnot as it should be: %s\n  without Ward: %s\n  with Ward:    %s\n", row.Attack, row.Without.Evidence, row.With.Evidence)
		}
	}
	fmt.Fprintf(&b, "All of it happened just now, in %.1f s; --json shows the evidence of each cell.\n", r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

// Colours of a terminal (ECMA-48, SGR).
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plainC = "\x1b[0m"
)

func (r *Report) table(b *strings.Builder, color bool) {
	rows := [][]string{{"ATTACK", "HOLE", "WITHOUT", "WITH WARD", "STOPPED BY"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		rows = append(rows, []string{row.Attack, row.Hole, row.Without.word(), row.With.word(), row.last()})
	}
	width := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, c := range cells {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for n, cells := range rows {
		for i, c := range cells {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2)
			if i == len(cells)-1 {
				pad = "\n"
			}
			if color && n > 0 && (i == 2 || i == 3) {
				c = r.Rows[n-1].color(i == 3) + c + plainC
			}
			b.WriteString(c + pad)
		}
	}
}

func (r *Row) color(with bool) string {
	switch {
	case !with && r.Without.Succeeded:
		return red
	case with && r.With.Layer != "":
		return green
	case with && r.With.Succeeded:
		return red
	}
	return yellow
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

// last is the last cell: the layer that stopped the attack.
func (r *Row) last() string {
	switch {
	case r.With.Succeeded:
		return "NOTHING"
	case r.With.Layer != "":
		return r.With.Layer
	}
	return "nothing of Ward's, see below"
}

func (s *Session) text() string {
	if s.OK {
		return "works"
	}
	return "DOESN'T WORK (" + s.Detail + ")"
}
