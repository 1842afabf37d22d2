package client

import (
	"encoding/hex"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model/lexis"
)

// maxText bounds each text of a client, and maxList the number of them.
const (
	maxText = 2048
	maxList = 100
)

func check(c *Client) error {
	ways := 0
	for _, has := range []bool{c.Public, c.SecretHash != "", c.Keys != nil, c.SPIFFE != ""} {
		if has {
			ways++
		}
	}
	hash, err := hex.DecodeString(c.SecretHash)
	invalid := func(s string) error { return fault.New(fault.Invalid, s) }
	switch {
	case c.Name == "" || len(c.Name) > 200 || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.HasPrefix(c.Name, "spiffe:"):
		return invalid("its name must be 1 to 200 visible ASCII characters")
	case ways != 1:
		return invalid("it must authenticate in one way: be public, or have a secret, keys or a service")
	case c.SecretHash != "" && (err != nil || len(hash) != 32):
		return invalid("the hash of its secret isn't 64 hexadecimal digits")
	case c.Public && (c.NonceOnly || c.Allows("client_credentials") || c.Allows("token_exchange")):
		return invalid("a public client can't have nonce_only, client_credentials or token_exchange")
	case c.Allows("authorization_code") && len(c.Redirects) == 0:
		return invalid("it has authorization_code but no redirect")
	}
	for _, list := range [][]string{c.Redirects, c.Logouts, c.Grants, c.Scopes, c.Audiences} {
		if len(list) > maxList || slices.ContainsFunc(list, func(s string) bool { return s == "" || len(s) > maxText }) {
			return invalid("it has too many or too long texts")
		}
	}
	for _, grant := range c.Grants {
		if !slices.Contains([]string{"authorization_code", "refresh_token", "client_credentials", "device_code", "token_exchange"}, grant) {
			return invalid("it has a grant that doesn't exist")
		}
	}
	for _, scope := range c.Scopes {
		if strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return invalid("one of its scopes has a character that scopes can't have")
		}
	}
	for _, uri := range slices.Concat(c.Redirects, c.Logouts) {
		if problem := lexis.RedirectProblem(uri, c.Public); problem != "" || !plain(uri) {
			return invalid("it has a URI that can't be redirected to")
		}
	}
	if c.Back != "" && !goodBack(c.Back) {
		return invalid("its backchannel_logout must be https, or http at a loopback address")
	}
	return nil
}

// plain is what a URI is made of, without what HTML or headers could read otherwise.
func plain(uri string) bool {
	return !strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"'<>\^`+"`{|}", r) })
}

func goodBack(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && plain(uri) && u.User == nil && !strings.Contains(uri, "#") && u.Hostname() != "" &&
		(u.Scheme == "https" || u.Scheme == "http" && isLoopback(u))
}

func isLoopback(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}

// origins are the web origins of a public client's redirects.
func (c *Client) origins() []string {
	var out []string
	if !c.Public {
		return nil
	}
	for _, uri := range c.Redirects {
		if u, err := url.Parse(uri); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
			out = append(out, u.Scheme+"://"+strings.ToLower(u.Host))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
