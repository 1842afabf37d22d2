package ledger

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// disk is an ext4 of its own, in a file, mounted below a test's folder. Which of its pages are only in memory is up to the kernel: a copy of the file is
// what a power cut leaves.
func disk(t *testing.T, image string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("a file system of its own needs root and loop devices: %v %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestAPowerCutLosesNothingThatWasAcknowledged: what has been answered for is there after the machine went dark in the middle of a load, and the ledger
// opens and is whole.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	need.Program(t, "mkfs.ext4")
	for round := range 4 {
		image := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 96<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		acked := untilDark(t, filepath.Join(disk(t, image), "ledger"), image, 200+130*round)
		dir := filepath.Join(disk(t, image+".dark"), "ledger") // mounting plays the journal
		l := openTest(t, dir)
		kept := map[string]uint64{}
		if err := l.Read(0, func(r Record) bool {
			if r.Kind == "load" {
				kept[r.Source] = max(kept[r.Source], r.Seq)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for source, n := range acked {
			if kept[source] < n {
				t.Errorf("round %d: %s: acknowledged up to %d, kept up to %d", round, source, n, kept[source])
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(dir, ""); err != nil || r.Tail != 0 {
			t.Errorf("round %d: %+v, %v", round, r, err)
		}
	}
}

// untilDark loads a ledger until so many appends were acknowledged, and then copies the image as it is on disk; acked is the last of each source.
func untilDark(t *testing.T, dir, image string, appends int) (acked map[string]uint64) {
	t.Helper()
	c := child(t, "load", dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = c.Process.Kill(), c.Wait() }() // it is killed
	acked = map[string]uint64{}
	lines := bufio.NewScanner(out)
	for n := 0; n < appends && lines.Scan(); n++ {
		source, seq, _ := strings.Cut(lines.Text(), " ")
		if acked[source], err = strconv.ParseUint(seq, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "--sparse=always", image, image+".dark").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return acked
}
