package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wire"
)

// say runs a command line in this process.
func say(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(cli.Env{In: strings.NewReader(""), Out: &o, Err: &e}, args)
	return code, o.String(), e.String()
}

// TestEvidenceOfARunningWard asks the running application, and then its folder, what happened.
func TestEvidenceOfARunningWard(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices, nil)
	_, a := w.Get("/call?url=http://catalog:8080/books/1&url=http://catalog:8080/admin/keys")
	id := regexp.MustCompile(`d-[a-z2-7]{10}`).FindString(a.Called["http://catalog:8080/admin/keys"])
	if id == "" {
		t.Fatalf("no id in the refusal: %q", a.Called["http://catalog:8080/admin/keys"])
	}
	if code, _ := w.Get("/hidden"); code != 404 {
		t.Errorf("/hidden: %d", code)
	}
	wardtest.Eventually(t, "the denials in the ledger", func() bool {
		_, out, _ := say("audit", "-f", w.File, "--kind", "request.denied")
		return strings.Contains(out, id) && strings.Contains(out, "/hidden")
	})
	_, out, _ := say("audit", "-f", w.File)
	for _, want := range []string{"ward.start", "plan.change", "certificate.issued", "spiffe://test.internal/svc/web until", "service.start"} {
		if !strings.Contains(out, want) {
			t.Errorf("audit lacks %q:\n%s", want, out)
		}
	}
	if _, out, _ := say("audit", "-f", w.File, "--service", "lonely"); strings.Contains(out, "-> catalog") || !strings.Contains(out, "lonely") {
		t.Errorf("audit --service lonely:\n%s", out)
	}
	if _, out, _ := say("audit", "-f", w.File, "--since", "2999-01-01"); out != "" {
		t.Errorf("audit of the future:\n%s", out)
	}
	_, out, _ = say("audit", "-f", w.File, "--json", "--kind", "request")
	for line := range strings.Lines(out) {
		var r ledger.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || !strings.HasPrefix(r.Kind, "request.") {
			t.Errorf("audit --json: %q: %v", line, err)
		}
	}
	gid := regexp.MustCompile(`g-[a-z2-7]{10}`).FindString(out)

	code, out, errs := say("explain", "-f", w.File, id)
	for _, want := range []string{id + "  web -> catalog:8080  GET /admin/keys", "at the caller's end", "denied  web -> catalog:8080", "to allow it", "GET /admin/keys]"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain %s (%d, %s) lacks %q:\n%s", id, code, errs, want, out)
		}
	}
	if code != 1 {
		t.Errorf("explain of a denial that still holds: exit code %d", code)
	}
	if code, out, errs := say("explain", "-f", w.File, gid); code != 1 || !strings.Contains(out, "The gateway has no route for it") || !strings.Contains(out, "GET /hidden") {
		t.Errorf("explain %s: %d %s\n%s", gid, code, errs, out)
	}
	if code, _, errs := say("explain", "-f", w.File, "d-aaaaaaaaaa"); code != 1 || !strings.Contains(errs, "no denial d-aaaaaaaaaa") {
		t.Errorf("explain of an unknown id: %d %s", code, errs)
	}
	if code, out, _ := say("ca", "-f", w.File); code != 0 || !strings.HasPrefix(out, "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("ca: %d\n%s", code, out)
	}
	if code, _, errs := say("unused", "-f", w.File, "--days", "1"); code != 1 || !strings.Contains(errs, "nothing can be called unused for 1 day before") {
		t.Errorf("unused on the first day: %d %s", code, errs)
	}
	if code, out, errs := say("audit", "verify", "-f", w.File); code != 0 || !strings.HasPrefix(out, "whole: ") {
		t.Errorf("audit verify while it runs: %d %s\n%s", code, errs, out)
	}
	w.Stop()

	// The folder alone says the same.
	if code, out, _ := say("audit", "-f", w.File, "--kind", "request.denied"); code != 0 || !strings.Contains(out, id) {
		t.Errorf("audit of the folder: %d\n%s", code, out)
	}
	if code, out, _ := say("explain", "-f", w.File, id); code != 1 || !strings.Contains(out, "to allow it") {
		t.Errorf("explain from the folder: %d\n%s", code, out)
	}
	dir := filepath.Join(w.Dir, ".ward", "control", "ledger")
	code, out, errs = say("audit", "verify", dir)
	if code != 0 || !strings.Contains(out, "\nroot   ") || !strings.Contains(out, "\nkey    test.internal/ledger+") {
		t.Fatalf("audit verify: %d %s\n%s", code, errs, out)
	}
	key := strings.TrimSpace(out[strings.Index(out, "key    ")+7:])
	if code, _, errs := say("audit", "verify", dir, "--key", key); code != 0 {
		t.Errorf("with the key: %d %s", code, errs)
	}
	path := filepath.Join(dir, "records-0000000000000000.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte("/admin/keys"), []byte("/admin/kexs"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := say("audit", "verify", dir); code != 1 || !strings.Contains(errs, "has been changed") {
		t.Errorf("a changed byte: %d %s", code, errs)
	}
}

