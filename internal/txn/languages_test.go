package txn

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wardtest/npm"
)

// example is the code of a language on the page for services.
func example(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/verify-user.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```"+language+"\n")
	code, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatalf("the page has no example for %s", language)
	}
	return code
}

// tokens are one that counts and some that don't, and a server with the keys.
func tokens(t *testing.T) (url, good string, bad map[string]string) {
	t.Helper()
	m, rogue := minter(t), minter(t)
	m.Clock, rogue.Clock = clock.System{}, clock.System{}
	keys, err := jose.NewKeySet(m.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	b, err := keys.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	mint := func(m Minter, change func(*Minter)) string {
		t.Helper()
		if change != nil {
			change(&m)
		}
		c := alice()
		if err := m.Mint(c, "GET /"); err != nil {
			t.Fatal(err)
		}
		return c.Token
	}
	access, err := m.Key.Sign("at+jwt", map[string]any{"iss": issuer, "aud": domain, "sub": "u1", "iat": 1, "exp": 4102444800})
	if err != nil {
		t.Fatal(err)
	}
	good = mint(*m, nil)
	return s.URL, good, map[string]string{
		"another key":      mint(*rogue, nil),
		"another audience": mint(*m, func(m *Minter) { m.TrustDomain = "other.internal" }),
		"another issuer":   mint(*m, func(m *Minter) { m.Issuer = "spiffe://shop.internal/svc/web" }),
		"over":             mint(*m, func(m *Minter) { m.Clock = fixed(start) }),
		"an access token":  access,
		"changed":          strings.Replace(good, ".", ".e", 1),
	}
}

func TestPythonReadsTheToken(t *testing.T) {
	python := "/usr/bin/python3" // Debian's, which has Debian's PyJWT
	if out, err := exec.Command(python, "-c", "import jwt, cryptography").CombinedOutput(); err != nil {
		need.Missing(t, fmt.Sprintf("python3-jwt and python3-cryptography: %v %s", err, out))
	}
	url, good, bad := tokens(t)
	code := strings.ReplaceAll(example(t, "python"), "http://ward/.well-known/jwks.json", url)
	run := func(token string) (string, error) {
		out, err := exec.Command(python, "-c", code+"\nimport sys\np = user_of(sys.argv[1])\nprint(p['sub'], p['tctx']['email'])", token).CombinedOutput()
		return string(out), err
	}
	judge(t, run, good, bad)
}

func TestNodeReadsTheToken(t *testing.T) {
	node, modules := need.Program(t, "node"), npm.Modules(t)
	url, good, bad := tokens(t)
	code := strings.ReplaceAll(example(t, "js"), "http://ward/.well-known/jwks.json", url)
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	code += "\nconst p = await userOf(process.argv[2]);\nconsole.log(p.sub, p.tctx.email);\n"
	if err := os.WriteFile(filepath.Join(dir, "run.mjs"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(token string) (string, error) {
		cmd := exec.Command(node, "run.mjs", token)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(bytes.TrimSpace(out)), err
	}
	judge(t, run, good, bad)
}

func judge(t *testing.T, run func(string) (string, error), good string, bad map[string]string) {
	t.Helper()
	if out, err := run(good); err != nil || strings.TrimSpace(out) != "u1 alice@example.com" {
		t.Fatalf("%v: %s", err, out)
	}
	for name, token := range bad {
		if out, err := run(token); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}
