package registry

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// serve answers paths with texts; a text of digits alone is a status.
func serve(t *testing.T, answers map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.EscapedPath()]
		var status int
		if n, _ := fmt.Sscanf(text, "status %d", &status); n == 1 {
			http.Error(w, "", status)
			return
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

func kind(err error) fault.Kind {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return fault.Internal
}

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func info(n int) string {
	return fmt.Sprintf(`{"Version":"v0","Time":%q}`, day(n).Format(time.RFC3339))
}

func goAnswers() map[string]string {
	return map[string]string{
		"/example.com/!up/@v/list":             "v1.1.0\nv1.0.0\nv1.2.0\nv1.3.0-rc.1\n",
		"/example.com/!up/@v/v1.0.0.info":      info(1),
		"/example.com/!up/@v/v1.1.0.info":      info(2),
		"/example.com/!up/@v/v1.2.0.info":      info(3),
		"/example.com/!up/@v/v1.3.0-rc.1.info": info(4),
		"/example.com/!up/@v/v1.2.0.mod":       "// Deprecated: use example.com/other\nmodule example.com/Up\nretract (\n\t[v1.1.0, v1.1.5] // loses data\n\tv1.0.0\n)\n",
	}
}

func TestGoListsReleasesWithTimesAndRetractions(t *testing.T) {
	s := serve(t, goAnswers())
	g, err := NewGo(GoEnv{Proxy: s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Releases(t.Context(), "example.com/Up", "v1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	const gone = "use example.com/other"
	want := []Release{
		{Version: "v1.1.0", Published: day(2), Claimed: true, Retracted: "loses data", Deprecated: gone},
		{Version: "v1.2.0", Published: day(3), Claimed: true, Deprecated: gone},
		{Version: "v1.3.0-rc.1", Published: day(4), Claimed: true, Deprecated: gone},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got, err = g.Releases(t.Context(), "example.com/Up", "")
	if err != nil || len(got) != 4 || got[0].Retracted != "its author retracted it" {
		t.Errorf("all: %v %v", got, err)
	}
}

func TestGoKnowsThePseudoVersionThatIsInUse(t *testing.T) {
	s := serve(t, goAnswers())
	g, _ := NewGo(GoEnv{Proxy: s.URL}, nil)
	got, err := g.Releases(t.Context(), "example.com/Up", "v1.1.1-0.20251231235959-0123456789ab")
	if err != nil || len(got) != 3 || !got[0].Published.Equal(time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("%v %v", got, err)
	}
}

func TestGoAsksProxiesAsTheGoCommandDoes(t *testing.T) {
	full := serve(t, goAnswers()).URL
	empty := serve(t, nil).URL
	broken := serve(t, map[string]string{"/example.com/!up/@v/list": "status 500"}).URL
	for name, c := range map[string]struct {
		env  GoEnv
		kind fault.Kind
		ok   bool
	}{
		"the next one has it":           {env: GoEnv{Proxy: empty + "," + full}, ok: true},
		"a failure ends the list":       {env: GoEnv{Proxy: broken + "," + full}, kind: fault.Unavailable},
		"a failure is passed by a pipe": {env: GoEnv{Proxy: broken + "|" + full}, ok: true},
		"off":                           {env: GoEnv{Proxy: empty + ",off"}, kind: fault.NotFound},
		"off alone":                     {env: GoEnv{Proxy: "off"}, kind: fault.Refused},
		"direct":                        {env: GoEnv{Proxy: "direct"}, kind: fault.Unsupported},
		"private":                       {env: GoEnv{Proxy: full, NoProxy: "example.com"}, kind: fault.Unsupported},
		"credentials":                   {env: GoEnv{Proxy: serve(t, map[string]string{"/example.com/!up/@v/list": "status 401"}).URL}, kind: fault.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := NewGo(c.env, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Releases(t.Context(), "example.com/Up", "")
			if (err == nil) != c.ok || !c.ok && kind(err) != c.kind {
				t.Errorf("%d releases, %v", len(got), err)
			}
		})
	}
}

func TestGoAnswerWithAHoleIsAnError(t *testing.T) {
	for name, change := range map[string]func(map[string]string){
		"no time of a version": func(a map[string]string) { delete(a, "/example.com/!up/@v/v1.2.0.info") },
		"no go.mod":            func(a map[string]string) { delete(a, "/example.com/!up/@v/v1.2.0.mod") },
		"broken go.mod":        func(a map[string]string) { a["/example.com/!up/@v/v1.2.0.mod"] = "module (" },
		"no JSON":              func(a map[string]string) { a["/example.com/!up/@v/v1.1.0.info"] = "<html>" },
		"no versions":          func(a map[string]string) { a["/example.com/!up/@v/list"] = "../../etc\n" },
		"more than we read": func(a map[string]string) {
			a["/example.com/!up/@v/list"] = "v1.0.0\nv1.2.0\n" + strings.Repeat("\n", maxSmall)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := goAnswers()
			change(a)
			g, _ := NewGo(GoEnv{Proxy: serve(t, a).URL}, nil)
			if got, err := g.Releases(t.Context(), "example.com/Up", ""); err == nil {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestNoRedirectLeadsFromHTTPSToHTTP(t *testing.T) {
	plain := serve(t, goAnswers())
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.EscapedPath(), http.StatusFound)
	}))
	defer tls.Close()
	g, _ := NewGo(GoEnv{Proxy: tls.URL}, tls.Client())
	if _, err := g.Releases(t.Context(), "example.com/Up", ""); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Error(err)
	}
}

func TestGoReadsAModuleCacheAsAProxy(t *testing.T) {
	dir := t.TempDir()
	for p, text := range goAnswers() {
		p = filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g, _ := NewGo(GoEnv{Proxy: (&url.URL{Scheme: "file", Path: dir}).String()}, nil)
	if got, err := g.Releases(t.Context(), "example.com/Up", ""); err != nil || len(got) != 4 {
		t.Errorf("%v %v", got, err)
	}
}

const packument = `{"name":"@a/b","time":{"created":"2026-01-01T00:00:00Z","1.0.0":"2026-01-01T00:00:00Z","1.1.0":"2026-01-02T00:00:00Z","2.0.0":"2026-01-03T00:00:00Z"},
"versions":{
"2.0.0":{"scripts":{"postinstall":"node x"},"dependencies":{"c":"^1.0.0"},"_npmUser":{"name":"eve"},"dist":{"integrity":"%s","tarball":"%s/@a/b/-/b-2.0.0.tgz"}},
"1.1.0":{"deprecated":"use 2","gypfile":true,"dist":{"integrity":"sha512-AAAA","tarball":"%[2]s/@a/b/-/b-1.1.0.tgz"}},
"1.0.0":{"deprecated":false,"dist":{"integrity":"","tarball":"http://elsewhere.example/b.tgz"}}}}`

func npmServer(t *testing.T) *httptest.Server {
	t.Helper()
	sum := sha512.Sum512([]byte("tarball"))
	answers := map[string]string{"/@a/b/-/b-2.0.0.tgz": "tarball", "/@a/b/-/b-1.1.0.tgz": "other"}
	s := serve(t, answers)
	answers["/@a%2fb"] = fmt.Sprintf(packument, "sha512-"+base64.StdEncoding.EncodeToString(sum[:]), s.URL)
	answers["/liar"] = `{"name":"other","versions":{}}`
	return s
}

func TestNPMListsReleases(t *testing.T) {
	s := npmServer(t)
	n := NewNPM(NPMEnv{Registry: "http://127.0.0.1:1", Scopes: map[string]string{"@a": s.URL + "/"}}, nil)
	got, err := n.Releases(t.Context(), "@a/b", "1.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].Integrity = ""
	}
	want := []Release{
		{Version: "1.1.0", Published: day(2), Deprecated: "use 2", Scripts: true, Requires: map[string]string{}},
		{Version: "2.0.0", Published: day(3), Scripts: true, Publisher: "eve", Requires: map[string]string{"c": "^1.0.0"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNPMTakesOnlyWhatTheRegistryVouchesFor(t *testing.T) {
	s := npmServer(t)
	n := NewNPM(NPMEnv{Registry: s.URL}, nil)
	if b, err := n.Archive(t.Context(), "@a/b", "2.0.0"); err != nil || string(b) != "tarball" {
		t.Errorf("%q %v", b, err)
	}
	for version, want := range map[string]string{"1.1.0": "isn't what the registry says", "1.0.0": "isn't at the registry's own host", "3.0.0": "doesn't have"} {
		if b, err := n.Archive(t.Context(), "@a/b", version); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v", version, b, err)
		}
	}
	for _, name := range []string{"liar", "../x", "a/b/c", "", "@a/../b"} {
		if r, err := n.Releases(t.Context(), name, ""); err == nil || kind(err) != fault.Invalid {
			t.Errorf("%q: %v %v", name, r, err)
		}
	}
}

func TestHostsAreExactlyThoseOfTheConfiguration(t *testing.T) {
	e := GoEnv{Proxy: "https://proxy.example,file:///x|http://127.0.0.1:3000/go,direct", SumDB: "sum.example"}
	got, err := e.Hosts()
	if d := cmp.Diff([]string{"127.0.0.1:3000", "proxy.example:443", "sum.example:443"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	got, err = NPMEnv{Registry: "https://r.example/", Scopes: map[string]string{"@x": "http://r.example"}}.Hosts()
	if d := cmp.Diff([]string{"r.example:443", "r.example:80"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if got, err := (NPMEnv{Registry: "ftp://r.example"}).Hosts(); err == nil {
		t.Error(got)
	}
}

func TestRealRegistriesAnswer(t *testing.T) {
	need.Program(t, "npm")
	e, err := ReadGoEnv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGo(e, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Releases(t.Context(), "golang.org/x/mod", "v0.35.0")
	if kind(err) == fault.Unavailable {
		need.Missing(t, "the Go proxy doesn't answer")
	}
	if err != nil || len(got) < 5 || got[0].Version != "v0.35.0" || got[0].Published.Year() < 2026 {
		t.Errorf("%v %v", got, err)
	}
	ne, err := ReadNPMEnv(t.Context(), t.TempDir(), ".")
	if err != nil {
		t.Fatal(err)
	}
	got, err = NewNPM(ne, nil).Releases(t.Context(), "axe-core", "4.10.0")
	if kind(err) == fault.Unavailable {
		need.Missing(t, "npm's registry doesn't answer")
	}
	if err != nil || len(got) < 3 || got[0].Version != "4.10.0" || got[0].Published.Year() != 2024 || !strings.HasPrefix(got[0].Integrity, "sha512-") {
		t.Errorf("%.500v %v", got, err)
	}
}
