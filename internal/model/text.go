package model

import (
	"fmt"

	"github.com/wardhq/ward/internal/model/vocabulary"
)

// words maps an enum's values to the words that stand for them in ward.yaml and in JSON.
// A word is unique within its enum, and index is value.
type words []string

func (w words) text(kind string, v uint8) ([]byte, error) {
	if int(v) >= len(w) {
		return nil, fmt.Errorf("write %s: no word for value %d", kind, v)
	}
	return []byte(w[v]), nil
}

func (w words) value(kind string, b []byte) (uint8, error) {
	for i, s := range w {
		if s == string(b) {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("read %s: unknown word %q", kind, b)
}

func (w words) string(v uint8) string {
	if int(v) >= len(w) {
		return fmt.Sprintf("invalid(%d)", v)
	}
	return w[v]
}

// String is the word of ward.yaml.
func (p Protocol) String() string { return words(vocabulary.Protocols()).string(uint8(p)) }

// MarshalText gives the word of ward.yaml.
func (p Protocol) MarshalText() ([]byte, error) {
	return words(vocabulary.Protocols()).text("protocol", uint8(p))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (p *Protocol) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.Protocols()).value("protocol", b)
	*p = Protocol(v)
	return err
}

// String is the word of ward.yaml.
func (k GrantKind) String() string { return words(vocabulary.GrantKinds()).string(uint8(k)) }

// MarshalText gives the word of ward.yaml.
func (k GrantKind) MarshalText() ([]byte, error) {
	return words(vocabulary.GrantKinds()).text("grant kind", uint8(k))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (k *GrantKind) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.GrantKinds()).value("grant kind", b)
	*k = GrantKind(v)
	return err
}

// String is the word of ward.yaml.
func (r Runtime) String() string { return words(vocabulary.Runtimes()).string(uint8(r)) }

// MarshalText gives the word of ward.yaml.
func (r Runtime) MarshalText() ([]byte, error) {
	return words(vocabulary.Runtimes()).text("runtime", uint8(r))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (r *Runtime) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.Runtimes()).value("runtime", b)
	*r = Runtime(v)
	return err
}

// String is the word of ward.yaml.
func (s Sensitivity) String() string { return words(vocabulary.Sensitivities()).string(uint8(s)) }

// MarshalText gives the word of ward.yaml.
func (s Sensitivity) MarshalText() ([]byte, error) {
	return words(vocabulary.Sensitivities()).text("sensitivity", uint8(s))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (s *Sensitivity) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.Sensitivities()).value("sensitivity", b)
	*s = Sensitivity(v)
	return err
}

// String is the word of ward.yaml.
func (k ReadyKind) String() string { return words(vocabulary.ReadyKinds()).string(uint8(k)) }

// MarshalText gives the word of ward.yaml.
func (k ReadyKind) MarshalText() ([]byte, error) {
	return words(vocabulary.ReadyKinds()).text("ready kind", uint8(k))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (k *ReadyKind) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.ReadyKinds()).value("ready kind", b)
	*k = ReadyKind(v)
	return err
}

// String is the word of ward.yaml.
func (r Restart) String() string { return words(vocabulary.Restarts()).string(uint8(r)) }

// MarshalText gives the word of ward.yaml.
func (r Restart) MarshalText() ([]byte, error) {
	return words(vocabulary.Restarts()).text("restart", uint8(r))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (r *Restart) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.Restarts()).value("restart", b)
	*r = Restart(v)
	return err
}

// String is the word of ward.yaml.
func (t ExternalTLS) String() string { return words(vocabulary.ExternalTLS()).string(uint8(t)) }

// MarshalText gives the word of ward.yaml.
func (t ExternalTLS) MarshalText() ([]byte, error) {
	return words(vocabulary.ExternalTLS()).text("tls", uint8(t))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (t *ExternalTLS) UnmarshalText(b []byte) error {
	v, err := words(vocabulary.ExternalTLS()).value("tls", b)
	*t = ExternalTLS(v)
	return err
}
