package upstream

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

const clientSecret = "0123456789abcdef0123456789abcdef"

// started starts npm's oidc-provider, and returns its issuer.
func started(t *testing.T, name, alg, method string, fat bool) string {
	t.Helper()
	node, modules := need.Program(t, "node"), npm.Modules(t)
	cmd := exec.CommandContext(t.Context(), node, "testdata/provider.mjs", modules)
	cmd.Stderr = os.Stderr
	if !testing.Verbose() {
		cmd.Stderr = nil // it warns of its development pages
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
	if err := json.NewEncoder(in).Encode(map[string]any{"redirect": origin + CallbackPath(name), "secret": clientSecret, "alg": alg, "method": method, "fat": fat}); err != nil {
		t.Fatal(err)
	}
	var answer struct{ Issuer string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &answer) != nil {
		t.Fatalf("start provider: %q %v", line, err)
	}
	return answer.Issuer
}

// walk is the browser: it follows redirects and fills in forms until it is sent back to us.
func walk(t *testing.T, location, login string) *url.URL {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := url.Values(nil)
	for range 20 {
		at, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(location, origin) {
			return at
		}
		var answer *http.Response
		if post == nil {
			answer, err = browser.Get(location)
		} else {
			answer, err = browser.PostForm(location, post)
		}
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		_, err = bufio.NewReader(answer.Body).WriteTo(&page)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		post = nil
		if next := answer.Header.Get("Location"); next != "" {
			to, err := at.Parse(next)
			if err != nil {
				t.Fatal(err)
			}
			location = to.String()
			continue
		}
		action := regexp.MustCompile(`<form[^>]* action="([^"]+)"`).FindStringSubmatch(page.String())
		prompt := regexp.MustCompile(`name="prompt" value="(\w+)"`).FindStringSubmatch(page.String())
		if action == nil || prompt == nil {
			t.Fatalf("%s: %s %s", location, answer.Status, page.String())
		}
		location, post = action[1], url.Values{"prompt": {prompt[1]}, "login": {login}, "password": {"x"}}
	}
	t.Fatal("the browser goes in circles")
	return nil
}

func TestSignInWithARealProvider(t *testing.T) {
	for _, c := range []struct {
		name, alg, method, login string
		fat                      bool
		secret                   string
	}{
		{"rs256", "RS256", "client_secret_basic", "alice", false, clientSecret},
		{"es256", "ES256", "client_secret_post", "alice", true, clientSecret},
		{"public", "RS256", "none", "alice", false, ""},
		{"unverified", "RS256", "client_secret_basic", "unverified-bob", true, clientSecret},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			issuer := started(t, c.name, c.alg, c.method, c.fat)
			w.Configure([]Provider{{Name: c.name, Issuer: issuer, ClientID: "ward", Secret: secret.New([]byte(c.secret)), Scopes: []string{"openid", "email", "profile"}}})
			b, err := w.Begin(t.Context(), c.name, "flow 1")
			if err != nil {
				t.Fatal(err)
			}
			back := walk(t, b.Location, c.login)
			if back.Path != CallbackPath(c.name) || back.Query().Get("iss") != issuer {
				t.Errorf("back at %s", back)
			}
			got, err := w.Finish(t.Context(), c.name, back.RawQuery, b.Cookie.Value)
			if err != nil {
				t.Fatal(err)
			}
			want := Result{Provider: c.name, Issuer: issuer, Subject: c.login, Email: c.login + "@example.com", Verified: c.login == "alice", Name: "Name of " + c.login, Flow: "flow 1"}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if _, err := w.Finish(t.Context(), c.name, back.RawQuery, b.Cookie.Value); err == nil {
				t.Error("taken twice")
			}
		})
	}
}

func TestRealProviderRefusesWhatIsNotOurs(t *testing.T) {
	w := newWorld(t)
	issuer := started(t, "real", "RS256", "client_secret_basic", false)
	p := Provider{Name: "real", Issuer: issuer, ClientID: "ward", Secret: secret.New([]byte(clientSecret))}
	w.Configure([]Provider{p})
	// The code of one sign-in with the cookie of another: the verifier isn't the code's.
	first, err := w.Begin(t.Context(), "real", "1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Begin(t.Context(), "real", "2")
	if err != nil {
		t.Fatal(err)
	}
	stolen, own := walk(t, first.Location, "alice").Query(), walk(t, second.Location, "mallory").Query()
	own.Set("code", stolen.Get("code"))
	if got, err := w.Finish(t.Context(), "real", own.Encode(), second.Cookie.Value); err == nil {
		t.Errorf("signed in as %+v", got)
	}
	// A wrong secret isn't told to whoever signs in.
	p.Secret = secret.New([]byte("wrong"))
	w.Configure([]Provider{p})
	third, err := w.Begin(t.Context(), "real", "3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(t.Context(), "real", walk(t, third.Location, "alice").RawQuery, third.Cookie.Value); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}
