package leak

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/wardtest/need"
)

func write(t *testing.T, dir, path, content string) {
	t.Helper()
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// places writes findings as text, and makes sure that they hold no value.
func places(t *testing.T, found []Place) []string {
	t.Helper()
	slices.SortFunc(found, func(a, b Place) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line)) })
	var out []string
	for _, p := range found {
		if s := fmt.Sprintf("%+v", p); strings.Contains(s, stripe) {
			t.Errorf("%s shows the value", s)
		}
		out = append(out, fmt.Sprintf("%s:%d %s %s", p.Path, p.Line, p.Secret, p.Form))
	}
	return out
}

func TestTree(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, outside, "file", stripe)
	write(t, dir, ".env", "# a\nSTRIPE_KEY="+stripe+"\n")
	write(t, dir, "a/b/c.json", `{"x":1,"key":"`+stripe+`"}`)
	write(t, dir, "a/node_modules/big.js", strings.Repeat("x\n", 100_000)+stripe)
	write(t, dir, ".git/objects/x", stripe)
	write(t, dir, "clean.txt", "nothing")
	for _, link := range [][2]string{{outside, "folder"}, {filepath.Join(outside, "file"), "link"}, {"../" + filepath.Base(outside) + "/file", "up"}, {".", "loop"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	var found []Place
	skipped, err := twoSecrets().Tree(t.Context(), dir, func(p Place) { found = append(found, p) })
	if err != nil || skipped != 0 {
		t.Fatalf("%d skipped, %v", skipped, err)
	}
	if d := gocmp.Diff([]string{".env:2 stripe-key raw", "a/b/c.json:1 stripe-key raw", "a/node_modules/big.js:100001 stripe-key raw"}, places(t, found)); d != "" {
		t.Error(d)
	}
	if _, err := twoSecrets().Tree(t.Context(), filepath.Join(dir, "nothing"), func(Place) {}); err == nil {
		t.Error("a folder that isn't there is clean")
	}
}

// repository runs git in a repository of its own, without anybody's configuration.
type repository struct {
	t   *testing.T
	dir string
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	c := exec.Command(need.Program(r.t, "git"), args...)
	c.Dir = r.dir
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@test",
		"GIT_AUTHOR_DATE=2026-05-04T12:00:00Z", "GIT_COMMITTER_DATE=2026-05-04T12:00:00Z",
	}
	out, err := c.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repository) commit(path, content string) string {
	r.t.Helper()
	write(r.t, r.dir, path, content)
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "x")
	return r.git("rev-parse", "HEAD")
}

func TestHistory(t *testing.T) {
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.commit("readme", "nothing")
	first := r.commit("conf/prod.env", "A=1\nSTRIPE="+stripe+"\n")
	r.commit("other", "x")
	r.commit("conf/prod.env", "A=1\nSTRIPE=\n")
	r.git("checkout", "-q", "-b", "side")
	second := r.commit("side file", "\n\n\n"+odd)
	r.git("checkout", "-q", "main")
	r.git("branch", "-q", "-D", "side") // in the reflog alone
	r.object("blob", "dangling "+stripe)
	for _, packed := range []bool{false, true} {
		if packed {
			r.git("repack", "-q", "-a", "-d", "-k")
		}
		var found []Place
		if skipped, err := twoSecrets().History(t.Context(), r.dir, func(p Place) { found = append(found, p) }); err != nil || skipped != 0 {
			t.Fatalf("%d skipped, %v", skipped, err)
		}
		if d := gocmp.Diff([]string{":1 stripe-key raw", "conf/prod.env:2 stripe-key raw", "side file:4 bait raw"}, places(t, found)); d != "" {
			t.Error(d)
		}
		var commits []string
		for _, p := range found {
			commits = append(commits, p.Commit)
		}
		if d := gocmp.Diff([]string{"", first, second}, commits); d != "" {
			t.Error(d)
		}
	}
	if _, err := twoSecrets().History(t.Context(), t.TempDir(), func(Place) { t.Error("found") }); err != nil {
		t.Errorf("a folder without history: %v", err)
	}
}

// hostile is a repository with a secret whose configuration names a program wherever it can, and the file that the program
// makes when it runs.
func hostile(t *testing.T) (r repository, ran string) {
	r = repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.commit("x.secret", stripe)
	r.commit(".gitattributes", "*.secret diff=evil filter=evil\n")
	r.commit("x.secret", stripe+"!")
	ran = filepath.Join(t.TempDir(), "ran")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$0 $*\" >> "+ran+"\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"core.fsmonitor", "core.pager", "pager.log", "diff.external", "diff.evil.command", "diff.evil.textconv", "filter.evil.smudge", "gpg.program", "core.sshCommand", "core.editor", "core.alternateRefsCommand"} {
		r.git("config", key, program)
	}
	r.git("config", "alias.log", "!"+program)
	r.git("config", "log.showSignature", "true")
	r.git("config", "protocol.ext.allow", "always")
	r.git("config", "core.repositoryformatversion", "1")
	r.git("config", "extensions.partialClone", "origin")
	r.git("config", "remote.origin.promisor", "true")
	r.git("config", "remote.origin.url", "ext::"+program)
	return r, ran
}

// object writes an object as it is.
func (r repository) object(kind, content string) string {
	r.t.Helper()
	c := exec.Command(need.Program(r.t, "git"), "hash-object", "-t", kind, "-w", "--stdin")
	c.Dir, c.Stdin = r.dir, strings.NewReader(content)
	out, err := c.Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestHistoryRunsNothing: a repository's configuration names programs; none of them may run.
func TestHistoryRunsNothing(t *testing.T) {
	t.Run("a signed commit", func(t *testing.T) {
		r, ran := hostile(t)
		head, body, _ := strings.Cut(r.git("cat-file", "commit", "HEAD")+"\n", "\n\n")
		r.git("update-ref", "refs/heads/main", r.object("commit", head+"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n"+body))
		n := 0
		if _, err := twoSecrets().History(t.Context(), r.dir, func(Place) { n++ }); err != nil || n != 2 {
			t.Errorf("%d found, %v", n, err)
		}
		if said, err := os.ReadFile(ran); err == nil {
			t.Errorf("ran:\n%s", said)
		}
	})
	t.Run("an object that the remote is said to have", func(t *testing.T) {
		r, ran := hostile(t)
		r.git("update-ref", "refs/heads/partial", r.object("commit", "tree "+strings.Repeat("1", 40)+"\nauthor a <a@test> 1777896000 +0000\ncommitter a <a@test> 1777896000 +0000\n\nx\n"))
		if _, err := twoSecrets().History(t.Context(), r.dir, func(Place) {}); err == nil {
			t.Error("a history that isn't all there is looked at without a word")
		}
		if said, err := os.ReadFile(ran); err == nil {
			t.Errorf("ran:\n%s", said)
		}
	})
}

func TestLongBlobsDontHideOthers(t *testing.T) {
	r := repository{t, t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.commit("large", string(bytes.Repeat([]byte("x"), maxFile+1)))
	r.commit("small", stripe)
	n := 0
	if skipped, err := twoSecrets().History(t.Context(), r.dir, func(Place) { n++ }); err != nil || n != 1 || skipped != 1 {
		t.Errorf("%d found, %d skipped, %v", n, skipped, err)
	}
	n = 0
	if skipped, err := twoSecrets().Tree(t.Context(), r.dir, func(Place) { n++ }); err != nil || n != 1 || skipped != 1 {
		t.Errorf("%d found, %d skipped, %v", n, skipped, err)
	}
}
