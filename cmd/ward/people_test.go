package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/smtp"
)

const peopleModel = `
app: people
gateway: {listen: "127.0.0.1:{{port}}"}
users:
  name: Harbour Books
  color: "#0f5c4d"
  register: open
  second_factor: optional
  groups: [staff]
  clients: {reports: {service: web, grants: [client_credentials], audiences: ["https://localhost:{{port}}", "spiffe://people.internal/svc/orders"]}}
services:
  web:
    run: ./toy
    env: {NAME: web}
    listen: http://:8080
    expose:
      - {routes: ["GET /own/**"], to: signed-in}
      - {routes: ["GET /admin"], to: "group:staff", mfa: 15m}
      - {routes: [GET /token, GET /call], to: anyone}
      - {routes: [GET /mine], to: signed-in}
    calls: {orders: ["GET /orders as user", GET /health]}
  mailer: {run: ./toy, env: {NAME: mailer}, listen: http://:8080, calls: {orders: "GET /orders as user"}}
  orders: {run: ./toy, env: {NAME: orders}, listen: http://:8080}
`

// pagesOf is the origin of the sign-in pages.
func pagesOf(url string) string { return strings.Replace(url, "https://", "https://id.", 1) }

const goodPassword = "a harbour full of quiet boats"

// person is a browser of somebody who is signed in.
func person(t *testing.T, w *wardtest.World, user string) *visitor.Browser {
	t.Helper()
	b := visitor.New(visitor.Transport(w.Roots()), filepath.Join(w.Dir, ".ward", "mail"))
	if _, err := b.Register(t.Context(), pagesOf(w.URL), user, goodPassword); err != nil {
		t.Fatal(err)
	}
	return b
}

