package gateway

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/leak"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// TestSecretsDoNotReachTheOutside: they are masked, and flagged; a canary more loudly.
func TestSecretsDoNotReachTheOutside(t *testing.T) {
	e := newEdge(t)
	const key, bait = "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "Zq8vK1mPw3Rt7Yx5Bn2Lc9Df4Gh6Js0a"
	ask := func() http.Header {
		a := e.ask("localhost", "GET", "/open/x", "X-Key", "it is "+key, "X-Bait", bait)
		if a.StatusCode != http.StatusOK {
			t.Fatal(a.StatusCode)
		}
		return a.sent
	}
	if got := ask(); got.Get("X-Key") != "it is "+key {
		t.Errorf("masked before anything was known: %v", got)
	}
	e.g.SetFingerprints(leak.Make([]leak.Secret{{Name: "key", Value: secret.New([]byte(key))}, {Name: "bait", Value: secret.New([]byte(bait)), Canary: true}}))
	for range 3 {
		if got := ask(); got.Get("X-Key") != "it is "+strings.Repeat("*", len(key)) || got.Get("X-Bait") != strings.Repeat("*", len(bait)) {
			t.Errorf("%v", got)
		}
	}
	e.g.Flush()
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := map[string]int64{}
	for _, v := range e.events {
		if v.Subject != plan.Outside || v.Object != "web" || v.Detail["route"] != "* /open/**" || v.Detail["where"] != "body" || v.Detail["form"] != "raw" {
			t.Errorf("%+v", v)
		}
		counts[v.Kind+" "+v.Detail["secret"]] += v.Count
	}
	if counts["request.leak key"] != 3 || counts["request.canary bait"] != 3 || len(counts) != 2 {
		t.Errorf("%v", counts)
	}
}

func TestOnlyTextIsLookedInto(t *testing.T) {
	m := &masks{prints: leak.Make(nil)}
	for kind, want := range map[string]bool{
		"": true, "text/html; charset=utf-8": true, "Text/Event-Stream": true, "application/json": true, "application/problem+json; x=y": true,
		"image/svg+xml": true, "application/x-ndjson": true,
		"application/octet-stream": false, "image/png": false, "application/grpc": false, "application/grpc+proto": false, "video/mp4": false, "application/zip": false,
	} {
		if got := m.Body(kind, "") != nil; got != want {
			t.Errorf("%q: %t", kind, got)
		}
		if m.Body(kind, "br") != nil {
			t.Errorf("%q is looked into although it is compressed", kind)
		}
	}
}

// BenchmarkMasks is what looking for 1,000 secrets costs a small answer in JSON.
func BenchmarkMasks(b *testing.B) {
	var all []leak.Secret
	for i := range 1000 {
		all = append(all, leak.Secret{Name: fmt.Sprint("secret-", i), Value: secret.New([]byte(rand.Text() + rand.Text()))})
	}
	g := &Gateway{leaks: newLeaks(func(wire.Event) {})}
	body := bytes.Repeat([]byte(`{"id":"7f3a91c2","name":"Quay"}`), 33)
	fields := [][]byte{[]byte("Content-Type: application/json"), []byte("Cache-Control: no-store"), []byte("Date: Mon, 04 May 2026 12:00:00 GMT"), []byte("Vary: Cookie"), []byte("Etag: \"7f3a91c2aa\"")}
	m := &masks{g, leak.Make(all), &plan.Rule{}}
	run := func(m proxy.Mask, dst, text []byte) []byte { return m.Flush(m.Mask(dst[:0], text)) }
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		f := m.Fields()
		for _, v := range fields {
			out = run(f, out, v)
		}
		out = run(m.Body("application/json", ""), out, body)
	}
}
