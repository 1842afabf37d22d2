package oidc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// newPeer is a world whose provider is npm oidc-provider, with clients of the same names and at the same paths.
func newPeer(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, live: true}
	var err error
	if w.jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	var proxy http.Handler
	w.server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { proxy.ServeHTTP(rw, r) }))
	t.Cleanup(w.server.Close)
	at, _ := startPeer(t, w.server.URL)
	proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(at)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
	return w
}

// startPeer starts npm oidc-provider for an issuer, and says where it is, without TLS, and as which process.
func startPeer(t testing.TB, issuer string) (at *url.URL, pid int) {
	t.Helper()
	node, modules := need.Program(t, "node"), npm.Modules(t)
	cmd := exec.CommandContext(t.Context(), node, "testdata/peer.mjs", modules)
	if testing.Verbose() {
		cmd.Stderr = os.Stderr // it warns of what a test doesn't need
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if err := json.NewEncoder(in).Encode(map[string]any{"issuer": issuer, "secret": appSecret, "jwk": jobKey().Public()}); err != nil {
		t.Fatal(err)
	}
	var answer struct{ Port int }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &answer) != nil {
		t.Fatalf("start oidc-provider: %q %v", line, err)
	}
	return &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", answer.Port)}, cmd.Process.Pid
}

// said is what matters of an answer: its class of status, and its error.
func said(r reply) string {
	if r.status < 300 {
		if active, ok := r.body["active"].(bool); ok {
			return fmt.Sprintf("2xx active=%v", active)
		}
		return "2xx"
	}
	return fmt.Sprintf("%dxx %s", r.status/100, r.text("error"))
}

// asked is what matters of the end of an authorization request.
func (w *world) asked(query string) string {
	l := w.visit(w.otherBrowser(), query)
	if l.outside {
		if l.get("code") != "" {
			return "code"
		}
		inside, err := url.ParseQuery(l.url.Fragment)
		if err != nil {
			w.t.Fatal(err)
		}
		return "back with " + l.get("error") + inside.Get("error")
	}
	return fmt.Sprintf("page %dxx", l.status/100)
}

// wrong is a request that is wrong, and what a provider says to it.
type wrong struct {
	name string
	do   func(w *world) string
}

func authorizeWrong() []wrong {
	var out []wrong
	for _, c := range []struct{ name, client, key, value, more string }{
		{"authorize: unknown client", "app", "client_id", "evil", ""},
		{"authorize: no client", "app", "client_id", "", ""},
		{"authorize: another redirect", "app", "redirect_uri", "https://evil.example/cb", ""},
		{"authorize: a longer redirect", "app", "redirect_uri", appRedirect + "/x", ""},
		{"authorize: no redirect", "app", "redirect_uri", "", ""},
		{"authorize: two redirects", "app", "state", "st", "&redirect_uri=https%3A%2F%2Fevil.example"},
		{"authorize: no response_type", "app", "response_type", "", ""},
		{"authorize: implicit", "app", "response_type", "token", ""},
		{"authorize: hybrid", "app", "response_type", "code id_token", ""},
		{"authorize: unknown response_mode", "app", "response_mode", "evil", ""},
		{"authorize: no challenge", "app", "code_challenge", "", ""},
		{"authorize: plain challenge", "app", "code_challenge_method", "plain", ""},
		{"authorize: no challenge method", "app", "code_challenge_method", "", ""},
		{"authorize: a short challenge", "app", "code_challenge", "abc", ""},
		{"authorize: unknown scope", "app", "scope", "openid admin", ""},
		{"authorize: unknown resource", "app", "resource", "https://evil.example", ""},
		{"authorize: a parameter twice", "app", "nonce", "no", "&nonce=other"},
		{"authorize: a request object", "app", "request", "e30.e30.", ""},
		{"authorize: a foreign request_uri", "app", "request_uri", "https://evil.example/r", ""},
		{"authorize: a made-up request_uri", "app", "request_uri", pushedPrefix + "x", ""},
		{"authorize: prompt=none, nobody there", "app", "prompt", "none", ""},
		{"authorize: prompt=none login", "app", "prompt", "none login", ""},
		{"authorize: unknown prompt", "app", "prompt", "evil", ""},
		{"authorize: a negative max_age", "app", "max_age", "-1", ""},
		{"authorize: a forged id_token_hint", "app", "id_token_hint", "e30.e30.e30", ""},
		{"authorize: a client without the grant", "job", "redirect_uri", "https://job.example/cb", ""},
	} {
		out = append(out, wrong{c.name, func(w *world) string { return w.asked(w.ask(c.client, c.key, c.value) + c.more) }})
	}
	return out
}

