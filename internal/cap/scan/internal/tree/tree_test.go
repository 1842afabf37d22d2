package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// counted tells how often each folder was read; one can't be.
type counted struct {
	fstest.MapFS
	reads map[string]int
}

func (c counted) ReadDir(name string) ([]fs.DirEntry, error) {
	c.reads[name]++
	if name == "closed" {
		return nil, errors.New("closed")
	}
	return c.MapFS.ReadDir(name)
}

func walked(t *testing.T, fsys fs.FS) string {
	t.Helper()
	var out []string
	if err := fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			name += " fails"
		}
		out = append(out, name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestEachFolderIsReadOnce(t *testing.T) {
	c := counted{fstest.MapFS{"a/x": {}, "a/b/y": {}, "closed/z": {}}, map[string]int{}}
	tr := Of(c)
	want := ". a a/b a/b/y a/x closed closed fails"
	for range 3 {
		if got := walked(t, tr); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for name, n := range map[string]int{".": 1, "a": 1, "a/b": 1, "closed": 3} {
		if c.reads[name] != n {
			t.Errorf("%s was read %d times, want %d", name, c.reads[name], n)
		}
	}
	if err := fstest.TestFS(Of(fstest.MapFS{"a/x": {}}), "a/x"); err != nil {
		t.Error(err)
	}
}

// What one caller does to the entries doesn't reach another.
func TestEntriesAreEachCallersOwn(t *testing.T) {
	tr := Of(fstest.MapFS{"a": {}, "b": {}})
	for range 3 {
		entries, err := tr.ReadDir(".")
		if err != nil || len(entries) != 2 || entries[0].Name() != "a" {
			t.Fatalf("%v %v", entries, err)
		}
		entries[0] = entries[1]
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	c := counted{fstest.MapFS{"a/1": {}, "a/2": {}, "a/3": {}, "b/1": {}}, map[string]int{}}
	tr := Of(c)
	tr.limit = 5
	first := walked(t, tr)
	if again := walked(t, tr); again != first || !strings.HasSuffix(first, "b b/1") {
		t.Errorf("%q, then %q", first, again)
	}
	if c.reads["."] != 1 || c.reads["a"] != 2 || tr.kept > 5 {
		t.Errorf("%v, %d kept", c.reads, tr.kept)
	}
}

func TestALinkOutOfTheTreeStaysClosed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tr := Of(root.FS())
	if got := walked(t, tr); got != ". link" {
		t.Error(got)
	}
	for name, err := range map[string]error{
		"stat": func() error { _, err := tr.Stat("link/secret"); return err }(), "read": func() error { _, err := tr.ReadFile("link/secret"); return err }(),
		"list": func() error { _, err := tr.ReadDir("link"); return err }(), "open": func() error { _, err := tr.Open("link/secret"); return err }(),
	} {
		if err == nil {
			t.Errorf("%s leads out", name)
		}
	}
	if to, err := tr.ReadLink("link"); err != nil || to != outside {
		t.Errorf("%q %v", to, err)
	}
	if st, err := tr.Lstat("link"); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Error(err)
	}
}
