package trial

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// reachable skips without the registries that this machine's own clients use.
func reachable(t *testing.T, hosts []string) {
	t.Helper()
	for _, h := range hosts {
		c, err := net.DialTimeout("tcp", h, 5*time.Second)
		if err != nil {
			need.Missing(t, h+" can't be reached")
		}
		c.Close()
	}
}

func TestRealGoModuleIsUpdatedThroughTheSandbox(t *testing.T) {
	e, err := registry.ReadGoEnv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	proxies := e
	proxies.SumDB = "off" // a proxy may stand for it
	hosts, err := proxies.Hosts()
	if err != nil {
		t.Fatal(err)
	}
	reachable(t, hosts)
	c := goConfig(t, e.Proxy, map[string]string{
		"go.mod":      "module example.com/app\n\ngo 1.24.0\n\nrequire golang.org/x/mod v0.33.0\n",
		"go.sum":      "",
		"app.go":      "package app\n\nimport \"golang.org/x/mod/semver\"\n\nfunc Major(v string) string { return semver.Major(v) }\n",
		"app_test.go": "package app\n\nimport \"testing\"\n\nfunc TestMajor(t *testing.T) {\n\tif Major(\"v1.2.3\") != \"v1\" {\n\t\tt.Fatal()\n\t}\n}\n",
	})
	c.Go = e
	c.Go.ModCache = "" // nothing is taken from this machine
	out, err := begin(t, c).Try(t.Context(), []choose.Change{change("golang.org/x/mod", "v0.33.0", "v0.34.0")})
	if err != nil || len(out.Passed) != 1 || out.Tests != 2 || !strings.Contains(string(out.Files["go.mod"]), "golang.org/x/mod v0.34.0") || !strings.Contains(string(out.Files["go.sum"]), "golang.org/x/mod v0.34.0 h1:") {
		t.Fatalf("%+v %v", out, err)
	}
}
