package lexis

import (
	"errors"
	"fmt"
	"strings"
)

// hinted is an error that knows what to do about it.
type hinted struct{ msg, hint string }

// Error is the message without the hint.
func (h *hinted) Error() string { return h.msg }

// Errorf is an error with a hint of what to do about it.
func Errorf(hint, format string, args ...any) error {
	return &hinted{msg: fmt.Sprintf(format, args...), hint: hint}
}

// Hint is the hint that an error carries, "" if none.
func Hint(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// Clip shortens what a message repeats.
func Clip(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
