package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

const behindGateway = "\nwatch: {console: {operator: \"user:bob@example.com\"}}\n"

// whose is whose a cookie of the gateway is.
func (w *world) whose(_ context.Context, q wire.SessionQuery) (wire.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.signedIn[q.Cookie]
	if !ok || q.Origin != "https://console.localhost:8443" {
		return wire.Session{}, fault.New(fault.NotFound, "no session")
	}
	return s, nil
}

// outside is a world whose console is reached as the gateway reaches it.
func outside(t *testing.T) *world {
	w := newWorld(t, shop+behindGateway)
	w.server = httptest.NewServer(w.console.Outside())
	t.Cleanup(w.server.Close)
	w.signedIn = map[string]wire.Session{}
	return w
}

// signs signs somebody in, whose second factor is of now; without roles, where none are given.
func (w *world) signs(mail string, roles ...string) *somebody {
	w.t.Helper()
	w.mu.Lock()
	w.signedIn[mail] = wire.Session{ID: "sid-" + mail, Person: wire.Person{ID: "id-of-" + mail, Email: mail, Roles: roles, FactorAt: w.now.Unix()}}
	w.mu.Unlock()
	b := &somebody{w: w, cookie: wire.SessionCookie + "=" + mail}
	if _, page := b.get("/findings"); strings.Contains(page, `name="token"`) {
		b.token = regexp.MustCompile(`name="token" value="([^"]+)"`).FindStringSubmatch(page)[1]
	}
	return b
}

// TestWhoIsSignedInHasTheRoleOfTheFile: each role behind the gateway may what it may by a link, and who has none sees nothing.
func TestWhoIsSignedInHasTheRoleOfTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		mail            string
		roles           []string
		sees, ops, owns bool
	}{
		"nobody of it":     {"eve@example.com", []string{"customer", "ward"}, false, false, false},
		"a viewer":         {"ada@example.com", []string{"ward-viewer"}, true, false, false},
		"an operator":      {"bob@example.com", nil, true, true, false},
		"an administrator": {"eva@example.com", []string{"ward-admin", "ward-viewer"}, true, true, true},
		// The file names others: Ward's own role has nothing.
		"an operator elsewhere": {"ida@example.com", []string{"ward-operator"}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := outside(t)
			b := w.signs(c.mail, c.roles...)
			want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}
			for _, page := range pages {
				if resp, _ := b.get(page); resp.StatusCode != want[c.sees] {
					t.Errorf("%s: status %d", page, resp.StatusCode)
				}
			}
			want[true] = http.StatusSeeOther
			if resp, body := b.post("/answers/block", url.Values{"client": {"203.0.113.9"}, "reason": {"x"}}); resp.StatusCode != want[c.ops] {
				t.Errorf("block: status %d\n%s", resp.StatusCode, body)
			}
			if resp, body := b.post("/answers/quarantine", url.Values{"service": {"web"}, "reason": {"x"}}); resp.StatusCode != want[c.owns] {
				t.Errorf("quarantine: status %d\n%s", resp.StatusCode, body)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if !c.sees {
				if len(w.records) > 0 {
					t.Errorf("recorded: %+v", w.records)
				}
				return
			}
			if e := w.records[0]; e.Kind != "console.entered" || e.Subject != c.mail || e.Detail["person"] != "id-of-"+c.mail {
				t.Errorf("the first record: %+v", e)
			}
			for _, e := range w.records[1:] {
				if e.Kind == "console.entered" {
					t.Error("entered twice")
				}
			}
		})
	}
}

