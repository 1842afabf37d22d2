package values

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// serve makes a client of the API on a real socket.
func (w *world) serve(s *Store) *wire.Client {
	w.t.Helper()
	socket := filepath.Join(w.t.(*testing.T).TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	w.do(err)
	srv := httptest.NewUnstartedServer(s.Admin(func(*http.Request) string { return "ann" }))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	w.t.(*testing.T).Cleanup(srv.Close)
	return wire.NewClient(socket)
}

func TestAdminAPI(t *testing.T) {
	w := newWorld(t, sqlite(t))
	s, ctx := w.open(), t.Context()
	w.do(s.Define(ctx, []Definition{{Name: "declared", Canary: true}}))
	c := w.serve(s)

	zero, one := int64(0), int64(1)
	got, err := c.SetSecret(ctx, "a", wire.SecretSet{Value: []byte("hunter2"), IfVersion: &zero, Expires: w.now.Unix() + 60})
	w.do(err)
	at := w.now.Unix()
	want := wire.Secret{Name: "a", Newest: 1, Current: 1, Since: at, Versions: []wire.SecretVersion{{Version: 1, Stage: "current", Made: at, Expires: at + 60}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	_, err = c.SetSecret(ctx, "a", wire.SecretSet{Value: []byte("x"), IfVersion: &zero})
	w.refused(err, fault.Conflict, "is 1")
	_, err = c.SetSecret(ctx, "a", wire.SecretSet{Value: []byte("next"), IfVersion: &one, Stage: "pending"})
	w.do(err)
	_, err = c.SetSecret(ctx, "a", wire.SecretSet{Value: []byte("x"), Stage: "previous"})
	w.refused(err, fault.Invalid, "current or pending")
	w.told()
	v, err := c.RevealSecret(ctx, "a")
	if err != nil || string(v.Value) != "hunter2" || v.Version != 1 || v.Expires != at+60 {
		t.Errorf("revealed %q, %v", v.Value, err)
	}
	for _, what := range []string{"promote", "rollback", "generate", "delete", "restore"} {
		if _, err := c.ChangeSecret(ctx, "a", what); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if d := cmp.Diff([]string{"secret.read ann a 1", "secret.promoted ann a 2", "secret.rolled_back ann a 1", "secret.generated ann a 3", "secret.deleted ann a 3", "secret.restored ann a 3"}, w.told()); d != "" {
		t.Error(d)
	}
	imported, err := c.ImportSecrets(ctx, wire.SecretsImport{Dotenv: []byte("B=2\n")})
	if err != nil || len(imported.Secrets) != 1 {
		t.Errorf("%+v, %v", imported, err)
	}
	list, err := c.Secrets(ctx)
	w.do(err)
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	if d := cmp.Diff([]string{"a", "b", "declared"}, names); d != "" {
		t.Error(d)
	}
	if r, err := c.SecretsRecipient(ctx); err != nil || r != s.Recipient() {
		t.Errorf("%q, %v", r, err)
	}
	_, err = c.Secret(ctx, "nothing")
	w.refused(err, fault.NotFound, "nothing has no value")
}

// TestAdminRefusesWithoutEcho: what a request holds never comes back, nor goes into an error.
func TestAdminRefusesWithoutEcho(t *testing.T) {
	w := newWorld(t, sqlite(t))
	h := w.open().Admin(func(*http.Request) string { return "ann" })
	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"value that isn't base64":  {"PUT", "/v1/secrets/a", `{"value":"hunter2!"}`, 400},
		"unknown field":            {"PUT", "/v1/secrets/a", `{"value":"eA==","hunter2":1}`, 400},
		"not JSON":                 {"PUT", "/v1/secrets/a", `hunter2`, 400},
		"empty value":              {"PUT", "/v1/secrets/a", `{}`, 400},
		"a bad name":               {"PUT", "/v1/secrets/HUNTER2", `{"value":"eA=="}`, 400},
		"a path for a name":        {"GET", "/v1/secrets/..%2fhunter2", ``, 404},
		"reveal by GET":            {"GET", "/v1/secrets/a/reveal", ``, 405},
		"unknown verb":             {"POST", "/v1/secrets/a/hunter2", ``, 404},
		"reveal what isn't there":  {"POST", "/v1/secrets/a/reveal", `{}`, 404},
		"a .env that can't be":     {"POST", "/v1/secrets-import", `{"dotenv":"aHVudGVyMg=="}`, 400},
		"more than the limit":      {"POST", "/v1/secrets-import", strings.Repeat(" ", maxBody) + `{"dotenv":"QT0x"}`, 400},
		"promote what isn't there": {"POST", "/v1/secrets/a/promote", ``, 404},
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		if rec.Code != c.status || strings.Contains(strings.ToLower(rec.Body.String()), "hunter2") {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if got := w.told(); got != nil {
		t.Errorf("told %q", got)
	}
}

// TestRecordsOfOneMoment: while the ledger writes, what comes waits and goes in one call; equal reads are counted, and
// nobody gets an answer before.
func TestRecordsOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan error)
		var calls [][]wire.Event
		var mu sync.Mutex // guards forgotten
		var forgotten []string
		r := recorder{
			turn: make(chan struct{}, 1),
			record: func(_ context.Context, events []wire.Event) error {
				calls = append(calls, events)
				return <-gate
			},
			forget: func(_ context.Context, ids []string) error {
				mu.Lock()
				defer mu.Unlock()
				forgotten = append(forgotten, ids...)
				return nil
			},
		}
		answers := make(chan error, 10)
		add := func(kept, kind, who, version string) {
			go func() {
				answers <- r.add(t.Context(), kept, wire.Event{Kind: kind, Subject: who, Object: "secret:a", Detail: map[string]string{"version": version}})
			}()
			synctest.Wait()
		}
		add("", eventRead, "orders", "1")
		add("", eventRead, "orders", "1")
		add("", eventRead, "orders", "1")
		add("", eventRead, "web", "1")
		add("", eventRead, "orders", "2")
		add("x", eventSet, "ann", "3")
		add("y", eventSet, "ann", "3")
		if len(calls) != 1 || len(answers) != 0 {
			t.Fatalf("%d calls, %d answers before the ledger has anything", len(calls), len(answers))
		}
		gate <- nil
		synctest.Wait()
		if len(answers) != 1 || <-answers != nil {
			t.Fatal("the first has its answer, and only that one")
		}
		full := errors.New("the disk is full")
		gate <- full
		synctest.Wait()
		if len(answers) != 6 {
			t.Fatalf("%d answers", len(answers))
		}
		for range 6 {
			if err := <-answers; !errors.Is(err, full) {
				t.Errorf("got %v", err)
			}
		}
		if len(forgotten) > 0 {
			t.Error("events that the ledger refused are forgotten")
		}
		var counts []int64
		for _, e := range calls[1] {
			counts = append(counts, e.Count)
		}
		if d := cmp.Diff([]int64{2, 0, 0, 0, 0}, counts); d != "" {
			t.Error(d)
		}
		// A caller who goes away takes nobody along.
		ctx, cancel := context.WithCancel(t.Context())
		go func() { answers <- r.add(ctx, "z", wire.Event{Kind: eventSet}) }()
		synctest.Wait()
		cancel()
		add("w", eventSet, "ann", "4")
		gate <- nil
		gate <- nil
		synctest.Wait()
		slices.Sort(forgotten)
		if d := cmp.Diff([]string{"w", "z"}, forgotten); d != "" || len(calls) != 4 {
			t.Errorf("%d calls; %s", len(calls), d)
		}
	})
}
