package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/wire"
)

// withLedger gives a console a real ledger with records, its checks, and an anchor that takes everything.
func (w *world) withLedger() (dir string, checks *check.Keeper) {
	t := w.t
	t.Helper()
	dir = t.TempDir()
	key := secret.New(bytes.Repeat([]byte{7}, secret.KeySize))
	for round := range 2 { // closed once, so that a checkpoint of all stands
		l, err := ledger.Open(dir, "test.ward", key)
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			for _, name := range []string{"ada", "bob", "eve"} {
				if err := l.Append(t.Context(), []wire.Event{{Source: "control", Time: w.now, Kind: "admin.request", Subject: name}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Append(t.Context(), []wire.Event{{Source: "control", Time: w.now, Kind: "ledger.lost", Subject: "control", Count: 41}}); err != nil {
				t.Fatal(err)
			}
			l.Close()
			continue
		}
		t.Cleanup(func() { l.Close() })
		checks = check.New(check.Config{Dir: dir, Key: l.VerifierKey(), Clock: clock.System{}})
		w.console.config.Ledger, w.console.config.Checks, w.console.config.Records = l, checks, search.New(l)
	}
	takes := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(takes.Close)
	k, err := anchor.Open(anchor.Config{Dir: t.TempDir(), Ledger: dir, Transport: http.DefaultTransport, Clock: clock.Func(w.clock)})
	if err != nil {
		t.Fatal(err)
	}
	k.SetTargets([]model.Anchor{{Webhook: takes.URL, Every: 600}})
	k.Round(t.Context())
	w.console.config.Anchors = k.States
	return dir, checks
}

// TestTheAuditPageSaysWhatItFound of a real ledger: whole, with a record that was changed, with an older checkpoint put back, without one, with an anchor that takes no more.
func TestTheAuditPageSaysWhatItFound(t *testing.T) {
	edit := func(name string, change func([]byte) []byte) func(t *testing.T, w *world, dir string) {
		return func(t *testing.T, _ *world, dir string) {
			found, err := filepath.Glob(filepath.Join(dir, name))
			if err != nil || len(found) == 0 {
				t.Fatalf("%v, %v", found, err)
			}
			b, err := os.ReadFile(found[0])
			if err == nil {
				err = os.WriteFile(found[0], change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, w *world, dir string)
		says   []string
		not    string
	}{
		"whole": {nil, []string{"4 of 4 records", "all 4 records match", "webhook", "every 10 min", "41 events", "(class A)", "ward audit prove"}, `class="card alert"`},
		"a changed record": {
			edit("records-*.jsonl", func(b []byte) []byte { return bytes.Replace(b, []byte("bob"), []byte("eve"), 1) }),
			[]string{`class="card alert"`, "The records don&#39;t verify", "don&#39;t match the signed checkpoint"},
			"records match",
		},
		"another signature": {
			edit("checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n4\n"), []byte("\n5\n"), 1) }),
			[]string{`class="card alert"`, "The checkpoint doesn&#39;t verify", "signature is not the ledger", "no checkpoint that counts"},
			"signature was checked",
		},
		"no checkpoint": {
			func(t *testing.T, _ *world, dir string) {
				if err := os.Remove(filepath.Join(dir, "checkpoint")); err != nil {
					t.Fatal(err)
				}
			}, []string{`class="card alert"`, "the checkpoint is missing"}, "signature was checked",
		},
		"an overdue anchor": {
			func(_ *testing.T, w *world, _ string) { w.after(26 * time.Minute) },
			[]string{`class="card alert"`, "should have a newer checkpoint", "overdue"},
			"doesn&#39;t verify",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, shop)
			dir, checks := w.withLedger()
			if c.damage != nil {
				c.damage(t, w, dir)
			}
			checks.Check(t.Context())
			resp, page := w.enters("operator").get("/audit")
			if resp.StatusCode != 200 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			for _, s := range c.says {
				if !strings.Contains(page, s) {
					t.Errorf("it doesn't say %q", s)
				}
			}
			if strings.Contains(page, c.not) {
				t.Errorf("it says %q", c.not)
			}
		})
	}
}

func TestReadingAllRecordsIsAnOperatorsToAskFor(t *testing.T) {
	w := newWorld(t, shop)
	_, checks := w.withLedger()
	viewer, operator := w.enters("viewer"), w.enters("operator")
	if _, page := viewer.get("/audit"); strings.Contains(page, "/audit/check") {
		t.Error("a viewer sees the button")
	}
	if resp, _ := viewer.post("/audit/check", url.Values{}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a viewer: %d", resp.StatusCode)
	}
	resp, _ := operator.post("/audit/check", url.Values{})
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/audit?done=checking" {
		t.Errorf("an operator: %d, %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	checks.Check(t.Context())
	if _, page := operator.get("/audit"); !strings.Contains(page, "all 4 records match") {
		t.Error("the page doesn't say what was found")
	}
}
