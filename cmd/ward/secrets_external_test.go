package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

const secretsExternalModel = `
app: pay
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {route: "GET /**", to: anyone}
    calls: {cards: "GET /**", other: "GET /**"}
secrets:
  stripe-key: {generate: password}
  late: {}
externals:
  cards: {host: example.com, port: CARDS, tls: originate, protocol: http, addresses: [127.0.0.1], ca: ca.pem, auth: {use: "bearer secret:stripe-key", for: GET /v1/**}}
  other: {host: www.example.com, port: CARDS, local_port: 81, tls: originate, protocol: http, addresses: [127.0.0.1], ca: ca.pem, auth: "header X-Api-Key secret:late"}
`

// TestSecretsAreUsedWithoutBeingSeen through the real system: the agent adds them, and nothing of them comes back.
func TestSecretsAreUsedWithoutBeingSeen(t *testing.T) {
	t.Parallel()
	cards := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/away" {
			http.Redirect(w, r, "http://www.example.com:81/stolen", http.StatusFound)
			return
		}
		got := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key")
		fmt.Fprintf(w, "%s digest %s echo %s", r.Host, digest(strings.TrimPrefix(got, "Bearer ")), got)
	}))
	defer cards.Close()
	model := strings.ReplaceAll(secretsExternalModel, "CARDS", fmt.Sprint(cards.Listener.Addr().(*net.TCPAddr).Port))
	w := wardtest.Start(t, model, func(c *up.Config) {
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cards.Certificate().Raw})
		if err := os.WriteFile(filepath.Join(filepath.Dir(c.File), "ca.pem"), ca, 0o644); err != nil {
			t.Fatal(err)
		}
		file := c.File
		c.Load = func() (*plan.Plan, error) { return loadPlan(cli.Env{Out: io.Discard, Err: io.Discard}, file) }
	})
	call := func(u string) string {
		t.Helper()
		_, a := w.Get("/call?pass=Authorization&url=" + url.QueryEscape(u))
		return a.Called[u]
	}
	key := reveal(t, w, "stripe-key")
	charged := func(key string) string {
		return "200 OK example.com digest " + digest(key) + " echo Bearer " + strings.Repeat("*", len(key))
	}
	wardtest.Eventually(t, "the key is added and masked", func() bool { return call("http://example.com/v1/charges") == charged(key) })
	if got := call("http://example.com/v2/charges"); got != "200 OK example.com digest "+digest("")+" echo" {
		t.Errorf("a call that isn't declared: %s", got)
	}
	// The toy follows the redirect, to an external whose own key isn't there yet.
	if got := call("http://example.com/v1/away"); !strings.HasPrefix(got, "503") || !strings.Contains(got, "secret late has no value yet") {
		t.Errorf("without a value: %s", got)
	}
	if code, out := runWard(t, w, "another long key 8472", "secrets", "set", "late"); code != 0 {
		t.Fatal(out)
	}
	wardtest.Eventually(t, "a value counts when it is set", func() bool {
		return strings.HasPrefix(call("http://example.com/v1/away"), "200 OK www.example.com:81 digest "+digest("another long key 8472")+" echo ****")
	})
	if code, out := runWard(t, w, "", "secrets", "generate", "stripe-key"); code != 0 {
		t.Fatal(out)
	}
	next := reveal(t, w, "stripe-key")
	wardtest.Eventually(t, "the next key is added and masked", func() bool { return next != key && call("http://example.com/v1/charges") == charged(next) })
	wardtest.Eventually(t, "echoes are in the ledger, and the keys aren't", func() bool {
		_, audit := runWard(t, w, "", "audit")
		if strings.Contains(audit, key) || strings.Contains(audit, next) {
			t.Fatal("a key is in the ledger")
		}
		return strings.Contains(audit, "secret.echo") && strings.Contains(audit, "stripe-key")
	})
	if strings.Contains(w.Log.String(), key) || strings.Contains(w.Log.String(), next) {
		t.Error("a key is in the log")
	}
}

// TestResponsesOfTheGatewayShowNoSecret: what a service says of one comes out as asterisks, and raises a flag.
func TestResponsesOfTheGatewayShowNoSecret(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, strings.Replace(safeModel, "secrets:\n  session", "secrets:\n  bait: {canary: true, generate: password}\n  session", 1), nil)
	session, bait := reveal(t, w, "session"), reveal(t, w, "bait")
	wardtest.Eventually(t, "the file comes masked", func() bool {
		code, got := ask(t, w, "/file", "path", "/run/secrets/session")
		return code == http.StatusOK && got == strings.Repeat("*", len(session))
	})
	if _, a := w.Get("/call?url=" + bait); len(a.Called) != 1 || strings.Contains(fmt.Sprint(a), bait) { // the toy says what it called
		t.Errorf("a canary came out: %v", a)
	}
	_, fd := ask(t, w, "/env", "name", "WARD_SECRETS_FD")
	if _, all := ask(t, w, "/fd", "n", fd); strings.Contains(all, session) || !strings.Contains(all, `"session"`) {
		t.Errorf("the descriptor: %s", all)
	}
	wardtest.Eventually(t, "leaks are in the ledger", func() bool {
		_, audit := runWard(t, w, "", "audit")
		if strings.Contains(audit, session) || strings.Contains(audit, bait) {
			t.Fatal("a value is in the ledger")
		}
		return strings.Contains(audit, "request.leak") && strings.Contains(audit, "request.canary") && strings.Contains(audit, "GET /**")
	})
}
