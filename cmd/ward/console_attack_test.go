package main

import (
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/browser"
)

// TestTheConsoleShowsAnAttackAsItHappens: 'ward attack' runs while somebody looks at the map, and edges turn red and findings come without a reload.
func TestTheConsoleShowsAnAttackAsItHappens(t *testing.T) {
	w := wardtest.Start(t, attackedServices, nil)
	p := browser.Start(t).Open(t, browser.Look{})
	p.Goto(opened(t, w).String())
	p.Until(soon, `() => location.pathname === "/" && document.getElementById("live").textContent === "Live"`)
	type sight struct {
		Red                []string
		Dashed, Said, Same bool
		Findings, Flags    int
	}
	const look = `() => {
		const red = [...document.querySelectorAll("#map .arrow.refused")];
		return {
			red: red.map((e) => e.textContent.trim()),
			dashed: red.every((e) => getComputedStyle(e).strokeDasharray !== "none"),
			said: document.getElementById("head").textContent.includes("refused"),
			findings: document.querySelectorAll("#found tbody tr").length,
			flags: document.querySelectorAll("#map .flag").length,
			same: globalThis.opened === true,
		};
	}`
	browser.Ask[any](p, `() => { globalThis.opened = true; }`)
	if b := browser.Ask[sight](p, look); len(b.Red) != 0 || b.Findings != 0 || b.Said {
		t.Errorf("before: %+v", b)
	}
	var attack sync.WaitGroup
	attack.Go(func() {
		run(cli.Env{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, []string{"attack", "-f", w.File, "--service", "lonely", "--from", "inside"})
	})
	defer attack.Wait()
	p.Until(time.Minute, `() => document.querySelector("#map .arrow.refused") && document.querySelector("#found tbody tr") && document.querySelector("#map .flag")`)
	a := browser.Ask[sight](p, look)
	if len(a.Red) == 0 || !a.Dashed || !a.Said || a.Findings == 0 || a.Flags == 0 || !a.Same {
		t.Errorf("after: %+v", a)
	}
	if !strings.Contains(strings.Join(a.Red, "\n"), "lonely → ") {
		t.Errorf("red is %q", a.Red)
	}
	for _, x := range p.Problems() {
		t.Error(x)
	}
}
