package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/wire"
)

func (w *world) link(role string) string {
	w.t.Helper()
	l, err := w.console.Invite(w.t.Context(), wire.ConsoleAsk{By: "ada", Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Path
}

func TestALinkWorksOnceAndForAMinute(t *testing.T) {
	w := newWorld(t, shop)
	once, stale := w.link("viewer"), w.link("viewer")
	stranger := &somebody{w: w}
	first, _ := stranger.get(once)
	again, _ := stranger.get(once)
	if first.StatusCode != 200 || len(first.Cookies()) != 1 || again.StatusCode != 403 || len(again.Cookies()) != 0 {
		t.Errorf("first %d, again %d", first.StatusCode, again.StatusCode)
	}
	if c := first.Cookies()[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" {
		t.Errorf("cookie %s", c.Raw)
	}
	w.after(time.Minute)
	if late, _ := stranger.get(stale); late.StatusCode != 403 || len(late.Cookies()) != 0 {
		t.Errorf("a minute later: %d", late.StatusCode)
	}
	for _, made := range []string{"/enter", "/enter?link=", "/enter?link=" + strings.Repeat("A", 43)} {
		if r, _ := stranger.get(made); r.StatusCode != 403 || len(r.Cookies()) != 0 {
			t.Errorf("%s: %d", made, r.StatusCode)
		}
	}
	if _, err := w.console.Invite(t.Context(), wire.ConsoleAsk{By: "ada", Role: "root"}); err == nil {
		t.Error("a link for a role that isn't one")
	}
}

func TestASessionEnds(t *testing.T) {
	w := newWorld(t, shop)
	idle := w.enters("viewer")
	busy := w.enters("viewer")
	for range 11 {
		w.after(59 * time.Minute)
		if r, _ := busy.get("/findings"); r.StatusCode != 200 {
			t.Fatalf("it ended while it was used: %d", r.StatusCode)
		}
	}
	if r, _ := idle.get("/findings"); r.StatusCode != 403 {
		t.Errorf("unused for hours: %d", r.StatusCode)
	}
	w.after(59 * time.Minute)
	if r, _ := busy.get("/findings"); r.StatusCode != 200 {
		t.Errorf("before half a day: %d", r.StatusCode)
	}
	w.after(59 * time.Minute)
	if r, _ := busy.get("/findings"); r.StatusCode != 403 {
		t.Errorf("after half a day: %d", r.StatusCode)
	}
	live := w.enters("viewer")
	for range 3 {
		w.after(25 * time.Minute)
		live.ask("GET", "/", "", map[string]string{"X-Ward-Live": "1"})
	}
	if r, _ := live.get("/"); r.StatusCode != 403 {
		t.Errorf("kept alive by its own script: %d", r.StatusCode)
	}
	left := w.enters("viewer")
	left.post("/leave", url.Values{})
	if r, _ := left.get("/"); r.StatusCode != 403 {
		t.Errorf("after leaving: %d", r.StatusCode)
	}
}

// TestForgedActs: what another site, an old page or a wrong role sends does nothing, and is in the ledger where somebody is signed in.
func TestForgedActs(t *testing.T) {
	for name, c := range map[string]struct {
		role   string
		path   string
		form   url.Values
		change func(h map[string]string, form url.Values, b *somebody)
	}{
		"from another site": {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { h["Sec-Fetch-Site"] = "cross-site" }},
		"from another port": {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { h["Sec-Fetch-Site"] = "same-site" }},
		"typed in":          {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { h["Sec-Fetch-Site"] = "none" }},
		"an old browser, elsewhere": {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) {
			delete(h, "Sec-Fetch-Site")
			h["Origin"] = "http://evil.example"
		}},
		"says nothing of where from": {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { delete(h, "Sec-Fetch-Site") }},
		"a null origin": {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) {
			delete(h, "Sec-Fetch-Site")
			h["Origin"] = "null"
		}},
		"without the token": {"administrator", "/findings/7/close", url.Values{}, func(_ map[string]string, form url.Values, _ *somebody) { form.Del("token") }},
		"with another's token": {"administrator", "/findings/7/close", url.Values{}, func(_ map[string]string, form url.Values, b *somebody) {
			form.Set("token", b.w.enters("administrator").token)
		}},
		"as JSON":                       {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { h["Content-Type"] = "application/json" }},
		"as plain text":                 {"administrator", "/findings/7/close", url.Values{}, func(h map[string]string, _ url.Values, _ *somebody) { h["Content-Type"] = "text/plain" }},
		"a viewer closes":               {"viewer", "/findings/7/close", url.Values{}, nil},
		"a viewer silences":             {"viewer", "/findings/7/silence", url.Values{"for": {"1h"}, "reason": {"x"}}, nil},
		"a viewer blocks":               {"viewer", "/answers/block", url.Values{"client": {"203.0.113.7"}, "reason": {"x"}}, nil},
		"a viewer lifts":                {"viewer", "/answers/a1/lift", url.Values{}, nil},
		"an operator cuts off":          {"operator", "/answers/quarantine", url.Values{"service": {"web"}, "reason": {"x"}}, nil},
		"an operator silences a rule":   {"operator", "/findings/7/silence", url.Values{"for": {"1h"}, "reason": {"x"}, "whole": {"on"}}, nil},
		"an operator silences for long": {"operator", "/findings/7/silence", url.Values{"for": {"24h1s"}, "reason": {"x"}}, nil},
		"an operator silences a trap":   {"operator", "/findings/11/silence", url.Values{"for": {"1h"}, "reason": {"x"}}, nil},
		"an operator silences nobody's": {"operator", "/findings/12/silence", url.Values{"for": {"1h"}, "reason": {"x"}}, nil},
		"a silence without a reason":    {"administrator", "/findings/7/silence", url.Values{"for": {"1h"}}, nil},
		"an operator ends sessions":     {"operator", "/people/u1/sessions/end", url.Values{"session": {"s1"}}, nil},
		"an operator lets go":           {"operator", "/answers/a1/lift", url.Values{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shop)
			w.standing = []wire.Restriction{{ID: "a1", Service: "db", Until: w.now.Add(time.Hour)}}
			w.found = append(w.found, watch.Finding{ID: 11, Rule: "canary", Subject: "web"}, watch.Finding{ID: 12, Rule: "clock-skew"})
			b := w.enters(c.role)
			form := c.form
			form.Set("token", b.token)
			headers := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
			if c.change != nil {
				c.change(headers, form, b)
			}
			resp, _ := b.ask(http.MethodPost, c.path, form.Encode(), headers)
			if resp.StatusCode/100 != 4 || !w.found[0].Closed.IsZero() || len(w.silences) != 0 || len(w.standing) != 1 || w.ended {
				t.Errorf("status %d, %+v %+v %+v", resp.StatusCode, w.found[0], w.silences, w.standing)
			}
			if last := w.records[len(w.records)-1]; last.Subject != "ada" || last.Kind != "console.refused" && last.Kind != "console.failed" {
				t.Errorf("in the ledger: %+v", last)
			}
		})
	}
}

