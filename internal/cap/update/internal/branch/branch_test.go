package branch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wardtest/need"
)

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	c := exec.Command(need.Program(t, "git"), append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// repository has a commit, a change that isn't committed, and a trap in each place where git runs programs.
func repository(t *testing.T) (Repo, string) {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q", "-b", "main")
	write(t, filepath.Join(dir, "go.mod"), "module x\n", 0o644)
	write(t, filepath.Join(dir, "sub/run.sh"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(dir, ".gitattributes"), "go.mod filter=trap\n", 0o644)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "add", ".")
	run(t, dir, "commit", "-q", "-m", "first")
	base := run(t, dir, "rev-parse", "HEAD")
	trap := "touch " + filepath.Join(dir, "sprung") + "; cat"
	run(t, dir, "config", "filter.trap.clean", trap)
	run(t, dir, "config", "filter.trap.smudge", trap)
	run(t, dir, "config", "core.fsmonitor", trap)
	for _, hook := range []string{"pre-commit", "reference-transaction", "post-index-change", "pre-push", "post-commit"} {
		write(t, filepath.Join(dir, ".git/hooks", hook), "#!/bin/sh\ntouch "+filepath.Join(dir, "sprung")+"\n", 0o755)
	}
	write(t, filepath.Join(dir, "go.mod"), "module edited\n", 0o644)
	return Repo{dir}, base
}

func put(t *testing.T, r Repo, c Commit) string {
	t.Helper()
	id, err := r.Put(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestABranchIsMadeBesideEverythingElse(t *testing.T) {
	r, base := repository(t)
	before := status(t, r.Dir)
	id := put(t, r, Commit{Branch: Prefix + "x", Base: base, Message: "update x\n\nbecause\n", Now: time.Unix(1, 0), Files: map[string][]byte{"go.mod": []byte("module y\r\n"), "sub/run.sh": []byte("#!/bin/sh\ntrue\n"), "sub/new.sum": []byte("s")}})
	if got := run(t, r.Dir, "show", id+":go.mod"); got != "module y" {
		t.Errorf("go.mod: %q", got)
	}
	if got := run(t, r.Dir, "diff", "--stat", "--summary", base, id); !strings.Contains(got, "3 files changed") || strings.Contains(got, "mode change") {
		t.Error(got)
	}
	if got := run(t, r.Dir, "log", "-1", "--format=%P %an <%ae> %s", Prefix+"x"); got != base+" "+author+" update x" {
		t.Error(got)
	}
	if after := status(t, r.Dir); after != before {
		t.Errorf("the work tree changed: %s, then %s", before, after)
	}
	if head, name, err := r.Head(t.Context()); head != base || name != "main" || err != nil {
		t.Errorf("head: %s %s %v", head, name, err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "sprung")); err == nil {
		t.Error("git ran a program of the repository's")
	}
}

func status(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, ".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + string(index)
}

func TestTheSameFilesAreTheSameCommit(t *testing.T) {
	r, base := repository(t)
	c := Commit{Branch: Prefix + "x", Base: base, Message: "m", Now: time.Unix(1, 0), Files: map[string][]byte{"go.mod": []byte("y")}}
	first := put(t, r, c)
	c.Now = time.Unix(99, 0)
	if again := put(t, r, c); again != first {
		t.Error("another commit with the same files")
	}
	c.Files["go.mod"] = []byte("z")
	if next := put(t, r, c); next == first || run(t, r.Dir, "rev-parse", Prefix+"x") != next || run(t, r.Dir, "rev-parse", next+"^") != base {
		t.Error("the branch wasn't replaced")
	}
}

func TestOthersBranchesAreLeftAlone(t *testing.T) {
	r, base := repository(t)
	c := Commit{Branch: Prefix + "x", Base: base, Message: "m", Now: time.Unix(1, 0), Files: map[string][]byte{"go.mod": []byte("y")}}
	first := put(t, r, c)
	theirs := run(t, r.Dir, "commit-tree", first+"^{tree}", "-p", first, "-m", "mine now")
	run(t, r.Dir, "update-ref", "refs/heads/"+Prefix+"x", theirs)
	c.Files["go.mod"] = []byte("z")
	if _, err := r.Put(t.Context(), c); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "Ada") {
		t.Errorf("somebody's commit: %v", err)
	}
	for name, bad := range map[string]Commit{
		"a branch of theirs": {Branch: "main", Base: base, Files: c.Files}, "a way out": {Branch: Prefix + "../../main", Base: base, Files: c.Files},
		"a link": {Branch: Prefix + "y", Base: base, Files: map[string][]byte{"link": nil}}, "a path out": {Branch: Prefix + "y", Base: base, Files: map[string][]byte{"../x": nil}},
		"nothing": {Branch: Prefix + "y", Base: base},
	} {
		if _, err := r.Put(t.Context(), bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if run(t, r.Dir, "rev-parse", "main") != base {
		t.Error("main moved")
	}
}

func TestAPushReplacesOnlyWhatWasSeen(t *testing.T) {
	r, base := repository(t)
	remote := t.TempDir()
	run(t, remote, "init", "-q", "--bare")
	run(t, r.Dir, "remote", "add", "origin", remote)
	c := Commit{Branch: Prefix + "x", Base: base, Message: "m", Now: time.Unix(1, 0), Files: map[string][]byte{"go.mod": []byte("y")}}
	first := put(t, r, c)
	if err := r.Push(t.Context(), "origin", c.Branch); err != nil {
		t.Fatal(err)
	}
	c.Files["go.mod"] = []byte("z")
	second := put(t, r, c)
	if err := r.Push(t.Context(), "origin", c.Branch); err != nil || run(t, remote, "rev-parse", c.Branch) != second {
		t.Errorf("our own older one: %v", err)
	}
	theirs := run(t, remote, "commit-tree", first+"^{tree}", "-p", first, "-m", "mine")
	run(t, remote, "update-ref", "refs/heads/"+c.Branch, theirs) // somebody pushed meanwhile
	c.Files["go.mod"] = []byte("w")
	put(t, r, c)
	if err := r.Push(t.Context(), "origin", c.Branch); err == nil {
		t.Error("somebody's push was replaced")
	}
	if err := r.Push(t.Context(), "origin", "main"); err == nil {
		t.Error("main was pushed")
	}
	if got := r.Remote(t.Context(), "origin"); got != remote {
		t.Errorf("remote: %q", got)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "sprung")); err == nil {
		t.Error("git ran a program of the repository's")
	}
}

// TestSomebodysCommitsOnTheRemoteStay: a colleague has committed to the branch there, and this repository has fetched it, or is a new clone that never
// had the branch.
func TestSomebodysCommitsOnTheRemoteStay(t *testing.T) {
	for name, sees := range map[string]func(t *testing.T, r Repo){
		"fetched": func(t *testing.T, r Repo) { run(t, r.Dir, "fetch", "-q", "origin") },
		"a new clone": func(t *testing.T, r Repo) {
			run(t, r.Dir, "update-ref", "-d", "refs/heads/"+Prefix+"x")
			run(t, r.Dir, "fetch", "-q", "origin")
		},
		"not fetched": func(*testing.T, Repo) {},
	} {
		t.Run(name, func(t *testing.T) {
			r, base := repository(t)
			remote := t.TempDir()
			run(t, remote, "init", "-q", "--bare")
			run(t, r.Dir, "remote", "add", "origin", remote)
			c := Commit{Branch: Prefix + "x", Base: base, Message: "m", Now: time.Unix(1, 0), Files: map[string][]byte{"go.mod": []byte("y")}}
			first := put(t, r, c)
			if err := r.Push(t.Context(), "origin", c.Branch); err != nil {
				t.Fatal(err)
			}
			theirs := run(t, remote, "commit-tree", first+"^{tree}", "-p", first, "-m", "my tests")
			run(t, remote, "update-ref", "refs/heads/"+c.Branch, theirs)
			sees(t, r)
			c.Files["go.mod"] = []byte("z")
			put(t, r, c)
			if err := r.Push(t.Context(), "origin", c.Branch); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "Ada") {
				t.Errorf("pushed over it: %v", err)
			}
			if got := run(t, remote, "rev-parse", c.Branch); got != theirs {
				t.Errorf("the branch holds %s", got)
			}
		})
	}
}