func codeWrong() []wrong {
	var out []wrong
	for _, c := range []struct{ name, client, key, value string }{
		{"code: as it should be", "app", "grant_type", "authorization_code"},
		{"code: made up", "app", "code", "x"},
		{"code: none", "app", "code", ""},
		{"code: another redirect", "app", "redirect_uri", "https://app.example/other"},
		{"code: no redirect", "app", "redirect_uri", ""},
		{"code: another verifier", "app", "code_verifier", strings.Repeat("a", 43)},
		{"code: a short verifier", "app", "code_verifier", "abc"},
		{"code: no verifier", "app", "code_verifier", ""},
		{"code: another client", "guest", "code", "*"},
		{"code: unknown grant", "app", "grant_type", "password"},
		{"code: no grant", "app", "grant_type", ""},
		{"code: a grant the client hasn't", "api", "code", "*"},
		{"code: more resource than granted", "app", "resource", "https://evil.example"},
	} {
		out = append(out, wrong{c.name, func(w *world) string {
			form := codeForm(w.code("app"), appRedirect)
			if c.value != "*" {
				form.Set(c.key, c.value)
			}
			return said(w.call(pathToken, c.client, form))
		}})
	}
	return append(out,
		wrong{"code: again", func(w *world) string {
			form := codeForm(w.code("app"), appRedirect)
			w.call(pathToken, "app", form)
			return said(w.call(pathToken, "app", form))
		}},
		wrong{"code: refresh token after the code came again", func(w *world) string {
			form := codeForm(w.code("app"), appRedirect)
			r := w.call(pathToken, "app", form)
			w.call(pathToken, "app", form)
			return said(w.call(pathToken, "app", refreshForm(r.text("refresh_token"))))
		}},
	)
}

func clientWrong() []wrong {
	var out []wrong
	for name, c := range map[string]struct {
		client string
		form   url.Values
		header []string
	}{
		"client: wrong secret in the header":   {"", ccForm(), []string{"Authorization", "Basic YXBwOndyb25n"}},
		"client: wrong secret in the body":     {"", ccForm("client_id", "app", "client_secret", "wrong"), nil},
		"client: no secret":                    {"", ccForm("client_id", "app"), nil},
		"client: unknown":                      {"", ccForm("client_id", "evil", "client_secret", "x"), nil},
		"client: nobody":                       {"", ccForm(), nil},
		"client: two ways":                     {"app", ccForm("client_secret", appSecret), nil},
		"client: two names":                    {"app", ccForm("client_id", "guest"), nil},
		"client: not Basic":                    {"", ccForm("client_id", "app"), []string{"Authorization", "Bearer x"}},
		"client: a public one with a secret":   {"", ccForm("client_id", "spa", "client_secret", "x"), nil},
		"client: a public one for itself":      {"spa", ccForm(), nil},
		"client: a key's name alone":           {"", ccForm("client_id", "job"), nil},
		"client: a broken assertion":           {"", ccForm("client_id", "job", "client_assertion_type", assertionType, "client_assertion", "x"), nil},
		"client_credentials: unknown scope":    {"app", ccForm("resource", "https://api.example", "scope", "admin"), nil},
		"client_credentials: unknown resource": {"app", ccForm("resource", "https://evil.example"), nil},
		"client_credentials: a scope twice":    {"app", ccForm("resource", "https://api.example", "scope", "read", "scope", "write"), nil},
	} {
		out = append(out, wrong{name, func(w *world) string { return said(w.call(pathToken, c.client, c.form, c.header...)) }})
	}
	for name, change := range map[string]map[string]any{
		"assertion: for another server": {"aud": "https://evil.example"},
		"assertion: of another":         {"sub": "app"},
		"assertion: ended":              {"exp": time.Now().Add(-5 * time.Minute).Unix()},
		"assertion: without jti":        {"jti": ""},
	} {
		out = append(out, wrong{name, func(w *world) string {
			return said(w.call(pathToken, "job", withValue(w.assertion(change), "client_id", "job")))
		}})
	}
	return append(out, wrong{"assertion: again", func(w *world) string {
		form := withValue(w.assertion(nil), "client_id", "job")
		w.call(pathToken, "job", form)
		return said(w.call(pathToken, "job", form))
	}})
}