func TestActs(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("administrator")
	steps := []struct {
		path string
		form url.Values
		done func() bool
	}{
		{"/findings/7/silence", url.Values{"for": {"24h"}, "reason": {"known"}}, func() bool {
			return len(w.silences) == 1 && w.silences[0].By == "ada" && w.silences[0].Subject == "mailer"
		}},
		{"/silences/1/end", url.Values{}, func() bool { return len(w.silences) == 0 }},
		{"/findings/7/close", url.Values{"note": {"a test"}}, func() bool { return w.found[0].ClosedBy == "ada" && w.found[0].Note == "a test" }},
		{"/people/u1/sessions/end", url.Values{"session": {"s1"}}, func() bool { return w.ended }},
		{"/answers/block", url.Values{"client": {"203.0.113.7"}, "reason": {"scans"}}, func() bool { return len(w.standing) == 1 && w.standing[0].Client.String() == "203.0.113.7/32" }},
		{"/answers/a1/lift", url.Values{"finding": {"7"}}, func() bool { return len(w.standing) == 0 }},
		{"/answers/quarantine", url.Values{"service": {"web"}, "reason": {"odd"}}, func() bool {
			return len(w.standing) == 1 && w.standing[0].Service == "web" && w.standing[0].By == "ada"
		}},
	}
	if _, page := b.get("/findings/7"); !strings.Contains(page, "<p>If it is right: <code>ward findings allow 7</code> shows &lt;it&gt;.") {
		t.Errorf("what to do isn't said:\n%s", page)
	}
	for _, s := range steps {
		resp, body := b.post(s.path, s.form)
		if to := resp.Header.Get("Location"); s.form.Get("finding") != "" && !strings.HasPrefix(to, "/findings/7") {
			t.Errorf("%s leads to %s", s.path, to)
		}
		if resp.StatusCode != http.StatusSeeOther || !s.done() {
			t.Errorf("%s: status %d\n%.300s", s.path, resp.StatusCode, body)
			continue
		}
		if last := w.records[len(w.records)-1]; last.Kind != "console.act" || last.Subject != "ada" || last.Object != s.path {
			t.Errorf("%s: in the ledger is %+v", s.path, last)
		}
		if _, page := b.get(resp.Header.Get("Location")); !strings.Contains(page, `class="done"`) {
			t.Errorf("%s: the page after it doesn't say so", s.path)
		}
	}
}

