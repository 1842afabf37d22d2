package pglogin

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Startup is what a client wants.
type Startup struct {
	// User and Database are what it said, for messages alone: neither counts.
	User, Database string
	// Parameters are settings for the session that it may choose.
	Parameters map[string]string
	// Cancel, if not nil, is all that it wants.
	Cancel *Key

	minor  uint32   // protocol 3.minor
	unsaid []string // options of the protocol that nobody here knows
}

// Key lets a client cancel what one of its sessions does.
type Key struct {
	PID    uint32
	Secret []byte
}

// The first word of a client's message that isn't a startup.
const (
	codeCancel = 80877102
	codeTLS    = 80877103
	codeGSS    = 80877104
)

// maxStartup is PostgreSQL's own bound (MAX_STARTUP_PACKET_LENGTH), in bytes.
const maxStartup = 10000

// ReadStartup reads a client's wish, and answers no when it asks for encryption: inside the sandbox there is nobody to hide from. A
// *Error is for Refuse.
func ReadStartup(c io.ReadWriter) (*Startup, error) {
	asked := [2]bool{}
	for {
		body, err := readStartupMessage(c)
		if err != nil {
			return nil, err
		}
		code := binary.BigEndian.Uint32(body)
		switch code {
		case codeTLS, codeGSS:
			if asked[code-codeTLS] || len(body) != 4 {
				return nil, &Error{Code: CodeProtocol, Message: "encryption was asked for twice, or with more in the same message"}
			}
			asked[code-codeTLS] = true
			if _, err := c.Write([]byte{'N'}); err != nil {
				return nil, fmt.Errorf("answer the client: %w", err)
			}
			continue
		case codeCancel:
			if len(body) < 4+4+4 || len(body) > 4+4+256 {
				return nil, &Error{Code: CodeProtocol, Message: "not a key to cancel with"}
			}
			return &Startup{Cancel: &Key{PID: binary.BigEndian.Uint32(body[4:]), Secret: body[8:]}}, nil
		}
		if code>>16 != 3 {
			return nil, &Error{Code: CodeUnsupported, Message: "only version 3 of PostgreSQL's protocol is spoken here, without TLS (sslmode=prefer or disable): Ward encrypts what leaves the sandbox"}
		}
		return parseStartup(code&0xffff, body[4:])
	}
}

// readStartupMessage reads exactly one message without type.
func readStartupMessage(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read from the client: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > maxStartup {
		return nil, &Error{Code: CodeProtocol, Message: "this isn't how PostgreSQL's protocol begins; TLS from the first byte isn't spoken here (sslnegotiation=postgres)"}
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read from the client: %w", err)
	}
	return body, nil
}

// parseStartup reads names and values, each with a zero behind it, and a zero at the end.
func parseStartup(minor uint32, b []byte) (*Startup, error) {
	s := &Startup{minor: minor, Parameters: map[string]string{}}
	seen := map[string]bool{}
	for {
		name, rest, ok := bytes.Cut(b, []byte{0})
		if ok && len(name) == 0 && len(rest) == 0 {
			return s, nil
		}
		value, rest, both := bytes.Cut(rest, []byte{0})
		if !ok || !both || len(name) == 0 || seen[string(name)] {
			return nil, &Error{Code: CodeProtocol, Message: "the startup message has no one reading"}
		}
		b, seen[string(name)] = rest, true
		if err := s.take(string(name), string(value)); err != nil {
			return nil, err
		}
	}
}

func (s *Startup) take(name, value string) error {
	switch {
	case name == "user":
		s.User = value
	case name == "database":
		s.Database = value
	case strings.HasPrefix(name, "_pq_."):
		s.unsaid = append(s.unsaid, name)
	case slices.Contains(chosen(), strings.ToLower(name)):
		s.Parameters[name] = value
	default:
		return &Error{Code: CodeAuthorization, Message: fmt.Sprintf("Ward doesn't pass %q on when a connection begins; set it with SET afterwards", clip(name))}
	}
	return nil
}

// chosen are the settings that a client may bring along. Each is one that every user may SET at any time, and none says who
// it is, what is loaded, or which protocol is spoken.
func chosen() []string {
	return []string{
		"application_name", "client_encoding", "datestyle", "intervalstyle", "timezone", "extra_float_digits", "search_path", "statement_timeout", "lock_timeout",
		"idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout", "default_transaction_isolation", "default_transaction_read_only",
		"default_transaction_deferrable", "standard_conforming_strings", "bytea_output", "client_min_messages", "geqo", "jit", "work_mem",
	}
}

func clip(s string) string {
	const most = 64
	return strings.ToValidUTF8(s[:min(len(s), most)], "?")
}

// greeting begins what a client is told: the protocol that is spoken, and that it is logged in.
func (s *Startup) greeting() []byte {
	var b []byte
	if s.minor > 0 || len(s.unsaid) > 0 {
		b, _ = (&pgproto3.NegotiateProtocolVersion{UnrecognizedOptions: s.unsaid}).Encode(b) // far below the largest message
	}
	b, _ = (&pgproto3.AuthenticationOk{}).Encode(b) // as above
	return b
}