// TestWhoseSessionEndsIsOut at once: each request is asked about anew.
func TestWhoseSessionEndsIsOut(t *testing.T) {
	w := outside(t)
	b := w.signs("eva@example.com", "ward-admin")
	for name, change := range map[string]func(*wire.Session){
		"without the role":     func(s *wire.Session) { s.Person.Roles = nil },
		"without a factor":     func(s *wire.Session) { s.Person.FactorAt = 0 },
		"a factor of long ago": func(s *wire.Session) { s.Person.FactorAt = w.now.Add(-13 * time.Hour).Unix() },
	} {
		w.mu.Lock()
		before := w.signedIn["eva@example.com"]
		s := before
		change(&s)
		w.signedIn["eva@example.com"] = s
		w.mu.Unlock()
		if resp, _ := b.get("/"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		w.mu.Lock()
		w.signedIn["eva@example.com"] = before
		w.mu.Unlock()
	}
	two := &somebody{w: w, cookie: b.cookie + "; " + wire.SessionCookie + "=other"}
	if resp, _ := two.get("/"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("with two cookies: status %d", resp.StatusCode)
	}
	if _, page := b.get("/"); !strings.Contains(page, `action="`+wire.SignOutPath+`"`) {
		t.Error("the page doesn't lead out")
	}
	w.mu.Lock()
	clear(w.signedIn)
	w.mu.Unlock()
	if resp, _ := b.get("/"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("after the session: status %d", resp.StatusCode)
	}
}

// TestTheWaysInAreApart: a link is nothing behind the gateway, and the gateway's cookie is nothing at ward console.
func TestTheWaysInAreApart(t *testing.T) {
	w := outside(t)
	link, err := w.console.Invite(t.Context(), wire.ConsoleAsk{By: "ada", Role: "administrator"})
	if err != nil {
		t.Fatal(err)
	}
	b := &somebody{w: w}
	if resp, _ := b.get(link.Path); resp.StatusCode != http.StatusForbidden || len(resp.Cookies()) > 0 {
		t.Errorf("a link: status %d", resp.StatusCode)
	}
	signed := w.signs("eva@example.com", "ward-admin")
	w.server = httptest.NewServer(w.console.Handler())
	defer w.server.Close()
	in := w.enters("administrator")
	for _, cookie := range []string{signed.cookie, plainCookie + "=eva@example.com", plainCookie + "=sid-eva@example.com"} {
		if resp, _ := (&somebody{w: w, cookie: cookie}).get("/"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d", cookie, resp.StatusCode)
		}
	}
	in.token = signed.token
	if resp, _ := in.post("/findings/7/close", url.Values{}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("with the token of a sign-in: status %d", resp.StatusCode)
	}
}

// TestStrongActsNeedAFreshProof: of the second factor, or of a link.
func TestStrongActsNeedAFreshProof(t *testing.T) {
	acts := map[string]url.Values{
		"/answers/quarantine":     {"service": {"web"}, "reason": {"x"}},
		"/answers/a1/lift":        {},
		"/people/u1/sessions/end": {"session": {"s1"}},
	}
	for name, enter := range map[string]func(*testing.T) *somebody{
		"signed in": func(t *testing.T) *somebody { return outside(t).signs("eva@example.com", "ward-admin") },
		"by a link": func(t *testing.T) *somebody { return newWorld(t, shop).enters("administrator") },
	} {
		t.Run(name, func(t *testing.T) {
			b := enter(t)
			b.w.standing = []wire.Restriction{{ID: "a1", Service: "db", Until: b.w.now.Add(time.Hour)}}
			before, proof := len(b.w.standing), plan.ConsoleProve
			if name == "by a link" {
				proof = "press Enter where <code>ward console</code> runs"
			}
			b.w.after(16 * time.Minute)
			for path, form := range acts {
				resp, body := b.post(path, form)
				if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, proof) {
					t.Errorf("%s: status %d\n%s", path, resp.StatusCode, body)
				}
			}
			if len(b.w.standing) != before || b.w.ended {
				t.Error("done nevertheless")
			}
			if resp, _ := b.post("/findings/7/close", url.Values{}); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("closing a finding: status %d", resp.StatusCode)
			}
			_, page := b.get("/services/web")
			if !strings.Contains(page, proof) || strings.Contains(page, plan.ConsoleProve+"?to=%2Fservices%2Fweb") != (name == "signed in") || strings.Contains(page, `action="/answers/quarantine"`) {
				t.Error("the page offers what isn't possible now")
			}
			if _, failed := b.get("/nowhere"); strings.Contains(failed, proof) {
				t.Error("a page that isn't there offers a proof that wouldn't help")
			}
			if name == "by a link" {
				if resp, _ := b.get(plan.ConsoleProve + "?to=/people"); resp.StatusCode != http.StatusForbidden {
					t.Errorf("prove: status %d", resp.StatusCode)
				}
				old := *b
				b.follows(b.w.link("administrator"))
				if resp, _ := old.get("/"); resp.StatusCode != http.StatusForbidden {
					t.Errorf("the session before the new link: status %d", resp.StatusCode)
				}
			} else {
				b.w.signs("eva@example.com", "ward-admin")
			}
			for to, want := range map[string]string{"/people": "/people", "//evil.example": "/", "https://evil.example": "/", "/a?b": "/", `/\evil.example`: "/", "": "/"} {
				if resp, _ := b.get(plan.ConsoleProve + "?" + url.Values{"to": {to}}.Encode()); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != want {
					t.Errorf("after proving it leads from %q to %q, status %d", to, resp.Header.Get("Location"), resp.StatusCode)
				}
			}
			for path, form := range acts {
				if resp, body := b.post(path, form); resp.StatusCode != http.StatusSeeOther {
					t.Errorf("fresh: %s: status %d\n%s", path, resp.StatusCode, body)
				}
			}
		})
	}
}

