// Package jose signs and checks compact JWTs (RFC 7515, 7517, 7519, 7638, 8725) and
// DPoP proofs (RFC 9449) on the standard library alone.
//
// It guarantees: a token is checked with the algorithm of the key, which must also be
// one that the caller allows, and "none" and HMAC don't exist here; a header never
// chooses or brings the key (DPoP's own jwk excepted, which proves possession only);
// claims can't be read before the signature held, but for Peek; each token and key has
// one encoding, no duplicate names, and bounded size and depth.
// Not guaranteed: single use. Whoever needs it keeps the jti until the token expires.
// An ES256 signature has a twin that is valid too: never tell tokens apart by it.
package jose

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Alg is a signature algorithm (RFC 7518 §3, RFC 8037 §3.1). The zero Alg verifies nothing.
type Alg string

// The algorithms.
const (
	ES256 Alg = "ES256" // ECDSA on P-256 with SHA-256
	RS256 Alg = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256
	PS256 Alg = "PS256" // RSASSA-PSS with SHA-256 and a salt of 32 bytes; verified only
	EdDSA Alg = "EdDSA" // Ed25519
)

// Limits of what is read, in bytes.
const (
	MaxToken  = 16 << 10
	MaxKey    = 8 << 10
	MaxKeySet = 64 << 10
	maxKeys   = 64
	maxDepth  = 16
	maxName   = 256 // of kid, typ and jti
)

// strict still passes line breaks, which decode refuses.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("base64url holds a line break")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("read base64url: %w", err)
	}
	return b, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// members are the members of a JSON object by their exact names: encoding/json into a struct would
// also take "ALG" for "alg", and the last of two.
type members map[string]json.RawMessage

// parseObject reads one JSON object without duplicate names anywhere, at most maxDepth deep.
func parseObject(data []byte) (members, error) {
	if !utf8.Valid(data) || !json.Valid(data) {
		return nil, errors.New("not JSON in UTF-8")
	}
	w := walker{data: data}
	if w.next() != '{' {
		return nil, errors.New("not a JSON object")
	}
	m := members{}
	if err := w.object(1, m); err != nil {
		return nil, err
	}
	return m, nil
}

// text is the string member of that name, or "" when there is none. It has at most max bytes.
func (m members) text(name string, max int) (string, error) {
	raw, ok := m[name]
	if !ok {
		return "", nil
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	if s == "" || len(s) > max {
		return "", fmt.Errorf("%s does not have 1 to %d bytes", name, max)
	}
	return s, nil
}

// bytes is the base64url member of that name, which must be there.
func (m members) bytes(name string) ([]byte, error) {
	s, err := m.text(name, MaxKey)
	if err == nil && s == "" {
		err = errors.New("missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	b, err := decode(s)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// walker goes through JSON that json.Valid has accepted.
type walker struct {
	data []byte
	pos  int
}

// next skips white space and is the byte there.
func (w *walker) next() byte {
	for {
		switch c := w.data[w.pos]; c {
		case ' ', '\t', '\r', '\n':
			w.pos++
		default:
			return c
		}
	}
}

// object walks an object; its members go to into, unless that is nil.
func (w *walker) object(depth int, into members) error {
	if depth > maxDepth {
		return fmt.Errorf("JSON is more than %d deep", maxDepth)
	}
	if into == nil {
		into = members{}
	}
	w.pos++
	for w.next() != '}' {
		if w.data[w.pos] == ',' {
			w.pos++
			w.next()
		}
		start := w.pos
		w.skipString()
		var name string
		if err := json.Unmarshal(w.data[start:w.pos], &name); err != nil {
			return fmt.Errorf("read a JSON name: %w", err)
		}
		if _, ok := into[name]; ok {
			return fmt.Errorf("JSON has the name %.32q twice", name)
		}
		w.next()
		w.pos++ // the colon
		w.next()
		start = w.pos
		if err := w.value(depth); err != nil {
			return err
		}
		into[name] = w.data[start:w.pos:w.pos]
	}
	w.pos++
	return nil
}

func (w *walker) value(depth int) error {
	switch w.next() {
	case '{':
		return w.object(depth+1, nil)
	case '[':
		return w.array(depth + 1)
	case '"':
		w.skipString()
	default: // a number or a word
		for w.pos < len(w.data) && !strings.ContainsRune(",]} \t\r\n", rune(w.data[w.pos])) {
			w.pos++
		}
	}
	return nil
}

func (w *walker) array(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("JSON is more than %d deep", maxDepth)
	}
	w.pos++
	for w.next() != ']' {
		if w.data[w.pos] == ',' {
			w.pos++
			continue
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	w.pos++
	return nil
}

func (w *walker) skipString() {
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] == '\\' {
			w.pos++
		}
	}
	w.pos++
}
