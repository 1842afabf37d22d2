// Package client knows the OAuth clients: those that ward.yaml declares, those that administrators add at run time,
// and the services of the plan, which are clients by their SVID.
//
// Guarantee: a redirect URI is taken only if it is registered character for character, but for the port of a loopback
// address; a client authenticates in one way; declared clients are replaced as a whole, and win over added ones of the
// same name; secrets are kept as SHA-256 of 256 random bits. Not guaranteed: single use of assertions; the caller keeps
// their jti.
package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/model"
)

// Method is how a client authenticates.
type Method uint8

// The methods. The zero Method lets nobody in.
const (
	Nothing  Method = iota
	None            // a public client
	Secret          // client_secret_basic or client_secret_post
	KeyPair         // private_key_jwt
	Identity        // tls_client_auth by the SPIFFE ID of its SVID
)

// Client is a client that may ask.
type Client struct {
	model.Client
	Keys   *jose.KeySet // of KeyPair
	SPIFFE string       // of Identity
	// Own are the audiences that stand for the client itself, besides its name.
	Own []string
	// From says where the client comes from.
	From From
}

// From is where a client comes from.
type From uint8

// The origins of clients.
const (
	Unknown From = iota
	Declared
	Added
	Service // of the plan
)

// Method is how the client authenticates.
func (c *Client) Method() Method {
	switch {
	case c.SPIFFE != "":
		return Identity
	case c.Keys != nil:
		return KeyPair
	case c.SecretHash != "":
		return Secret
	case c.Public:
		return None
	}
	return Nothing
}

// Allows tells whether the client may use a grant, by ward.yaml's word for it.
func (c *Client) Allows(grant string) bool { return slices.Contains(c.Grants, grant) }

// Is tells whether an audience stands for the client itself.
func (c *Client) Is(audience string) bool {
	return audience == c.Name || slices.Contains(c.Own, audience)
}

// RedirectsTo tells whether the client may be answered at uri (OAuth 2.1 §2.3, RFC 8252 §7.3).
func (c *Client) RedirectsTo(uri string) bool {
	return slices.ContainsFunc(c.Redirects, func(known string) bool {
		return known == uri || c.Public && samePortless(known, uri)
	})
}

// samePortless compares http URIs at a loopback address but for their ports. Bytes are compared, not parsed URIs, so
// that there is no second reading.
func samePortless(known, uri string) bool {
	for _, loopback := range []string{"http://127.0.0.1", "http://[::1]"} {
		a, isA := strings.CutPrefix(known, loopback)
		b, isB := strings.CutPrefix(uri, loopback)
		if isA && isB {
			a, okA := cutPort(a)
			b, okB := cutPort(b)
			return okA && okB && a == b
		}
	}
	return false
}

// cutPort cuts ":" and a port off the beginning, if they are there; what follows must be a path or nothing.
func cutPort(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, ":"); ok {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 5 {
			return "", false
		}
		s = rest[digits:]
	}
	return s, s == "" || s[0] == '/'
}

// CheckSecret compares a client secret.
func (c *Client) CheckSecret(given string) bool {
	want, err := hex.DecodeString(c.SecretHash)
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], want) == 1 && err == nil && c.Method() == Secret
}

// CheckCertificate tells whether a verified certificate is the client's SVID (RFC 8705 §2.1.2, by the URI SAN).
func (c *Client) CheckCertificate(leaf *x509.Certificate) bool {
	if leaf == nil || c.Method() != Identity {
		return false
	}
	id, err := pki.ID(leaf)
	return err == nil && id == c.SPIFFE
}

// MaxAssertion is how far ahead an assertion may expire, so that its jti needn't be kept for ever.
const MaxAssertion = time.Hour

// CheckAssertion verifies a client assertion (RFC 7523 §3, OpenID Connect Core §9) and returns its jti and end.
// audiences are the names of this server.
func (c *Client) CheckAssertion(assertion string, audiences []string, now time.Time) (jti string, expires time.Time, err error) {
	fail := func(err error) (string, time.Time, error) {
		return "", time.Time{}, fmt.Errorf("check client assertion: %w", err)
	}
	if c.Method() != KeyPair {
		return fail(errors.New("the client has no keys"))
	}
	t, err := jose.Parse(assertion)
	if err != nil {
		return fail(err)
	}
	if err := t.Verify(c.Keys, jose.ES256, jose.EdDSA, jose.PS256, jose.RS256); err != nil {
		return fail(err)
	}
	typ := ""
	if strings.EqualFold(t.Type, "client-authentication+jwt") {
		typ = t.Type
	}
	claims, err := jose.Expect{Issuer: c.Name, Audience: audiences, Type: typ, Now: now, Leeway: pki.Leeway}.Check(t)
	switch {
	case err != nil:
		return fail(err)
	case claims.Subject != c.Name:
		return fail(errors.New("its subject isn't the client"))
	case claims.ID == "":
		return fail(errors.New("it has no jti"))
	case claims.Expires.After(now.Add(MaxAssertion)):
		return fail(errors.New("it is valid for too long"))
	case len(claims.Audience) > 1:
		return fail(errors.New("it has several audiences, and could be shown to the others"))
	}
	return claims.ID, claims.Expires.Add(pki.Leeway), nil
}