func refreshWrong() []wrong {
	with := func(name, client, key, value string) wrong {
		return wrong{name, func(w *world) string {
			form := refreshForm(w.signIn().text("refresh_token"))
			if key != "" {
				form.Set(key, value)
			}
			return said(w.call(pathToken, client, form))
		}}
	}
	return []wrong{
		with("refresh: another client", "guest", "", ""), with("refresh: a client without it", "api", "", ""), with("refresh: more scope", "app", "scope", "openid write"),
		with("refresh: made up", "app", "refresh_token", "x"), with("refresh: none", "app", "refresh_token", ""), with("refresh: unknown resource", "app", "resource", "https://evil.example"),
		{"refresh: again at once", func(w *world) string {
			form := refreshForm(w.signIn().text("refresh_token"))
			w.call(pathToken, "app", form)
			return said(w.call(pathToken, "app", form))
		}},
		{"refresh: again, its successor used", func(w *world) string {
			form := refreshForm(w.signIn().text("refresh_token"))
			next := w.call(pathToken, "app", form)
			w.call(pathToken, "app", refreshForm(next.text("refresh_token")))
			return said(w.call(pathToken, "app", form))
		}},
	}
}

func tokenWrong() []wrong {
	return []wrong{
		{"introspect: nobody", func(w *world) string { return said(w.call(pathIntrospect, "", url.Values{"token": {"x"}})) }},
		{"introspect: no token", func(w *world) string { return said(w.call(pathIntrospect, "app", url.Values{})) }},
		{"introspect: made up", func(w *world) string { return said(w.call(pathIntrospect, "app", url.Values{"token": {"x"}})) }},
		{"revoke: nobody", func(w *world) string { return said(w.call(pathRevoke, "", url.Values{"token": {"x"}})) }},
		{"revoke: no token", func(w *world) string { return said(w.call(pathRevoke, "app", url.Values{})) }},
		{"revoke: made up", func(w *world) string { return said(w.call(pathRevoke, "app", url.Values{"token": {"x"}})) }},
		{"revoke: another client's", func(w *world) string {
			return said(w.call(pathRevoke, "guest", url.Values{"token": {w.signIn().text("refresh_token")}}))
		}},
		{"introspect: a revoked one", func(w *world) string {
			form := url.Values{"token": {w.signIn().text("refresh_token")}}
			w.call(pathRevoke, "app", form)
			return said(w.call(pathIntrospect, "app", form))
		}},
		{"userinfo: no token", func(w *world) string { return said(w.userinfo("GET", "", "", nil)) }},
		{"userinfo: made up", func(w *world) string { return said(w.userinfo("GET", "Bearer", "x", nil)) }},
		{"userinfo: an ID token", func(w *world) string { return said(w.userinfo("GET", "Bearer", w.signIn().text("id_token"), nil)) }},
		{"device: a client without it", func(w *world) string { return said(w.call(pathDevices, "app", url.Values{})) }},
		{"device: unknown scope", func(w *world) string { return said(w.call(pathDevices, "spa", url.Values{"scope": {"openid admin"}})) }},
		{"device: made up", func(w *world) string { return said(w.call(pathToken, "spa", deviceForm("x"))) }},
		{"device: no code", func(w *world) string { return said(w.call(pathToken, "spa", deviceForm(""))) }},
		{"device: nobody answered", func(w *world) string {
			return said(w.call(pathToken, "spa", deviceForm(w.call(pathDevices, "spa", url.Values{"scope": {"openid"}}).text("device_code"))))
		}},
		{"device: another client", func(w *world) string {
			return said(w.call(pathToken, "guest", deviceForm(w.call(pathDevices, "spa", url.Values{"scope": {"openid"}}).text("device_code"))))
		}},
	}
}

