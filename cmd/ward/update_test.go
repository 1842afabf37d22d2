package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/wardhq/ward/internal/cap/scan"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// release is one version of a module, and what it holds.
type release struct {
	at   time.Time
	code string
}

// proxy serves modules as the go command asks for them, and returns the environment in which it is the only one.
func proxy(t *testing.T, modules map[string]map[string]release) (env []string) {
	t.Helper()
	answers := map[string][]byte{}
	for name, versions := range modules {
		for version, r := range versions {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "go.mod"), "module "+name+"\n\ngo 1.24\n")
			write(t, filepath.Join(dir, "x.go"), r.code)
			var b bytes.Buffer
			if err := modzip.CreateFromDir(&b, module.Version{Path: name, Version: version}, dir); err != nil {
				t.Fatal(err)
			}
			at := "/" + name + "/@v/"
			answers[at+version+".zip"], answers[at+version+".mod"] = b.Bytes(), []byte("module "+name+"\n\ngo 1.24\n")
			answers[at+version+".info"] = fmt.Appendf(nil, `{"Version":%q,"Time":%q}`, version, r.at.UTC().Format(time.RFC3339))
			answers[at+"list"] = append(answers[at+"list"], version+"\n"...)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	t.Cleanup(s.Close)
	return []string{"GOPROXY=" + s.URL, "GONOPROXY=none", "GOSUMDB=off", "GOFLAGS=-mod=mod"}
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(need.Program(t, "git"), append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// github is a forge without pull requests, which takes new ones from whoever has the token; internal/cap/update/internal/forge has the faithful one.
func github(t *testing.T) (api string, asked func() []map[string]any) {
	t.Helper()
	var mu sync.Mutex
	var all []map[string]any // guarded by mu
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer tok-123":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet && r.URL.Path == "/repos/o/r/pulls":
			w.Write([]byte("[]"))
		case r.Method == http.MethodPost && r.URL.Path == "/repos/o/r/pulls":
			var body map[string]any
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			mu.Lock()
			all = append(all, body)
			mu.Unlock()
			w.WriteHeader(http.StatusCreated)
			w.Write([]byte(`{"number":1,"html_url":"https://github.com/o/r/pull/1"}`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []map[string]any {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// holes makes an index of one advisory for each module: everything below a version.
func holes(t *testing.T, fixed map[string]string) (db string) {
	t.Helper()
	dir := t.TempDir()
	for name, version := range fixed {
		id := "GO-2026-" + strings.ToUpper(strings.ReplaceAll(filepath.Base(name), ".", "-"))
		write(t, filepath.Join(dir, "osv", id+".json"), `{"schema_version":"1.7.0","id":"`+id+`","modified":"`+time.Now().UTC().Format(time.RFC3339)+`","summary":"a hole",
			"affected":[{"package":{"ecosystem":"Go","name":"`+name+`"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"`+version+`"}]}]}]}`)
	}
	db = filepath.Join(dir, "advisories.db")
	if _, err := scan.BuildData(t.Context(), db, []scan.DataSource{{Location: filepath.Join(dir, "osv")}}, scan.DataOptions{}); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUpdateProposesWhatStandsItsTrial: of four weak parts one has a fix that works, which is so young that only the advisory speaks for it; one a fix that breaks the
// application, one a young fix that can suddenly speak to the network, and one none. Nothing of the work tree changes.
func TestUpdateProposesWhatStandsItsTrial(t *testing.T) {
	t.Parallel()
	need.Program(t, "go")
	long := time.Now().AddDate(0, -1, 0)
	env := proxy(t, map[string]map[string]release{
		"example.com/good":  {"v1.0.0": {long, "package good\n\nfunc Do() int { return 1 }\n"}, "v1.0.1": {time.Now().Add(-time.Hour), "package good\n\nfunc Do() int { return 1 }\n"}},
		"example.com/bad":   {"v1.0.0": {long, "package bad\n\nfunc Do() int { return 1 }\n"}, "v1.0.1": {long, "package bad\n\nfunc Do() int { return 2 }\n"}},
		"example.com/young": {"v1.0.0": {long, "package young\n\nfunc Do() int { return 1 }\n"}, "v1.0.1": {time.Now().Add(-time.Hour), "package young\n\nimport _ \"net\"\n\nfunc Do() int { return 1 }\n"}},
		"example.com/none":  {"v1.0.0": {long, "package none\n\nfunc Do() int { return 1 }\n"}},
	})
	db := holes(t, map[string]string{"example.com/good": "1.0.1", "example.com/bad": "1.0.1", "example.com/young": "1.0.1", "example.com/none": "9.0.0"})
	env = append(env, "WARD_ADVISORIES="+db, "GITHUB_TOKEN=tok-123", "XDG_CACHE_HOME="+t.TempDir()) // the log of first-seen releases is the user's own
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	var imports, sum, requires []string
	for _, name := range []string{"good", "bad", "young", "none"} {
		imports = append(imports, fmt.Sprintf("\t\"example.com/%s\"", name))
		sum = append(sum, name+".Do()")
		requires = append(requires, "require example.com/"+name+" v1.0.0")
	}
	write(t, filepath.Join(dir, "go.mod"), "module example.com/app\n\ngo 1.24\n\n"+strings.Join(requires, "\n")+"\n")
	write(t, filepath.Join(dir, "app.go"), "package app\n\nimport (\n"+strings.Join(imports, "\n")+"\n)\n\nfunc Sum() int { return "+strings.Join(sum, " + ")+" }\n")
	write(t, filepath.Join(dir, "app_test.go"), "package app\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum() != 4 {\n\t\tt.Fatal(Sum())\n\t}\n}\n")
	cmd := exec.Command("go", "mod", "tidy")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	write(t, filepath.Join(dir, "ward.yaml"), "app: a\nservices: {s: {run: x}}\nupdate: {forge: github}\n")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	api, asked := github(t)
	remote := t.TempDir()
	git(t, remote, "init", "-q", "--bare")
	git(t, dir, "remote", "add", "origin", "https://github.com/o/r.git")
	git(t, dir, "remote", "set-url", "--push", "origin", remote)
	code, out, errs := process{env: env}.run(t, "update", dir, "--json", "--propose", "--api", api)
	if code != 0 {
		t.Fatalf("code %d: %s", code, errs)
	}
	var r struct {
		Proposals []struct {
			Branch  string
			Changes []struct{ Name string }
		}
		Held          []struct{ Name, Reason string }
		Before, After int
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Proposals) != 1 || len(r.Proposals[0].Changes) != 1 || r.Proposals[0].Changes[0].Name != "example.com/good" || r.Before != 4 || r.After != 3 {
		t.Error(out)
	}
	for name, want := range map[string]string{"example.com/bad": "fail", "example.com/young": "it can do more than the version in use", "example.com/none": "9.0.0"} {
		held := ""
		for _, h := range r.Held {
			if h.Name == name {
				held = h.Reason
			}
		}
		if !strings.Contains(held, want) {
			t.Errorf("%s is held because %q", name, held)
		}
	}
	changed := git(t, dir, "diff", "--stat", "main", r.Proposals[0].Branch)
	if got := git(t, dir, "show", r.Proposals[0].Branch+":go.mod"); !strings.Contains(got, "example.com/good v1.0.1") || !strings.Contains(got, "example.com/bad v1.0.0") || strings.Contains(changed, "app") {
		t.Errorf("%s\n%s", got, changed)
	}
	if message := git(t, dir, "log", "-1", "--format=%B", r.Proposals[0].Branch); !strings.Contains(message, "mends GO-2026-GOOD") || !strings.Contains(message, "still pass") || !strings.Contains(message, "the waiting time was skipped") {
		t.Error(message)
	}
	if got := git(t, dir, "status", "--porcelain") + git(t, dir, "symbolic-ref", "--short", "HEAD"); got != "main" {
		t.Errorf("the work tree: %s", got)
	}
	if proposed := asked(); len(proposed) != 1 || proposed[0]["base"] != "main" || proposed[0]["head"] != r.Proposals[0].Branch || git(t, remote, "rev-parse", r.Proposals[0].Branch) != git(t, dir, "rev-parse", r.Proposals[0].Branch) {
		t.Errorf("proposed: %v", proposed)
	}
	if strings.Contains(out+errs, "tok-123") {
		t.Error("the token is printed")
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/app\n\ngo 1.24\n\nrequire example.com/good v1.0.0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := (process{env: env}).run(t, "update", dir); code != 1 || !strings.Contains(out+errs, "aren't committed") {
		t.Errorf("an uncommitted manifest: %d %s%s", code, out, errs)
	}
}
