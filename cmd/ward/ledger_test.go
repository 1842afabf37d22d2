package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wardtest"
)

// auditRecords are what 'ward audit --json' prints with more flags.
func auditRecords(t *testing.T, file string, flags ...string) []ledger.Record {
	t.Helper()
	code, out, errs := say(append([]string{"audit", "--json", "-f", file}, flags...)...)
	if code != 0 {
		t.Fatalf("%v: %d %s", flags, code, errs)
	}
	var all []ledger.Record
	for line := range strings.Lines(out) {
		var r ledger.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestAllowedCallsAreKeptWhenAskedFor: as counts, beside denials; and the ledger is searched while it runs as while it doesn't.
func TestAllowedCallsAreKeptWhenAskedFor(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices+"watch: {ledger: {allowed: catalog}}\n", nil)
	for range 3 {
		w.Get("/call?url=http://catalog:8080/books/1&url=http://catalog:8080/admin")
	}
	w.Get("/") // of a service that isn't asked for
	wardtest.Eventually(t, "all allowed calls are in the ledger", func() bool {
		var n int64
		for _, r := range auditRecords(t, w.File, "--kind", "request.allowed") {
			if r.Subject != "web" || r.Object != "catalog" || r.Detail["route"] != "GET /books/**" || r.Detail["status"] != "2xx" || len(r.Detail["trace"]) != 32 {
				t.Fatalf("%+v", r)
			}
			n += r.Count
		}
		return n == 3
	})
	queries := [][]string{
		{"--kind", "request"}, {"--subject", "web", "--object", "catalog"}, {"--service", "catalog", "--newest", "--limit", "2"}, {"--text", "/admin"}, {"--until", "1h"}, {"--since", "1h", "--kind", "plan"},
	}
	var running [][]ledger.Record
	for _, q := range queries {
		running = append(running, auditRecords(t, w.File, q...))
	}
	w.Stop()
	for i, q := range queries {
		got := auditRecords(t, w.File, q...)
		if wanted := i != 4; len(running[i]) > 0 != wanted || len(got) < len(running[i]) {
			t.Errorf("%v: %d records while it ran, %d later", q, len(running[i]), len(got))
		}
		for n, r := range running[i] {
			if !strings.Contains(strings.Join(q, " "), "--newest") && got[n].Index != r.Index {
				t.Errorf("%v: record %d while it ran, %d later", q, r.Index, got[n].Index)
			}
		}
	}
	if code, out, errs := say("audit", "--kind", "request.denid", "-f", w.File); code != 0 || out != "" || errs != "no record fits\n" {
		t.Errorf("what no record fits: %d %q %q", code, out, errs)
	}
	first := auditRecords(t, w.File, "--kind", "request", "--limit", "1")[0]
	_, out, _ := say("audit", "--kind", "request", "--limit", "1", "-f", w.File)
	number, _, _ := strings.Cut(strings.TrimSpace(out), " ")
	code, proof, errs := say("audit", "prove", number, "-f", w.File)
	if number != fmt.Sprint(first.Index) || code != 0 || !strings.Contains(proof, `"record"`) {
		t.Errorf("the number of record %d is %q: %d %s %s\n%s", first.Index, number, code, proof, errs, out)
	}
	if code, _, errs := say("audit", "--follow", "--limit", "3", "-f", w.File); code != 2 {
		t.Errorf("%d %s", code, errs)
	}
}

// TestLedgerIsAnchoredAndProved: to a file that another host keeps, and to a webhook through the agent; an older ledger that is put back is found.
func TestLedgerIsAnchoredAndProved(t *testing.T) {
	t.Parallel()
	var hooked atomic.Int64
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(string(b), "test.internal/ledger\n") {
			hooked.Add(1)
		}
	}))
	defer hook.Close()
	w := wardtest.Start(t, twoServices+"watch: {anchor: [{file: kept.checkpoint, every: 1s}, {webhook: \""+hook.URL+"\"}]}\n", nil)
	older := filepath.Join(w.Dir, "older")
	if err := os.CopyFS(older, os.DirFS(filepath.Join(w.Dir, ".ward", "control", "ledger"))); err != nil { // the checkpoint comes before the records
		t.Fatal(err)
	}
	w.Get("/call?url=http://catalog:8080/admin")
	kept := filepath.Join(w.Dir, "kept.checkpoint")
	wardtest.Eventually(t, "both anchors have one", func() bool {
		_, err := os.Stat(kept)
		return err == nil && hooked.Load() > 0
	})
	wardtest.Eventually(t, "and it is said", func() bool {
		_, out, _ := say("audit", "anchors", "-f", w.File)
		return strings.Count(out, " records at ") == 2 && !strings.Contains(out, "failed")
	})
	denied := ""
	wardtest.Eventually(t, "the denial is in the ledger", func() bool {
		for _, r := range auditRecords(t, w.File, "--kind", "request.denied") {
			denied = r.Detail["id"]
		}
		return denied != ""
	})
	var key string
	wardtest.Eventually(t, "it is proved while it runs", func() bool {
		code, out, _ := say("audit", "verify", "--anchor", kept, "-f", w.File)
		_, key, _ = strings.Cut(out, "key    ")
		if code != 0 || !strings.Contains(out, "goes on from the checkpoint") {
			return false
		}
		code, _, _ = say("audit", "prove", "--event", denied, "--since", kept, "--out", filepath.Join(w.Dir, "proof"), "-f", w.File)
		return code == 0
	})
	code, out, errs := say("audit", "prove", "--check", filepath.Join(w.Dir, "proof"), "--key", key)
	if code != 0 || !strings.Contains(out, denied) || !strings.Contains(out, "goes on from its first") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if code, _, _ := say("audit", "prove", "--check", filepath.Join(w.Dir, "proof"), "--key", "test.internal/ledger+9e3ae3bd+AcvvXcN0oQxDoNzGVUjJXePdl2X+9xKIBRxGCXFzsQJx"); code == 0 {
		t.Error("the proof holds with another key")
	}
	w.Stop()
	if code, out, errs := say("audit", "verify", older); code != 0 {
		t.Errorf("an older copy alone: %d %s %s", code, out, errs)
	}
	if code, _, errs := say("audit", "verify", older, "--anchor", kept); code != 1 || !strings.Contains(errs, "an older copy was put back") {
		t.Errorf("an older copy, with the anchor: %d %s", code, errs)
	}
}

