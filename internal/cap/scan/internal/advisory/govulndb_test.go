package advisory

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGoEntriesComeOutAsTheyWere(t *testing.T) {
	const original = `{"schema_version":"1.3.1","id":"GO-2026-1","modified":"2026-04-30T00:00:00Z","aliases":["CVE-1"],"affected":[` +
		`{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"net/http","goos":["linux"],"symbols":["Get"]}]}},` +
		`{"package":{"name":"golang.org/x/net","ecosystem":"Go"},"ranges":[]}],"database_specific":{"review_status":"REVIEWED"}}`
	d := index(t, original, entry("GHSA-1", "Go", "golang.org/x/net", events("SEMVER", "i=0")), a1)
	dir := filepath.Join(t.TempDir(), "db")
	if err := d.WriteGoVulnDB(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"ID/GO-2026-1.json":  original,
		"index/db.json":      `{"modified":"2026-04-30T00:00:00Z"}`,
		"index/modules.json": `[{"path":"golang.org/x/net","vulns":[{"id":"GO-2026-1","modified":"2026-04-30T00:00:00Z"}]},{"path":"stdlib","vulns":[{"id":"GO-2026-1","modified":"2026-04-30T00:00:00Z"}]}]`,
		"index/vulns.json":   `[{"id":"GO-2026-1","modified":"2026-04-30T00:00:00Z","aliases":["CVE-1"]}]`,
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var got, expected any
		if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(want), &expected)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "ID", "*")); len(files) != 1 {
		t.Errorf("more than the Go database's own: %v", files)
	}
	none := index(t, a1)
	if _, ok := errors.AsType[NoDataError](none.WriteGoVulnDB(t.Context(), dir)); !ok {
		t.Error("a database without entries is written")
	}
}
