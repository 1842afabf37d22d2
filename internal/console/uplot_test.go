package console

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/wardhq/ward/internal/wardtest/browser"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestUPlotIsThePackages: what is served is, byte for byte, what npm's registry holds under the lock's hash.
func TestUPlotIsThePackages(t *testing.T) {
	theirs := filepath.Join(npm.Modules(t), "uplot")
	for ours, at := range map[string]string{"uPlot.iife.min.js": "dist/uPlot.iife.min.js", "uPlot.min.css": "dist/uPlot.min.css", "LICENSE": "LICENSE"} {
		want, err := os.ReadFile(filepath.Join(theirs, at))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("uplot", ours))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s isn't the package's %s", ours, at)
		}
	}
}

// TestOnlyPagesWithChartsLoadUPlot, and they load at most 100 KB as well.
func TestOnlyPagesWithChartsLoadUPlot(t *testing.T) {
	w := newWorld(t, shop)
	b := w.enters("viewer")
	for _, path := range pages {
		resp, page := b.get(path)
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
		if has, wants := strings.Contains(page, "/static/uPlot"), strings.Contains(page, "data-chart="); has != wants {
			t.Errorf("%s: loads it: %v, has charts: %v", path, has, wants)
		}
	}
	sum := 0
	_, page := b.get("/services/web")
	for _, path := range append([]string{"/services/web"}, assetsOf(page)...) {
		_, body := b.ask(http.MethodGet, path, "", map[string]string{"Accept-Encoding": "gzip"})
		sum += len(body)
	}
	t.Logf("%d bytes", sum)
	if sum > 100<<10 {
		t.Errorf("%d bytes", sum)
	}
}

// TestChartsInABrowser: who points at a chart or goes through it by keys reads values, who drags or presses + sees less of the time, all charts alike, and what is
// chosen stays when values come. Without JavaScript there is the picture.
func TestChartsInABrowser(t *testing.T) {
	t.Parallel() // it mostly waits
	w := newWorld(t, shop)
	happen := w.lives()
	b, eva := browser.Start(t), w.enters("viewer")
	p := w.opens(t, b, eva, browser.Look{Height: 900})
	p.Goto(w.server.URL + "/services/web")
	p.Until(soon, isLive)
	type box struct{ X, Y, Width, Height float64 }
	boxes := browser.Ask[[]box](p, `() => [...document.querySelectorAll(".u-over")].map((e) => e.getBoundingClientRect().toJSON())`)
	if len(boxes) < 2 {
		t.Fatalf("%d charts", len(boxes))
	}
	is := func(want bool, what, function string) {
		t.Helper()
		if got := browser.Ask[bool](p, function); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	const whole, offered = `#whole`, `() => document.querySelector("#whole").checkVisibility()`
	is(false, "it offers the whole time, which is what is shown", offered)

	over := boxes[0]
	p.Point(browser.Spot{X: over.X + over.Width/2, Y: over.Y + 20})
	for i, said := range browser.Ask[[]string](p, `() => [...document.querySelectorAll(".said")].slice(0, 2).map((e) => e.textContent)`) {
		if !strings.HasPrefix(said, "4 May 11:") {
			t.Errorf("pointed at the first, chart %d says %q", i, said)
		}
	}
	p.Point(browser.Spot{X: 5, Y: 5})

	browser.Ask[any](p, `() => document.querySelector(".u-over").focus()`)
	p.Keys(kb.End + kb.ArrowLeft)
	if said := browser.Ask[string](p, `() => document.querySelector(".u-over").getAttribute("aria-valuetext")`); !strings.HasPrefix(said, "4 May 11:59:45") {
		t.Errorf("the keys lead to %q", said)
	}

	// The picture of a narrower time is another one.
	pixels := func() []string {
		return browser.Ask[[]string](p, `() => [...document.querySelectorAll(".plot canvas")].map((c) => c.toDataURL())`)
	}
	before := pixels()
	p.Drag(browser.Spot{X: over.X + over.Width*0.4, Y: over.Y + 40}, browser.Spot{X: over.X + over.Width*0.6, Y: over.Y + 40})
	p.Until(soon, offered)
	for i, zoomed := range pixels()[:2] {
		if zoomed == before[i] {
			t.Errorf("chart %d shows the whole time still", i)
		}
	}

	// Values come: the latest in the caption is another, an opened table and the zoom stay.
	p.Click("#charts summary")
	const latest = `document.querySelector("#charts .key b").textContent`
	was := browser.Ask[string](p, `() => { globalThis.was = document.querySelector(".plot canvas"); return `+latest+`; }`)
	happen()
	p.Until(soon, `(was) => `+latest+` !== was`, was)
	is(true, "the chart is the same", `() => globalThis.was === document.querySelector(".plot canvas")`)
	is(true, "the zoom and the open table stay", `() => !document.getElementById("whole").hidden && document.querySelector("#charts details").open`)

	const isWhole = `() => document.getElementById("whole").hidden`
	p.Click(whole)
	is(true, "the whole time, with the focus in the chart", `() => document.getElementById("whole").hidden && document.activeElement.className === "u-over"`)
	p.Keys("+")
	is(false, "+ shows less", isWhole)
	p.Keys(kb.Escape)
	is(true, "Escape shows all", isWhole)
	noProblems(t, p)

	p = w.opens(t, b, eva, browser.Look{Height: 900, Plain: true})
	p.Goto(w.server.URL + "/services/web")
	is(true, "the picture without JavaScript", `() => document.querySelector("svg.drawn").checkVisibility()`)
	p.Click("#charts summary")
	is(true, "the table without JavaScript", `() => document.querySelector("#charts table").checkVisibility()`)
	noProblems(t, p)
}
