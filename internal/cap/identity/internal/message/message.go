// Package message sends what people get from Ward: mail by SMTP, short messages by a webhook or Twilio's API, and
// for development files in a folder. A Renderer writes the texts, a Queue sends them.
//
// Guarantee: nothing that a person typed reaches a header, or looks like a link or markup in a body; credentials
// and bodies are in no log and no error; mail leaves only over TLS that was verified, except to this machine. The
// Queue holds a bounded number, tries again with growing pauses until a message is of no use any more, and its Run
// waits for all it started. Not guaranteed: delivery, and that waiting messages outlive the process.
package message

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/wardhq/ward/internal/base/secret"
)

// Message is one to one person.
type Message struct {
	To      string       // mail address, or phone number as E.164
	Subject string       // mail only
	Text    secret.Bytes // it may hold codes
	HTML    secret.Bytes // mail only, and optional
	Expires time.Time    // from then on it's of no use and isn't sent
}

// Sender sends one message. It must be safe for concurrent use. An error that is ErrPermanent will come again.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// ErrPermanent says that trying again won't help.
var ErrPermanent = errors.New("the message was refused for good")

// Limits.
const (
	maxAddress = 254      // bytes (RFC 5321 §4.5.3.1.3)
	maxSubject = 200      // bytes
	maxBody    = 64 << 10 // bytes
	maxSMS     = 480      // characters: some three to seven segments
	maxReply   = 16 << 10 // bytes of an HTTP answer that are read
	maxSending = time.Minute
)

// ParseAddress checks a mail address: one plain addr-spec (RFC 5322 §3.4.1) without display name, comment, quotes or
// domain literal. It returns it unchanged.
func ParseAddress(s string) (string, error) {
	a, err := mail.ParseAddress(s)
	if err != nil || len(s) > maxAddress || a.Address != s || strings.ContainsAny(s, "\"<>()[]\\,;: \t") || hasControl(s) {
		return "", errors.New("parse mail address: it isn't a plain address")
	}
	if local, _, _ := strings.Cut(s, "@"); len(local) > 64 || strings.Count(s, "@") != 1 {
		return "", errors.New("parse mail address: it isn't a plain address")
	}
	return s, nil
}

// ParsePhone checks a phone number as E.164: "+", then 8 to 15 digits. It returns it unchanged.
func ParsePhone(s string) (string, error) {
	digits, ok := strings.CutPrefix(s, "+")
	if !ok || len(digits) < 8 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" || digits[0] == '0' {
		return "", errors.New("parse phone number: write it like +493012345678")
	}
	return s, nil
}

func (m Message) checkMail() error {
	if _, err := ParseAddress(m.To); err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if m.Subject == "" || len(m.Subject) > maxSubject || hasControl(m.Subject) || len(m.Text.Reveal()) == 0 || len(m.Text.Reveal())+len(m.HTML.Reveal()) > maxBody {
		return fmt.Errorf("%w: subject or body has an unusual size or control characters", ErrPermanent)
	}
	return nil
}

func (m Message) checkSMS() error {
	if _, err := ParsePhone(m.To); err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if n := len([]rune(string(m.Text.Reveal()))); n == 0 || n > maxSMS {
		return fmt.Errorf("%w: the text has %d characters", ErrPermanent, n)
	}
	return nil
}

// hasControl also finds invalid UTF-8, and what turns the direction of text.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar || r == '\u2028' || r == '\u2029'
	})
}
