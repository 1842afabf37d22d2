package cli

import (
	"fmt"
	"io"
	"os"

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
