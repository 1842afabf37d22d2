package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/wire"
)

// pages are all of them.
var pages = []string{
	"/", "/?at=2026-05-04T10:00", "/services/web?span=24h", "/services/db", "/services/cards", "/findings", "/findings?show=closed", "/findings/7", "/findings/9",
	"/traces", "/traces?which=failed&slower=1s&service=web", "/traces/01000000000000000000000000000000", "/logs", "/logs?text=" + url.QueryEscape(evil) + "&level=warn&since=1h&trace=01", "/audit",
	"/audit?kind=request&since=24h&text=" + url.QueryEscape(evil), "/audit?from=12&limit=1", "/people", "/people?email=" + url.QueryEscape(evil), "/people/u1", "/posture",
}

func TestEveryPageShowsHostileTextAsText(t *testing.T) {
	w := newWorld(t, shop)
	w.silences = []watch.Silence{{ID: 1, Rule: evil, Subject: evil, Object: evil, Reason: evil, By: evil, Until: w.now.Add(time.Hour)}}
	w.standing = []wire.Restriction{{ID: "a1", Service: "db", Reason: evil, By: evil, Finding: 7, Until: w.now.Add(time.Hour)}}
	b := w.enters("administrator")
	for _, path := range pages {
		resp, body := b.get(path)
		if resp.StatusCode != 200 || !strings.Contains(body, "</html>") {
			t.Errorf("%s: status %d\n%.300s", path, resp.StatusCode, body)
		}
		for _, bad := range []string{"<script>", "<img src=x", "onerror=alert(2)>", "style=", "ZgotmplZ", "javascript:"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		if got := resp.Header.Get("Content-Security-Policy"); got != contentPolicy+"; form-action 'self'" {
			t.Errorf("%s: policy %q", path, got)
		}
	}
}

func TestNothingIsShownWithoutASession(t *testing.T) {
	w := newWorld(t, shop)
	for _, b := range []*somebody{{w: w}, {w: w, cookie: plainCookie + "=made-up"}, {w: w, cookie: plainCookie + "="}} {
		for _, path := range append(pages, "/events", "/nothing", "/v1/plan") {
			resp, body := b.get(path)
			if resp.StatusCode != http.StatusForbidden || strings.Contains(body, "catalog") || strings.Contains(body, "shop ·") && strings.Contains(body, "/findings/") {
				t.Errorf("%s with cookie %q: status %d", path, b.cookie, resp.StatusCode)
			}
		}
		resp, _ := b.post("/findings/7/close", url.Values{})
		if resp.StatusCode != http.StatusForbidden || !w.found[0].Closed.IsZero() {
			t.Errorf("an act without a session: status %d", resp.StatusCode)
		}
	}
}

// TestAFindingLeadsToItsTraces by links.
func TestAFindingLeadsToItsTraces(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("viewer")
	if _, body := b.get("/findings/7"); !strings.Contains(body, `href="/traces/4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Error("the page of a finding doesn't name its trace")
	}
	if _, body := b.get("/findings/9"); strings.Contains(body, "Requests that it is about") {
		t.Error("one without traces speaks of some")
	}
}

// TestLiveFormsKeepTheirTarget: where forms stand side by side in a part that is brought up to date, each has a key of its own: an update must
// not put one client in place of another under somebody's pointer.
func TestLiveFormsKeepTheirTarget(t *testing.T) {
	w := newWorld(t, shop)
	w.found[0].Evidence = append(w.found[0].Evidence, evidence(w.now, "x", "203.0.113.7/32"), evidence(w.now, "y", "203.0.113.8/32"))
	_, page := w.enters("administrator").get("/findings/7")
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`<form([^>]*) action="/answers/(?:block|quarantine)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(m[1], "data-key=") || seen[m[1]] {
			t.Errorf("form%s", m[1])
		}
		seen[m[1]] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d forms", len(seen))
	}
}

// TestWhoIsInQuarantineIsNotPutThereAgain: the way to cut it off is there before, and the way back after.
func TestWhoIsInQuarantineIsNotPutThereAgain(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("administrator")
	const again, back = `action="/answers/quarantine"`, `/lift"`
	if _, body := b.get("/findings/7"); !strings.Contains(body, again) || strings.Contains(body, back) {
		t.Error("before: no way to cut it off, or one back")
	}
	b.post("/answers/quarantine", url.Values{"service": {"web"}, "reason": {"odd"}})
	if _, body := b.get("/findings/7"); strings.Contains(body, again) || !strings.Contains(body, back) {
		t.Error("after: it can be cut off again, or there is no way back")
	}
}

// TestTheSandboxOfAServiceIsOnItsPage, in all its layers.
func TestTheSandboxOfAServiceIsOnItsPage(t *testing.T) {
	w := newWorld(t, shop)
	_, page := w.enters("viewer").get("/services/web")
	for _, want := range []string{"runs ./web with its loader or interpreter", "<dt>Files</dt><dd>reads the folder .", "to catalog, cart, orders", "8080, for Ward to call", "a finding (bypass)", "without capabilities", "512 processes, 8192 open files"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
