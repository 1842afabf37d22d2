package credential

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// repository is a real one.
type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	need.Program(t, "git")
	r := &repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "protocol.file.allow=always"}, args...)...)
	c.Dir = r.dir
	c.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file ("" removes it) and returns the commit.
func (r *repository) commit(name, content string) string {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if content == "" {
		r.git("rm", "-q", name)
	} else {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			r.t.Fatal(err)
		}
		r.git("add", "-f", name)
	}
	r.git("commit", "-q", "-m", "x")
	return r.git("rev-parse", "HEAD")
}

func (r *repository) history(o Options) (places, problems []string) {
	r.t.Helper()
	res, err := History(context.Background(), r.dir, o)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range res.Findings {
		places = append(places, f.ID+" "+f.Location.Path+" "+f.Location.Commit)
	}
	for _, p := range res.Problems {
		problems = append(problems, p.Reason)
	}
	return places, problems
}

func TestHistoryTellsEachCredentialOnceAtItsOldestCommit(t *testing.T) {
	r := newRepository(t)
	github, _ := drawn(t, "t = 'ghp_{alnum:36}'\n")
	npm, _ := drawn(t, "t = 'npm_{alnum:36}'\n")
	stripe, _ := drawn(t, "t = 'sk_live_{alnum:30}'\n")
	lost, _ := drawn(t, "t = 'glpat-{b64url:20}'\n")
	first := r.commit("ä b/new\nline.py", github)
	r.commit("ä b/new\nline.py", "# moved\n"+github)
	r.commit("copy.py", github)
	r.git("rm", "-q", "-r", ".")
	r.commit("a.txt", "nothing")
	r.git("checkout", "-q", "-b", "side")
	side := r.commit("s.py", npm)
	r.git("checkout", "-q", "main")
	r.commit("other", "x")
	r.git("merge", "-q", "--no-commit", "side")
	merge := r.commit("s.py", npm+stripe) // the merge alone brings it
	r.git("branch", "-q", "-D", "side")
	r.commit("lost", lost)
	r.git("reset", "-q", "--hard", "HEAD~1")
	r.git("reflog", "expire", "--expire=now", "--all")

	got, problems := r.history(Options{})
	want := []string{"secret-github-token ä b/new\nline.py " + first, "secret-npm-token s.py " + side, "secret-stripe-key s.py " + merge, "secret-gitlab-token .git "}
	if d := cmp.Diff(want, got); d != "" || len(problems) > 0 {
		t.Error(d, problems)
	}

	tree, err := Find(context.Background(), os.DirFS(r.dir), Options{})
	if err != nil || len(tree.Findings) != 2 {
		t.Fatalf("in the tree: %d, %v", len(tree.Findings), err)
	}
	got, _ = r.history(Options{Tree: &tree})
	if d := cmp.Diff([]string{want[0], want[3]}, got); d != "" {
		t.Errorf("beside the tree: %s", d)
	}
}

func TestHistoryGuessesNothingInTests(t *testing.T) {
	r := newRepository(t)
	guess, _ := drawn(t, `api_key = "{alnum:32}"`)
	r.commit("tests/a.py", guess)
	if got, _ := r.history(Options{}); len(got) != 0 {
		t.Errorf("in a test: %v", got)
	}
	c := r.commit("app.py", guess)
	if got, _ := r.history(Options{}); len(got) != 1 || !strings.HasSuffix(got[0], " app.py "+c) {
		t.Errorf("in a program: %v", got)
	}
}

func TestHistoryRunsNothingOfTheRepository(t *testing.T) {
	r := newRepository(t)
	text, _ := drawn(t, "t = 'ghp_{alnum:36}'\n")
	r.commit("a.py", text)
	r.commit(".gitattributes", "*.py diff=evil\n")
	mark := filepath.Join(r.dir, "ran")
	script := filepath.Join(r.dir, "evil.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch '"+mark+"'\ncat \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"core.fsmonitor", "core.pager", "diff.evil.textconv", "diff.evil.command", "diff.external", "log.showSignature", "gpg.program", "core.sshCommand", "core.gitProxy"} {
		r.git("config", key, script)
	}
	r.git("config", "log.showSignature", "true")
	if got, _ := r.history(Options{}); len(got) != 1 {
		t.Errorf("found %v", got)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("something of the repository's configuration ran")
	}
}

func TestShallowHistoryIsAProblem(t *testing.T) {
	r := newRepository(t)
	r.commit("a", "1")
	r.commit("a", "2")
	clone := &repository{t, t.TempDir()}
	clone.git("clone", "-q", "--depth=1", "file://"+r.dir, ".")
	_, problems := clone.history(Options{})
	if d := cmp.Diff([]string{"this is a shallow clone: the history before it wasn't searched"}, problems); d != "" {
		t.Error(d)
	}
}

func TestHistoryThatCannotBeReadIsSaid(t *testing.T) {
	r := newRepository(t)
	r.commit("a", "1")
	object := filepath.Join(r.dir, ".git/objects", r.git("rev-parse", "HEAD:a")[:2])
	files, err := filepath.Glob(object + "/*")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := errors.Join(os.Chmod(files[0], 0o600), os.WriteFile(files[0], []byte("broken"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, problems := r.history(Options{}); len(problems) != 1 || problems[0] != "1 objects can't be read" {
		t.Errorf("a broken object was passed over: %v", problems)
	}
	if err := os.WriteFile(filepath.Join(r.dir, ".git/HEAD"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := History(context.Background(), r.dir, Options{}); err == nil {
		t.Error("a broken repository was passed over")
	}
	if res, err := History(context.Background(), t.TempDir(), Options{}); err != nil || res.Files+len(res.Problems) != 0 {
		t.Errorf("of a plain folder: %v %v", res, err)
	}
}

func TestHistoryKnowsKeyStoresAndFilesOfRules(t *testing.T) {
	r := newRepository(t)
	source, _ := drawn(t, `<add key="ClearTextPassword" value="{alnum:16}" />`)
	store := r.commit("tls.bin", "\x30\x82\x09\xf1\x02\x01\x03\x30"+strings.Repeat("\x00\x81\x01\x02\xfe", 50))
	r.commit("other.config", source)
	form, _ := drawn(t, `"secret_key" => "sk_{alnum:29}"`)
	guess := r.commit("a.js", form)
	config := r.commit("nuget.config", source)
	for _, name := range []string{"tls.bin", "nuget.config", "other.config", "a.js"} {
		r.commit(name, "")
	}
	places, problems := r.history(Options{})
	if d := cmp.Diff([]string{"secret-keystore tls.bin " + store, "secret-assigned a.js " + guess, "secret-nuget-password nuget.config " + config}, places); d != "" || len(problems) > 0 {
		t.Errorf("%s %v", d, problems)
	}
}
