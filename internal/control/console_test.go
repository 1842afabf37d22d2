package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model/wardfile"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// TestTheConsolesHostIsTheConsoles whatever port a client names, as the gateway says: the pages of sign-in are never at it.
func TestTheConsolesHostIsTheConsoles(t *testing.T) {
	k, err := New(Config{Dir: t.TempDir(), Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	m, problems := wardfile.Parse("ward.yaml", strings.NewReader("app: shop\ngateway: {host: localhost, listen: \"127.0.0.1:8443\"}\nusers: {second_factor: optional}\nservices: {web: {run: [x]}}\nwatch: {console: {}}\n"))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	k.state = wire.PlanState{Plan: plan.Build(m)}
	for host, want := range map[string]bool{
		"console.localhost:8443": true, "console.localhost": true, "console.localhost:443": true, "console.localhost:1": true,
		"id.localhost:8443": false, "id.localhost": false, "localhost:8443": false, "console.localhost.evil.example:8443": false, "": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		k.pages().ServeHTTP(w, r)
		if got := strings.Contains(w.Header().Get("Content-Security-Policy"), "trusted-types"); got != want {
			t.Errorf("%q: the console answers: %t (status %d)", host, got, w.Code)
		}
	}
}
