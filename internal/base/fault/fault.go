// Package fault is the one typed error that crosses Ward's boundaries: a kind
// for machines, a public sentence for people outside, and the full cause for
// the log.
//
// It guarantees that the public text of an error without a Fault in its chain is
// the fixed "internal error", so that no cause leaks by accident.
package fault

import (
	"errors"
	"net/http"
)

// Kind says what sort of failure it is. The zero Kind is Internal.
type Kind uint8

// The kinds.
const (
	Internal    Kind = iota // a bug, or a machine that fails: the cause stays inside
	Usage                   // the command line is wrong
	Invalid                 // the input is wrong, and the public text says where
	Refused                 // policy says no
	NotFound                // the named thing isn't there
	Conflict                // it is there already, or runs already
	Exhausted               // a limit is reached
	Unavailable             // a peer doesn't answer; trying again may help
	Unsupported             // this machine can't do it
)

type row struct {
	name   string
	status int
	exit   int
}

// table is the only place that maps kinds to the outside.
var table = [...]row{
	Internal:    {"internal", http.StatusInternalServerError, 1},
	Usage:       {"usage", http.StatusBadRequest, 2},
	Invalid:     {"invalid", http.StatusBadRequest, 1},
	Refused:     {"refused", http.StatusForbidden, 1},
	NotFound:    {"not_found", http.StatusNotFound, 1},
	Conflict:    {"conflict", http.StatusConflict, 1},
	Exhausted:   {"exhausted", http.StatusTooManyRequests, 1},
	Unavailable: {"unavailable", http.StatusServiceUnavailable, 1},
	Unsupported: {"unsupported", http.StatusNotImplemented, 1},
}

// String is the kind's stable name, as in logs and JSON.
func (k Kind) String() string { return k.row().name }

// Status is the HTTP status of the kind.
func (k Kind) Status() int { return k.row().status }

// Exit is the exit code of the kind: 1 refused or findings, 2 usage.
func (k Kind) Exit() int { return k.row().exit }

func (k Kind) row() row {
	if int(k) >= len(table) {
		return table[Internal]
	}
	return table[k]
}

// Error is a failure with a public face.
type Error struct {
	Kind   Kind
	Public string // a sentence for whoever asked; never holds a secret or a cause
	Err    error  // the cause, for the log only; may be nil
}

// New returns an Error without a deeper cause.
func New(k Kind, public string) *Error { return &Error{Kind: k, Public: public} }

// Wrap returns an Error around a cause.
func Wrap(k Kind, public string, err error) *Error {
	return &Error{Kind: k, Public: public, Err: err}
}

// Error is the text for the log: public sentence and cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Public
	}
	return e.Public + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// PublicText is what may be shown outside for err.
func PublicText(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Public
	}
	return "internal error"
}
