package model

import "fmt"

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

func protocolWords() words    { return words{"unknown", "http", "h2c", "grpc", "tcp"} }
func grantKindWords() words   { return words{"none", "any", "http", "ws", "grpc", "tcp"} }
func runtimeWords() words     { return words{"static", "go", "node", "python", "jvm"} }
func sensitivityWords() words { return words{"unset", "low", "medium", "high", "critical"} }
func readyWords() words       { return words{"default", "none", "tcp", "http"} }
func restartWords() words     { return words{"always", "on-failure", "never"} }
func forwardWords() words     { return words{"cookies", "authorization"} }
func registerWords() words    { return words{"closed", "open"} }
func factorWords() words      { return words{"required", "optional"} }
func clientGrantWords() words {
	return words{"authorization_code", "refresh_token", "client_credentials", "device_code", "token_exchange"}
}

func flagWords() words {
	return words{
		"brute-force", "credential-stuffing", "password-spraying", "refresh-reuse", "passkey-clone", "factor-fatigue",
		"impossible-travel", "new-device", "session-moved", "factors-removed", "enumeration",
	}
}

func responseWords() words {
	return words{"record", "slow", "step-up", "block", "end-sessions", "mail"}
}
func externalTLSWords() words { return words{"none", "passthrough", "originate"} }

// String is the word of ward.yaml.
func (p Protocol) String() string { return protocolWords().string(uint8(p)) }

// MarshalText gives the word of ward.yaml.
func (p Protocol) MarshalText() ([]byte, error) { return protocolWords().text("protocol", uint8(p)) }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (p *Protocol) UnmarshalText(b []byte) error {
	v, err := protocolWords().value("protocol", b)
	*p = Protocol(v)
	return err
}

// String is the word of ward.yaml.
func (k GrantKind) String() string { return grantKindWords().string(uint8(k)) }

// MarshalText gives the word of ward.yaml.
func (k GrantKind) MarshalText() ([]byte, error) {
	return grantKindWords().text("grant kind", uint8(k))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (k *GrantKind) UnmarshalText(b []byte) error {
	v, err := grantKindWords().value("grant kind", b)
	*k = GrantKind(v)
	return err
}

// String is the word of ward.yaml.
func (r Runtime) String() string { return runtimeWords().string(uint8(r)) }

// MarshalText gives the word of ward.yaml.
func (r Runtime) MarshalText() ([]byte, error) { return runtimeWords().text("runtime", uint8(r)) }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (r *Runtime) UnmarshalText(b []byte) error {
	v, err := runtimeWords().value("runtime", b)
	*r = Runtime(v)
	return err
}

// String is the word of ward.yaml.
func (s Sensitivity) String() string { return sensitivityWords().string(uint8(s)) }

// MarshalText gives the word of ward.yaml.
func (s Sensitivity) MarshalText() ([]byte, error) {
	return sensitivityWords().text("sensitivity", uint8(s))
}

// UnmarshalText reads what MarshalText gives, and nothing else.
func (s *Sensitivity) UnmarshalText(b []byte) error {
	v, err := sensitivityWords().value("sensitivity", b)
	*s = Sensitivity(v)
	return err
}

// String is the word of ward.yaml.
func (k ReadyKind) String() string { return readyWords().string(uint8(k)) }

// MarshalText gives the word of ward.yaml.
func (k ReadyKind) MarshalText() ([]byte, error) { return readyWords().text("ready kind", uint8(k)) }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (k *ReadyKind) UnmarshalText(b []byte) error {
	v, err := readyWords().value("ready kind", b)
	*k = ReadyKind(v)
	return err
}

// String is the word of ward.yaml.
func (r Restart) String() string { return restartWords().string(uint8(r)) }

// MarshalText gives the word of ward.yaml.
func (r Restart) MarshalText() ([]byte, error) { return restartWords().text("restart", uint8(r)) }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (r *Restart) UnmarshalText(b []byte) error {
	v, err := restartWords().value("restart", b)
	*r = Restart(v)
	return err
}

// String is the word of ward.yaml.
func (t ExternalTLS) String() string { return externalTLSWords().string(uint8(t)) }

// MarshalText gives the word of ward.yaml.
func (t ExternalTLS) MarshalText() ([]byte, error) { return externalTLSWords().text("tls", uint8(t)) }

// UnmarshalText reads what MarshalText gives, and nothing else.
func (t *ExternalTLS) UnmarshalText(b []byte) error {
	v, err := externalTLSWords().value("tls", b)
	*t = ExternalTLS(v)
	return err
}
