package mesh

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/base/h1"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/policy"
	"github.com/wardhq/ward/internal/proxy"
)

// credential is what Ward adds to calls of an external so that services need no secret: of one plan, with one value. It doesn't
// change.
type credential struct {
	auth *model.Auth
	only *policy.Table // the calls that it is added to; nil for all
	peer policy.PeerID

	missing string             // why nothing can be added now, for the service
	set     []proxy.Header     // what is added
	param   string             // and to the query, escaped
	always  []proxy.Header     // what is set on calls that nothing is added to
	drop    []string           // what never passes as it came
	prints  *leak.Fingerprints // of what goes out in a readable form; nil if nothing does

	aws         *signer          // nil for other kinds
	certificate *tls.Certificate // nil for other kinds
}

// newCredential takes the secret's value from values.
func newCredential(x *model.External, values map[string][]byte) (*credential, error) {
	c := &credential{auth: x.Auth, drop: append(userFields(), claims(x.Auth)...)}
	if c.auth.Kind != phrase.Certificate {
		c.always = []proxy.Header{{Name: "Accept-Encoding", Value: "identity"}} // an echo must be seen
		c.set = c.always
	}
	if err := c.limit(x); err != nil {
		return nil, err
	}
	value := string(values[c.auth.Secret])
	if value == "" {
		c.missing = "secret " + c.auth.Secret + " has no value yet"
		return c, nil
	}
	switch c.auth.Kind {
	case phrase.Bearer:
		c.header("Authorization", "Bearer "+value)
		c.look(value)
	case phrase.Basic:
		pair := base64.StdEncoding.EncodeToString([]byte(c.auth.Name + ":" + value))
		c.header("Authorization", "Basic "+pair)
		c.look(value, pair)
	case phrase.Header:
		c.header(c.auth.Name, value)
		c.look(value)
	case phrase.Query:
		c.param = c.auth.Name + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		c.look(value)
	case phrase.AWS:
		c.forAWS(x, value)
	case phrase.Certificate:
		c.certify(value)
	}
	return c, nil
}

// limit compiles the calls that it is added to, with the matcher of policy.
func (c *credential) limit(x *model.External) error {
	if len(c.auth.For) == 0 {
		return nil
	}
	const caller = "caller"
	p := &plan.Plan{Services: []plan.Service{{Service: model.Service{Name: caller}}}, Externals: []model.External{*x}}
	for _, g := range c.auth.For {
		r := plan.Rule{Caller: caller, Target: string(x.Name), External: true, Ports: []int{x.Port}, Grant: g, Mode: plan.Enforce}
		if g.AsUser {
			r.Need = model.Need{Who: []string{plan.SignedIn}, MFA: g.MFA}
		}
		p.Rules = append(p.Rules, r)
	}
	set, err := policy.Compile(p, "2000-01-01") // no rule of these ends
	if err != nil {
		return fmt.Errorf("external %s: auth: for: %w", x.Name, err)
	}
	c.only = set.Outbound(caller)
	c.peer = c.only.Peer(string(x.Name))
	return nil
}

// header adds a field, if it can be one: otherwise nothing may go out.
func (c *credential) header(name, value string) {
	if !h1.ValidField(name, value) || h1.HopByHop(name) || isFraming(name) {
		c.missing = "secret " + c.auth.Secret + " can't be sent in the field " + name
		return
	}
	c.set = append(slices.Clip(c.always), proxy.Header{Name: name, Value: value})
}

// certify takes PEM of a chain and its key.
func (c *credential) certify(value string) {
	cert, err := tls.X509KeyPair([]byte(value), []byte(value))
	if err != nil { // which may hold a part of the value
		c.missing = "secret " + c.auth.Secret + " isn't a certificate and its key in PEM"
		return
	}
	c.certificate = &cert
}

// isFraming: these fields say what the request is, and to whom.
func isFraming(name string) bool {
	return strings.EqualFold(name, "Host") || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Expect")
}

