package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Revision names this plan: the hex SHA-256 of its JSON, in which equal plans
// are equal.
func (p *Plan) Revision() string {
	b, err := json.Marshal(p)
	if err != nil {
		// Only an enum value without a word gets here, which Build never makes.
		panic(fmt.Errorf("write plan: %w", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// String is the word that JSON uses.
func (m Mode) String() string {
	switch m {
	case Enforce:
		return "enforce"
	case Observe:
		return "observe"
	default:
		return "unset"
	}
}

// MarshalText gives the word of String; an unknown value is an error.
func (m Mode) MarshalText() ([]byte, error) {
	if m > Observe {
		return nil, fmt.Errorf("write mode: no word for value %d", m)
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (m *Mode) UnmarshalText(b []byte) error {
	for v := ModeUnset; v <= Observe; v++ {
		if v.String() == string(b) {
			*m = v
			return nil
		}
	}
	*m = ModeUnset
	return fmt.Errorf("read mode: unknown word %q", b)
}
