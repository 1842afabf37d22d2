package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
)

// proofWindow is how old a DPoP proof may be.
const proofWindow = time.Minute

// maxProofs bounds the proofs that are remembered; beyond it new ones are refused, which closes.
const maxProofs = 200_000

// byToken verifies an access token (RFC 6750, RFC 9068), from memory if it has been before.
func (p *people) byToken(r *proxy.Request, origin string, dpop bool, token string) identified {
	key := sha256.Sum256([]byte(origin + " " + token)) // its audience was that origin
	now := p.clock.Now()
	p.mu.Lock()
	b := p.tokens[key]
	p.mu.Unlock()
	if b == nil {
		var err error
		if b, err = p.verify(token, origin, now); err != nil {
			return identified{problem: "invalid_token", detail: "the token isn't one that counts here"}
		}
		p.mu.Lock()
		if len(p.tokens) >= maxCached {
			clear(p.tokens)
		}
		p.tokens[key] = b
		p.mu.Unlock()
	}
	p.mu.Lock()
	over := p.ended[b.id] || b.session != "" && p.ended[b.session]
	p.mu.Unlock()
	if over || !now.Before(b.expires) {
		return identified{problem: "invalid_token", detail: "the token has ended"}
	}
	if b.jkt != "" || dpop {
		if detail := p.proven(r, origin, token, b, dpop); detail != "" {
			return identified{problem: "invalid_token", detail: detail, dpop: true}
		}
	}
	if b.x5t != "" && !shows(r, b.x5t) {
		return identified{problem: "invalid_token", detail: "the token is bound to another certificate"}
	}
	if b.program {
		return identified{problem: "invalid_token", detail: "the token is a program's own, and stands for no person"}
	}
	return identified{person: &b.person, name: b.name, session: b.session, token: true, bearer: b.id}
}

// shows tells whether the connection's client has the certificate of a thumbprint (RFC 8705 §3.1).
func shows(r *proxy.Request, x5t string) bool {
	c, ok := r.Conn.Peer.(*client)
	if !ok {
		return false
	}
	certs := c.certs.Load()
	if certs == nil {
		return false
	}
	sum := sha256.Sum256((*certs)[0].Raw)
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(x5t)) == 1
}

// proven checks the proof of possession that a bound token must come with (RFC 9449 §7.1), and says what is wrong.
func (p *people) proven(r *proxy.Request, origin, token string, b *bearer, dpop bool) string {
	now := p.clock.Now()
	proof, n := r.Get("DPoP")
	switch {
	case !dpop:
		return "the token is bound to a key; send it with the DPoP scheme and a proof"
	case b.jkt == "":
		return "the token isn't bound to a key"
	case n != 1:
		return "a DPoP proof is missing"
	}
	got, err := jose.CheckDPoP(proof, jose.DPoPRequest{
		Method: r.Method, URL: origin + r.Path, AccessToken: token, Now: now, Window: proofWindow,
	})
	if err != nil {
		return "the DPoP proof isn't one for this request"
	}
	if subtle.ConstantTimeCompare([]byte(got.Thumbprint), []byte(b.jkt)) != 1 {
		return "the proof is of another key"
	}
	id := got.Thumbprint + " " + got.ID
	p.mu.Lock()
	defer p.mu.Unlock()
	if until, used := p.proofs[id]; used && now.Before(until) || len(p.proofs) >= maxProofs {
		return "the DPoP proof was used before"
	}
	p.proofs[id] = got.IssuedAt.Add(2*proofWindow + time.Second)
	return ""
}

// verify reads an access token of ours or of a declared authority.
func (p *people) verify(token, origin string, now time.Time) (*bearer, error) {
	t, err := jose.Parse(token)
	if err != nil {
		return nil, err
	}
	name, _ := t.Peek()
	p.mu.Lock()
	from, ok := p.issuers[name]
	p.mu.Unlock()
	if !ok || from.keys == nil {
		return nil, errNoKeys
	}
	algs := []jose.Alg{jose.ES256, jose.RS256, jose.PS256}
	if from.own {
		algs = algs[:1]
	}
	if err := t.Verify(from.keys, algs...); err != nil {
		return nil, err
	}
	audience := from.audience
	if audience == nil {
		audience = []string{origin}
	}
	c, err := jose.Expect{Issuer: name, Audience: audience, Type: from.typ, Now: now, Leeway: 10 * time.Second}.Check(t)
	if err != nil && from.typ != "at+jwt" {
		c, err = jose.Expect{Issuer: name, Audience: audience, Type: "at+jwt", Now: now, Leeway: 10 * time.Second}.Check(t)
	}
	if err != nil {
		return nil, err
	}
	b := &bearer{id: c.ID, expires: c.Expires, person: policy.Person{ID: c.Subject}}
	if err := b.read(c, from.own); err != nil {
		return nil, err
	}
	if !from.own {
		// Another authority's names are not ours: its people are in no group here, and can't be mistaken for ours.
		b.person = policy.Person{ID: name + "|" + c.Subject}
	}
	return b, nil
}

var errSubject = errors.New("a token without subject")

func (b *bearer) read(c jose.Claims, own bool) error {
	if c.Subject == "" {
		return errSubject
	}
	var cnf struct {
		JKT string `json:"jkt"`
		X5T string `json:"x5t#S256"`
	}
	into := map[string]any{"cnf": &cnf, "scope": &b.scope}
	if own {
		into["sid"], into["email"], into["name"] = &b.session, &b.person.Email, &b.name
		into["groups"], into["roles"], into["mfa_time"] = &b.person.Groups, &b.person.Roles, &b.person.FactorAt
	}
	for name, to := range into {
		if _, err := c.Get(name, to); err != nil {
			return err
		}
	}
	b.jkt, b.x5t = cnf.JKT, cnf.X5T
	b.program = own && b.session == "" // what people get comes from a session of theirs
	return nil
}

// isSafe tells whether a request asks for nothing to change (RFC 9110 §9.2.1).
func isSafe(r *proxy.Request) bool {
	return r.Protocol == canon.HTTP && (r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS")
}

// challenge is the WWW-Authenticate field (RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1).
func challenge(id identified, origin string, factorAge int) string {
	scheme := "Bearer"
	if id.dpop {
		scheme = "DPoP"
	}
	var b strings.Builder
	b.WriteString(scheme + ` realm="ward"`)
	switch {
	case id.problem != "":
		b.WriteString(`, error="` + id.problem + `", error_description="` + id.detail + `"`)
	case factorAge > 0:
		b.WriteString(`, error="insufficient_user_authentication", error_description="a second factor is needed", acr_values="urn:ward:acr:2", max_age="` + itoa(factorAge) + `"`)
	}
	if id.dpop {
		b.WriteString(`, algs="ES256"`)
	}
	b.WriteString(`, resource_metadata="` + origin + metadataPath + `"`)
	return b.String()
}
