package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// manySegments makes a ledger of n records in segments of some 2 KB.
func manySegments(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	l, err := open(dir, "test.ward", testKey, 2000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := l.Append(t.Context(), []wire.Event{denial(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func segmentsOf(t testing.TB, dir string) []segment {
	t.Helper()
	all, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRecordsGoOnInSegments(t *testing.T) {
	dir := manySegments(t, 100)
	if n := len(segmentsOf(t, dir)); n < 10 {
		t.Fatalf("%d segments", n)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records != 100 || r.Tail != 0 {
		t.Errorf("verify: %+v, %v", r, err)
	}
	l := openTest(t, dir)
	defer l.Close()
	for _, from := range []int64{0, 1, 49, 50, 99, 100} {
		next := from
		if err := l.Read(from, func(r Record) bool {
			if r.Index != next {
				t.Fatalf("from %d: record %d instead of %d", from, r.Index, next)
			}
			next++
			return true
		}); err != nil || next != 100 {
			t.Errorf("from %d: up to %d, %v", from, next, err)
		}
	}
	seen := 0
	if err := ReadDir(dir, func(Record) bool { seen++; return seen < 60 }); err != nil || seen != 60 {
		t.Errorf("ReadDir: %d, %v", seen, err)
	}
}

// TestFolderBeforeSegments opens a folder that the program made before there were segments.
func TestFolderBeforeSegments(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/before-segments")); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records != 7 {
		t.Errorf("as it was: %+v, %v", r, err)
	}
	n := 0
	if err := ReadDir(dir, func(Record) bool { n++; return true }); err != nil || n != 7 {
		t.Errorf("as it was: %d records, %v", n, err)
	}
	l := openTest(t, dir)
	appendN(t, l, 5, 5) // 5 to 7 were sent before
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, ""); err != nil || r.Records != 9 {
		t.Errorf("after: %+v, %v", r, err)
	}
}

// TestAttacksOnSegments: what is done to whole files is found.
func TestAttacksOnSegments(t *testing.T) {
	other := manySegments(t, 60)
	for name, attack := range map[string]func(t *testing.T, dir string, all []segment){
		"the first removed":      func(t *testing.T, dir string, all []segment) { remove(t, dir, all[0].file) },
		"one in between removed": func(t *testing.T, dir string, all []segment) { remove(t, dir, all[3].file) },
		"the last removed":       func(t *testing.T, dir string, all []segment) { remove(t, dir, all[len(all)-1].file) },
		"one of another ledger":  func(t *testing.T, dir string, all []segment) { put(t, dir, all[2].file, load(t, other, all[2].file)) },
		"two exchanged":          func(t *testing.T, dir string, all []segment) { exchange(t, dir, all[1].file, all[2].file) },
		"one emptied":            func(t *testing.T, dir string, all []segment) { put(t, dir, all[2].file, nil) },
		"one cut": func(t *testing.T, dir string, all []segment) {
			b := load(t, dir, all[2].file)
			put(t, dir, all[2].file, b[:len(b)/2])
		},
		"one more in between": func(t *testing.T, dir string, all []segment) {
			put(t, dir, named(recordsFile, all[2].first+1), load(t, dir, all[2].file))
		},
		"the old file comes back": func(t *testing.T, dir string, all []segment) { put(t, dir, oldRecords, load(t, dir, all[0].file)) },
		"a byte in an old one": func(t *testing.T, dir string, all []segment) {
			put(t, dir, all[1].file, bytes.Replace(load(t, dir, all[1].file), []byte("/charge"), []byte("/chargf"), 1))
		},
		"all but the last, with a forged removal": func(t *testing.T, dir string, all []segment) {
			last := all[len(all)-1]
			for _, s := range all[:len(all)-1] {
				remove(t, dir, s.file)
			}
			line := appendRecord(nil, last.first, []byte(fmt.Sprintf(`{"source":"ledger","kind":"ledger.removed","detail":{"until":"%d"}}`, last.first)))
			put(t, dir, last.file, append(append(line, '\n'), load(t, dir, last.file)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(manySegments(t, 60))); err != nil {
				t.Fatal(err)
			}
			attack(t, dir, segmentsOf(t, dir))
			if r, err := Verify(dir, ""); !isKind(err, fault.Refused) {
				t.Errorf("found nothing: %+v, %v", r, err)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func exchange(t *testing.T, dir, a, b string) {
	x, y := load(t, dir, a), load(t, dir, b)
	put(t, dir, a, y)
	put(t, dir, b, x)
}

// TestWhatFollowsFromRecordsMayBeLost: without, and with forged, hashes and starts a ledger opens as it was.
func TestWhatFollowsFromRecordsMayBeLost(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed": os.Remove,
		"forged":  func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("x"), 4000), 0o600) },
		"of another time": func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, bytes.Replace(b, []byte(`{"test":`), []byte(`{"tesT":`), 1), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if l, err := open(dir, "test.ward", testKey, 2000); err != nil {
				t.Fatal(err)
			} else {
				appendN(t, l, 1, 60)
				for i := range 15 { // so that the last segment tells nothing of that source
					if err := l.Append(t.Context(), []wire.Event{denial(i)}); err != nil {
						t.Fatal(err)
					}
				}
				l.Close()
			}
			for _, pattern := range []string{"hashes-*", "start-*"} {
				all, _ := filepath.Glob(filepath.Join(dir, pattern))
				if len(all) < 3 {
					t.Fatalf("%s: %d files", pattern, len(all))
				}
				for _, path := range all {
					if err := harm(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			l := openTest(t, dir)
			appendN(t, l, 40, 30) // 40 to 60 were sent before
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(dir, ""); err != nil || r.Records != 84 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestOldSegmentsGoWhenTheirDaysHavePassed: beyond the budget, and said; the rest stays proved.
func TestOldSegmentsGoWhenTheirDaysHavePassed(t *testing.T) {
	dir := manySegments(t, 100)
	l, err := open(dir, "test.ward", testKey, 2000)
	if err != nil {
		t.Fatal(err)
	}
	all := segmentsOf(t, dir)
	old := time.Since(denial(99).Time)
	days := int(old.Hours() / 24)
	l.SetKeep(Keep{Bytes: 1, Days: days + 2})
	l.lookAround()
	if l.oldest() != 0 {
		t.Error("removed before their days had passed")
	}
	l.SetKeep(Keep{Bytes: 1 << 30, Days: max(1, days-1)})
	l.lookAround()
	if l.oldest() != 0 {
		t.Error("removed within the budget")
	}
	l.SetKeep(Keep{Bytes: l.Status().Bytes - 5000, Days: max(1, days-1)})
	l.lookAround()
	first := l.oldest()
	if first == 0 || first == all[len(all)-1].first {
		t.Fatalf("first is %d of %d", first, len(all))
	}
	appendN(t, l, 1, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(dir, "")
	if err != nil || r.First != first {
		t.Errorf("verify: %+v, %v", r, err)
	}
	var said Record
	if err := ReadDir(dir, func(r Record) bool {
		if r.Kind == removedKind {
			said = r
		}
		return true
	}); err != nil || said.Detail["until"] != fmt.Sprint(first) || said.Detail["root"] == "" {
		t.Errorf("said: %+v, %v", said, err)
	}
	l = openTest(t, dir)
	if l.oldest() != first {
		t.Errorf("opened again from %d", l.oldest())
	}
	l.Close()
	remove(t, dir, named(recordsFile, first))
	if r, err := Verify(dir, ""); !isKind(err, fault.Refused) {
		t.Errorf("one segment more is missing: %+v, %v", r, err)
	}
}

// TestKillDuringRotation kills a process at 200 moments, most of them while segments end.
func TestKillDuringRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("200 processes")
	}
	dir := t.TempDir()
	acked := map[string]uint64{}
	for round := range 200 {
		c := child(t, "rotate", dir)
		pipe, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		in, said := bufio.NewReader(pipe), ""
		if round%2 == 0 { // every other one while it appends, the rest while it opens
			said, _ = in.ReadString('\n')
		}
		time.Sleep(time.Duration(round*7919%13000) * time.Microsecond) // the moments, not a wait
		_ = c.Process.Kill()
		rest, _ := io.ReadAll(in) // whatever came before its end
		_ = c.Wait()
		for line := range strings.Lines(said + string(rest)) {
			var source string
			var seq uint64
			if n, _ := fmt.Sscanf(line, "%s %d\n", &source, &seq); n == 2 && strings.HasSuffix(line, "\n") {
				acked[source] = seq
			}
		}
		if _, err := os.Stat(filepath.Join(dir, checkpointFile)); err != nil {
			continue // it was killed before there was a ledger
		}
		if _, err := Verify(dir, ""); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	l := openTest(t, dir)
	kept := map[string]uint64{}
	if err := l.Read(0, func(r Record) bool {
		if r.Seq != 0 && r.Seq != kept[r.Source]+1 {
			t.Fatalf("record %d: %s has %d after %d", r.Index, r.Source, r.Seq, kept[r.Source])
		}
		kept[r.Source] = r.Seq
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for source, n := range acked {
		if kept[source] < n {
			t.Errorf("%s: acknowledged up to %d, kept up to %d", source, n, kept[source])
		}
	}
	l.Close()
	r, err := Verify(dir, "")
	t.Logf("%d records in %d segments, %d processes acknowledged some", r.Records, len(segmentsOf(t, dir)), len(acked))
	if err != nil || len(acked) < 20 || len(segmentsOf(t, dir)) < 20 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestEventsAreWrittenAsJSONWritesThem(t *testing.T) {
	for _, e := range []wire.Event{
		{},
		denial(3),
		{Source: "a\"b", Seq: 1 << 63, Kind: "ü<>&\u2028\x00\x7f\xff", Subject: "\\", Detail: map[string]string{"b": "1", "a": "", "": "\n"}, Count: -5},
	} {
		want, _ := json.Marshal(e)
		if got, err := appendEvent(nil, &e); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
	e := wire.Event{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := appendEvent(nil, &e); err == nil {
		t.Error("a year of five digits was written")
	}
}

func TestLaterIsWrittenWithoutAWait(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	for i := range 10 {
		if err := l.Later([]wire.Event{{Source: "b", Seq: uint64(i + 1), Kind: "request.allowed"}}); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Later([]wire.Event{{Source: "b", Seq: 10, Kind: "request.allowed"}}) // sent twice
	deadline := time.After(5 * time.Second)
	for {
		n, changed := l.Size()
		if n == 10 {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d records", n)
		}
	}
	l.Close()
	if r, err := Verify(dir, ""); err != nil || r.Records != 10 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestWhatLaterLosesIsCounted: without room, and beyond what may wait.
func TestWhatLaterLosesIsCounted(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	l.SetKeep(Keep{Bytes: 1})
	appendN(t, l, 1, 1) // more than the budget has
	l.lookAround()
	if s := l.Status(); s.Room != "low" {
		t.Errorf("%+v", s)
	}
	if err := l.Later([]wire.Event{{Source: "b", Seq: 1, Kind: "request.allowed", Count: 40}, {Source: "b", Seq: 2, Kind: "request.allowed"}}); err != nil {
		t.Fatal(err)
	}
	appendN(t, l, 2, 1) // what must be kept goes on
	l.SetKeep(Keep{})
	l.lookAround()
	pad := wire.Event{Source: "b", Kind: "request.allowed", Detail: map[string]string{"pad": strings.Repeat("x", 60_000)}}
	l.mu.Lock() // the disk takes its time
	for range 3 * maxLater / 60_000 {
		pad.Seq++
		if err := l.Later([]wire.Event{pad}); err != nil {
			t.Error(err)
		}
	}
	if n := l.waiting(); n > maxLater+MaxRecord {
		t.Errorf("%d bytes wait", n)
	}
	l.mu.Unlock()
	l.Close()
	kinds := map[string]int64{}
	var later int64
	if err := ReadDir(dir, func(r Record) bool {
		kinds[r.Kind] += max(1, r.Count)
		if r.Kind == "request.allowed" {
			later++
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if kinds["ledger.low"] != 1 || kinds["ledger.enough"] != 1 || kinds["test.event"] != 2 || kinds["ledger.dropped"]+later != 41+int64(3*maxLater/60_000) || kinds["ledger.dropped"] <= 41 {
		t.Errorf("%d came later; %v", later, kinds)
	}
}

func TestNobodySpeaksForTheLedger(t *testing.T) {
	l := openTest(t, t.TempDir())
	defer l.Close()
	forged := []wire.Event{{Source: own, Kind: removedKind, Detail: map[string]string{"until": "1"}}}
	if err := l.Append(t.Context(), forged); !isKind(err, fault.Refused) {
		t.Errorf("Append: %v", err)
	}
	if err := l.Later(forged); !isKind(err, fault.Refused) {
		t.Errorf("Later: %v", err)
	}
}

func TestRoomIsJudged(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		free, disk, used, budget int64
		want                     Room
	}{
		{50 * gb, 100 * gb, 0, 4 * gb, RoomEnough},
		{5 * gb, 1000 * gb, 0, 4 * gb, RoomEnough}, // half a per cent of a large disk is enough
		{3 * gb, 1000 * gb, 0, 4 * gb, RoomLow},
		{gb, 8 * gb, 0, 4 * gb, RoomEnough},
		{gb / 2, 8 * gb, 0, 4 * gb, RoomLow},
		{gb / 4, 8 * gb, 0, 4 * gb, RoomReserve},
		{50 * gb, 100 * gb, 3900 << 20, 4 * gb, RoomLow},
	} {
		if got := judge(c.free, c.disk, c.used, c.budget); got != c.want {
			t.Errorf("%d of %d free, %d of %d used: %s, want %s", c.free, c.disk, c.used, c.budget, got, c.want)
		}
	}
}

func TestStoredHashesAreTlogs(t *testing.T) {
	dir := manySegments(t, 150)
	for _, distrust := range []bool{false, true} {
		h, err := openHashes(dir)
		if err != nil {
			t.Fatal(err)
		}
		h.distrust = distrust
		var want memoryHashes
		n := int64(0)
		if err := ReadDir(dir, func(Record) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		n = 0
		for _, s := range segmentsOf(t, dir) {
			if err := s.lines(dir, span{}, func(_ int64, line []byte) error {
				hs, err := tlog.StoredHashes(n, line, &want)
				want = append(want, hs...)
				n++
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range want {
			if got, err := h.ReadHashes([]int64{int64(i)}); err != nil || got[0] != want[i] {
				t.Fatalf("hash %d: %v, %v", i, got, err)
			}
		}
	}
}

// rotateChild appends to small segments until it is killed.
func rotateChild(dir string) int {
	l, err := open(dir, "test.ward", testKey, 3000)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	source := fmt.Sprint("r", os.Getpid(), "-", time.Now().UnixNano())
	for seq := uint64(1); ; seq++ {
		e := denial(0)
		e.Source, e.Seq = source, seq
		if err := l.Append(context.Background(), []wire.Event{e}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Printf("%s %d\n", source, seq)
	}
}

func FuzzReadStart(f *testing.F) {
	dir := f.TempDir()
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	if err := l.writeStart(); err != nil {
		f.Fatal(err)
	}
	good := load(f, dir, named(startFile, 0))
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		put(t, dir, named(startFile, 0), b)
		if _, ok := l.readStart(0); ok && string(bytes.TrimRight(b, "\n")) != string(bytes.TrimRight(good, "\n")) {
			t.Fatalf("took %q", b)
		}
	})
}

// TestTheReserveOutlastsAFullDisk: with a disk that others have filled, what must be kept goes into what was reserved, and then is refused.
func TestTheReserveOutlastsAFullDisk(t *testing.T) {
	dir := smallDisk(t, "3m")
	const limit = 256 << 10
	l, err := open(dir, "test.ward", testKey, limit)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if s := l.Status(); s.Room != "enough" {
		t.Fatalf("%+v", s)
	}
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	l.lookAround()
	if s := l.Status(); s.Room != "reserve" {
		t.Errorf("%+v", s)
	}
	if err := l.Later([]wire.Event{{Source: "b", Seq: 1, Kind: "request.allowed"}}); err != nil {
		t.Fatal(err)
	}
	e := wire.Event{Source: "full", Kind: "x", Detail: map[string]string{"pad": strings.Repeat("y", 900)}}
	acked := 0
	for err = nil; err == nil && acked < 10_000; acked++ {
		e.Seq++
		err = l.Append(t.Context(), []wire.Event{e})
	}
	if !isKind(err, fault.Exhausted) || acked*1000 < limit {
		t.Errorf("after %d records: %v", acked, err)
	}
	t.Logf("%d KB after the disk was full", acked)
	if r, err := Verify(dir, ""); err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	l.lookAround()
	if s := l.Status(); s.Room != "enough" || s.Dropped != 1 {
		t.Errorf("with room again: %+v", s)
	}
	appendN(t, l, 1, 1)
	l.flushLater()
	kinds := map[string]bool{}
	if err := l.Read(0, func(r Record) bool { kinds[r.Kind] = true; return true }); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"ledger.reserve", "ledger.enough", "ledger.dropped"} {
		if !kinds[k] {
			t.Errorf("%s isn't in the ledger", k)
		}
	}
}
