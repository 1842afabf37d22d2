package jose

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// ErrNonce is in the error about a DPoP proof that is sound but for its nonce: the answer is
// use_dpop_nonce with a fresh one (RFC 9449 §8).
var ErrNonce = errors.New("the nonce is missing or not a current one")

// DPoPRequest is the request that a proof must be for.
type DPoPRequest struct {
	Method      string
	URL         string        // absolute; query and fragment don't matter
	AccessToken string        // if it came with one, the proof must hold its hash
	Nonces      []string      // if any, the proof must hold one of them
	Now         time.Time     // required
	Window      time.Duration // how far iat may be from Now, either way
}

// DPoPProof is what a proof proves.
type DPoPProof struct {
	Thumbprint string    // jkt: of the key whose possession is proven
	ID         string    // jti: refuse it a second time while IssuedAt is in the window
	IssuedAt   time.Time // iat
}

// CheckDPoP checks a proof as RFC 9449 §4.3 says, but for the replay (step 12's jti) and the binding
// of the access token to the thumbprint, which are the caller's.
func CheckDPoP(proof string, want DPoPRequest) (DPoPProof, error) {
	p, err := checkDPoP(proof, want)
	if err != nil {
		return DPoPProof{}, fmt.Errorf("check DPoP proof: %w", err)
	}
	return p, nil
}

func checkDPoP(proof string, want DPoPRequest) (DPoPProof, error) {
	if want.Now.IsZero() || want.Method == "" {
		return DPoPProof{}, errors.New("nothing is expected, so nothing is accepted")
	}
	t, err := parse(proof)
	if err != nil {
		return DPoPProof{}, err
	}
	if !sameType(t.Type, "dpop+jwt") {
		return DPoPProof{}, fmt.Errorf("its typ is %.64q instead of dpop+jwt", t.Type)
	}
	if t.jwk == nil {
		return DPoPProof{}, errors.New("its header has no jwk")
	}
	k, err := ParseJWK(t.jwk)
	if err != nil {
		return DPoPProof{}, err
	}
	k.ID = "" // nothing is looked up: a kid beside the key says nothing
	if err := t.Verify(k, ES256, EdDSA, RS256, PS256); err != nil {
		return DPoPProof{}, err
	}
	c, err := t.Claims()
	if err != nil {
		return DPoPProof{}, err
	}
	if err := want.check(c); err != nil {
		return DPoPProof{}, err
	}
	return DPoPProof{Thumbprint: k.Thumbprint(), ID: c.ID, IssuedAt: c.IssuedAt}, nil
}

func (want DPoPRequest) check(c Claims) error {
	said := map[string]string{}
	for _, name := range []string{"htm", "htu", "ath", "nonce"} {
		var err error
		if said[name], err = c.all.text(name, MaxToken); err != nil {
			return err
		}
	}
	htu, err := normalURL(said["htu"])
	if err != nil {
		return fmt.Errorf("read htu: %w", err)
	}
	here, err := normalURL(want.URL)
	if err != nil {
		return fmt.Errorf("read the request's URL: %w", err)
	}
	switch {
	case c.ID == "":
		return errors.New("it has no jti")
	case said["htm"] != want.Method:
		return errors.New("it is for another method")
	case htu != here:
		return errors.New("it is for another URL")
	case c.IssuedAt.IsZero():
		return errors.New("it has no iat")
	case c.IssuedAt.Sub(want.Now).Abs() > want.Window:
		return errors.New("its iat is too far from now")
	case want.AccessToken != "" && !sameText(said["ath"], hash(want.AccessToken)):
		return errors.New("it is for another access token")
	case len(want.Nonces) > 0 && !want.hasNonce(said["nonce"]):
		return ErrNonce
	}
	return nil
}

func (want DPoPRequest) hasNonce(said string) bool {
	found := false
	for _, n := range want.Nonces {
		found = sameText(said, n) && n != "" || found
	}
	return found
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return encode(sum[:])
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// normalURL is an http or https URL without query and fragment, normalised by syntax and scheme
// (RFC 3986 §6.2.2, §6.2.3), as RFC 9449 §4.3 wants htu compared.
func normalURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", errors.New("not a URL")
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return "", errors.New("not an http or https URL with a host and no user")
	}
	host, port := strings.ToLower(u.Host), u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	// Escapes come first: %2e%2e is a dot segment too.
	path := &url.URL{RawPath: normalEscapes(u.EscapedPath())}
	if path.Path, err = url.PathUnescape(path.RawPath); err != nil {
		return "", errors.New("not a URL")
	}
	return u.Scheme + "://" + host + (&url.URL{Path: "/"}).ResolveReference(path).EscapedPath(), nil
}

// normalEscapes writes escapes in upper case and unescapes unreserved characters (RFC 3986 §6.2.2).
// The path comes from net/url, so that every % has two hexadecimal digits.
func normalEscapes(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		escape := path[i : i+3]
		c, err := url.PathUnescape(escape)
		if err == nil && strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c) {
			b.WriteString(c)
		} else {
			b.WriteString(strings.ToUpper(escape))
		}
		i += 2
	}
	return b.String()
}
