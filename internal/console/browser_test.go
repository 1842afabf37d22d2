package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/telemetry"
	"github.com/wardhq/ward/internal/wardtest/browser"
	"github.com/wardhq/ward/internal/wire"
)

// opens opens an empty page of somebody who has come in.
func (w *world) opens(t *testing.T, b *browser.Browser, who *somebody, look browser.Look) *browser.Page {
	t.Helper()
	p := b.Open(t, look)
	name, value, _ := strings.Cut(who.cookie, "=")
	p.Give(&http.Cookie{Name: name, Value: value}, w.server.URL)
	return p
}

// TestPagesInABrowser: no page breaks its own policy, runs what somebody else wrote, is wider than a phone, or has something that axe objects to, in
// light and dark, or that the keyboard doesn't reach. WARD_CONSOLE_SHOTS names a folder for pictures.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, shop)
	p := w.opens(t, browser.Start(t), w.enters("administrator"), browser.Look{})
	walked := 0
	for _, path := range pages {
		complain := func(look string, what []string) {
			for _, x := range what {
				t.Errorf("%s, %s: %s", path, look, x)
			}
		}
		shoot := func(look string) {
			if dir := os.Getenv("WARD_CONSOLE_SHOTS"); dir != "" {
				name := strings.Trim(regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(path, "-"), "-")
				p.Shoot(filepath.Join(dir, look+"-"+cmp.Or(name[:min(len(name), 40)], "map")+".png"))
			}
		}
		if status := p.Goto(w.server.URL + path); status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		for _, look := range []string{"light", "dark"} {
			p.Wear(browser.Look{Dark: look == "dark"})
			complain(look, p.Axe())
			complain(look, browser.Ask[[]string](p, weak))
			shoot(look)
		}
		p.Wear(browser.Look{Width: 375})
		if wide := browser.Ask[int](p, `() => document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
			t.Errorf("%s: on a phone wider than the window by %d", path, wide)
		}
		shoot("phone")
		p.Wear(browser.Look{})
		all := browser.Ask[int](p, watchFocus)
		p.Keys(strings.Repeat(kb.Tab, all+20)) // a date has several parts
		faults := browser.Ask[struct{ Unreached, Unseen, Back []string }](p, `() => ({ ...walked, unreached: [...walked.wanted].map((e) => e.outerHTML.slice(0, 100)) })`)
		complain("no key leads to", faults.Unreached)
		complain("the focus isn't seen at", faults.Unseen)
		complain("the keys jump back to", faults.Back)
		walked += all - len(faults.Unreached)
		complain("the browser says", p.Problems())
	}
	if walked < 30*len(pages)/2 {
		t.Errorf("reached %d things", walked)
	}
}

// weak are the lines that can't be told from what is behind them: under 3 to 1 (WCAG 2.2, 1.4.11).
const weak = `() => {
	const light = (c) => c.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const found = [...document.querySelectorAll("#map .arrow, #map .box rect, #day .denied, .chart .line")].map((e) => {
		const s = getComputedStyle(e), behind = light(getComputedStyle(e.closest(".card")).backgroundColor), of = light(s.stroke === "none" ? s.fill : s.stroke);
		return [e.getAttribute("class") || e.parentElement.getAttribute("class"), (Math.max(of, behind) + 0.05) / (Math.min(of, behind) + 0.05) * (s.opacity < 1 ? 0 : 1)];
	}).filter(([, ratio]) => ratio < 3).map(([of, ratio]) => "hard to see: " + of + " " + ratio.toFixed(1));
	return [...new Set(found)];
}`

// watchFocus counts the links, buttons and fields, and notes from then on which the keys don't reach in the order of the page, and which aren't seen to
// have the focus.
const watchFocus = `() => {
	const order = [...document.querySelectorAll("a[href], button:enabled, input:not([type=hidden]), select, summary, [tabindex='0']")].filter((e) => e.tabIndex >= 0 && e.checkVisibility());
	globalThis.walked = { wanted: new Set(order), unseen: [], back: [] };
	let last = -1;
	addEventListener("focusin", ({ target: e }) => {
		const s = getComputedStyle(e), inner = e.querySelector("rect"), at = order.indexOf(e);
		if (!walked.wanted.delete(e)) return;
		if (!(s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 1 || inner && parseFloat(getComputedStyle(inner).strokeWidth) >= 4)) walked.unseen.push(e.outerHTML.slice(0, 100));
		if (at < last) walked.back.push(e.outerHTML.slice(0, 100));
		last = at;
	});
	return order.length;
}`

// isLive says that news come by themselves.
const isLive = `() => document.getElementById("live").textContent === "Live"`

// soon is how long news may take to be seen, with all that runs beside.
const soon = 15 * time.Second

// TestPeopleInABrowser: news come by themselves, the keyboard is enough, and every act works without JavaScript.
func TestPeopleInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, shop)
	happen, b, ada := w.lives(), browser.Start(t), w.enters("administrator")
	t.Run("news come by themselves", func(t *testing.T) { newsCome(t, w, w.opens(t, b, ada, browser.Look{}), happen) })
	t.Run("what allows a finding is a click away", func(t *testing.T) { copies(t, w, w.opens(t, b, ada, browser.Look{Clipboard: true})) })
	t.Run("the first key leads to the content", func(t *testing.T) {
		p := w.opens(t, b, ada, browser.Look{})
		p.Goto(w.server.URL + "/")
		p.Keys(kb.Tab + kb.Enter)
		if got := browser.Ask[string](p, `() => document.activeElement.id`); got != "main" {
			t.Errorf("the focus is at %q", got)
		}
		noProblems(t, p)
	})
	t.Run("acts without JavaScript", func(t *testing.T) { acts(t, w, w.opens(t, b, ada, browser.Look{Plain: true})) })
}

// noProblems: the browser has nothing to complain of.
func noProblems(t *testing.T, p *browser.Page) {
	t.Helper()
	for _, x := range p.Problems() {
		t.Error(x)
	}
}

// newsCome: what happens shows by itself, and what has the focus keeps it.
func newsCome(t *testing.T, w *world, p *browser.Page, happen func()) {
	t.Helper()
	p.Goto(w.server.URL + "/")
	p.Until(soon, isLive)
	const focused = `() => document.activeElement.getAttribute("href")`
	browser.Ask[any](p, `() => document.querySelector("#table a").focus()`)
	before := browser.Ask[string](p, focused)
	happen()
	p.Until(soon, `() => document.getElementById("map").textContent.includes("cart → db: refused") && document.getElementById("table").textContent.includes("3.0/s")`)
	if after := browser.Ask[string](p, focused); after != before {
		t.Errorf("the focus went from %s to %s", before, after)
	}
	noProblems(t, p)
}

// copies: the command and the change go to the clipboard; without the browser's leave they are marked.
func copies(t *testing.T, w *world, p *browser.Page) {
	t.Helper()
	p.Goto(w.server.URL + "/findings/7")
	for _, c := range []struct{ what, end, first string }{{"command", "", "ward findings allow 7"}, {"change", "\n", "@@ ward.yaml:12 @@"}} {
		p.Click("[data-copy=" + c.what + "]")
		p.Until(soon, `(w) => document.querySelector("[data-copy=" + w + "]").textContent === "Copied"`, c.what)
		got, want := browser.Ask[string](p, `() => navigator.clipboard.readText()`), browser.Ask[string](p, `(w) => document.getElementById(w).textContent.trim()`, c.what)+c.end
		if first, _, _ := strings.Cut(got, "\n"); got != want || first != c.first {
			t.Errorf("%s: %q, not %q", c.what, got, want)
		}
	}
	p.Goto(w.server.URL + "/audit?from=12&limit=1")
	browser.Ask[any](p, `() => { navigator.clipboard.writeText = () => Promise.reject(new Error("no")); }`)
	p.Click("[data-copy=prove]")
	p.Until(soon, `() => String(getSelection())`)
	if got := browser.Ask[string](p, `() => String(getSelection())`); got != "ward audit prove 12" {
		t.Errorf("marked is %q", got)
	}
	noProblems(t, p)
}

// acts: every act can be done, and its page says so.
func acts(t *testing.T, w *world, p *browser.Page) {
	t.Helper()
	for _, act := range []struct {
		at, form string
		fill     map[string]string
		want     string
	}{
		{"/findings/7", "form[action$='/silence']", map[string]string{"reason": "known"}, "Silenced"},
		{"/findings", "form[action^='/silences/']", nil, "The silence has ended"},
		{"/findings", "form[action='/answers/block']", map[string]string{"client": "203.0.113.7", "reason": "scans"}, "The client is blocked"},
		{"/findings", "form[action$='/lift']", nil, "Lifted"},
		{"/findings/7", "form[action='/answers/quarantine']", nil, "The service is in quarantine"},
		{"/findings/7", "form[action$='/close']", map[string]string{"note": "a test"}, "The finding is closed"},
		{"/people/u1", "form[action$='/sessions/end']", nil, "The sessions have ended"},
	} {
		p.Goto(w.server.URL + act.at)
		for field, text := range act.fill {
			p.Fill(act.form+" input[name="+field+"]", text)
		}
		p.Follow(act.form + " button")
		if got := browser.Ask[string](p, `() => document.querySelector("p.done")?.innerText ?? ""`); !strings.Contains(got, act.want) {
			t.Errorf("%s %s: %q at %s", act.at, act.form, got, p.At())
		}
	}
	noProblems(t, p)
	p.Follow("form[action='/leave'] button")
	if got := browser.Ask[string](p, `() => document.querySelector("h1").innerText`); !strings.Contains(got, "Come in with a link") {
		t.Errorf("after leaving: %q", got)
	}
}

// lives lets the world's time go on with each request and the console look for news, and returns what makes something happen.
func (w *world) lives() (happen func()) {
	w.t.Helper()
	w.server.Close()
	w.server = httptest.NewServer(advancing(w, w.console.Handler()))
	w.t.Cleanup(w.server.Close)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.console.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait() })
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.news++
		w.now = w.now.Add(peopleEvery)
		w.edges = append(w.edges, w.edge("cart", "db", telemetry.Undeclared, telemetry.Denied, 3, 0), w.edge(plan.Outside, "web", "POST /checkout", telemetry.Allowed, 3, time.Millisecond))
		f := watch.Finding{ID: int64(100 + w.news), Rule: "undeclared-call", Severity: finding.Critical, Count: 1, Opened: w.now, Last: w.now}
		f.What = "cart asked db for a connection"
		w.found = append([]watch.Finding{f}, w.found...)
		w.standing = append(w.standing, wire.Restriction{ID: fmt.Sprintf("q%d", w.news), Service: string(w.plan.Services[w.news%len(w.plan.Services)].Name), Reason: "it happened", Until: w.now.Add(time.Hour)})
	}
}

// TestReadersKeepTheirPlace: what happens comes onto every page by itself, and who reads keeps the focus, what is marked, scrolled, opened and half typed.
func TestReadersKeepTheirPlace(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, shop)
	w.standing = []wire.Restriction{{ID: "a1", Service: "db", Reason: "odd", Until: w.now.Add(time.Hour)}}
	happen := w.lives()
	looks := []struct{ at, live, focus, mark string }{
		{"/", "#table", "#map a[href='/services/orders']", "#table tbody tr:last-child code"},
		{"/findings", "#answers", "#answers button", "#inbox a[href='/findings/9']"},
		{"/traces", "#traces", "#traces tbody a", "#traces tbody code"},
		{"/logs", "#lines", "#lines .svc", "#lines code"},
		{"/audit", "#records", "#records tbody a", "#records tbody tr:last-child .details"},
		{"/people", "#people", "#people tbody a", "#people tbody a"},
		{"/people/u1", "#sessions", "#sessions button", "#sessions b"},
		{"/posture", "#standings", "#standings tbody tr:nth-child(2) a", "#standings tbody td:nth-child(2)"},
		{"/services/web", "#in", "#charts details .wide", "#about code"},
	}
	b, ada := browser.Start(t), w.enters("administrator")
	readers, before := make([]*browser.Page, len(looks)), make([]string, len(looks))
	for i, x := range looks {
		p := w.opens(t, b, ada, browser.Look{Width: 700, Height: 500}) // with connections of its own
		p.Goto(w.server.URL + x.at)
		p.Until(soon, isLive)
		saw := browser.Ask[struct {
			HTML, Words string
			Focused     bool
		}](p, settle, x.live, x.focus, x.mark)
		if !saw.Focused || saw.Words == "" {
			t.Errorf("%s: %s has the focus: %v, marked is %q", x.at, x.focus, saw.Focused, saw.Words)
		}
		readers[i], before[i] = p, saw.HTML
	}
	happen()
	for i, x := range looks {
		p := readers[i]
		p.Until(soon, `(live, html) => document.querySelector(live).innerHTML !== html`, x.live, before[i])
		for _, lost := range append(browser.Ask[[]string](p, losses), p.Problems()...) {
			t.Errorf("%s: %s", x.at, lost)
		}
	}
}

// settle is a reader in the middle of it: something has the focus, words are marked, tables are scrolled, details are open, a filter is half typed.
const settle = `(live, focus, mark) => {
	for (const d of document.querySelectorAll("[data-live] details")) d.open = true;
	document.querySelector(focus).focus();
	const field = document.querySelector("form[role=search] input, #about input[name=reason]");
	if (field) field.value = "half";
	getSelection().selectAllChildren(document.querySelector(mark));
	const wide = [...document.querySelectorAll(".wide")];
	for (const w of wide) w.scrollLeft = 9;
	globalThis.was = { focus: document.activeElement, words: String(getSelection()), scrolled: wide.map((w) => [w, w.scrollLeft]), details: [...document.querySelectorAll("[data-live] details")], field };
	return { html: document.querySelector(live).innerHTML, focused: document.activeElement.matches(focus), words: was.words };
}`

// losses are what of it isn't there any more.
const losses = `() => {
	const { focus, words, scrolled, details, field } = was, lost = [];
	if (document.activeElement !== focus) lost.push("the focus is at " + document.activeElement.outerHTML.slice(0, 80));
	if (String(getSelection()) !== words) lost.push("marked is " + getSelection());
	if (scrolled.some(([w, left]) => !w.isConnected || w.scrollLeft !== left)) lost.push("a table is scrolled back");
	if (details.some((d) => !d.isConnected || !d.open)) lost.push("details are closed");
	if (field && !(field.isConnected && field.value === "half")) lost.push("what was typed is gone");
	return lost;
}`

// advancing lets the world's time go on with each request.
func advancing(w *world, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.after(nowFor)
		next.ServeHTTP(rw, r)
	})
}
