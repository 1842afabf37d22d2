package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/demo/visitor"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// Apache's mod_auth_openidc signs people in at Ward's provider, as a client that others wrote: with ES256 and with RS256; and
// takes access tokens, as a resource server.
const apacheConf = `
ServerRoot {{dir}}
ServerName localhost
Listen 127.0.0.1:{{port}}
PidFile {{dir}}/pid
ErrorLog {{dir}}/error.log
LogLevel warn
LoadModule mpm_event_module {{modules}}/mod_mpm_event.so
LoadModule authn_core_module {{modules}}/mod_authn_core.so
LoadModule authz_core_module {{modules}}/mod_authz_core.so
LoadModule authz_user_module {{modules}}/mod_authz_user.so
LoadModule headers_module {{modules}}/mod_headers.so
LoadModule dir_module {{modules}}/mod_dir.so
LoadModule auth_openidc_module {{modules}}/mod_auth_openidc.so
DocumentRoot {{dir}}/www
OIDCProviderMetadataURL {{pages}}/.well-known/openid-configuration
OIDCCABundlePath {{dir}}/ca.pem
OIDCSSLValidateServer On
OIDCClientID {{client}}
OIDCClientSecret {{secret}}
OIDCIDTokenSignedResponseAlg {{alg}}
OIDCPKCEMethod S256
OIDCResponseType code
OIDCScope "openid email profile"
OIDCRedirectURI http://localhost:{{port}}/protected/callback
OIDCCryptoPassphrase {{secret}}
OIDCCookieSameSite On
OIDCRemoteUserClaim email
OIDCOAuthVerifyJwksUri {{pages}}/jwks
OIDCOAuthRemoteUserClaim sub
<Directory {{dir}}/www>
  Require all granted
</Directory>
<Location /protected>
  AuthType openid-connect
  Require valid-user
  Header set X-Seen-User expr=%{REMOTE_USER}
</Location>
<Location /api>
  AuthType oauth20
  Require valid-user
  Header set X-Seen-User expr=%{REMOTE_USER}
</Location>
`

const apacheSecret = "7d0c9a4d1c1e4f3fa6b6b1f2b9f5e3c7aa55d3e1f0c94b1"

// apache starts a server whose folder holds the configuration.
func apache(t *testing.T, w *wardtest.World, client, alg string, port int) {
	t.Helper()
	const modules = "/usr/lib/apache2/modules"
	program := need.Program(t, "apache2")
	if _, err := os.Stat(modules + "/mod_auth_openidc.so"); err != nil {
		need.Missing(t, "libapache2-mod-auth-openidc")
	}
	dir := t.TempDir()
	paths, err := up.FindPaths(w.File)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := paths.Admin().Do(t.Context(), http.MethodGet, "/v1/ca.pem", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var ca bytes.Buffer
	if _, err := ca.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer("{{dir}}", dir, "{{port}}", fmt.Sprint(port), "{{modules}}", modules, "{{pages}}", pagesOf(w.URL),
		"{{client}}", client, "{{secret}}", apacheSecret, "{{alg}}", alg).Replace(apacheConf)
	for name, text := range map[string]string{"apache.conf": conf, "ca.pem": ca.String(), "www/protected/index.html": "protected by apache", "www/api/index.html": "api of apache"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		// Apache's workers give up root: they have to reach the pages.
		for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
			if err := os.Chmod(at, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(program, "-X", "-d", dir, "-f", filepath.Join(dir, "apache.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("apache: %s\n%s", said.Bytes(), log)
		}
	})
	for range 200 {
		if resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("apache doesn't answer: %s", said.Bytes())
}

func TestApacheSignsPeopleIn(t *testing.T) {
	t.Parallel()
	need.Program(t, "apache2")
	sum := sha256.Sum256([]byte(apacheSecret))
	port := wardtest.FreePort(t)
	client := func(name, more string) string {
		return fmt.Sprintf("\n    %s: {secret_sha256: %s, redirects: [http://localhost:%d/protected/callback]%s}", name, hex.EncodeToString(sum[:]), port, more)
	}
	model := strings.Replace(peopleModel, "  clients: {reports: {service: web, grants: [client_credentials], audiences: [\"https://localhost:{{port}}\", \"spiffe://people.internal/svc/orders\"]}}",
		"  clients:"+client("elliptic", "")+client("rsa", ", rs256: true"), 1)
	w := wardtest.Start(t, model, nil)
	b := person(t, w, "ada@example.com")
	for name, alg := range map[string]string{"elliptic": "ES256", "rsa": "RS256"} {
		t.Run(alg, func(t *testing.T) {
			apache(t, w, name, alg, port)
			own := &visitor.Browser{Client: &http.Client{Jar: b.Client.Jar, Transport: b.Client.Transport, Timeout: 20 * time.Second}}
			p := get(t, own, fmt.Sprintf("http://localhost:%d/protected/index.html", port))
			if p.Status != 200 || p.Body != "protected by apache" || !strings.HasPrefix(p.Header.Get("X-Seen-User"), "ada@example.com") {
				t.Errorf("%d at %s as %q: %s", p.Status, p.URL, p.Header.Get("X-Seen-User"), p.Body)
			}
			// The session is this one server's own.
			u, _ := url.Parse(fmt.Sprintf("http://localhost:%d/", port))
			for _, c := range own.Client.Jar.Cookies(u) {
				if strings.HasPrefix(c.Name, "mod_auth_openidc") {
					own.Client.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Path: "/", MaxAge: -1}})
				}
			}
		})
	}
}
