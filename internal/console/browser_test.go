package console

import (
	"os"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestPagesInABrowser: no page breaks its own policy, is wider than a phone, or has something that axe objects to, in light and dark.
func TestPagesInABrowser(t *testing.T) {
	need.Program(t, "chromium")
	w := newWorld(t, shop)
	var seen struct {
		Problems []string
		Opened   int
	}
	npm.Node(t, "testdata/shots.mjs", map[string]any{
		"url": w.server.URL, "cookie": w.enters("administrator").cookie, "pages": pages, "shots": os.Getenv("WARD_CONSOLE_SHOTS"),
		"looks": []map[string]any{
			{"name": "light", "width": 1280, "height": 800, "scheme": "light", "axe": true},
			{"name": "dark", "width": 1280, "height": 800, "scheme": "dark", "axe": true},
			{"name": "phone", "width": 375, "height": 800, "scheme": "light"},
		},
	}, &seen)
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if seen.Opened != 3*len(pages) {
		t.Errorf("opened %d pages", seen.Opened)
	}
}
