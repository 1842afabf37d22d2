package unified

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/wardtest/need"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{"equal texts", "a\n", "a\n", ""},
		{"a line taken away", "a\nb\nc\n", "a\nc\n", "--- o\n+++ n\n@@ -1,3 +1,2 @@\n a\n-b\n c\n"},
		{"a line added to nothing", "", "a\n", "--- o\n+++ n\n@@ -0,0 +1,1 @@\n+a\n"},
		{"an end without newline", "a\nb", "a\nc\n", "--- o\n+++ n\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n"},
		{
			"two hunks", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "x\n2\n3\n4\n5\n6\n7\n8\n9\ny\n",
			"--- o\n+++ n\n@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n 4\n@@ -7,4 +7,4 @@\n 7\n 8\n 9\n-10\n+y\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Diff("o", "n", c.before, c.after)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestPatchAppliesIt gives random differences to patch(1).
func TestPatchAppliesIt(t *testing.T) {
	patch := need.Program(t, "patch")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		var before, after strings.Builder
		for i := range 40 {
			line := fmt.Sprintf("line %d\n", rnd.IntN(12))
			switch rnd.IntN(8) {
			case 0:
				before.WriteString(line)
			case 1:
				after.WriteString(line)
			case 2:
				before.WriteString(line)
				fmt.Fprintf(&after, "other %d\n", i)
			default:
				before.WriteString(line)
				after.WriteString(line)
			}
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(before.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command(patch, "-s", path)
		c.Stdin = strings.NewReader(Diff("f", "f", before.String(), after.String()))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(after.String(), string(got)); diff != "" {
			t.Fatal(diff)
		}
	}
}
