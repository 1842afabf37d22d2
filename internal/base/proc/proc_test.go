package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestATreeIsSummedUp(t *testing.T) {
	dir := t.TempDir()
	for pid, line := range map[int]string{
		10: "10 (init) S 1 0 0 0 0 0 0 0 0 0 100 50 20 30 0 0 0 0 0 0 5 0",
		11: "11 (a b) c) S 10 0 0 0 0 0 0 0 0 0 100 0 0 0 0 0 0 0 0 0 7 0",
		12: "12 (x) S 11 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 1 0",
		20: "20 (other) S 1 0 0 0 0 0 0 0 0 0 900 0 0 0 0 0 0 0 0 0 90 0",
		30: "30 (short) S 10",
		31: "31 (a loop) S 32 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 1 0",
		32: "32 (a loop) S 31 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 1 0",
	} {
		p := filepath.Join(dir, strconv.Itoa(pid))
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p, "stat"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := trees(dir, []int{10, 99})
	if want := (Use{CPU: 1510 * time.Millisecond, Memory: 8 * int64(os.Getpagesize()), Processes: 2}); err != nil || got[10] != want || len(got) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestAProcessAndItsChild(t *testing.T) {
	c := exec.CommandContext(t.Context(), "sh", "-c", `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo ready; read x`)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StdinPipe(); err != nil { // it waits for what never comes
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		all, _ := Trees([]int{os.Getpid()})
		_ = c.Process.Kill()
		_ = c.Wait()
		if u := all[os.Getpid()]; u.Processes < 1 || u.CPU < 10*time.Millisecond || u.Memory < 100<<10 {
			t.Errorf("%+v", u)
		}
	}()
	var b [8]byte
	if _, err := out.Read(b[:]); err != nil || !strings.HasPrefix(string(b[:]), "ready") {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("10 (init) S 1 0 0 0 0 0 0 0 0 0 100 50 20 30 0 0 0 0 0 0 5 0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parse(b); ok && (p.pid < 0 || p.parent < 0) {
			t.Fatalf("%+v", p)
		}
	})
}