func proofWrong() []wrong {
	var out []wrong
	for name, f := range map[string]func(w *world, k proofKey, at string) []string{
		"DPoP: none of a client that must": func(*world, proofKey, string) []string { return nil },
		"DPoP: rubbish":                    func(*world, proofKey, string) []string { return []string{"DPoP", "x"} },
		"DPoP: another URL": func(w *world, k proofKey, at string) []string {
			return []string{"DPoP", k.proof("POST", at+"x", w.clock().Now())}
		},
		"DPoP: another method": func(w *world, k proofKey, at string) []string {
			return []string{"DPoP", k.proof("GET", at, w.clock().Now())}
		},
		"DPoP: of yesterday": func(w *world, k proofKey, at string) []string {
			return []string{"DPoP", k.proof("POST", at, w.clock().Now().Add(-24*time.Hour))}
		},
		"DPoP: of tomorrow": func(w *world, k proofKey, at string) []string {
			return []string{"DPoP", k.proof("POST", at, w.clock().Now().Add(24*time.Hour))}
		},
	} {
		out = append(out, wrong{name, func(w *world) string {
			form := codeForm(w.code("bound"), "https://bound.example/cb")
			return said(w.call(pathToken, "bound", form, f(w, newProofKey(w.t), w.server.URL+pathToken)...))
		}})
	}
	refreshed := func(w *world, again, other bool) string {
		k, at := newProofKey(w.t), w.server.URL+pathToken
		proof := k.proof("POST", at, w.clock().Now())
		r := w.call(pathToken, "bound", codeForm(w.code("bound"), "https://bound.example/cb"), "DPoP", proof)
		if other {
			k = newProofKey(w.t)
		}
		if !again {
			proof = k.proof("POST", at, w.clock().Now())
		}
		return said(w.call(pathToken, "bound", refreshForm(r.text("refresh_token")), "DPoP", proof))
	}
	return append(out,
		wrong{"DPoP: a proof again", func(w *world) string { return refreshed(w, true, false) }},
		wrong{"DPoP: refreshed by another key", func(w *world) string { return refreshed(w, false, true) }},
		wrong{"DPoP: a code of another dpop_jkt", func(w *world) string {
			k, other := newProofKey(w.t), newProofKey(w.t)
			form := codeForm(w.code("app", "dpop_jkt", k.key.Public().Thumbprint()), appRedirect)
			return said(w.call(pathToken, "app", form, "DPoP", other.proof("POST", w.server.URL+pathToken, w.clock().Now())))
		}},
		wrong{"DPoP: a bound token as bearer", func(w *world) string {
			r := w.call(pathToken, "bound", codeForm(w.code("bound"), "https://bound.example/cb"), "DPoP", newProofKey(w.t).proof("POST", w.server.URL+pathToken, w.clock().Now()))
			return said(w.userinfo("GET", "Bearer", r.text("access_token"), nil))
		}},
	)
}

func pushWrong() []wrong {
	var out []wrong
	for _, c := range []struct{ name, client, key, value string }{
		{"PAR: nobody", "", "state", "st"},
		{"PAR: another redirect", "app", "redirect_uri", "https://evil.example"},
		{"PAR: no redirect", "app", "redirect_uri", ""},
		{"PAR: another client", "app", "client_id", "guest"},
		{"PAR: a request_uri", "app", "request_uri", pushedPrefix + "x"},
		{"PAR: plain challenge", "app", "code_challenge_method", "plain"},
		{"PAR: no challenge", "app", "code_challenge", ""},
		{"PAR: unknown scope", "app", "scope", "admin"},
		{"PAR: implicit", "app", "response_type", "token"},
	} {
		out = append(out, wrong{c.name, func(w *world) string {
			_, query, _ := strings.Cut(w.ask("app", c.key, c.value), "?")
			form, err := url.ParseQuery(query)
			if err != nil {
				w.t.Fatal(err)
			}
			if c.client == "" {
				form.Del("client_id")
			}
			return said(w.call(pathPushed, c.client, form))
		}})
	}
	pushed := func(w *world) string {
		_, query, _ := strings.Cut(w.ask("app"), "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			w.t.Fatal(err)
		}
		return pathAuthorize + "?client_id=app&request_uri=" + url.QueryEscape(w.call(pathPushed, "app", form).text("request_uri"))
	}
	return append(out,
		wrong{"PAR: used twice", func(w *world) string {
			at := pushed(w)
			w.asked(at)
			return w.asked(at)
		}},
		wrong{"PAR: used by another client", func(w *world) string {
			return w.asked(strings.Replace(pushed(w), "client_id=app", "client_id=guest", 1))
		}},
	)
}

// TestErrorsAreThoseOfOIDCProvider sends the same wrong requests to Ward and to npm oidc-provider. What differs stands in
// the list with its reason; the list may only get shorter.
func TestErrorsAreThoseOfOIDCProvider(t *testing.T) {
	peer := newPeer(t)
	differs := differences()
	if len(differs) > 24 {
		t.Errorf("%d differences: the list has grown", len(differs))
	}
	n := 0
	for _, list := range [][]wrong{authorizeWrong(), codeWrong(), clientWrong(), refreshWrong(), tokenWrong(), proofWrong(), pushWrong()} {
		for _, c := range list {
			n++
			own := newWorld(t)
			own.live = true
			ours, theirs := c.do(own), c.do(peer)
			d, listed := differs[c.name]
			delete(differs, c.name)
			if !listed && ours != theirs {
				t.Errorf("%s: we say %q, they %q", c.name, ours, theirs)
			}
			if listed && d.why == "" {
				t.Errorf("%s: no reason", c.name)
			}
			if listed && (d.ours != ours || d.theirs != theirs || ours == theirs) {
				t.Errorf("%s: we say %q, they %q, but the list has %q and %q", c.name, ours, theirs, d.ours, d.theirs)
			}
		}
	}
	for name := range differs {
		t.Errorf("%s isn't asked", name)
	}
	t.Logf("%d wrong requests, %d differences", n, len(differences()))
}