// TestNobodyEntersUnrecorded: what the ledger doesn't take doesn't happen.
func TestNobodyEntersUnrecorded(t *testing.T) {
	w := outside(t)
	w.full = true
	b := w.signs("eva@example.com", "ward-admin")
	if resp, _ := b.get("/"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestFormsLeadToSignInAtMost: signing out ends at the pages' host, which the policy of pages has to name.
func TestFormsLeadToSignInAtMost(t *testing.T) {
	w := outside(t)
	resp, _ := w.signs("eva@example.com", "ward-admin").get("/")
	if got := resp.Header.Get("Content-Security-Policy"); got != contentPolicy+"; form-action 'self' https://id.localhost:8443" {
		t.Error(got)
	}
}

// TestAnotherSitesLinkIsntCompressed: how long an answer is says nothing of what stands beside what the link chose.
func TestAnotherSitesLinkIsntCompressed(t *testing.T) {
	w := outside(t)
	b := w.signs("eva@example.com", "ward-admin")
	for site, want := range map[string]string{"same-origin": "gzip", "none": "gzip", "cross-site": "", "same-site": ""} {
		resp, _ := b.ask(http.MethodGet, "/logs?grep=x", "", map[string]string{"Accept-Encoding": "gzip", "Sec-Fetch-Site": site})
		if got := resp.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%s: %q", site, got)
		}
	}
}

// slowBody is a form whose last part comes after something else happened.
type slowBody struct {
	*strings.Reader
	meanwhile func()
}

func (b *slowBody) Read(p []byte) (int, error) {
	b.meanwhile()
	return b.Reader.Read(p)
}

// TestWhoIsOutWhileTheirFormComesIsOut: who may is asked once the whole form is there, so that nobody keeps what they may by sending slowly.
func TestWhoIsOutWhileTheirFormComesIsOut(t *testing.T) {
	for name, meanwhile := range map[string]func(*world){
		"without the session": func(w *world) { clear(w.signedIn) },
		"without the role": func(w *world) {
			s := w.signedIn["eva@example.com"]
			s.Person.Roles = nil
			w.signedIn["eva@example.com"] = s
		},
		"without a fresh factor": func(w *world) { w.now = w.now.Add(16 * time.Minute) },
		"without a console":      func(w *world) { w.plan = plan.Build(&model.Model{}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := outside(t)
			b := w.signs("eva@example.com", "ward-admin")
			form := url.Values{"token": {b.token}, "service": {"web"}, "reason": {"x"}}.Encode()
			body := &slowBody{strings.NewReader(form), func() { w.mu.Lock(); defer w.mu.Unlock(); meanwhile(w) }}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/answers/quarantine", body)
			r.Header.Set("Cookie", b.cookie)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			answer := httptest.NewRecorder()
			w.console.Outside().ServeHTTP(answer, r)
			if answer.Code != http.StatusForbidden || len(w.standing) > 0 {
				t.Errorf("status %d, in force: %+v", answer.Code, w.standing)
			}
		})
	}
}

// TestNobodySeesAnythingBeforeTheyAreRecorded: of two requests of one sign-in, the second doesn't go in on a record that the first one didn't get.
func TestNobodySeesAnythingBeforeTheyAreRecorded(t *testing.T) {
	w := outside(t)
	b := w.signs("eva@example.com", "ward-admin") // sees nothing of w yet but the list of findings
	w.after(2 * time.Hour)                        // and was away
	w.mu.Lock()
	s := w.signedIn["eva@example.com"]
	s.Person.FactorAt = w.now.Unix()
	w.signedIn["eva@example.com"] = s
	w.full = true
	w.mu.Unlock()
	statuses := []int{}
	w.recording = func() {
		w.recording = nil
		resp, _ := b.get("/logs")
		statuses = append(statuses, resp.StatusCode)
	}
	resp, _ := b.get("/")
	if statuses = append(statuses, resp.StatusCode); !slices.Equal(statuses, []int{http.StatusForbidden, http.StatusForbidden}) {
		t.Errorf("statuses %v", statuses)
	}
}
