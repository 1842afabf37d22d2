package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wardhq/ward/cmd/ward/internal/cli"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

const safeModel = `
app: safe
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  web:
    run: [./toy]
    env: {NAME: web, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    expose: {route: "GET /**", to: anyone}
    calls: {orders: "GET /**"}
    secrets: {session: file, api-token: env API_TOKEN, late: file}
    keys: {addresses: encrypt}
  orders:
    run: [./toy]
    env: {NAME: orders, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
    data: [addresses]
    keys: {invoices: sign}
secrets:
  session: {generate: password}
  api-token: {generate: key}
  late: {generate: password}
keys:
  invoices: {purpose: EdDSA}
`

// ask fetches a page of web, or of orders through web.
func ask(t *testing.T, w *wardtest.World, path string, q ...string) (int, string) {
	t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(q); i += 2 {
		v.Add(q[i], q[i+1])
	}
	resp, err := wardtest.Client().Get(w.URL + path + "?" + v.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// askOrders is askService of orders.
func askOrders(t *testing.T, w *wardtest.World, path string, q ...string) string {
	t.Helper()
	return askService(t, w, "orders", path, q...)
}

// askService fetches a page of a service through web, and returns its status and body in one text.
func askService(t *testing.T, w *wardtest.World, service, path string, q ...string) string {
	t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(q); i += 2 {
		v.Add(q[i], q[i+1])
	}
	u := "http://" + service + ":8080" + path + "?" + v.Encode()
	_, a := w.Get("/call?url=" + url.QueryEscape(u))
	return a.Called[u]
}

// runWard runs a command line as a user would.
func runWard(t *testing.T, w *wardtest.World, in string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(cli.Env{In: strings.NewReader(in), Out: &out, Err: &out}, append(args, "-f", w.File))
	return code, out.String()
}

// reveal is a secret's value as the administrator sees it.
func reveal(t *testing.T, w *wardtest.World, name string) string {
	t.Helper()
	code, out := runWard(t, w, "", "secrets", "reveal", name)
	if code != 0 {
		t.Fatalf("reveal %s: %d %s", name, code, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// digest is what the toy says of a value that the gateway would mask.
func digest(value string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(value))) }

// TestSecretsReachTheirServiceAndNobodyElse through the real system: a file, a variable, the descriptor; not another service, not the
// disk, not the plan that roles get.
func TestSecretsReachTheirServiceAndNobodyElse(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	session, token := reveal(t, w, "session"), reveal(t, w, "api-token")
	if code, got := ask(t, w, "/digest", "path", "/run/secrets/session"); code != http.StatusOK || got != digest(session) || len(session) != 32 {
		t.Fatalf("the file: %d %q", code, got)
	}
	if _, got := ask(t, w, "/digest", "env", "API_TOKEN"); got != digest(token) || len(token) != 44 {
		t.Errorf("the variable: %q", got)
	}
	_, fd := ask(t, w, "/env", "name", "WARD_SECRETS_FD")
	if _, all := ask(t, w, "/fd", "n", fd); !strings.Contains(all, `"session"`) {
		t.Errorf("the descriptor %s: %q", fd, all)
	}
	for _, path := range []string{"/run/secrets/session", "/run/secrets", "/proc/1/environ", "/.secrets/session"} {
		if got := askOrders(t, w, "/file", "path", path); strings.HasPrefix(got, "200") || strings.Contains(got, session) {
			t.Errorf("orders reads %s: %s", path, got)
		}
	}
	// A variable isn't a file too.
	if code, got := ask(t, w, "/file", "path", "/run/secrets/api-token"); code != http.StatusNotFound {
		t.Errorf("the variable is a file: %d %q", code, got)
	}
	// Nothing of the values lies on the disk, in whatever file below the state.
	err := filepath.WalkDir(w.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(b, []byte(session)) || bytes.Contains(b, []byte(token))) {
			t.Errorf("a secret lies in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(w.Log.String(), session) || strings.Contains(w.Log.String(), token) {
		t.Error("a secret is in the log")
	}
}

// TestNewValueReachesTheRunningService in place; and an older one comes back by rollback.
func TestNewValueReachesTheRunningService(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	token := reveal(t, w, "api-token")
	if code, out := runWard(t, w, "first value\n", "secrets", "set", "session"); code != 0 || !strings.Contains(out, "to service web: file") || strings.Contains(out, "first value") {
		t.Fatalf("set: %d %s", code, out)
	}
	is := func(want string) func() bool {
		return func() bool { _, got := ask(t, w, "/file", "path", "/run/secrets/session"); return got == want }
	}
	wardtest.Eventually(t, "the new value is there", is("first value"))
	if code, out := runWard(t, w, "second", "secrets", "set", "session", "--if-version", "1"); code != 1 || !strings.Contains(out, "2") {
		t.Errorf("compare-and-set with an old version: %d %s", code, out)
	}
	if code, out := runWard(t, w, "second", "secrets", "set", "session", "--pending"); code != 0 {
		t.Errorf("pending: %d %s", code, out)
	}
	if code, out := runWard(t, w, "", "secrets", "promote", "session"); code != 0 {
		t.Errorf("promote: %d %s", code, out)
	}
	wardtest.Eventually(t, "the promoted value is there", is("second"))
	if code, out := runWard(t, w, "", "secrets", "rollback", "session"); code != 0 {
		t.Errorf("rollback: %d %s", code, out)
	}
	wardtest.Eventually(t, "the value before is there", is("first value"))
	if strings.Contains(w.Log.String(), "starting again") {
		t.Error("the service was started anew, though its file doesn't say so")
	}
	// A variable can't change in a process: the service starts again.
	if code, out := runWard(t, w, "", "secrets", "generate", "api-token"); code != 0 {
		t.Errorf("generate: %d %s", code, out)
	}
	wardtest.Eventually(t, "a new process with the new value", func() bool {
		now := reveal(t, w, "api-token")
		code, got := ask(t, w, "/digest", "env", "API_TOKEN")
		return code == http.StatusOK && got == digest(now) && now != token
	})
	// What every step did is in the ledger, and no value is.
	_, audit := runWard(t, w, "", "audit")
	for _, want := range []string{"secret.set", "secret.promoted", "secret.rolled", "secret.generated", "secret.read"} {
		if !strings.Contains(audit, want) {
			t.Errorf("the ledger has no %s", want)
		}
	}
	if strings.Contains(audit, "first value") {
		t.Error("a value is in the ledger")
	}
}

// TestServiceWaitsForASecretWithoutValue, and starts when it comes.
func TestServiceWaitsForASecretWithoutValue(t *testing.T) {
	t.Parallel()
	model := strings.Replace(safeModel, "late: {generate: password}", "late: {}", 1)
	done := make(chan *wardtest.World, 1)
	dir := make(chan string, 1)
	go func() { done <- wardtest.Start(t, model, onStart(dir)) }()
	w := &wardtest.World{File: <-dir}
	wardtest.Eventually(t, "control answers", func() bool {
		code, out := runWard(t, w, "it is late\n", "secrets", "set", "late")
		return code == 0 && strings.Contains(out, "to service web")
	})
	w = <-done
	if _, got := ask(t, w, "/file", "path", "/run/secrets/late"); got != "it is late" {
		t.Errorf("the value: %q", got)
	}
	if !strings.Contains(w.Log.String(), "secret late has no value yet; set one with 'ward secrets set late'") {
		t.Log("it may have been set before the service asked") // then nothing had to be said
	}
}

// TestServicesUseKeysAsTheFileSays: by the SDK, through the agent, and no other way.
func TestServicesUseKeysAsTheFileSays(t *testing.T) {
	t.Parallel()
	w := wardtest.Start(t, safeModel, nil)
	in := []string{"class", "addresses", "row", "7", "owner", "ada"}
	code, sealed := ask(t, w, "/seal", append(in, "value", "1 Quay Street")...)
	if code != http.StatusOK || strings.Contains(sealed, "Quay") {
		t.Fatalf("web seals: %d %s", code, sealed)
	}
	if code, got := ask(t, w, "/open", append(in, "value", sealed)...); code == http.StatusOK || !strings.Contains(got, "refused") {
		t.Errorf("web may encrypt alone, and opens: %d %s", code, got)
	}
	if got := askOrders(t, w, "/open", append(in, "value", sealed, "service", "web")...); got != "200 OK 1 Quay Street" {
		t.Errorf("orders opens what web sealed: %s", got)
	}
	for name, q := range map[string][]string{
		"another row":     {"class", "addresses", "row", "8", "owner", "ada", "value", sealed, "service", "web"},
		"another owner":   {"class", "addresses", "row", "7", "owner", "bob", "value", sealed, "service", "web"},
		"another service": {"class", "addresses", "row", "7", "owner", "ada", "value", sealed},
		"another class":   {"class", "invoices", "row", "7", "owner", "ada", "value", sealed, "service", "web"},
	} {
		if got := askOrders(t, w, "/open", q...); strings.HasPrefix(got, "200") || strings.Contains(got, "Quay") {
			t.Errorf("%s opens it: %s", name, got)
		}
	}
	one := askOrders(t, w, "/index", "class", "addresses", "value", "ada@example.com")
	if two := askOrders(t, w, "/index", "class", "addresses", "value", "ada@example.com"); one != two || !strings.HasPrefix(one, "200") {
		t.Errorf("blind indexes: %s and %s", one, two)
	}
	if code, got := ask(t, w, "/index", "class", "addresses", "value", "x"); code == http.StatusOK {
		t.Errorf("web makes an index: %s", got)
	}
	for _, path := range []string{"/v1/keys/invoices/public", "/v1/keys/addresses/lookup-keys", "/v1/keys", "/v1/keys/addresses", "/v1/secrets", "/v1/as/orders/v1/me", "/v1/keys/..%2f..%2fsecrets/session/reveal", "/v1/deliver", "/v1/agent-secrets"} {
		u := "http://ward" + path
		if _, a := w.Get("/call?url=" + url.QueryEscape(u)); strings.HasPrefix(a.Called[u], "200") {
			t.Errorf("web reaches %s: %s", path, a.Called[u])
		}
	}
	if code, out := runWard(t, w, "", "keys", "shred", "addresses", "ada"); code != 0 {
		t.Fatalf("shred: %d %s", code, out)
	}
	if got := askOrders(t, w, "/open", append(in, "value", sealed, "service", "web")...); strings.HasPrefix(got, "200") {
		t.Errorf("a shredded owner's address opens: %s", got)
	}
	if _, out := runWard(t, w, "", "explain", "key", "addresses"); !strings.Contains(out, "orders") || !strings.Contains(out, "data-key") {
		t.Errorf("explain: %s", out)
	}
}

// onStart hands out the model's file before anything runs.
func onStart(file chan<- string) func(c *up.Config) {
	return func(c *up.Config) { file <- c.File }
}

// TestSecretsAreFoundWhereTheyMustNotBe: in a log, which gets asterisks instead, in files, and in git's history.
func TestSecretsAreFoundWhereTheyMustNotBe(t *testing.T) {
	t.Parallel()
	model := strings.Replace(safeModel, "secrets:\n  session", "secrets:\n  bait: {canary: true, generate: password}\n  session", 1)
	w := wardtest.Start(t, model, nil)
	const value = "correct horse battery staple"
	if code, out := runWard(t, w, value, "secrets", "set", "session"); code != 0 {
		t.Fatalf("set: %d %s", code, out)
	}
	_, bait := runWard(t, w, "", "secrets", "reveal", "bait")
	// The toy prints what it is asked to; what comes first may be before the supervisor has heard of the new value.
	wardtest.Eventually(t, "the log has asterisks", func() bool {
		ask(t, w, "/print", "text", "so it says "+value+" and "+bait+" and "+"AKIA"+strings.Repeat("Q", 16)+" and 4111 1111 1111 1111")
		return strings.Contains(w.Log.String(), "so it says ****************************")
	})
	if log := w.Log.String(); strings.Contains(log, bait) || strings.Contains(log, "4111 1111") || strings.Contains(log, "AKIA") || !strings.Contains(log, "1111\n") {
		t.Errorf("the log: %s", log)
	}
	wardtest.Eventually(t, "flags are in the ledger", func() bool {
		_, audit := runWard(t, w, "", "audit")
		return strings.Contains(audit, "flag.secret-in-log") && strings.Contains(audit, "flag.canary") && strings.Contains(audit, "flag.card-in-log") && strings.Contains(audit, "flag.token-in-log") && !strings.Contains(audit, bait)
	})

	repo := t.TempDir()
	if err := os.WriteFile(filepath.Join(repo, "config.txt"), []byte("# notes\npassword = "+value+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, out := runWard(t, w, "", "secrets", "leaks", repo)
	if code != 1 || !strings.Contains(out, "config.txt:2  secret session (raw)") || strings.Contains(out, value) {
		t.Errorf("leaks: %d %s", code, out)
	}
	// A scan of the application's own folder knows the secrets of what runs there, too.
	if err := os.WriteFile(filepath.Join(w.Dir, "config.txt"), []byte("password = "+value+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var scanned bytes.Buffer
	if code := run(cli.Env{Out: &scanned, Err: &scanned}, []string{"scan", w.Dir, "--only", "secrets"}); code != 1 || !strings.Contains(scanned.String(), "critical  ward-known-secret  web  config.txt:1") || strings.Contains(scanned.String(), value) {
		t.Errorf("scan: %d %s", code, scanned.String())
	}
	if code, out := runWard(t, w, "", "secrets", "leaks", t.TempDir()); code != 0 {
		t.Errorf("an empty folder: %d %s", code, out)
	}
}

// TestRotationAndRestartUnderLoadLoseNothing: what was sealed opens, whatever happened meanwhile to keys and to control.
func TestRotationAndRestartUnderLoadLoseNothing(t *testing.T) {
	w := wardtest.Start(t, safeModel, nil)
	type value struct{ row, sealed string }
	var mu sync.Mutex
	var kept []value
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				row := fmt.Sprintf("%d-%d", i, n)
				code, sealed := ask(t, w, "/seal", "class", "addresses", "row", row, "owner", fmt.Sprint("customer-", n%5), "value", "street "+row)
				if code != http.StatusOK {
					continue // control was away: nothing was acknowledged
				}
				mu.Lock()
				kept = append(kept, value{row, sealed})
				mu.Unlock()
			}
		})
	}
	p, err := up.FindPaths(w.File)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(least int) {
		t.Helper()
		wardtest.Eventually(t, fmt.Sprintf("%d values", least), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(kept) >= least
		})
	}
	for round := 1; round <= 3; round++ {
		sealed(round * 40)
		if code, out := runWard(t, w, "", "keys", "rotate", "addresses"); code != 0 {
			t.Errorf("rotate: %s", out)
		}
		sealed(round*40 + 10)
		var st up.Status
		if err := p.Up().Call(t.Context(), http.MethodGet, "/v1/status", nil, &st); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(rolePID(t, st, "control"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	sealed(140)
	close(stop)
	load.Wait()
	wardtest.Eventually(t, "control is back", func() bool { code, _ := runWard(t, w, "", "keys", "list"); return code == 0 })
	for _, v := range kept {
		var n int
		if _, err := fmt.Sscanf(v.row, "%d-%d", new(int), &n); err != nil {
			t.Fatal(err)
		}
		got := askOrders(t, w, "/open", "class", "addresses", "row", v.row, "owner", fmt.Sprint("customer-", n%5), "value", v.sealed, "service", "web")
		if got != "200 OK street "+v.row {
			t.Fatalf("of %d values, %s is lost: %s", len(kept), v.row, got)
		}
	}
	if _, out := runWard(t, w, "", "keys", "list"); !strings.Contains(out, "addresses         encrypt  4") {
		t.Errorf("the key after three rotations:\n%s", out)
	}
}