// applies tells whether a call is one that it is added to.
func (c *credential) applies(port int, r *proxy.Request, user *policy.Context) bool {
	return c.only == nil || c.only.Decide(c.peer, port, &r.Request, user).Allow
}

// look makes fingerprints of what an answer must not show.
func (c *credential) look(values ...string) {
	var all []leak.Secret
	for _, v := range values {
		all = append(all, leak.Secret{Name: c.auth.Secret, Value: secret.New([]byte(v))})
	}
	c.prints = leak.Make(all)
}

// authenticate adds the credential to a call that policy allows. What the service itself sends in its place is dropped in any case.
func (c *credential) authenticate(v *proxy.Verdict, l *link, r *proxy.Request, user *policy.Context) {
	v.Drop = c.drop
	applies := c.applies(l.port, r, user)
	if applies && c.missing != "" {
		*v = proxy.Verdict{Status: http.StatusServiceUnavailable, Public: c.missing, Tag: v.Tag}
		return
	}
	v.Set = c.always
	if applies {
		v.Set = c.set
	}
	switch {
	case c.auth.Kind == phrase.Query:
		c.addParam(v, r, applies)
	case c.auth.Kind == phrase.AWS && applies:
		c.aws.sign(v, r, c.set)
	}
}

// addParam puts the secret into the query.
func (c *credential) addParam(v *proxy.Verdict, r *proxy.Request, applies bool) {
	query := withoutParam(r.Query, c.auth.Name)
	if applies && query != "" {
		query += "&"
	}
	if applies {
		query += c.param
	}
	switch {
	case query == "":
		v.Target = r.Path
	case r.Path == "*":
		*v = proxy.Verdict{Status: http.StatusBadRequest, Public: "this call can't carry a parameter"}
	default:
		v.Target = r.Path + "?" + query
	}
}

// claims are the fields by which a service could say who it is in place of the credential, or turn the call that was decided into
// another one; and those that ask for an answer in which nobody would see an echo.
func claims(a *model.Auth) []string {
	out := []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"}
	switch a.Kind {
	case phrase.Certificate:
		return append(out, "Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert") // RFC 9440, Envoy
	case phrase.Header:
		out = append(out, a.Name)
	case phrase.AWS:
		out = append(out, "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token")
	case phrase.Bearer, phrase.Basic:
		out = append(out, "Authorization")
	}
	return append(out, "Accept-Encoding", "Grpc-Accept-Encoding", "Sec-WebSocket-Extensions")
}

// withoutParam is a query without the parameters that some server may read as name.
func withoutParam(query, name string) string {
	var out strings.Builder
	for query != "" {
		end := strings.IndexAny(query, "&;") // what some servers separate by
		if end < 0 {
			end = len(query) - 1
		}
		part := query[:end+1]
		query = query[end+1:]
		key, _, _ := strings.Cut(strings.TrimRight(part, "&;"), "=")
		if !sameParam(key, name) {
			out.WriteString(part)
		}
	}
	return strings.TrimRight(out.String(), "&;")
}

// sameParam tells whether some server may read an escaped key as name: in another case, cut off at NUL or a bracket, or with
// PHP's spelling of spaces and dots.
func sameParam(escaped, name string) bool {
	key := unescape(escaped)
	if i := strings.IndexAny(key, "\x00["); i >= 0 {
		key = key[:i]
	}
	plain := func(s string) string {
		return strings.NewReplacer(".", "_", " ", "_", "\t", "_").Replace(strings.TrimSpace(s))
	}
	return strings.EqualFold(plain(key), plain(name))
}

// unescape reads what it can: a server that is laxer than RFC 3986 reads as much, "%u006b" among it.
func unescape(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case s[i] == '+':
			out = append(out, ' ')
			continue
		case len(rest) >= 6 && (rest[1] == 'u' || rest[1] == 'U') && rest[0] == '%':
			if r, err := strconv.ParseUint(rest[2:6], 16, 16); err == nil {
				out = utf8.AppendRune(out, rune(r))
				i += 5
				continue
			}
		case len(rest) >= 3 && rest[0] == '%':
			if b, err := strconv.ParseUint(rest[1:3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