// difference is what both say, and why ours is right.
type difference struct{ ours, theirs, why string }

func differences() map[string]difference {
	return map[string]difference{
		"authorize: unknown response_mode":  {"back with invalid_request", "back with unsupported_response_mode", "unsupported_response_mode is registered nowhere (RFC 6749 §11.4.2); OAuth 2.0 Multiple Response Type Encoding §2.1 leaves the code open"},
		"authorize: unknown scope":          {"back with invalid_scope", "code", "RFC 6749 §3.3 leaves the choice between refusing and ignoring; a typing mistake that is refused is found"},
		"client_credentials: unknown scope": {"4xx invalid_scope", "2xx", "as above"},
		"device: unknown scope":             {"4xx invalid_scope", "2xx", "as above"},
		"PAR: unknown scope":                {"4xx invalid_scope", "4xx invalid_request", "they ignore it, and then miss openid"},
		"authorize: a made-up request_uri":  {"page 4xx", "back with invalid_request_uri", "who it is for is known from the pushed request alone (RFC 9126 §4); the redirect_uri beside it was not checked with it"},
		"code: no redirect":                 {"4xx invalid_grant", "4xx invalid_request", "RFC 6749 §5.2 has both: it doesn't match, and it is missing. One answer for whatever doesn't match"},
		"code: a short verifier":            {"4xx invalid_grant", "4xx invalid_request", "RFC 7636 §4.6: if the values aren't equal, invalid_grant; and the code is burnt"},
		"code: a grant the client hasn't":   {"4xx unauthorized_client", "4xx invalid_request", "RFC 6749 §5.2: unauthorized_client is for just that"},
		"refresh: a client without it":      {"4xx unauthorized_client", "4xx invalid_request", "as above"},
		"client: a public one for itself":   {"4xx unauthorized_client", "4xx invalid_request", "as above"},
		"device: a client without it":       {"4xx unauthorized_client", "4xx invalid_request", "as above (RFC 8628 §3.2)"},
		"client: nobody":                    {"4xx invalid_client", "4xx invalid_request", "RFC 6749 §5.2: no client authentication included is invalid_client"},
		"introspect: nobody":                {"4xx invalid_client", "4xx invalid_request", "as above (RFC 7662 §2.3)"},
		"revoke: nobody":                    {"4xx invalid_client", "4xx invalid_request", "as above (RFC 7009 §2.2.1)"},
		"PAR: nobody":                       {"4xx invalid_client", "4xx invalid_request", "as above (RFC 9126 §2.3)"},
		"client: not Basic":                 {"4xx invalid_client", "4xx invalid_request", "RFC 6749 §5.2: an unsupported authentication method is invalid_client"},
		"client: a broken assertion":        {"4xx invalid_client", "4xx invalid_request", "RFC 7521 §4.2.1: an assertion that isn't valid is invalid_client"},
		"assertion: of another":             {"4xx invalid_client", "4xx invalid_request", "as above"},
		"refresh: again at once":            {"2xx", "4xx invalid_grant", "the retry window: within ten seconds the same client gets the same successor, for its answer may have been lost (RFC 9700 §4.14.2 lets the server detect reuse; the next case does)"},
		"userinfo: no token":                {"4xx ", "4xx invalid_token", "RFC 6750 §3.1: without a token there should be no error code"},
		"DPoP: none of a client that must":  {"4xx invalid_dpop_proof", "4xx invalid_grant", "RFC 9449 §5: a request without a proof that the client must send is refused; §12.2 names invalid_dpop_proof for the token endpoint"},
		"DPoP: a proof again":               {"4xx invalid_dpop_proof", "4xx invalid_grant", "RFC 9449 §11.1 makes it an invalid proof, §5 names the code"},
		"PAR: a request_uri":                {"4xx invalid_request", "4xx request_uri_not_supported", "RFC 9126 §2.1: the parameter must not be there, so the request is invalid; that others are unsupported isn't its fault"},
	}
}
