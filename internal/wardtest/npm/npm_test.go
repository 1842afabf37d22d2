package npm

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestInstallsOnceForAll(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var all sync.WaitGroup
	var found [2]string
	for i := range found {
		all.Go(func() { found[i] = Modules(t) })
	}
	all.Wait()
	if found[0] == "" || found[0] != found[1] {
		t.Fatalf("two folders: %q", found)
	}
	for _, name := range []string{"uplot", "axe-core"} {
		if _, err := os.Stat(filepath.Join(found[0], name, "package.json")); err != nil {
			t.Error(err)
		}
	}
	// A second call must not touch it: npm would put back what is gone.
	gone := filepath.Join(found[0], "axe-core", "package.json")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	Modules(t)
	if _, err := os.Stat(gone); err == nil {
		t.Error("installed again")
	}
}

func TestAsksAScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "twice.mjs")
	if err := os.WriteFile(script, []byte(`import { readFileSync } from "node:fs";
console.log(JSON.stringify(2 * JSON.parse(readFileSync(0, "utf8"))));`), 0o600); err != nil {
		t.Fatal(err)
	}
	var n int
	if Node(t, script, 21, &n); n != 42 {
		t.Errorf("got %d", n)
	}
}
