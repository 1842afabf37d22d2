package ledger

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wardtest/need"
	"github.com/wardhq/ward/internal/wire"
)

// TestMain lets the test binary be the process that is killed, or that has no room.
func TestMain(m *testing.M) {
	switch os.Getenv("LEDGER_CHILD") {
	case "load":
		loadChild(os.Getenv("LEDGER_DIR"), segmentBytes)
	case "load-small":
		loadChild(os.Getenv("LEDGER_DIR"), 64<<10)
	case "rotate":
		os.Exit(rotateChild(os.Getenv("LEDGER_DIR")))
	case "full":
		os.Exit(fullChild(os.Getenv("LEDGER_DIR")))
	default:
		code := m.Run()
		_ = os.RemoveAll(filepath.Join(os.TempDir(), fmt.Sprint("ward-ledger-of-a-million-", os.Getpid())))
		os.Exit(code)
	}
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), "LEDGER_CHILD="+role, "LEDGER_DIR="+dir)
	c.Stderr = os.Stderr
	return c
}

// loadChild appends from eight goroutines until it is killed, and prints what was acknowledged.
func loadChild(dir string, limit int64) {
	l, err := open(dir, "test.ward", testKey, limit)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	for g := range 8 {
		go func() {
			source := fmt.Sprintf("g%d-%s", g, run)
			for seq := uint64(1); ; seq += 3 {
				var events []wire.Event
				for i := range uint64(3) {
					events = append(events, wire.Event{Source: source, Seq: seq + i, Kind: "load", Detail: map[string]string{"pad": strings.Repeat("x", int(seq%900))}})
				}
				if err := l.Append(context.Background(), events); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Printf("%s %d\n", source, seq+2)
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestKillLosesNothingThatWasAcknowledged kills a loaded process with -9, time after time, on the same ledger.
func TestKillLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]uint64{}
	for round := range 6 {
		c := child(t, "load", dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			source, seq, _ := strings.Cut(lines.Text(), " ")
			v, err := strconv.ParseUint(seq, 10, 64)
			if err != nil {
				continue // the line that was cut
			}
			acked[source] = v
			if n == 150+37*round {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.Wait() // killed
		if _, err := Verify(dir, ""); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	l := openTest(t, dir)
	kept := map[string]uint64{}
	if err := l.Read(0, func(r Record) bool {
		if r.Kind == "load" {
			if r.Seq != kept[r.Source]+1 {
				t.Fatalf("record %d: %s has %d after %d", r.Index, r.Source, r.Seq, kept[r.Source])
			}
			kept[r.Source] = r.Seq
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	total := uint64(0)
	for source, n := range acked {
		if kept[source] < n {
			t.Errorf("%s: acknowledged up to %d, kept up to %d", source, n, kept[source])
		}
		if kept[source]%3 != 0 {
			t.Errorf("%s: a part of a batch was kept, up to %d", source, kept[source])
		}
		total += n
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(dir, "")
	if err != nil || r.Tail != 0 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	t.Logf("%d acknowledged events over 6 kills; %d records", total, r.Records)
}

// fullChild fills the room that a limit leaves, as a full disk does, and goes on when there is more.
func fullChild(dir string) int {
	signal.Ignore(syscall.SIGXFSZ)
	fail := func(format string, args ...any) int {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		return 1
	}
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		return fail("open: %v", err)
	}
	limit := func(n uint64) {
		_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY})
	}
	limit(20_000)
	acked, refused := int64(0), 0
	seq := uint64(0)
	for range 100 {
		seq++
		e := wire.Event{Source: "full", Seq: seq, Kind: "x", Detail: map[string]string{"pad": strings.Repeat("y", 700)}}
		switch err := l.Append(context.Background(), []wire.Event{e}); {
		case err == nil:
			acked++
		case fault.KindOf(err) == fault.Exhausted && strings.Contains(err.Error(), "disk that holds the ledger is full"):
			refused++
		default:
			return fail("append: %v", err)
		}
	}
	if acked == 0 || refused == 0 {
		return fail("%d acknowledged, %d refused", acked, refused)
	}
	if n, _ := l.Size(); n != acked {
		return fail("%d records, %d acknowledged", n, acked)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records+r.Tail != acked {
		return fail("verify while full: %+v, %v", r, err)
	}
	limit(unix.RLIM_INFINITY)
	if err := l.Append(context.Background(), []wire.Event{{Source: "full", Seq: seq + 1, Kind: "x"}}); err != nil {
		return fail("with room again: %v", err)
	}
	if err := l.Close(); err != nil {
		return fail("close: %v", err)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records != acked+1 || r.Tail != 0 {
		return fail("verify after: %+v, %v", r, err)
	}
	return 0
}

func TestNoRoomIsSaidAndHarmsNothing(t *testing.T) {
	if out, err := child(t, "full", t.TempDir()).Output(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// smallDisk is a file system of a size that others can fill, for the test alone.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		need.Missing(t, "this machine lets root mount nothing: "+err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestFullDisk is the same on a real small file system, which only root can mount.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "256k") // TestNoRoomIsSaidAndHarmsNothing shows the same to an ordinary user, with a limit
	l := openTest(t, dir)
	said, _ := l.Size() // that there is no room for a reserve
	pad := wire.Event{Kind: "x", Source: "full", Detail: map[string]string{"pad": strings.Repeat("y", 900)}}
	acked := said
	var full error
	for range 1000 {
		pad.Seq++
		if full = l.Append(t.Context(), []wire.Event{pad}); full != nil {
			break
		}
		acked++
	}
	if !isKind(full, fault.Exhausted) {
		t.Fatalf("after %d records: %v", acked, full)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records+r.Tail != acked {
		t.Errorf("verify while full: %+v, %v", r, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	pad.Seq++
	if err := l.Append(t.Context(), []wire.Event{pad}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records != acked+1 {
		t.Errorf("verify after: %+v, %v", r, err)
	}
	l = openTest(t, dir)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestEveryByteCounts changes each byte of records and checkpoint, one at a time.
func TestEveryByteCounts(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	appendN(t, l, 1, 3)
	if err := l.Append(t.Context(), []wire.Event{{Source: "b", Seq: 1, Kind: "x"}, {Source: "b", Seq: 2, Kind: "y"}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{firstRecords, checkpointFile} {
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			for _, flip := range []byte{0x01, 0x02, 0x20, 0x80} {
				bad := bytes.Clone(good)
				bad[i] ^= flip
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				if r, err := Verify(dir, ""); err == nil {
					t.Errorf("%s, byte %d (%q) ^ %#x: found nothing: %+v", name, i, good[i], flip, r)
				}
			}
			if err := os.WriteFile(path, append(bytes.Clone(good[:i]), good[i+1:]...), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(dir, ""); err == nil {
				t.Errorf("%s, byte %d (%q) removed: found nothing: %+v", name, i, good[i], r)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(dir, ""); err != nil {
		t.Fatal(err)
	}
}

// TestTailIsSealedBeforeItIsSigned: after a crash, records that no checkpoint covers yet are judged by their MACs.
func TestTailIsSealedBeforeItIsSigned(t *testing.T) {
	make := func(t *testing.T) (dir string, old []byte) {
		dir = t.TempDir()
		l := openTest(t, dir)
		appendN(t, l, 1, 4)
		if err := l.checkpoint(); err != nil {
			t.Fatal(err)
		}
		old, err := os.ReadFile(filepath.Join(dir, checkpointFile))
		if err != nil {
			t.Fatal(err)
		}
		appendN(t, l, 5, 3)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		// As a crash leaves it: the checkpoint is behind.
		if err := os.WriteFile(filepath.Join(dir, checkpointFile), old, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, old
	}
	change := func(t *testing.T, dir, from, to string) {
		path := filepath.Join(dir, firstRecords)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("whole", func(t *testing.T) {
		dir, _ := make(t)
		if r, err := Verify(dir, ""); err != nil || r.Records != 4 || r.Tail != 3 {
			t.Errorf("before: %+v, %v", r, err)
		}
		openTest(t, dir).Close()
		if r, err := Verify(dir, ""); err != nil || r.Records != 7 || r.Tail != 0 {
			t.Errorf("after: %+v, %v", r, err)
		}
	})
	t.Run("changed in the middle", func(t *testing.T) {
		dir, _ := make(t)
		change(t, dir, "subject-6", "subject-X")
		if l, err := Open(dir, "test.ward", testKey); err == nil {
			l.Close()
			t.Error("taken")
		}
	})
	t.Run("changed at the end", func(t *testing.T) {
		dir, _ := make(t)
		change(t, dir, "subject-7", "subject-X")
		l := openTest(t, dir)
		var last Record
		if err := l.Read(0, func(r Record) bool { last = r; return true }); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if last.Kind != "ledger.torn" || last.Index != 6 {
			t.Errorf("what can't be told from a torn write is put aside and said; last is %+v", last)
		}
	})
}

func TestStrangersKeyIsFound(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		l := openTest(t, d)
		appendN(t, l, 1, 2)
		l.Close()
	}
	mine, err := publicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{publicFile, checkpointFile, firstRecords} {
		b, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := Open(dir, "test.ward", testKey); err == nil {
		l.Close()
		t.Error("Open took a log that a stranger signed")
	}
	if _, err := Verify(dir, mine); err == nil {
		t.Error("Verify with the key that was kept elsewhere found nothing")
	}
}

func TestFrontierIsTheTreeOfRFC6962(t *testing.T) {
	var f frontier
	var stored memoryHashes
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, &stored)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.root(); n > 0 && got != want {
			t.Fatalf("root of %d records: %s, want %s", n, got, want)
		}
		record := fmt.Append(nil, "record ", n)
		hs, err := tlog.StoredHashes(n, record, &stored)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
		f.add(record, nil)
	}
}

// memoryHashes are a tree's stored hashes, for the oracle.
type memoryHashes []tlog.Hash

func (m *memoryHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = (*m)[x]
	}
	return out, nil
}

func TestReadFromTheMiddle(t *testing.T) {
	l := openTest(t, t.TempDir())
	defer l.Close()
	var events []wire.Event
	for i := range 1000 {
		events = append(events, wire.Event{Source: "a", Seq: uint64(i + 1), Kind: "x"})
	}
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{-1, 0, 1, 255, 256, 257, 999, 1000, 5000} {
		want := max(from, 0)
		if err := l.Read(from, func(r Record) bool {
			if r.Index != want {
				t.Fatalf("from %d: record %d instead of %d", from, r.Index, want)
			}
			want++
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if want != max(1000, from) {
			t.Errorf("from %d: ended before %d", from, want)
		}
	}
}

func TestAppendRefusesWhatIsTooLarge(t *testing.T) {
	l := openTest(t, t.TempDir())
	defer l.Close()
	big := wire.Event{Kind: "x", Subject: strings.Repeat("x", MaxRecord)}
	if err := l.Append(t.Context(), []wire.Event{{Kind: "x"}, big}); !isKind(err, fault.Invalid) {
		t.Errorf("a record too large: %v", err)
	}
	if n, _ := l.Size(); n != 0 {
		t.Errorf("%d of a refused batch were kept", n)
	}
}

func isKind(err error, k fault.Kind) bool { return err != nil && fault.KindOf(err) == k }

// BenchmarkAppend is one durable call, alone and beside others.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l, err := Open(b.TempDir(), "test.ward", testKey)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := l.Append(context.Background(), []wire.Event{{Source: "bench", Kind: "request.denied", Subject: "web", Object: "payments"}}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkFdatasync is the floor: what the disk itself takes for a line.
func BenchmarkFdatasync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	line := bytes.Repeat([]byte("x"), 150)
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen100k opens a ledger of 100,000 records.
func BenchmarkOpen100k(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		var events []wire.Event
		for j := range 1000 {
			events = append(events, wire.Event{Source: "agent-0123456789ab", Seq: uint64(i*1000 + j + 1), Time: time.Now(), Kind: "request.denied", Subject: "web", Object: "payments", Detail: map[string]string{"id": "d-abcdefghij", "path": "/charge"}})
		}
		if err := l.Append(context.Background(), events); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := Open(dir, "test.ward", testKey)
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}
