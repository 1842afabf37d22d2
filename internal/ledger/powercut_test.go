package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/wardtest/need"
)

// newImage is a file with an ext4 in it.
func newImage(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	need.Program(t, "mkfs.ext4")
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
	return image
}

// goDark copies an image as it is on disk, and mounts that: mounting plays the journal.
func goDark(t *testing.T, image string) (dir string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", image, image+".dark").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return disk(t, image+".dark")
}

// disk mounts an ext4 of its own, in a file, below a test's folder. Which of its pages are only in memory is up to the kernel: a copy of the file is
// what a power cut leaves.
func disk(t *testing.T, image string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		need.Missing(t, fmt.Sprintf("this machine lets root mount no image: %v %s", err, out))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestAPowerCutLosesNothingThatWasAcknowledged: what has been answered for is there after the machine went dark in the middle of a load, and the ledger
// opens and is whole: in the middle of a segment, over zeros, and while segments end.
func TestAPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	for round, load := range []string{"load", "load-small", "load", "load-small", "load", "load-small"} {
		image := newImage(t)
		dir, acked := untilDark(t, child(t, load, filepath.Join(disk(t, image), "ledger")), image, 200+130*round)
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

// untilDark lets a process load a ledger until so many appends were acknowledged, and returns the ledger's folder as it is on disk then; acked is the last
// of each source.
func untilDark(t *testing.T, c *exec.Cmd, image string, appends int) (dir string, acked map[string]uint64) {
	t.Helper()
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
	return filepath.Join(goDark(t, image), "ledger"), acked
}

// TestWhatIsBuiltOnIsOnDisk: records that a killed process left in memory alone are on disk before others follow them.
func TestWhatIsBuiltOnIsOnDisk(t *testing.T) {
	image, made := newImage(t), t.TempDir()
	l := openTest(t, made)
	appendN(t, l, 1, 200) // more than a page
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(disk(t, image), "ledger")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyFile, publicFile, checkpointFile, firstRecords} {
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			_, err = f.Write(load(t, made, name))
		}
		if err == nil && name != firstRecords {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	l = openTest(t, dir)
	defer l.Close()
	appendN(t, l, 201, 1)
	dir = filepath.Join(goDark(t, image), "ledger")
	if r, err := Verify(dir, ""); err != nil || r.Records+r.Tail != 201 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := openTest(t, dir).Close(); err != nil {
		t.Error(err)
	}
}
