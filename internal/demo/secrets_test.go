package demo

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWebsPasswordIsFoundWhereverItIs, and only asterisks in its place count as Ward's.
func TestWebsPasswordIsFoundWhereverItIs(t *testing.T) {
	const value = "correct-horse-battery"
	stars := strings.Repeat("*", len(value))
	tests := []struct {
		name, environ, file, fd string
		want                    Result
	}{
		{"in the environment", "A=1\x00SESSION_SECRET=" + value, "", "", Result{Succeeded: true, Evidence: "A=1 SESSION_SECRET=" + value}},
		{"in the file", "A=1", value, "", Result{Succeeded: true, Evidence: "A=1 " + value}},
		{
			"in the descriptor", "WARD_SECRETS_FD=5\x00A=1", stars, `{"v":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}`,
			Result{Succeeded: true, Evidence: "TS_FD=5 A=1 " + stars + ` {"v":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}`},
		},
		{"masked", "WARD_SECRETS_FD=5\x00A=1", stars, stars, Result{Layer: "gateway: secret masked", Evidence: "the file says " + stars}},
		{"masked in part", "A=1", stars[1:] + "y", "", Result{Evidence: "A=1 " + stars[1:] + "y"}},
		{"nowhere", "A=1", "no such file", "", Result{Evidence: "A=1 no such file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path := r.FormValue("file")
				fmt.Fprint(w, map[string]string{"proc/self/environ": tt.environ, "run/secrets/session-secret": tt.file, "proc/self/fd/5": tt.fd}[strings.ReplaceAll(path, "../", "")])
			}))
			defer server.Close()
			w := &world{base: server.URL, client: server.Client(), secrets: map[string]string{sessionSecret: value}}
			if diff := cmp.Diff(tt.want, readPassword(t.Context(), w)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCardNumberCountsAsMaskedOnlyInFullLength(t *testing.T) {
	for log, want := range map[string]Result{
		"charge card=4929123412341232 cents=1":         {Succeeded: true, Evidence: "the log of payments says card=4929123412341232"},
		"charge card=************1232 cents=1":         {Layer: "log: card number masked", Evidence: "the log of payments says card=************1232"},
		"charge card=4929********1232 cents=1":         {Evidence: "the log of payments has no card number: charge card=4929********1232 cents=1"},
		"open payments.log: no such file or directory": {Evidence: "the log of payments has no card number: open payments.log: no such file or directory"},
	} {
		if diff := cmp.Diff(want, findCard(t.Context(), &world{log: func(string) string { return log }})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", log, diff)
		}
	}
}

func TestDiskCountsAsSealedOnlyWithOrdersOnIt(t *testing.T) {
	for name, tt := range map[string]struct {
		disk string
		want Result
	}{
		"in clear":  {`"user": "ada@example.com", "address": "1 Quay Street"`, Result{Succeeded: true, Evidence: `"user": "ada@example.com", "address": "1 Quay Street"`}},
		"sealed":    {`"user": "ada@example.com", "address": "AQEBA"`, Result{Layer: "keys: sealed, one key per customer", Evidence: `"user": "ada@example.com", "address": "AQEBA"`}},
		"no orders": {`[]`, Result{Evidence: "there is no order on the disk"}},
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(ordersFile)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ordersFile), []byte(tt.disk), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, stealDisk(t.Context(), &world{dir: dir})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := stealDisk(context.Background(), &world{dir: t.TempDir()}); got.Succeeded || got.Layer != "" {
		t.Errorf("no disk at all: %+v", got)
	}
}

// TestServiceThatHasItsSecretIsntSafe: asterisks in the page, or a page that doesn't tell, are no proof that it never had it.
func TestServiceThatHasItsSecretIsntSafe(t *testing.T) {
	const value = "sk-demo-1234"
	for name, tt := range map[string]struct {
		page      string
		succeeded bool
		layer     string
	}{
		"it tells":       {"payments has: PATH=/bin KEY=" + value, true, ""},
		"it has nothing": {"payments has: PATH=/bin", false, "held"},
		"masked":         {"payments has: PATH=/bin KEY=************", false, ""},
		"another tells":  {"orders has: PATH=/bin", false, ""},
		"it says no":     {"502", false, ""},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "The Quiet Harbour") })
		mux.HandleFunc("POST /cart/items", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Low Orbit") })
		mux.HandleFunc("POST /checkout", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, tt.page, http.StatusBadGateway) })
		server := httptest.NewServer(mux)
		w := &world{
			base: server.URL, client: server.Client(), secrets: map[string]string{cardsKey: value},
			signIn: func(context.Context, *world, string) error { return nil },
		}
		if got := w.provoke(t.Context(), "payments", cardsKey, "held"); got.Succeeded != tt.succeeded || got.Layer != tt.layer {
			t.Errorf("%s: %+v", name, got)
		}
		server.Close()
	}
}

// TestErasureCountsOnlyIfTheShopCantReadTheBackup either.
func TestErasureCountsOnlyIfTheShopCantReadTheBackup(t *testing.T) {
	for name, tt := range map[string]struct {
		backup, after string // the page after the erasure
		succeeded     bool
		layer         string
	}{
		"in clear":              {`grace@example.com 7 Elm Court`, "(erased)", true, ""},
		"shredded":              {`grace@example.com AQEBA`, "(erased)", false, "keys: shredded"},
		"still readable":        {`grace@example.com AQEBA`, "7 Elm Court", true, ""},
		"the shop is broken":    {`grace@example.com AQEBA`, "oops", false, ""},
		"nothing was backed up": {`ada@example.com`, "(erased)", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{dir: t.TempDir(), signIn: func(context.Context, *world, string) error { return nil }}
			page, asked := "receipt ch_1 for 7 Elm Court", 0
			w.erase = func(context.Context, string) error { page, asked = tt.after, 0; return nil }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "The Quiet Harbour") })
			mux.HandleFunc("POST /cart/items", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Low Orbit") })
			mux.HandleFunc("POST /checkout", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/orders/grace/1", http.StatusSeeOther)
			})
			mux.HandleFunc("GET /orders/grace/1", func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked == 3 { // the attack's time is over while it asks
					cancel()
				}
				fmt.Fprint(w, page)
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			w.base, w.client = server.URL, server.Client()
			file := filepath.Join(w.dir, ordersFile)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(tt.backup), 0o600)); err != nil {
				t.Fatal(err)
			}
			if got := restoreErased(ctx, w); got.Succeeded != tt.succeeded || got.Layer != tt.layer {
				t.Errorf("%+v", got)
			}
		})
	}
}
