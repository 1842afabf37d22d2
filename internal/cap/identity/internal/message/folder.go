package message

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/wardhq/ward/internal/base/clock"
)

// Folder is for development: mail becomes an .eml file that can be read as it is, a short message a .txt file. The
// files hold live codes; only their owner may read them.
type Folder struct {
	Path  string // made when it isn't there
	Clock clock.Clock
}

// Send implements Sender.
func (f *Folder) Send(_ context.Context, m Message) error {
	var b bytes.Buffer
	kind := ".eml"
	if strings.HasPrefix(m.To, "+") {
		if err := m.checkSMS(); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
		kind = ".txt"
		fmt.Fprintf(&b, "To: %s\n\n%s\n", m.To, m.Text.Reveal())
	} else {
		msg, err := compose(SMTPConfig{From: "ward@localhost", Clock: f.Clock}, "localhost", m, mail.NoEncoding)
		if err != nil {
			return fmt.Errorf("write message: %w", err)
		}
		if _, err := msg.WriteTo(&b); err != nil {
			return errors.New("write message: it can't be composed")
		}
	}
	if err := os.MkdirAll(f.Path, 0o700); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	name := f.Clock.Now().UTC().Format("20060102T150405.000000") + "-" + rand.Text()[:6] + kind
	hidden := filepath.Join(f.Path, "."+name)
	if err := os.WriteFile(hidden, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if err := os.Rename(hidden, filepath.Join(f.Path, name)); err != nil { // whoever watches the folder sees whole files only
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}
