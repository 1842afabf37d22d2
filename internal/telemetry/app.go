package telemetry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// App is what a service says of a span of its own, and who said it. A SpanRecord with one has no verdict: it is no hop of Ward's.
type App struct {
	Service    string      `json:"service"` // who sent it, as its listener tells
	Name       string      `json:"name"`
	Kind       Kind        `json:"kind,omitempty"`
	Failed     bool        `json:"failed,omitempty"`
	Message    string      `json:"message,omitempty"` // why it failed
	Attributes []Attribute `json:"attributes,omitempty"`
	Cut        int         `json:"cut,omitempty"` // how many attributes were left out
}

// Attribute is something that a service says of a span; what isn't a string is written as one.
type Attribute struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Kind is a span's kind, by OTLP's numbers.
type Kind uint8

// The kinds.
const (
	KindUnknown Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

// String is OpenTelemetry's word, in lower case.
func (k Kind) String() string {
	if k > KindConsumer {
		k = KindUnknown
	}
	return [...]string{"unknown", "internal", "server", "client", "producer", "consumer"}[k]
}

// Limits of an App, in bytes; all strings of one together have at most MaxApp.
const (
	MaxName       = 128
	MaxKey        = 64
	MaxValue      = 256
	MaxAttributes = 32
	MaxApp        = 1400
)

// Size is how many bytes its strings have.
func (a *App) Size() int {
	n := len(a.Service) + len(a.Name) + len(a.Message)
	for i := range a.Attributes {
		n += len(a.Attributes[i].Key) + len(a.Attributes[i].Value)
	}
	return n
}

// IsPlain tells whether it keeps to the limits, and can be printed.
func (a *App) IsPlain() bool {
	plain := func(s string, most int) bool {
		return len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	}
	if !plain(a.Name, MaxName) || !plain(a.Message, MaxValue) || len(a.Attributes) > MaxAttributes || a.Kind > KindConsumer || a.Cut < 0 {
		return false
	}
	for i := range a.Attributes {
		if !plain(a.Attributes[i].Key, MaxKey) || !plain(a.Attributes[i].Value, MaxValue) {
			return false
		}
	}
	return a.Size() <= MaxApp
}

// AppCount is how many spans of a service were looked at, how many of them there was no room for, and how many requests with spans were refused.
type AppCount struct {
	Service string `json:"service"`
	Taken   uint64 `json:"taken"`
	Lost    uint64 `json:"lost"`
	Refused uint64 `json:"refused,omitempty"`
}
