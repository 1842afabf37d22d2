package update

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/finding"
)

// TestWhatAChangeBringsInMustBeOldEnoughToo: a release of an hour ago would come in through a part that an old release asks for.
func TestWhatAChangeBringsInMustBeOldEnoughToo(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := map[string]time.Time{"old": now.AddDate(0, -1, 0), "new": now.Add(-time.Hour)}[strings.Split(strings.TrimPrefix(r.URL.Path, "/"), ".")[0]]
		switch {
		case at.IsZero():
			http.NotFound(w, r)
		case strings.HasSuffix(r.URL.Path, "/list"):
			w.Write([]byte("v1.0.0\n"))
		case strings.HasSuffix(r.URL.Path, ".info"):
			w.Write([]byte(`{"Version":"v1.0.0","Time":"` + at.Format(time.RFC3339) + `"}`))
		default:
			w.Write([]byte("module x\n"))
		}
	}))
	defer s.Close()
	part := func(name string) finding.Package {
		return finding.Package{Ecosystem: choose.Go, Name: name, Version: "v1.0.0", Location: finding.Location{Path: "go.mod"}}
	}
	for name, c := range map[string]struct {
		after  finding.Package
		chosen []Change
		wait   int
		want   bool
	}{
		"an old one":               {after: part("old.example/x")},
		"a young one":              {after: part("new.example/x"), want: true},
		"one that nobody knows":    {after: part("away.example/x"), want: true},
		"one that is there":        {after: part("here.example/x")},
		"the change itself":        {after: part("new.example/x"), chosen: []Change{{Ecosystem: choose.Go, Name: "new.example/x", To: "1.0.0"}}},
		"not for as long as asked": {after: part("old.example/x"), wait: 60, want: true},
		"of another ecosystem":     {after: finding.Package{Ecosystem: "PyPI", Name: "x", Version: "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := &run{Request: Request{
				SeenLog: filepath.Join(t.TempDir(), "seen"), Clock: clock.Func(func() time.Time { return now }),
				sources: sources{goEnv: registry.GoEnv{Proxy: s.URL}, set: true},
			}, parts: []finding.Package{part("here.example/x")}}
			u.Policy.WaitDays = c.wait
			err := u.young(t.Context(), c.chosen, []finding.Package{c.after})
			if (err != nil) != c.want || err != nil && !strings.Contains(err.Error(), c.after.Name) {
				t.Error(err)
			}
		})
	}
}
