package model

import (
	"encoding"
	"testing"
)

// FuzzUnmarshalText holds for every enum that a word is read as what writes it, and
// that nothing else is read.
func FuzzUnmarshalText(f *testing.F) {
	for _, s := range []string{"", "http", "grpc", "any", "node", "critical", "on-failure", "originate", "HTTP", "invalid(9)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range []interface {
			encoding.TextUnmarshaler
			encoding.TextMarshaler
		}{new(Protocol), new(GrantKind), new(Runtime), new(Sensitivity), new(ReadyKind), new(Restart), new(ExternalTLS)} {
			if err := v.UnmarshalText([]byte(s)); err != nil {
				continue
			}
			if b, err := v.MarshalText(); err != nil || string(b) != s {
				t.Errorf("%T: %q became %q, %v", v, s, b, err)
			}
		}
	})
}