func TestWhatCannotBeRecordedIsNotDone(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("administrator")
	w.full = true
	resp, _ := b.post("/answers/quarantine", url.Values{"service": {"web"}, "reason": {"odd"}})
	if resp.StatusCode != http.StatusServiceUnavailable || len(w.standing) != 0 {
		t.Errorf("status %d, %+v", resp.StatusCode, w.standing)
	}
	if _, err := w.console.Invite(t.Context(), wire.ConsoleAsk{By: "ada", Role: "viewer"}); err == nil {
		t.Error("a link that the ledger doesn't know")
	}
}

// TestTwoCookiesAreNone: one of them may be somebody else's, set by another port of this host.
func TestTwoCookiesAreNone(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("viewer")
	b.cookie += "; " + w.enters("viewer").cookie
	if r, _ := b.get("/findings"); r.StatusCode != 403 {
		t.Errorf("status %d", r.StatusCode)
	}
}

func TestTextsOfLinksAreNotShown(t *testing.T) {
	w := newWorld(t, shop)
	if _, page := w.enters("viewer").get("/?done=" + url.QueryEscape("call 555-0100 at once")); strings.Contains(page, "555-0100") {
		t.Error("an address puts words on a page")
	}
}

// TestWideSilencesAreStrong: whole rules, guards, and more than a day are for administrators who have just shown who they are; to others the page
// offers none of it.
func TestWideSilencesAreStrong(t *testing.T) {
	wide := map[string]url.Values{
		"/findings/7/silence":  {"for": {"1h"}, "reason": {"x"}, "whole": {"on"}},
		"/findings/9/silence":  {"for": {"720h"}, "reason": {"x"}},
		"/findings/11/silence": {"for": {"1h"}, "reason": {"x"}},
	}
	for name, c := range map[string]struct {
		role string
		late bool
		want bool
	}{
		"an operator":           {"operator", false, false},
		"an administrator":      {"administrator", false, true},
		"an administrator late": {"administrator", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shop)
			w.found = append(w.found, watch.Finding{ID: 11, Rule: "canary", Subject: "web"})
			b := w.enters(c.role)
			if c.late {
				w.after(16 * time.Minute)
			}
			_, page := b.get("/findings/7")
			_, guard := b.get("/findings/11")
			if strings.Contains(page, `name="whole"`) != c.want || strings.Contains(page, `value="720h"`) != c.want || !strings.Contains(page, `value="24h" selected`) || strings.Contains(guard, `/silence"`) != c.want {
				t.Error("the page offers another thing than what is possible")
			}
			for path, form := range wide {
				if resp, body := b.post(path, form); (resp.StatusCode == http.StatusSeeOther) != c.want {
					t.Errorf("%s: status %d\n%s", path, resp.StatusCode, body)
				}
			}
			if (len(w.silences) == len(wide)) != c.want || !c.want && len(w.silences) > 0 {
				t.Errorf("silences: %+v", w.silences)
			}
			if resp, _ := b.post("/findings/7/silence", url.Values{"for": {"24h"}, "reason": {"x"}}); resp.StatusCode != http.StatusSeeOther {
				t.Errorf("a finding for a day: status %d", resp.StatusCode)
			}
		})
	}
}
