package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/cap/identity/internal/client"
)

// badClient is the one answer to whatever is wrong with a client's authentication.
func badClient(r *http.Request) error {
	return &refusal{
		code: invalidClient, text: "client authentication failed", status: http.StatusUnauthorized,
		basic: r.Header.Get("Authorization") != "",
	}
}

// credentials are what a client shows of itself.
type credentials struct {
	id, secret, assertion string
	hasSecret             bool
}

func credentialsOf(c *call) (credentials, error) {
	k := credentials{id: c.get("client_id"), secret: c.get("client_secret"), assertion: c.get("client_assertion")}
	k.hasSecret = k.secret != ""
	if header := c.r.Header.Get("Authorization"); header != "" {
		if k.hasSecret || k.assertion != "" || len(c.r.Header["Authorization"]) > 1 {
			return k, refuse(invalidRequest, "a client authenticates in one way")
		}
		user, password, ok := c.r.BasicAuth()
		id, err1 := url.QueryUnescape(user) // RFC 6749 §2.3.1
		secret, err2 := url.QueryUnescape(password)
		if !ok || err1 != nil || err2 != nil {
			return k, badClient(c.r)
		}
		if k.id != "" && k.id != id {
			return k, refuse(invalidRequest, "client_id is another than in the header")
		}
		k.id, k.secret, k.hasSecret = id, secret, true
	}
	if k.assertion != "" {
		if k.hasSecret {
			return k, refuse(invalidRequest, "a client authenticates in one way")
		}
		if c.get("client_assertion_type") != assertionType {
			return k, badClient(c.r)
		}
		if t, err := jose.Parse(k.assertion); err == nil && k.id == "" {
			_, k.id = t.Peek() // only to find whose keys verify it
		}
	}
	return k, nil
}

// authenticate finds out which client calls (RFC 6749 §2.3, RFC 7523, RFC 8705 §2).
func (p *Provider) authenticate(ctx context.Context, c *call) (*client.Client, error) {
	k, err := credentialsOf(c)
	if err != nil {
		return nil, err
	}
	if k.id == "" || len(k.id) > maxText {
		return nil, badClient(c.r)
	}
	found, err := p.Clients.Find(ctx, k.id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, badClient(c.r)
	}
	if err != nil {
		return nil, err
	}
	ok := false
	switch found.Method() {
	case client.None:
		ok = !k.hasSecret && k.assertion == ""
	case client.Secret:
		ok = k.hasSecret && found.CheckSecret(k.secret)
	case client.Identity:
		ok, err = p.showsIdentity(c.r, found)
		ok = ok && !k.hasSecret && k.assertion == ""
	case client.KeyPair:
		ok, err = p.showsAssertion(ctx, c, found, k.assertion)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, badClient(c.r)
	}
	return found, nil
}

func (p *Provider) showsIdentity(r *http.Request, c *client.Client) (bool, error) {
	if p.Certificate == nil {
		return false, nil
	}
	leaf, err := p.Certificate(r)
	return err == nil && c.CheckCertificate(leaf), err
}

func (p *Provider) showsAssertion(ctx context.Context, c *call, known *client.Client, assertion string) (bool, error) {
	jti, expires, err := known.CheckAssertion(assertion, []string{p.Issuer, p.Issuer + pathToken, p.Issuer + c.r.URL.Path}, c.now)
	if err != nil {
		return false, nil
	}
	first, err := p.grants.Once(ctx, "assertion "+known.Name+" "+jti, expires)
	if err == nil && !first {
		p.Flag(ctx, FlagJTI, map[string]string{"client": known.Name, "of": "assertion"})
	}
	return first, err
}

// binding is what tokens are bound to: a key (RFC 9449) or a certificate (RFC 8705).
type binding struct {
	JKT string `json:"jkt,omitempty"`
	X5T string `json:"x5t#S256,omitempty"`
}

func (b binding) scheme() string {
	if b.JKT != "" {
		return "DPoP"
	}
	return "Bearer"
}

// bind finds what the tokens of a call must be bound to.
func (p *Provider) bind(ctx context.Context, c *call) (binding, error) {
	if c.client.Method() == client.Identity {
		leaf, err := p.Certificate(c.r)
		if err != nil {
			return binding{}, err
		}
		sum := sha256.Sum256(leaf.Raw)
		return binding{X5T: base64.RawURLEncoding.EncodeToString(sum[:])}, nil
	}
	jkt, err := p.proof(ctx, c.r, c.header, "")
	if err != nil {
		return binding{}, err
	}
	if jkt == "" && c.client.DPoP {
		return binding{}, refuse(invalidProof, "this client must send a DPoP proof")
	}
	return binding{JKT: jkt}, nil
}

// proof checks the DPoP proof of a request, if it has one, and returns its key's thumbprint. What it refuses is flagged
// when it was used before.
func (p *Provider) proof(ctx context.Context, r *http.Request, answer http.Header, accessToken string) (string, error) {
	values := r.Header["Dpop"]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", refuse(invalidProof, "there are several DPoP proofs")
	}
	now := p.Clock.Now()
	var nonces []string
	if p.DPoPNonce {
		nonces = p.nonces(now)
		answer.Set("DPoP-Nonce", nonces[0])
	}
	got, err := jose.CheckDPoP(values[0], jose.DPoPRequest{
		Method: r.Method, URL: p.Issuer + r.URL.Path, AccessToken: accessToken, Nonces: nonces, Now: now, Window: proofWindow,
	})
	if errors.Is(err, jose.ErrNonce) {
		return "", refuse(useNonce, "use the nonce of the DPoP-Nonce header")
	}
	if err != nil {
		return "", refuse(invalidProof, "the DPoP proof isn't valid for this request")
	}
	first, err := p.grants.Once(ctx, "proof "+got.Thumbprint+" "+got.ID, got.IssuedAt.Add(2*proofWindow))
	if err != nil {
		return "", err
	}
	if !first {
		p.Flag(ctx, FlagJTI, map[string]string{"key": got.Thumbprint, "of": "proof"})
		return "", refuse(invalidProof, "the DPoP proof was used before")
	}
	return got.Thumbprint, nil
}

// nonces are the current one and the one before, without any state.
func (p *Provider) nonces(now time.Time) []string {
	const step = int64(2 * time.Minute / time.Second)
	var out []string
	for n := range int64(2) {
		mac := hmac.New(sha256.New, p.Seal.Reveal())
		mac.Write([]byte("ward dpop nonce v1"))
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/step-n)))
		out = append(out, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]))
	}
	return out
}

// withoutScheme cuts an authentication scheme off (RFC 9110 §11.1: in any case).
func withoutScheme(header, scheme string) (string, bool) {
	s, rest, ok := strings.Cut(header, " ")
	return strings.TrimLeft(rest, " "), ok && strings.EqualFold(s, scheme)
}
