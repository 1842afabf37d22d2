package trial

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/finding"
)

func lib(name, version, answer string) map[string]map[string]string {
	return map[string]map[string]string{name + "@" + version: {"go.mod": "module " + name + "\n\ngo 1.21\n", "x.go": "package " + filepath.Base(name) + "\n\nfunc Answer() int { return " + answer + " }\n"}}
}

func join(all ...map[string]map[string]string) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// project asks for good and bad at v1.0.0; of its tests one never passes and one passes in turns.
var project = map[string]string{
	"go.mod": "module example.com/app\n\ngo 1.21\n\nrequire (\n\texample.com/bad v1.0.0\n\texample.com/good v1.0.0\n)\n",
	"app.go": "package app\n\nimport (\n\t\"example.com/bad\"\n\t\"example.com/good\"\n)\n\nfunc Sum() int { return bad.Answer() + good.Answer() - good.Answer() }\n",
	"app_test.go": `package app

import (
	"os"
	"syscall"
	"testing"
)

func TestSum(t *testing.T) {
	if Sum() != 2 {
		t.Fatal("sum")
	}
	os.WriteFile("go.mod", []byte("module evil"), 0o644)
	if os.WriteFile(os.Getenv("GOMODCACHE")+"/poison", nil, 0o644) == nil {
		t.Fatal("what the next attempt reads can be written")
	}
	if s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); err == nil && syscall.Connect(s, &syscall.SockaddrInet4{Port: PORT, Addr: [4]byte{127, 0, 0, 1}}) == nil {
		t.Fatal("the registry is in reach")
	}
}

func TestNever(t *testing.T) { t.Fatal("never") }

func TestInTurns(t *testing.T) {
	if _, err := os.Stat("turn"); err != nil {
		os.WriteFile("turn", nil, 0o644)
		return
	}
	os.Remove("turn")
	t.Fatal("not now")
}
`,
}

func change(name, from, to string) choose.Change {
	return choose.Change{Ecosystem: choose.Go, Name: name, From: from, To: to, Path: "go.mod", Direct: true, How: choose.Raise}
}

// byGoMod finds what is in go.mod: a scanner of one rule.
type byGoMod struct{}

func (byGoMod) Scan(_ context.Context, dir string) ([]finding.Finding, error) {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	var out []finding.Finding
	for id, text := range map[string]string{"OLD": "good v1.0.0", "NEW": "good v1.1.0"} {
		if strings.Contains(string(b), text) {
			out = append(out, finding.Finding{ID: id, Kind: finding.Dependency})
		}
	}
	return out, err
}

func TestBreakingReleasesAreHeldBackAndTheRestProposed(t *testing.T) {
	t.Parallel()
	proxy := goProxy(t, join(lib("example.com/good", "v1.0.0", "1"), lib("example.com/good", "v1.1.0", "5"), lib("example.com/bad", "v1.0.0", "2"), lib("example.com/bad", "v1.1.0", "3"), lib("example.com/bad", "v1.2.0", `"two"`)))
	files := maps.Clone(project)
	files["app_test.go"] = strings.Replace(files["app_test.go"], "PORT", proxy[strings.LastIndexByte(proxy, ':')+1:], 1)
	c := goConfig(t, proxy, files)
	c.Scanner = byGoMod{}
	tr := begin(t, c)
	out, err := tr.Try(t.Context(), []choose.Change{change("example.com/bad", "v1.0.0", "v1.1.0"), change("example.com/good", "v1.0.0", "v1.1.0")})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Passed) != 1 || out.Passed[0].Name != "example.com/good" || len(out.Held) != 1 || out.Held[0].Change.Name != "example.com/bad" {
		t.Fatalf("%+v", out)
	}
	if !strings.Contains(out.Held[0].Reason, "TestSum") || !strings.Contains(out.Held[0].Output, "--- FAIL: TestSum") {
		t.Errorf("%+v", out.Held)
	}
	if out.Tests != 1 || out.Unsure != 3 { // TestNever, TestInTurns and the package as a whole
		t.Errorf("%d tests count, %d don't", out.Tests, out.Unsure)
	}
	if len(out.Cleared) != 1 || out.Cleared[0].ID != "OLD" || len(out.New) != 1 || out.New[0].ID != "NEW" {
		t.Errorf("cleared %v, new %v", out.Cleared, out.New)
	}
	want := strings.Replace(project["go.mod"], "good v1.0.0", "good v1.1.0", 1)
	if d := cmp.Diff(want, string(out.Files["go.mod"])); d != "" {
		t.Error(d)
	}
	if sum := string(out.Files["go.sum"]); len(out.Files) != 2 || !strings.Contains(sum, "good v1.1.0 h1:") || strings.Contains(sum, "bad v1.1.0") {
		t.Errorf("%q", out.Files)
	}
	if s := gitIn(t, c.Repo, "status", "--porcelain"); s != "" {
		t.Error("the user's tree was touched: " + s)
	}
	out, err = tr.Try(t.Context(), []choose.Change{change("example.com/bad", "v1.0.0", "v1.2.0")})
	if err != nil || len(out.Passed) != 0 || len(out.Held) != 1 || !strings.Contains(out.Held[0].Reason, "go build") {
		t.Errorf("a release that doesn't build: %+v %v", out, err)
	}
	if out, err = tr.Try(t.Context(), []choose.Change{change("example.com/bad", "v1.0.0", "v9.9.9")}); err != nil || len(out.Held) != 1 || !strings.Contains(out.Held[0].Reason, "go mod tidy") {
		t.Errorf("%+v %v", out, err)
	}
}