const unusedModel = `app: shop # ours
services:
  web:
    run: ./web
    listen: http://:8080
    expose: {route: GET /, to: anyone}
    calls:
      # the catalogue
      books: [GET /books, GET /old] # two
      redis: tcp
  books: {run: ./books, listen: http://:8081, calls: {"web:8080": GET /x}}
  redis: {run: redis-server, listen: tcp://:6379}
`

func TestUnused(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader(unusedModel))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	all := wire.UsageReport{Since: ago(90), Grants: map[string]wire.GrantUse{}}
	p := plan.Build(m)
	for i := range p.Rules {
		all.Grants[wire.GrantKey(&p.Rules[i])] = wire.GrantUse{Since: ago(90), Last: ago(1), Count: 5}
	}
	for _, c := range []struct {
		name     string
		change   func(*wire.UsageReport)
		apply    bool
		code     int
		says     []string
		old, new string // what --apply changes
	}{
		{name: "all in use", says: []string{"every other grant was used within 30 days"}},
		{
			name: "one of a list", code: 1,
			change: func(u *wire.UsageReport) {
				u.Grants["web books GET /old"] = wire.GrantUse{Since: ago(60), Last: ago(45)}
			},
			says: []string{"line 9     web -> books  GET /old  (last used 2026-02-14)", "-      books: [GET /books, GET /old] # two", "+      books: [GET /books] # two", "nothing was changed"},
		},
		{
			name: "written", code: 1, apply: true,
			change: func(u *wire.UsageReport) {
				u.Grants["web books GET /old"] = wire.GrantUse{Since: ago(60)}
				u.Grants["books web GET /x"] = wire.GrantUse{Since: ago(60)}
			},
			says: []string{"never used", "wrote "},
			old:  `[GET /books, GET /old] # two|, calls: {"web:8080": GET /x}}`, new: `[GET /books] # two|}`,
		},
		{
			name:   "too young to judge",
			change: func(u *wire.UsageReport) { u.Grants["web redis tcp"] = wire.GrantUse{Since: ago(29)} },
			says:   []string{"1 grant not judged"},
		},
		{
			name:   "not in force yet",
			change: func(u *wire.UsageReport) { delete(u.Grants, "web redis tcp") },
			says:   []string{"1 grant not judged"},
		},
		{
			name: "counting began too late", code: 1,
			change: func(u *wire.UsageReport) { u.Since = ago(29) },
			says:   []string{"nothing can be called unused for 30 days before 2026-04-01"},
		},
		{
			name: "a route to the outside is left", code: 1, apply: true,
			change: func(u *wire.UsageReport) { u.Grants["GATEWAY web GET /"] = wire.GrantUse{Since: ago(60)} },
			says:   []string{"outside -> web  GET /", "yours to remove"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ward.yaml")
			if err := os.WriteFile(file, []byte(unusedModel), 0o600); err != nil {
				t.Fatal(err)
			}
			u := wire.UsageReport{Since: all.Since, Grants: map[string]wire.GrantUse{}}
			for k, v := range all.Grants {
				u.Grants[k] = v
			}
			if c.change != nil {
				c.change(&u)
			}
			var out, errs bytes.Buffer
			err := unused(cli.Env{Out: &out, Err: &errs}, file, u, unusedQuery{now: now, days: 30, apply: c.apply})
			if (err != nil) != (c.code == 1) {
				t.Errorf("error: %v", err)
			}
			text := out.String()
			if err != nil && err != cli.ErrFindings {
				text += err.Error()
			}
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("lacks %q:\n%s", want, text)
				}
			}
			want := unusedModel
			olds, news := strings.Split(c.old, "|"), strings.Split(c.new, "|")
			for i := range olds {
				want = strings.Replace(want, olds[i], news[i], 1)
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("the file (-want +got)\n%s", diff)
			}
		})
	}
}

