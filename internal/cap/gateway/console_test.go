package gateway

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

const consoleAt = "console.localhost"

// person is a session of somebody in groups, whose second factor was shown some time ago; 0 for never.
func (e *edge) person(cookie string, ago time.Duration, groups, roles []string) string {
	w := wire.Person{ID: "u-" + cookie, Email: cookie + "@example.com", Groups: groups, Roles: roles}
	if ago > 0 {
		w.FactorAt = time.Now().Add(-ago).Unix()
	}
	e.signIn(cookie, "sid-"+cookie, w)
	return "__Host-ward=" + cookie
}

// TestTheConsoleIsForItsPeople: control's console gets requests of those alone whom ward.yaml names, with their cookie; each of them judged anew.
func TestTheConsoleIsForItsPeople(t *testing.T) {
	e := newEdge(t)
	viewer := e.person("viewer", time.Minute, []string{"staff"}, nil)
	admin := e.person("admin", time.Hour, nil, []string{"ward-admin"})
	stale := e.person("stale", 13*time.Hour, []string{"staff"}, nil)
	factorless := e.person("factorless", 0, []string{"staff"}, nil)
	customer := e.person("customer", time.Minute, []string{"customers"}, []string{"ward-administrators"})
	const page, in = "Sec-Fetch-Mode", "navigate"
	for name, c := range map[string]struct {
		method, path string
		fields       []string
		status       int
		reached      bool
	}{
		"nobody":                            {"GET", "/", []string{page, in}, http.StatusSeeOther, false},
		"nobody, by a script":               {"GET", "/", nil, http.StatusUnauthorized, false},
		"nobody's style sheet":              {"GET", "/static/console.css", nil, http.StatusUnauthorized, false},
		"nobody acts":                       {"POST", "/answers/block", nil, http.StatusUnauthorized, false},
		"a viewer":                          {"GET", "/", []string{"Cookie", viewer}, http.StatusOK, true},
		"an administrator":                  {"GET", "/findings/7", []string{"Cookie", admin}, http.StatusOK, true},
		"who acts on a page":                {"POST", "/answers/block", []string{"Cookie", viewer, "Sec-Fetch-Site", "same-origin"}, http.StatusOK, true},
		"another site acts":                 {"POST", "/answers/block", []string{"Cookie", viewer, "Sec-Fetch-Site", "same-site"}, http.StatusForbidden, false},
		"another site's form acts":          {"POST", "/answers/block", []string{"Cookie", viewer, "Sec-Fetch-Site", "same-site", page, in, "Sec-Fetch-Dest", "document"}, http.StatusSeeOther, false},
		"another method":                    {"PUT", "/answers/block", []string{"Cookie", viewer, "Sec-Fetch-Site", "same-origin"}, http.StatusMethodNotAllowed, false},
		"a customer":                        {"GET", "/", []string{"Cookie", customer}, http.StatusForbidden, false},
		"a factor of yesterday":             {"GET", "/", []string{"Cookie", stale, page, in}, http.StatusSeeOther, false},
		"no second factor":                  {"GET", "/", []string{"Cookie", factorless, page, in}, http.StatusSeeOther, false},
		"a strong act is near":              {"GET", plan.ConsoleProve, []string{"Cookie", viewer}, http.StatusOK, true},
		"a strong act, with an old factor":  {"GET", plan.ConsoleProve + "?to=/people", []string{"Cookie", admin, page, in}, http.StatusSeeOther, false},
		"two cookies":                       {"GET", "/", []string{"Cookie", viewer + "; " + admin, page, in}, http.StatusSeeOther, false},
		"an access token":                   {"GET", "/", []string{"Authorization", "Bearer " + strings.Repeat("x", 40), "Cookie", viewer}, http.StatusForbidden, false},
		"a field that only the gateway has": {"GET", "/", []string{"X-Ward-Session", "sid-viewer", page, in}, http.StatusSeeOther, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := e.ask(consoleAt, c.method, c.path, c.fields...)
			if a.StatusCode != c.status || (a.sent != nil) != c.reached {
				t.Fatalf("status %d, reached control: %t\n%s", a.StatusCode, a.sent != nil, a.body)
			}
			if c.reached && (a.sent.Get("Cookie") == "" || a.sent.Get("Authorization") != "") {
				t.Errorf("sent on: %v", a.sent)
			}
		})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.begun {
		if b.Origin != "https://console.localhost:8443" {
			t.Errorf("a sign-in returns to %s", b.Origin)
		}
		if strings.HasPrefix(b.Return, plan.ConsoleProve) && b.FactorAge != plan.ConsoleFreshFactor {
			t.Errorf("a strong act asks for a factor of the last %d s", b.FactorAge)
		}
	}
}

// TestWhatTheConsoleIsAskedForIsNoAttack: who looks for an attack in the logs types what attackers type.
func TestWhatTheConsoleIsAskedForIsNoAttack(t *testing.T) {
	e := newEdge(t)
	viewer := e.person("viewer", time.Minute, []string{"staff"}, nil)
	const payload = "/logs?grep=%27%20UNION%20SELECT%20password%20FROM%20users--"
	if a := e.ask(consoleAt, "GET", payload, "Cookie", viewer); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode)
	}
	if got := e.g.Sightings(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	e.ask(consoleAt, "GET", payload)
	if got := e.g.Sightings(); len(got) != 1 || got[0].Payloads != 1 {
		t.Errorf("of a stranger: %+v", got)
	}
}

