package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// TestPasskeyAttacksInABrowser: real answers of a browser's authenticator, used as a thief would.
func TestPasskeyAttacksInABrowser(t *testing.T) {
	t.Parallel()
	need.Program(t, "chromium")
	w := wardtest.Start(t, peopleModel, nil)
	type try struct {
		Name     string
		At       int64 // milliseconds since 1970
		Status   int
		SignedIn bool
	}
	var s struct {
		Error   string
		Counter int
		Tries   []try
	}
	npm.Node(t, "testdata/browser/passkeys.mjs", map[string]any{"url": w.URL, "pages": pagesOf(w.URL), "mail": filepath.Join(w.Dir, ".ward", "mail")}, &s)
	if s.Error != "" || s.Counter < 3 || len(s.Tries) != 5 {
		t.Fatalf("%+v", s)
	}
	cloned := time.UnixMilli(s.Tries[4].At)
	for i := range s.Tries {
		s.Tries[i].At = 0
	}
	want := []try{
		{"its owner", 0, 200, true},
		{"the same answer again", 0, 422, false},
		{"without user verification", 0, 422, false},
		{"its owner again", 0, 200, true},
		{"a copy", 0, 422, false},
	}
	if diff := cmp.Diff(want, s.Tries); diff != "" {
		t.Error(diff)
	}
	flagged := func() (out []ledger.Record) {
		code, lines := runWard(t, w, "", "audit", "--json", "--kind", "flag.passkey-clone")
		if code != 0 {
			t.Fatal(code, lines)
		}
		for line := range strings.Lines(lines) {
			var r ledger.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			out = append(out, r)
		}
		return out
	}
	wardtest.Eventually(t, "the flag in the ledger", func() bool { return len(flagged()) > 0 })
	got := flagged()
	if took := got[0].Time.Sub(cloned); len(got) != 1 || took < 0 || took > mostToFind {
		t.Errorf("%d flags, the first after %s: %+v", len(got), took, got)
	}
}
