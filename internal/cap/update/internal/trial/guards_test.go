package trial

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommitIsCheckedOutAsItIsStored(t *testing.T) {
	repo, _ := repository(t, map[string]string{"a/b.txt": "text\r\n", "run.sh": "#!/bin/sh\n", ".gitattributes": "* text=auto\nb.txt filter=evil\nhidden export-ignore\n", "hidden": "x"})
	if err := os.Chmod(filepath.Join(repo, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(repo, "link")); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "ran")
	for _, argv := range [][]string{
		{"add", "-A"}, {"commit", "-q", "-m", "second"}, {"config", "filter.evil.smudge", "touch " + mark}, {"config", "core.fsmonitor", "touch " + mark},
	} {
		gitIn(t, repo, argv...)
	}
	commit := strings.TrimSpace(gitIn(t, repo, "-c", "core.fsmonitor=false", "rev-parse", "HEAD"))
	write(t, repo, map[string]string{"a/b.txt": "not committed", "new": "neither"})
	dir := t.TempDir()
	if err := checkout(t.Context(), repo, commit, dir); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		got[name] = st.Mode().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const plain = "-rw-r--r--"
	if d := cmp.Diff(map[string]string{".gitattributes": plain, "a/b.txt": plain, "hidden": plain, "link": "Lrwxrwxrwx", "run.sh": "-rwxr-xr-x"}, got); d != "" {
		t.Error(d)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a/b.txt")); string(b) == "not committed" || err != nil {
		t.Error("the tree of the user was taken instead of the commit")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a program that the repository names ran")
	}
	for _, bad := range []string{"HEAD", "--help", strings.Repeat("0", 40)} {
		if err := checkout(t.Context(), repo, bad, t.TempDir()); err == nil {
			t.Errorf("checked out %q", bad)
		}
	}
}

func TestTreeThatLeadsOutIsRefused(t *testing.T) {
	const blob = "100644 blob 0123456789012345678901234567890123456789\t"
	for _, name := range []string{"../x", "/etc/x", ".git/hooks/x", "a/.GIT/config", "a/../../x"} {
		if got, err := entriesOf([]byte(blob + name + "\x00")); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got, err := entriesOf([]byte(blob + "a/b\x00")); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
}

func TestOnlyOrdinaryManifestsAreCarriedBack(t *testing.T) {
	dir := t.TempDir()
	a := &attempt{Trial: &Trial{config: Config{Dir: "."}}, dir: dir}
	tree := filepath.Join(dir, "tree")
	write(t, tree, map[string]string{"go.mod": "module x", "main.go": "package main", "secret": "x"})
	got, err := a.carry()
	if d := cmp.Diff(map[string][]byte{"go.mod": []byte("module x")}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, to := range []string{"/etc/passwd", "secret"} {
		if err := os.Symlink(to, filepath.Join(tree, "go.sum")); err != nil {
			t.Fatal(err)
		}
		if got, err := a.carry(); err == nil {
			t.Errorf("a link to %s: %q", to, got)
		}
		if err := os.Remove(filepath.Join(tree, "go.sum")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResultsOfGo(t *testing.T) {
	e := newEvents()
	for _, s := range []string{
		`{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"fail","Package":"p","Te`, `st":"B"}` + "\nno JSON\n",
		`{"Action":"pass","Package":"p","Test":"B"}` + "\n" + `{"Action":"skip","Package":"p","Test":"C"}` + "\n",
		strings.Repeat("x", maxLine+10), `{"Action":"pass","Package":"p","Test":"hidden"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n",
	} {
		if n, err := e.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if d := cmp.Diff(map[string]bool{"p A": true, "p": true}, e.passed); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]bool{"p B": true}, e.failed); d != "" {
		t.Error(d)
	}
	baseline := results{passed: map[string]bool{"a": true, "b": true, "c": true}, failed: map[string]bool{"d": true}}
	baseline.flap(results{passed: map[string]bool{"a": true, "b": true, "d": true}})
	if d := cmp.Diff([]string{"b"}, baseline.broken(results{passed: map[string]bool{"a": true}})); d != "" {
		t.Error("what is gone has failed, what flapped doesn't count:", d)
	}
}

func TestOutputCannotSteerATerminal(t *testing.T) {
	var end tail
	for range 10 {
		_, _ = end.Write([]byte(strings.Repeat("x", maxTail/2)))
	}
	_, _ = end.Write([]byte("\x1b]0;title\x07\x1b[2Jred\u202e\r\nlast\xff"))
	s := end.String()
	if len(s) > maxTail || !strings.HasSuffix(s, "]0;title[2Jred\nlast") {
		t.Errorf("%d bytes, …%q", len(s), s[max(0, len(s)-40):])
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"Action":"pass","Package":"p","Test":"A"}`+"\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		whole, parts := newEvents(), newEvents()
		cut = min(max(cut, 0), len(b))
		for _, p := range [][]byte{b[:cut], b[cut:]} {
			_, _ = parts.Write(p)
		}
		_, _ = whole.Write(b)
		if d := cmp.Diff(whole.passed, parts.passed); d != "" {
			t.Error(d)
		}
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte("100644 blob 0123\ta/b\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := entriesOf(b)
		for _, e := range entries {
			if err == nil && !filepath.IsLocal(e.path) {
				t.Errorf("%q", e.path)
			}
		}
	})
}
