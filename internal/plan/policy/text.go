package policy

import "fmt"

// String is the word that JSON and the ledger use.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case Allowed:
		return "allowed"
	case AllowedByObserve:
		return "allowed-by-observe"
	case NoRule:
		return "no-rule"
	case NoRoute:
		return "no-route"
	case NoMethod:
		return "no-method"
	case WrongProtocol:
		return "wrong-protocol"
	case UnknownPeer:
		return "unknown-peer"
	case Quarantined:
		return "quarantined"
	case NeedsUser:
		return "needs-user"
	case NeedsFactor:
		return "needs-factor"
	case OtherUser:
		return "other-user"
	case ConditionFailed:
		return "condition-failed"
	default:
		return fmt.Sprintf("invalid(%d)", uint8(r))
	}
}

// MarshalText gives the word of String; an unknown value is an error.
func (r Reason) MarshalText() ([]byte, error) {
	if r > ConditionFailed {
		return nil, fmt.Errorf("write reason: no word for value %d", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (r *Reason) UnmarshalText(b []byte) error {
	for v := ReasonNone; v <= ConditionFailed; v++ {
		if v.String() == string(b) {
			*r = v
			return nil
		}
	}
	*r = ReasonNone
	return fmt.Errorf("read reason: unknown word %q", b)
}
