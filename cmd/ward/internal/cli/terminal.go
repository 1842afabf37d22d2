package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
)

// IsTerminal tells whether a person is reading: only then are there colours.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Width is how many characters a line of a terminal has; 0 where it is none, or doesn't say: then nothing is cut.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// least is how much is left of what is cut, in characters: of less nobody could tell what it was.
const least = 12

// Cut is a text of at most n characters, or least; "…" stands for its rest. An n of 0 or less cuts it to least.
func Cut(s string, n int) string {
	n = max(n, least)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:n-1]), " ") + "…"
}

// Table writes rows with columns of one width each. Where w is a terminal, the column long is cut so that lines fit into it.
func Table(w io.Writer, long int, rows [][]string) error {
	if width := Width(w); width > 0 {
		fit(rows, long, width)
	}
	t := tabwriter.NewWriter(w, 0, 0, between, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t")+"\t")
	}
	return t.Flush()
}

// between is how many spaces follow each column.
const between = 2

func fit(rows [][]string, long, width int) {
	widest := map[int]int{}
	for _, r := range rows {
		for i, cell := range r {
			widest[i] = max(widest[i], utf8.RuneCountInString(cell))
		}
	}
	for i, n := range widest {
		if width -= between; i != long {
			width -= n
		}
	}
	for _, r := range rows {
		if long < len(r) {
			r[long] = Cut(r[long], width)
		}
	}
}

// ExactArgs is cobra.ExactArgs as a usage error.
func ExactArgs(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return fault.New(fault.Usage, fmt.Sprintf("%d arguments instead of %d; see '%s --help'", len(args), n, c.CommandPath()))
		}
		return nil
	}
}

// IsInput tells whether a person is writing.
func IsInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// PromptHidden asks on the terminal for one line, and doesn't show it.
func PromptHidden(e Env, prompt string) ([]byte, error) {
	fd := int(e.In.(*os.File).Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("ask on the terminal: %w", err)
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, fmt.Errorf("ask on the terminal: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }() // the terminal may have gone
	fmt.Fprint(e.Err, prompt)
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := e.In.Read(b)
		if n == 1 && b[0] != '\n' {
			line = append(line, b[0])
			continue
		}
		fmt.Fprintln(e.Err)
		if err != nil && len(line) == 0 {
			return nil, fmt.Errorf("read from the terminal: %w", err)
		}
		return line, nil
	}
}
