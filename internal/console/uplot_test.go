package console

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/need"
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
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	live := w.lives()
	var seen struct {
		Problems []string
		Seen     map[string]string
	}
	npm.Node(t, "testdata/charts.mjs", map[string]any{"url": w.server.URL, "cookie": w.enters("viewer").cookie, "happen": live}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	for name, want := range map[string]string{
		"pointed": "4 May 11:", "others": "4 May 11:", "keys": "4 May 11:59:45", "dragged": "true", "others zoomed": "true", "after news": "true", "news": "true", "whole": "true", "pressed": "true",
		"without JavaScript": "picture and table",
	} {
		if !strings.HasPrefix(seen.Seen[name], want) {
			t.Errorf("%s: %q, not %q", name, seen.Seen[name], want)
		}
	}
}
