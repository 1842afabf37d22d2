package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestTheConsoleShowsAnAttackAsItHappens: 'ward attack' runs while somebody looks at the map, and edges turn red and findings come without a reload.
func TestTheConsoleShowsAnAttackAsItHappens(t *testing.T) {
	need.Program(t, "chromium")
	w := wardtest.Start(t, attackedServices, nil)
	var attack sync.WaitGroup
	begin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		attack.Go(func() {
			run(cli.Env{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}, []string{"attack", "-f", w.File, "--service", "lonely", "--from", "inside"})
		})
	}))
	defer begin.Close()
	type sight struct {
		Red                []string
		Dashed, Said, Same bool
		Findings, Flags    int
	}
	var seen struct {
		Problems      []string
		Before, After sight
	}
	npm.Node(t, "testdata/browser/attack.mjs", map[string]any{"link": opened(t, w).String(), "attack": begin.URL}, &seen)
	attack.Wait()
	for _, p := range seen.Problems {
		t.Error(p)
	}
	if b := seen.Before; len(b.Red) != 0 || b.Findings != 0 || b.Said {
		t.Errorf("before: %+v", b)
	}
	if a := seen.After; len(a.Red) == 0 || !a.Dashed || !a.Said || a.Findings == 0 || a.Flags == 0 || !a.Same {
		t.Errorf("after: %+v", a)
	}
	if !strings.Contains(strings.Join(seen.After.Red, "\n"), "lonely → ") {
		t.Errorf("red is %q", seen.After.Red)
	}
}