const unlearnt = `# ours
app: test
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {routes: [GET /, GET /call], to: anyone} # the face
    calls: {catalog: GET /books} # what we know
  catalog:
    run: [./toy]
    env: {NAME: catalog, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
`

// TestLearn runs an application that lacks grants: while it learns they aren't missed, afterwards the file has them, and
// nothing more was open.
func TestLearn(t *testing.T) {
	t.Parallel()
	dir, url := wardtest.Folder(t, unlearnt)
	file := filepath.Join(dir, "ward.yaml")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	log := &wardtest.Log{}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runLearning(ctx, cli.Env{In: strings.NewReader(""), Out: log, Err: log}, file, time.Now().Add(time.Minute))
	}()
	get := func(path string) (int, wardtest.Answer) {
		resp, err := wardtest.Client().Get(url + path)
		if err != nil {
			return 0, wardtest.Answer{}
		}
		defer resp.Body.Close()
		var a wardtest.Answer
		_ = json.NewDecoder(resp.Body).Decode(&a) // refusals aren't answers
		return resp.StatusCode, a
	}
	wardtest.Eventually(t, "the gateway", func() bool { code, _ := get("/"); return code == 200 })
	catalog := "http://catalog:8080"
	_, a := get("/call?url=" + catalog + "/books&url=" + catalog + "/books/17&url=" + catalog + "/books/18&url=" + catalog + "/tags/new&url=http://192.0.2.1/")
	for _, path := range []string{"/books", "/books/17", "/books/18", "/tags/new"} {
		if !strings.HasPrefix(a.Called[catalog+path], "200 OK") {
			t.Errorf("while learning, %s: %q", path, a.Called[catalog+path])
		}
	}
	if !strings.HasPrefix(a.Called["http://192.0.2.1/"], "error: ") {
		t.Errorf("learning opened the outside: %q", a.Called["http://192.0.2.1/"])
	}
	if code, _ := get("/closed"); code != 404 {
		t.Errorf("learning opened the gateway: %d", code)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if !strings.HasPrefix(log.String(), "LEARNING   | until ") {
		t.Errorf("it isn't said that services are open:\n%s", log)
	}
	code, out, errs := say("learn", "--last", "-f", file)
	for _, want := range []string{"learnt 2 grants from 2 kinds of calls", `-    calls: {catalog: GET /books} # what we know`, `+    calls: {catalog: [GET /books, "GET /books/{id}", GET /tags/new]} # what we know`, "nothing was changed"} {
		if !strings.Contains(out, want) {
			t.Errorf("learn --last (%d, %s) lacks %q:\n%s", code, errs, want, out)
		}
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the file was changed without --apply: %v", err)
	}
	if code, _, errs := say("learn", "--last", "--apply", "-f", file); code != 0 {
		t.Errorf("learn --last --apply: %d %s", code, errs)
	}
	want := strings.Replace(string(before), "GET /books}", `[GET /books, "GET /books/{id}", GET /tags/new]}`, 1)
	if now, err := os.ReadFile(file); err != nil || string(now) != want {
		t.Errorf("%v (-want +got)\n%s", err, cmp.Diff(want, string(now)))
	}
	if code, out, _ := say("learn", "--last", "-f", file); code != 0 || !strings.Contains(out, "has them all") {
		t.Errorf("again: %d\n%s", code, out)
	}
}