// TestAnOpenConsoleIsNoUse: news that arrive by themselves keep no session alive.
func TestAnOpenConsoleIsNoUse(t *testing.T) {
	e := newEdge(t)
	viewer := e.person("viewer", time.Minute, []string{"staff"}, nil)
	e.ask(consoleAt, "GET", "/", "Cookie", viewer, wire.LiveField, "1")
	e.ask(consoleAt, "GET", wire.ConsoleEvents, "Cookie", viewer)
	e.g.people.report(t.Context(), true)
	if len(e.seen.Sessions) != 0 {
		t.Errorf("in use: %v", e.seen.Sessions)
	}
	e.ask(consoleAt, "GET", "/", "Cookie", viewer)
	e.g.people.report(t.Context(), true)
	if len(e.seen.Sessions) != 1 {
		t.Error("a visit isn't a use")
	}
}

// TestNoPageOfAnotherOriginAsksTheConsole: a service that was taken over is of the same site, so that browsers send the cookie along with what its pages
// load. It could keep a session in use, take places among the listeners, and learn from how long an answer takes; so only links lead in.
func TestNoPageOfAnotherOriginAsksTheConsole(t *testing.T) {
	e := newEdge(t)
	viewer := e.person("viewer", time.Minute, []string{"staff"}, nil)
	for _, site := range []string{"same-site", "cross-site"} {
		for name, c := range map[string]struct {
			path, mode, dest string
			reached          bool
		}{
			"a link":        {"/findings/7", "navigate", "document", true},
			"a frame":       {"/logs?grep=x", "navigate", "iframe", false},
			"an image":      {"/logs?grep=x", "no-cors", "image", false},
			"a script":      {"/logs?grep=x", "no-cors", "empty", false},
			"a listener":    {wire.ConsoleEvents, "cors", "empty", false},
			"who is here":   {"/.ward/user", "no-cors", "script", false},
			"without words": {"/", "", "", false},
		} {
			a := e.ask(consoleAt, "GET", c.path, "Cookie", viewer, "Sec-Fetch-Site", site, "Sec-Fetch-Mode", c.mode, "Sec-Fetch-Dest", c.dest)
			if reached := a.StatusCode == http.StatusOK; reached != c.reached {
				t.Errorf("%s, %s: status %d", name, site, a.StatusCode)
			}
		}
	}
	for _, own := range []string{"same-origin", "none"} {
		if a := e.ask(consoleAt, "GET", "/", "Cookie", viewer, "Sec-Fetch-Site", own, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"); a.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", own, a.StatusCode)
		}
	}
}

// TestNoSpellingOfTheHostLeadsIn: whatever bytes a client sends, control gets requests at the console's host only of who may, and then under that name.
func TestNoSpellingOfTheHostLeadsIn(t *testing.T) {
	e := newEdge(t)
	viewer := e.person("viewer", time.Minute, []string{"staff"}, nil)
	for name, head := range map[string]string{
		"as it is":                  "GET / HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"without a port":            "GET / HTTP/1.1\r\nHost: console.localhost\r\n",
		"another port":              "GET / HTTP/1.1\r\nHost: console.localhost:1\r\n",
		"in capitals":               "GET / HTTP/1.1\r\nHost: CONSOLE.localhost:8443\r\n",
		"with a dot":                "GET / HTTP/1.1\r\nHost: console.localhost.:8443\r\n",
		"with two dots":             "GET / HTTP/1.1\r\nHost: console.localhost..:8443\r\n",
		"absolute":                  "GET https://console.localhost:8443/ HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"absolute, another host":    "GET https://console.localhost:8443/ HTTP/1.1\r\nHost: id.localhost:8443\r\n",
		"two hosts":                 "GET / HTTP/1.1\r\nHost: id.localhost:8443\r\nHost: console.localhost:8443\r\n",
		"a forwarded host":          "GET / HTTP/1.1\r\nHost: id.localhost:8443\r\nX-Forwarded-Host: console.localhost:8443\r\nForwarded: host=console.localhost\r\n",
		"a user before it":          "GET / HTTP/1.1\r\nHost: id.localhost@console.localhost:8443\r\n",
		"a space behind it":         "GET / HTTP/1.1\r\nHost: console.localhost \r\n",
		"HEAD":                      "HEAD / HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"OPTIONS":                   "OPTIONS * HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"TRACE":                     "TRACE / HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"a WebSocket":               "GET /events HTTP/1.1\r\nHost: console.localhost:8443\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
		"HTTP/1.0":                  "GET / HTTP/1.0\r\nHost: console.localhost:8443\r\n",
		"another method in a field": "GET / HTTP/1.1\r\nHost: console.localhost:8443\r\nX-HTTP-Method-Override: POST\r\n",
		"dots":                      "GET /static/../findings HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"an own path, and dots":     "GET /.ward/../findings HTTP/1.1\r\nHost: console.localhost:8443\r\n",
		"an own path, encoded":      "GET /.ward%2f..%2ffindings HTTP/1.1\r\nHost: console.localhost:8443\r\n",
	} {
		for who, cookie := range map[string]string{"nobody": "", "a viewer": "Cookie: " + viewer + "\r\n"} {
			e.mu.Lock()
			e.pages = nil
			e.mu.Unlock()
			conn, err := tls.Dial("tcp", e.addr, &tls.Config{InsecureSkipVerify: true, ServerName: consoleAt, NextProtos: []string{"http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = conn.Write([]byte(strings.Replace(head, "\r\n", "\r\nConnection: close\r\n", 1) + cookie + "\r\n"))
			answer, _ := io.ReadAll(conn)
			conn.Close()
			e.mu.Lock()
			for _, host := range e.pages {
				h, _, _ := strings.Cut(host, ":")
				if h != "id.localhost" && h != consoleAt || h == consoleAt && who == "nobody" {
					t.Errorf("%s, %s: control was asked at %q: %.40q", name, who, host, answer)
				}
			}
			e.mu.Unlock()
		}
	}
}
