package control

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/base/secret"
)

// TestABackupHasStateAndNoHistory: what is watched is large, and changes while it is read.
func TestABackupHasStateAndNoHistory(t *testing.T) {
	dir := t.TempDir()
	k, err := New(Config{Dir: dir, Key: secret.New(make([]byte, 32)), TrustDomain: "shop.internal"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := os.WriteFile(filepath.Join(dir, watchFolder, "traces", "spans-20261122T10.jsonl"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := k.Pack(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	database := false
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		database = database || h.Name == databaseFile
		if strings.HasPrefix(h.Name, watchFolder) {
			t.Errorf("%s is in the backup", h.Name)
		}
	}
	if !database {
		t.Error("the database isn't in the backup")
	}
}
