package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

func TestATableFitsIntoATerminal(t *testing.T) {
	rows := func() [][]string {
		return [][]string{{"ID", "WHAT", "N"}, {"7", strings.Repeat("söme wörds ", 20), "12"}, {"", "… and 3 more"}}
	}
	for name, c := range map[string]struct{ width, most int }{"wide": {300, 300}, "usual": {80, 80}, "narrow": {3, least + 10}} {
		all := rows()
		fit(all, 1, c.width)
		var b bytes.Buffer
		if err := Table(&b, 1, all); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > c.most || strings.Contains(line, "7 ") && (c.width > 250) == strings.Contains(line, "…") {
				t.Errorf("%s: %d characters in %q", name, n, line)
			}
		}
		if !strings.Contains(b.String(), "12") || !strings.Contains(b.String(), "… and 3 more") {
			t.Errorf("%s: other columns are cut:\n%s", name, b.String())
		}
	}
	var b bytes.Buffer
	if err := Table(&b, 1, rows()); err != nil || !strings.Contains(b.String(), strings.TrimSpace(rows()[1][1])) {
		t.Errorf("in a pipe it is cut: %v %s", err, b.String())
	}
}

func TestATerminalSaysItsWidth(t *testing.T) {
	p, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := unix.IoctlSetWinsize(int(p.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 101, Row: 20}); err != nil {
		t.Fatal(err)
	}
	if n := Width(p); n != 101 {
		t.Errorf("a terminal: %d", n)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if n := Width(w) + Width(&bytes.Buffer{}); n != 0 {
		t.Errorf("no terminal: %d", n)
	}
}
