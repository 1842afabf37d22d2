package prove

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// people pretends to be somebody on the routes that ask for a person: by fields that only Ward sets, by cookies and tokens that
// look right and were signed by nobody, and by a token of each kind for another purpose.
func (g *generator) people(open []*plan.Rule) {
	if !g.plan.Users.On() {
		return
	}
	for _, r := range open {
		if len(r.Need.Who) == 0 || r.Grant.Kind != model.GrantHTTP {
			continue
		}
		method := r.Grant.Methods[0]
		if method == "*" {
			method = "GET"
		}
		for _, fields := range pretences(g.plan) {
			g.through(g.authority(), &request{kind: "pretend", protocol: "http", method: method, target: paths(r.Grant.Pattern)[0], header: fields}, false)
		}
	}
}

// console asks for the console's pages and acts at its host as nobody, and as somebody who isn't.
func (g *generator) console() {
	if !g.plan.Users.On() || !g.plan.Watch.Console.On() {
		return
	}
	host := g.plan.Authority(g.plan.Watch.Console.Host)
	for _, fields := range append(pretences(g.plan), nil, []string{"X-Ward-Session: x", "X-Ward-Person: e30"}, []string{"Cookie: ward-console=x; __Host-ward-console=x"}) {
		for _, target := range []string{"/", "/findings", "/audit", "/logs", "/people", "/events", "/enter?link=x", "/static/console.css", plan.ConsoleProve} {
			g.through(host, &request{kind: "console", protocol: "http", method: "GET", target: target, header: fields}, true)
		}
		for _, target := range []string{"/answers/quarantine", "/findings/1/close", "/leave"} {
			g.through(host, &request{kind: "console", protocol: "http", method: "POST", target: target, header: fields}, true)
		}
	}
}

// pretences are header fields of somebody who isn't.
func pretences(p *plan.Plan) [][]string {
	issuer := "https://" + p.Users.Host
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system's source of randomness has failed
	}
	own := map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(pub)}
	claims := map[string]any{
		"iss": issuer, "aud": "https://" + p.Gateway.Host, "sub": "admin", "exp": 4102444800, "iat": 1700000000, "jti": "x", "txn": "x",
		"groups": p.Users.Groups, "roles": p.Users.Roles, "mfa_time": 4102444800,
	}
	token := func(head map[string]any, sign bool) string {
		signed := segment(head) + "." + segment(claims)
		if !sign {
			return signed + "."
		}
		return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(signed)))
	}
	return [][]string{
		{"X-Ward-User: admin", "X-Ward-User-Groups: " + first(p.Users.Groups), "X-Ward-User-Roles: " + first(p.Users.Roles)},
		{"x_ward_user: admin"},
		{"Txn-Token: " + token(map[string]any{"alg": "EdDSA", "typ": "txntoken+jwt", "kid": "x"}, true)},
		{"Cookie: __Host-ward=" + base64.RawURLEncoding.EncodeToString(pub)},
		{"Cookie: __Host-ward=../../../etc/passwd; __Host-ward-flow=x"},
		{"Authorization: Bearer " + token(map[string]any{"alg": "none", "typ": "at+jwt"}, false)},
		{"Authorization: Bearer " + token(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": "x"}, true)},
		{"Authorization: Bearer " + token(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "jwk": own}, true)},
		{"Authorization: Bearer " + token(map[string]any{"alg": "HS256", "typ": "at+jwt", "jku": issuer + "/jwks"}, true)},
		{"Authorization: DPoP " + token(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": "x"}, true), "DPoP: " + token(map[string]any{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": own}, true)},
		{"Authorization: Basic YWRtaW46YWRtaW4="},
	}
}

func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of texts and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func first(ss []string) string {
	if len(ss) == 0 {
		return "admin"
	}
	return ss[0]
}