// TestLedgerIsExported: to a receiver, which gets each record once over two runs.
func TestLedgerIsExported(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	events := make(chan string, 1000)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for {
				n, err := r.ReadString(' ')
				size, _ := strconv.Atoi(strings.TrimSpace(n))
				b := make([]byte, size)
				if _, rerr := io.ReadFull(r, b); err != nil || rerr != nil {
					break
				}
				events <- string(b)
			}
			c.Close()
		}
	}()
	w := wardtest.Start(t, twoServices, nil)
	to, place := "tcp://"+ln.Addr().String(), filepath.Join(w.Dir, "place")
	run := func() {
		t.Helper()
		if code, _, errs := say("audit", "export", "--format", "cef", "--to", to, "--state", place, "-f", w.File); code != 0 {
			t.Fatalf("%d %s", code, errs)
		}
	}
	run()
	w.Get("/call?url=http://catalog:8080/admin")
	wardtest.Eventually(t, "the denial is in the ledger", func() bool { return len(auditRecords(t, w.File, "--kind", "request.denied")) > 0 })
	run()
	w.Stop()
	run() // from the folder
	all := auditRecords(t, w.File)
	for i := range all {
		select {
		case got := <-events:
			if !strings.HasPrefix(got, "CEF:0|wardhq|ward|1|"+all[i].Kind+"|") || !strings.Contains(got, fmt.Sprintf(" externalId=%d ", i)) {
				t.Fatalf("event %d: %s", i, got)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("event %d of %d didn't come", i, len(all))
		}
	}
	if len(events) > 0 {
		t.Errorf("%d events too many", len(events))
	}
	code, out, _ := say("audit", "export", "-f", w.File)
	if code != 0 || strings.Count(out, "\n") != len(all) {
		t.Errorf("%d, %d lines of %d", code, strings.Count(out, "\n"), len(all))
	}
	for _, args := range [][]string{{"--format", "xml"}, {"--to", "http://x"}, {"--since", "x"}} {
		if code, _, errs := say(append([]string{"audit", "export", "-f", w.File}, args...)...); code != 2 {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

// TestARequestFromOutsideIsKeptOnce, though gateway and agent both let it pass; who asks for outside finds it.
func TestARequestFromOutsideIsKeptOnce(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, twoServices+"watch: {ledger: {allowed: all}}\n", nil)
	for range 3 {
		w.Get("/")
	}
	kept := func() (n int64) {
		for _, r := range auditRecords(t, w.File, "--subject", "outside", "--kind", "request.allowed") {
			n += r.Count
		}
		return n
	}
	wardtest.Eventually(t, "they are kept", func() bool { return kept() >= 3 })
	w.Get("/call?url=http://catalog:8080/books/1") // what comes later says that those before have come
	wardtest.Eventually(t, "the next one is", func() bool {
		return len(auditRecords(t, w.File, "--subject", "web", "--kind", "request.allowed")) > 0 && kept() >= 4
	})
	w.Stop()
	if n := kept(); n != 4 {
		t.Errorf("4 requests are kept as %d", n)
	}
}