func get(t *testing.T, b *visitor.Browser, url string, fields ...string) visitor.Page {
	t.Helper()
	p, err := b.Get(t.Context(), url, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The user goes through the chain to the second service, and only while the user's request lives.
func TestUserReachesTheSecondService(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel, nil)
	b := person(t, w, "ada@example.com")
	for pass, want := range map[string]string{
		"":            "401 Unauthorized",
		"Txn-Token":   `200 OK {"service":"orders"`,
		"Traceparent": `200 OK {"service":"orders"`,
	} {
		page := get(t, b, w.URL+"/mine?url=http://orders:8080/orders&pass="+pass)
		var a wardtest.Answer
		if err := json.Unmarshal([]byte(page.Body), &a); err != nil {
			t.Fatalf("%v: %s", err, page.Body)
		}
		got := a.Called["http://orders:8080/orders"]
		if !strings.HasPrefix(got, want) || strings.HasPrefix(want, "200") != strings.Contains(got, `"X-Ward-User-Email":["ada@example.com"]`) {
			t.Errorf("passing %q: %s", pass, got)
		}
		if stolen := a.Header["Txn-Token"]; len(stolen) != 1 {
			t.Errorf("the service got %v", a.Header)
		} else if again := get(t, b, w.URL+"/call?url=http://orders:8080/orders&pass=X-Stolen", "X-Stolen", stolen[0]); !strings.Contains(again.Body, "401 Unauthorized") {
			t.Errorf("a token of an ended request: %s", again.Body)
		}
	}
	if p := get(t, b, w.URL+"/call?url=http://ward/.well-known/jwks.json"); !strings.Contains(p.Body, `\"kty\":\"OKP\"`) {
		t.Errorf("keys for services: %s", p.Body)
	}
}

func TestSigningOutEndsEverySessionWithinASecond(t *testing.T) {
	w := wardtest.Start(t, peopleModel, nil)
	b := person(t, w, "ada@example.com")
	if p := get(t, b, w.URL+"/own/x"); p.Status != 200 || !strings.HasPrefix(p.URL.String(), w.URL) {
		t.Fatal(p)
	}
	page := get(t, b, pagesOf(w.URL)+"/account/sessions")
	began := time.Now()
	if _, err := b.Fill(t.Context(), page, map[string]string{"do": "end-all"}); err != nil {
		t.Fatal(err)
	}
	for {
		p := get(t, b, w.URL+"/own/x", "Accept", "application/json")
		if p.Status == 401 {
			break
		}
		if time.Since(began) > time.Second {
			t.Fatalf("still signed in after %s: %d", time.Since(began), p.Status)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("ended after %s", time.Since(began))
}

// A service gets a token without any stored secret, and it is bound to its certificate.
func TestServicesGetTokensWithTheirSVID(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel, nil)
	b := visitor.New(visitor.Transport(w.Roots()), "")
	ask := func(more string) visitor.Page {
		return get(t, b, w.URL+"/token?url="+pagesOf(w.URL)+"/token&grant_type=client_credentials&client_id="+more)
	}
	p := ask("reports&resource=" + w.URL)
	var token struct {
		Access string `json:"access_token"`
		Type   string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(p.Body), &token); err != nil || token.Access == "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	// Bound: whoever has it and not the key gets nowhere.
	if got := get(t, b, w.URL+"/own/x", "Authorization", "Bearer "+token.Access, "Accept", "application/json"); got.Status != 401 || !strings.Contains(got.Header.Get("WWW-Authenticate"), "another certificate") {
		t.Errorf("without the certificate: %d %v", got.Status, got.Header)
	}
	for name, more := range map[string]string{"another client": "nobody", "another audience": "reports&resource=https://evil.example"} {
		if p := ask(more); p.Status == 200 {
			t.Errorf("%s: %s", name, p.Body)
		}
	}
	// As itself, without being declared: what it may call is its audience.
	if p := ask("spiffe://people.internal/svc/web&resource=spiffe://people.internal/svc/orders"); p.Status != 200 {
		t.Errorf("by its SPIFFE ID: %d %s", p.Status, p.Body)
	}
	if p := ask("spiffe://people.internal/svc/orders"); p.Status == 200 {
		t.Errorf("as another service: %s", p.Body)
	}
}

// Staff come to the administration with a second factor only: they are led through it, and back.
func TestStaffIsLedThroughStepUp(t *testing.T) {
	w := wardtest.Start(t, peopleModel, nil)
	b := person(t, w, "grace@example.com")
	if p := get(t, b, w.URL+"/own/x"); p.Status != 200 {
		t.Fatal(p.Status)
	}
	if p := get(t, b, w.URL+"/admin"); p.Status != 403 || p.URL.Path != "/admin" {
		t.Fatalf("not staff: %d at %s", p.Status, p.URL)
	}
	if code, out := runWard(t, w, "", "users", "set", "grace@example.com", "--group", "staff"); code != 0 || !strings.Contains(out, "groups staff") {
		t.Fatal(code, out)
	}
	began := time.Now()
	page := get(t, b, w.URL+"/admin")
	for page.Status == 403 && time.Since(began) < time.Second {
		time.Sleep(5 * time.Millisecond) // until the gateway has heard of it
		page = get(t, b, w.URL+"/admin")
	}
	if !strings.HasPrefix(page.URL.String(), pagesOf(w.URL)) {
		t.Fatalf("without a second factor: %d at %s", page.Status, page.URL)
	}
	// They have no factor of their own yet: a mailed code will do, for it is optional here.
	code, err := b.MailedCode(t.Context(), "grace@example.com", began)
	if err != nil {
		t.Fatal(err)
	}
	if page, err = b.Fill(t.Context(), page, map[string]string{"code": code}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{w.URL + "/admin", `"X-Ward-User-Groups":["staff"]`, "X-Ward-User-Factor-Time"} {
		if !strings.Contains(page.URL.String()+page.Body, want) {
			t.Fatalf("after the code: %d at %s: %s", page.Status, page.URL, page.Body)
		}
	}
	// The rights are gone as soon as the group is.
	if code, out := runWard(t, w, "", "users", "set", "grace@example.com", "--role", "ward-viwer"); code != 0 || !strings.Contains(out, `names the role "ward-viwer"; did you mean "ward-viewer"?`) {
		t.Errorf("a role that is misspelt: %d %s", code, out)
	}
	if code, out := runWard(t, w, "", "users", "set", "grace@example.com", "--no-group", "staff"); code != 0 {
		t.Fatal(out)
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		p := get(t, b, w.URL+"/admin", "Accept", "application/json")
		if p.Status == 401 || p.Status == 403 {
			break
		}
		if time.Since(began) > time.Second {
			t.Fatalf("still staff: %d", p.Status)
		}
	}
}

func TestPeopleClientsAndTokensAreAdministered(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, peopleModel, nil)
	if !strings.Contains(w.Log.String(), "this link makes the first administrator, once: "+pagesOf(w.URL)+"/first?") {
		t.Errorf("no link for the first administrator:\n%s", w.Log)
	}
	person(t, w, "ada@example.com")
	hash := filepath.Join(t.TempDir(), "people.jsonl")
	// bcrypt of "correct horse battery staple"
	line := `{"email": "old@example.com", "name": "Old", "password_hash": "$2a$10$nnPPEkPWDdwZMQCvMkVWBuJQcSCU6FhHu/ZpvZXIIEHEhvx4qfLnu"}` + "\n" + `{"email": "nonsense"}` + "\n"
	if err := os.WriteFile(hash, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, in string
		code     int
		want     string
	}{
		{"users add bob@example.com --name Bob --group staff", "", 0, pagesOf(w.URL) + "/invite?"},
		{"users add bob@example.com", "", 1, "has that address already"},
		{"users list", "", 0, "bob@example.com"},
		{"users show ada@example.com", "", 0, "groups  none"},
		{"users show nobody@example.com", "", 1, "nobody has the address"},
		{"users sessions ada@example.com", "", 0, "127.0.0."},
		{"users sessions ada@example.com --end", "", 0, "signed out everywhere"},
		{"users disable ada@example.com", "", 0, "is disabled"},
		{"users enable ada@example.com", "", 0, "is active"},
		{"users reset-factors ada@example.com", "", 0, "no second factor any more"},
		{"users import " + hash, "", 1, "1 imported, 1 refused"},
		{"users recoveries", "", 0, "MAY BE APPROVED"},
		{"clients list", "", 0, "reports"},
		{"clients add app --public --redirect https://app.example/cb", "", 0, "client_id      app"},
		{"clients add reports --redirect https://app.example/cb", "", 1, ""},
		{"clients list", "", 0, "added"},
		{"clients remove app", "", 0, "removed app"},
		{"clients remove app", "", 1, ""},
		{"tokens inspect", "", 1, "standard input"},
		{"tokens inspect", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", 1, "nobody here signed it"},
	} {
		if code, out := runWard(t, w, tt.in, strings.Fields(tt.args)...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("ward %s: exit %d\n%s", tt.args, code, out)
		}
	}
	b := visitor.New(visitor.Transport(w.Roots()), "")
	p := get(t, b, w.URL+"/token?url="+pagesOf(w.URL)+"/token&grant_type=client_credentials&client_id=reports&resource="+w.URL)
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(p.Body), &token); err != nil {
		t.Fatal(err)
	}
	if code, out := runWard(t, w, token.Access, "tokens", "inspect"); code != 0 || !strings.Contains(out, "by this application's provider\ncounts") {
		t.Errorf("exit %d: %s", code, out)
	}
	// The REST API at the pages' host asks for an administrator.
	for _, path := range []string{"/v1/users", "/v1/clients", "/v1/users/x/sessions", "/v1/openapi.json"} {
		if p := get(t, b, pagesOf(w.URL)+path, "Authorization", "Bearer "+token.Access); p.Status != 401 {
			t.Errorf("%s: %d %s", path, p.Status, p.Body)
		}
	}
}

// A foreign authority's tokens count where ward.yaml declares it; its keys come through control, whose only way out is the agent's.
func TestForeignTokensCount(t *testing.T) {
	t.Parallel()
	key, err := jose.GenerateKey(jose.RS256)
	if err != nil {
		t.Fatal(err)
	}
	var authority *httptest.Server
	authority = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			keys, err := jose.NewKeySet(key.Public())
			if err != nil {
				t.Error(err)
			}
			_ = json.NewEncoder(w).Encode(keys)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": authority.URL, "jwks_uri": authority.URL + "/keys"})
	}))
	t.Cleanup(authority.Close)
	w := wardtest.Start(t, strings.Replace(peopleModel, "  groups: [staff]\n", "  groups: [staff]\n  issuers: {corp: {issuer: \""+authority.URL+"\", audience: shop}}\n", 1), nil)
	b := visitor.New(visitor.Transport(w.Roots()), "")
	token := func(aud string) string {
		t.Helper()
		s, err := key.Sign("JWT", map[string]any{"iss": authority.URL, "aud": aud, "sub": "7", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "groups": []string{"staff"}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var p visitor.Page
	for range 100 {
		if p = get(t, b, w.URL+"/own/x", "Authorization", "Bearer "+token("shop"), "Accept", "application/json"); p.Status == 200 {
			break
		}
		time.Sleep(50 * time.Millisecond) // until control has fetched the keys
	}
	if p.Status != 200 || !strings.Contains(p.Body, `"X-Ward-User":["`+authority.URL+`|7"]`) || strings.Contains(p.Body, "X-Ward-User-Groups") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := get(t, b, w.URL+"/own/x", "Authorization", "Bearer "+token("other"), "Accept", "application/json"); p.Status != 401 {
		t.Errorf("another audience: %d", p.Status)
	}
	if p := get(t, b, w.URL+"/admin", "Authorization", "Bearer "+token("shop"), "Accept", "application/json"); p.Status != 403 {
		t.Errorf("its groups are not ours: %d", p.Status)
	}
}

// Mail leaves through the agent to the server that ward.yaml names, and to nobody else.
func TestMailLeavesThroughTheAgent(t *testing.T) {
	t.Parallel()
	server := smtp.Start(t, "plain")
	w := wardtest.Start(t, strings.Replace(peopleModel, "  groups: [staff]\n", fmt.Sprintf("  groups: [staff]\n  mail: {from: \"Harbour Books <shop@example.com>\", smtp: \"smtp://127.0.0.1:%d\"}\n", server.Port), 1), nil)
	if code, out := runWard(t, w, "", "users", "add", "bob@example.com", "--name", "Bob"); code != 0 {
		t.Fatal(out)
	}
	if m := server.Next(t); len(m.To) != 1 || m.To[0] != "bob@example.com" || !strings.Contains(m.Data, "Harbour Books") {
		t.Errorf("%+v", m)
	}
}
