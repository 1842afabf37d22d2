package registry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// ociServer is a registry that wants an anonymous token, as the public ones do.
func ociServer(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("scope") != "repository:team/app:pull" || r.URL.Query().Get("service") != "here" {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(`{"token":"abc"}`))
	})
	mux.HandleFunc("HEAD /v2/team/app/manifests/{tag}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer abc" {
			w.Header().Set("Www-Authenticate", `Bearer realm="`+s.URL+`/token",service="here",scope="repository:team/app:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if !strings.Contains(r.Header.Get("Accept"), "image.index") {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		switch r.PathValue("tag") {
		case "1":
			w.Header().Set("Docker-Content-Digest", digest)
		case "bad":
			w.Header().Set("Docker-Content-Digest", "sha256:zz\nFROM evil")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	mux.HandleFunc("HEAD /v2/basic/app/manifests/{tag}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	return strings.TrimPrefix(s.URL, "http://")
}

func TestImageTagsArePinned(t *testing.T) {
	host := ociServer(t)
	o := NewOCI(nil, "http")
	if got, err := o.Pin(t.Context(), host+"/team/app", "1"); got != digest || err != nil {
		t.Error(got, err)
	}
	for name, c := range map[string]struct {
		image, tag string
		kind       fault.Kind
	}{
		"absent":        {host + "/team/app", "2", fault.NotFound},
		"no digest":     {host + "/team/app", "bad", fault.Invalid},
		"credentials":   {host + "/basic/app", "1", fault.Refused},
		"dots":          {host + "/../app", "1", fault.Invalid},
		"tag with path": {host + "/team/app", "../1", fault.Invalid},
	} {
		if got, err := o.Pin(t.Context(), c.image, c.tag); err == nil || kind(err) != c.kind {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestImageNamesWithoutAHostAreDockerHubs(t *testing.T) {
	for name, want := range map[string]string{
		"golang": "registry-1.docker.io library/golang", "docker.io/golang": "registry-1.docker.io library/golang", "grafana/loki": "registry-1.docker.io grafana/loki",
		"ghcr.io/a/b": "ghcr.io a/b", "localhost:5000/x": "localhost:5000 x",
	} {
		if host, repository := splitImage(name); host+" "+repository != want {
			t.Errorf("%s: %s %s", name, host, repository)
		}
	}
}

func TestActionsArePinned(t *testing.T) {
	const sha = "0123456789abcdef0123456789abcdef01234567"
	s := serve(t, map[string]string{"/repos/actions/checkout/commits/v4": sha, "/repos/actions/checkout/commits/v5": `{"sha":"x"}`})
	g := NewGitHub(s.URL, nil)
	for _, name := range []string{"actions/checkout", "actions/checkout/folder"} {
		if got, err := g.Pin(t.Context(), name, "v4"); got != sha || err != nil {
			t.Error(got, err)
		}
	}
	for _, c := range [][2]string{{"actions/checkout", "v5"}, {"actions/checkout", "v6"}, {"actions/..", "v4"}, {"actions", "v4"}, {"actions/checkout", "v4/../../x"}} {
		if got, err := g.Pin(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("%v: %s", c, got)
		}
	}
}
