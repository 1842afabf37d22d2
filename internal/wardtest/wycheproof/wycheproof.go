// Package wycheproof reads the test vectors of Project Wycheproof (C2SP) from its Go module, of a version and checksum
// that are pinned here: nothing links the 100 MB, and go.mod doesn't name them.
package wycheproof

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wardhq/ward/internal/wardtest/need"
)

const (
	module = "github.com/c2sp/wycheproof@v0.0.0-20260902155932-3fa63dd0344a"
	sum    = "h1:pNbL2nztRsWfW/ispAwsvcDFxs9Id38uIsR2/Up5G2c="
)

// Groups reads the test groups of a file, such as aes_gcm_test.json.
func Groups[G any](t testing.TB, file string) []G {
	t.Helper()
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Dir = t.TempDir() // outside of Ward's module, whose go.sum isn't to change
	out, err := download.Output()
	if err != nil {
		need.Missing(t, fmt.Sprintf("%s can't be had (%v)", module, err))
	}
	var at struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &at); err != nil {
		t.Fatal(err)
	}
	if at.Sum != sum {
		t.Fatalf("%s has the checksum %s instead of %s", module, at.Sum, sum)
	}
	b, err := os.ReadFile(filepath.Join(at.Dir, "testvectors_v1", file))
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct{ TestGroups []G }
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(vectors.TestGroups) == 0 {
		t.Fatalf("%s has no groups", file)
	}
	return vectors.TestGroups
}

// Hex is bytes that a vector's file has in hex.
type Hex []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.AppendDecode(nil, text)
	*h = b
	return err
}
