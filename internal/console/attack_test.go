package console

import (
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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

// TestAnswersToClients: blocked or slowed down, for as long as was chosen.
func TestAnswersToClients(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("operator")
	for name, c := range map[string]struct {
		form url.Values
		want wire.Restriction
	}{
		"as usual":        {url.Values{"client": {"203.0.113.7"}, "for": {""}}, wire.Restriction{Client: netip.MustParsePrefix("203.0.113.7/32"), Until: w.now.Add(10 * time.Minute)}},
		"a week, slow":    {url.Values{"client": {"203.0.113.0/24"}, "for": {"168h"}, "slow": {"on"}}, wire.Restriction{Client: netip.MustParsePrefix("203.0.113.0/24"), Slow: true, Until: w.now.Add(168 * time.Hour)}},
		"in IPv6 its /64": {url.Values{"client": {"2001:db8::7"}}, wire.Restriction{Client: netip.MustParsePrefix("2001:db8::/64"), Until: w.now.Add(10 * time.Minute)}},
		"mapped":          {url.Values{"client": {"::ffff:203.0.113.7"}}, wire.Restriction{Client: netip.MustParsePrefix("203.0.113.7/32"), Until: w.now.Add(10 * time.Minute)}},
	} {
		t.Run(name, func(t *testing.T) {
			w.standing = nil
			c.form.Set("reason", "x")
			resp, body := b.post("/answers/block", c.form)
			if resp.StatusCode != http.StatusSeeOther || len(w.standing) != 1 {
				t.Fatalf("status %d\n%s", resp.StatusCode, body)
			}
			c.want.ID, c.want.Reason, c.want.By = "a1", "x", "ada"
			if diff := cmp.Diff(c.want, w.standing[0], cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	w.standing = nil
	for _, wrong := range []url.Values{{"client": {"203.0.113.7"}, "for": {"long"}}, {"client": {"fe80::1%eth0"}}, {"client": {"here"}}} {
		wrong.Set("reason", "x")
		if resp, _ := b.post("/answers/block", wrong); resp.StatusCode != http.StatusBadRequest || len(w.standing) > 0 {
			t.Errorf("%v: status %d", wrong, resp.StatusCode)
		}
	}
	for _, page := range []string{"/findings", "/findings/9"} {
		if _, body := b.get(page); !strings.Contains(body, `<button name="slow" value="on">Slow down`) || !strings.Contains(body, `<option value="168h">a week</option>`) {
			t.Errorf("%s has no choice", page)
		}
	}
}

// TestWhoIsSparedNeedsASecondStep, which is a strong act.
func TestWhoIsSparedNeedsASecondStep(t *testing.T) {
	for name, c := range map[string]struct {
		role string
		late bool
		page string
		want bool
	}{
		"an operator":           {"operator", false, "An administrator can do it all the same", false},
		"an administrator late": {"administrator", true, "Show again", false},
		"an administrator":      {"administrator", false, "Slow 10.0.0.0/8 down all the same", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shop)
			b := w.enters(c.role)
			if c.late {
				w.after(16 * time.Minute)
			}
			form := url.Values{"client": {"10.0.0.0/8"}, "reason": {"x " + evil}, "slow": {"on"}, "for": {"1h"}, "finding": {"7"}}
			resp, body := b.post("/answers/block", form)
			if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, c.page) || strings.Contains(body, `name="sure"`) != c.want || len(w.standing) > 0 {
				t.Fatalf("status %d, in force %v\n%s", resp.StatusCode, w.standing, body)
			}
			if strings.Contains(body, "<script>") {
				t.Error("the page carries on what somebody wrote as its own")
			}
			again := url.Values{"sure": {"on"}, "client": {"10.0.0.0/8"}, "reason": {"x"}}
			if c.want {
				again = url.Values{}
				for _, m := range regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`).FindAllStringSubmatch(body[strings.Index(body, `action="/answers/block"`):], -1) {
					again.Set(m[1], html.UnescapeString(m[2]))
				}
				form.Set("sure", "on")
				form.Set("token", b.token)
				if diff := cmp.Diff(form, again); diff != "" {
					t.Error(diff)
				}
			}
			if resp, body := b.post("/answers/block", again); (resp.StatusCode == http.StatusSeeOther) != c.want || (len(w.standing) == 1) != c.want {
				t.Errorf("status %d\n%s", resp.StatusCode, body)
			}
		})
	}
}

// TestAFindingLeadsToWhoItIsAbout, and ends their sessions; of several people it names none.
func TestAFindingLeadsToWhoItIsAbout(t *testing.T) {
	w := newWorld(t, shop)
	one := watch.Finding{ID: 11, Rule: "replay", Subject: "u1"}
	many, gone := one, one
	one.Person, many.Person, gone.Person = "u1", "u1", "u2"
	many.ID, many.Subject, gone.ID = 12, "people", 13
	w.found = append(w.found, one, many, gone)
	b := w.enters("administrator")
	const form, link = `action="/people/u1/sessions/end"`, `href="/people/u1"`
	if _, page := b.get("/findings/11"); !strings.Contains(page, form) || !strings.Contains(page, link) {
		t.Error("no way to end the sessions")
	}
	if resp, _ := b.post("/people/u1/sessions/end", url.Values{"session": {"s1"}, "finding": {"11"}}); resp.Header.Get("Location") != "/findings/11?done=revoked" || !w.ended {
		t.Errorf("ended: %v, leads to %s", w.ended, resp.Header.Get("Location"))
	}
	if _, page := w.enters("operator").get("/findings/11"); strings.Contains(page, form) || !strings.Contains(page, link) {
		t.Error("an operator is offered what is for administrators, or no link")
	}
	for _, path := range []string{"/findings/12", "/findings/13"} {
		if resp, page := b.get(path); resp.StatusCode != http.StatusOK || strings.Contains(page, "/sessions/end") {
			t.Errorf("%s: status %d, with a way to end somebody's sessions", path, resp.StatusCode)
		}
	}
}
