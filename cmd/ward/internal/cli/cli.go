// Package cli is what the verbs of the command line have in common: what they may touch, how they read the model, speak to a running
// application, and print.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Env is what a command may touch of the world; tests hand in another one.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
}

// ErrFindings ends a command with exit code 1 when what it had to say is already printed.
var ErrFindings = errors.New("findings")

// WriteJSON prints v indented, for people and machines.
func WriteJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func WriteText(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}

// Background is the context of commands that end by themselves.
func Background(c *cobra.Command) context.Context {
	if ctx := c.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// Today is the day on which observe rules are judged, in UTC as everywhere in Ward.
func Today() string { return time.Now().UTC().Format(time.DateOnly) }

// Took is how long something took, for people; "-" for 0.
func Took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Count is "1 thing" or "n things".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Clean takes away what would steer the reader's terminal: an attacker chooses paths.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}
