package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

const externalModel = `
app: out
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {route: GET /call, to: anyone}
    calls: {cards: GET /charge, plain: GET /ok, wrong: GET /ok}
externals:
  cards: {host: example.com, port: CARDS, tls: originate, protocol: http, addresses: [127.0.0.1], ca: ca.pem}
  plain: {host: plain.example, port: PLAIN, protocol: http, addresses: [127.0.0.1]}
  wrong: {host: wrong.example, port: CARDS, local_port: 81, tls: originate, protocol: http, addresses: [127.0.0.1], ca: ca.pem}
  inside: {host: localhost, port: PLAIN, protocol: http}
`

// TestExternalsAreReachedByTheirRealNameAndRoutes: the service speaks plain HTTP to the real name; Ward speaks verified TLS outside.
func TestExternalsAreReachedByTheirRealNameAndRoutes(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside ", r.Host, r.URL.Path) })
	cards, plain := httptest.NewTLSServer(h), httptest.NewServer(h)
	defer cards.Close()
	defer plain.Close()
	port := func(s *httptest.Server) string { return fmt.Sprint(s.Listener.Addr().(*net.TCPAddr).Port) }
	model := strings.NewReplacer("CARDS", port(cards), "PLAIN", port(plain)).Replace(externalModel)
	w := wardtest.Start(t, model, func(c *up.Config) {
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cards.Certificate().Raw})
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.File), "ca.pem"), ca, 0o644); err != nil {
			t.Fatal(err)
		}
		file := c.File
		c.Load = func() (*plan.Plan, error) { return loadPlan(cli.Env{Out: io.Discard, Err: io.Discard}, file) }
	})
	for url, want := range map[string]string{
		"http://example.com/charge":                   "200 OK outside example.com/charge",
		"http://example.com/refund":                   "403 Forbidden",
		"http://plain.example:" + port(plain) + "/ok": "200 OK outside plain.example:" + port(plain) + "/ok",
		"http://plain.example:" + port(plain) + "/no": "403 Forbidden",
		"http://wrong.example:81/ok":                  "502",
		"http://localhost:" + port(plain) + "/ok":     "", // see below
	} {
		_, a := w.Get("/call?url=" + url)
		if strings.HasPrefix(url, "http://localhost") {
			// The upstream is on loopback too, as for programs of one machine; but its Host is another external's.
			if got := a.Called[url]; strings.HasPrefix(got, "200") {
				t.Errorf("%s: %q", url, got)
			}
			continue
		}
		if got := a.Called[url]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	// Why an external can't be reached is told to nobody but the ledger.
	wardtest.Eventually(t, "the failure is in the ledger", func() bool {
		var out bytes.Buffer
		code := run(cli.Env{Out: &out, Err: &out}, []string{"audit", "-f", w.File, "--kind", "request.failed"})
		return code == 0 && strings.Contains(out.String(), "web -> wrong") && strings.Contains(out.String(), "certificate is valid for")
	})
}
