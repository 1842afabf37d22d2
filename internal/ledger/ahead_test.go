package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// dark is a copy of an open ledger's folder, as a process that is killed leaves it.
func dark(t *testing.T, l *Ledger) string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestZerosStandBehindTheRecords: while a ledger is open, records are written over zeros within what is reserved; a closed one has none.
func TestZerosStandBehindTheRecords(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		room  Room
		long  int // bytes of a batch
		want  int64
	}{
		"enough room":          {limit: segmentBytes, room: RoomEnough, want: aheadBytes},
		"low room":             {limit: segmentBytes, room: RoomLow, want: aheadBytes},
		"no room but reserved": {limit: segmentBytes, room: RoomReserve},
		"the segment's end":    {limit: 64 << 10, room: RoomEnough, want: 60 << 10},
		"a long batch":         {limit: segmentBytes, room: RoomEnough, long: aheadBytes / 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, err := open(dir, "test.ward", testKey, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			l.mu.Lock()
			l.room = c.room
			l.mu.Unlock()
			events := []wire.Event{{Source: "a", Kind: "x"}}
			for n := 0; n < c.long; n += 32 << 10 {
				events = append(events, wire.Event{Source: "a", Kind: "x", Subject: string(bytes.Repeat([]byte{'s'}, 32<<10))})
			}
			if err := l.Append(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			b := load(t, dir, firstRecords)
			text := bytes.TrimRight(b, "\x00")
			if zeros := int64(len(b) - len(text)); zeros < c.want || zeros > 2*c.want || int64(len(b)) > max(withMargin(c.limit), int64(len(text))) {
				t.Errorf("%d zeros behind %d bytes, want %d", zeros, len(text), c.want)
			}
			appendN(t, l, 1, 3) // over them
			if r, err := Verify(dir, ""); err != nil || r.Records+r.Tail != int64(len(events))+3 {
				t.Errorf("while it is open: %+v, %v", r, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if b := load(t, dir, firstRecords); bytes.IndexByte(b, 0) >= 0 {
				t.Errorf("zeros in a closed ledger: %d of %d bytes", bytes.Count(b, []byte{0}), len(b))
			}
		})
	}
}

// TestZerosBehindTheRecordsAreNoTornBatch: after a kill the zeros that were written ahead are no reason to say that something was torn; what
// stands in them is.
func TestZerosBehindTheRecordsAreNoTornBatch(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b []byte, end int) []byte // b is the file, its text ends at end
		torn   bool
		refuse bool
	}{
		"as it was": {change: func(b []byte, end int) []byte { return b }},
		"a batch's first pages, without its last": {torn: true, change: func(b []byte, end int) []byte {
			copy(b[end:], `{"index":3,"source":"a"`)
			return b
		}},
		"a batch's last pages, without its first": {torn: true, change: func(b []byte, end int) []byte {
			copy(b[end+8192:], b[bytes.LastIndexByte(b[:end-1], '\n')+1:end])
			return b
		}},
		"a batch without a page in its middle": {torn: true, change: func(b []byte, end int) []byte {
			line := b[bytes.LastIndexByte(b[:end-1], '\n')+1 : end]
			copy(b[end:], bytes.Replace(line, []byte("subject"), make([]byte, 7), 1))
			return b
		}},
		"a byte at the very end": {torn: true, change: func(b []byte, end int) []byte {
			b[len(b)-1] = 'x'
			return b
		}},
		"two batches behind zeros": {refuse: true, change: func(b []byte, end int) []byte {
			line := bytes.Clone(b[bytes.LastIndexByte(b[:end-1], '\n')+1 : end])
			copy(b[end+100:], slices.Concat(line, line))
			return b
		}},
		"more zeros than can be": {refuse: true, change: func(b []byte, end int) []byte { return append(b, make([]byte, withMargin(segmentBytes)+maxTorn)...) }},
		"zeros in a record":      {refuse: true, change: func(b []byte, end int) []byte { clear(b[end/2 : end/2+3]); return b }},
		"all zeros":              {refuse: true, change: func(b []byte, end int) []byte { clear(b); return b }},
	} {
		t.Run(name, func(t *testing.T) {
			l := openTest(t, t.TempDir())
			appendN(t, l, 1, 3)
			if err := l.checkpoint(); err != nil {
				t.Fatal(err)
			}
			dir := dark(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b := load(t, dir, firstRecords)
			end := len(bytes.TrimRight(b, "\x00"))
			if len(b)-end < aheadBytes/2 {
				t.Fatalf("only %d zeros", len(b)-end)
			}
			put(t, dir, firstRecords, c.change(b, end))
			again, err := Open(dir, "test.ward", testKey)
			if c.refuse {
				if !isKind(err, fault.Refused) {
					t.Errorf("taken: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			appendN(t, again, 4, 1)
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			var kinds []string
			if err := ReadDir(dir, func(r Record) bool { kinds = append(kinds, r.Kind); return true }); err != nil {
				t.Fatal(err)
			}
			want := []string{"test.event", "test.event", "test.event", "ledger.torn", "test.event"}
			if !c.torn {
				want = slices.Delete(want, 3, 4)
			}
			if !slices.Equal(kinds, want) {
				t.Errorf("%q", kinds)
			}
			if r, err := Verify(dir, ""); err != nil || r.Records != int64(len(want)) || r.Tail != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestADarkFolderIsRead: a folder that nobody has opened since the kill verifies and is read up to the zeros, or up to what was torn.
func TestADarkFolderIsRead(t *testing.T) {
	l := openTest(t, t.TempDir())
	defer l.Close()
	appendN(t, l, 1, 3)
	dir := dark(t, l)
	b := load(t, dir, firstRecords)
	end := len(bytes.TrimRight(b, "\x00"))
	torn := bytes.Clone(b)
	copy(torn[end+10:], "\"}\n")
	for name, b := range map[string][]byte{"zeros": b, "few zeros": b[:end+5], "torn": torn} {
		put(t, dir, firstRecords, b)
		n := int64(0)
		if err := ReadDir(dir, func(Record) bool { n++; return true }); err != nil || n != 3 {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
		if r, err := Verify(dir, ""); err != nil || r.Records+r.Tail != 3 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestOnlyTheLastSegmentHasZeros: behind an earlier one they are a change like any other.
func TestOnlyTheLastSegmentHasZeros(t *testing.T) {
	dir := manySegments(t, 60)
	first := segmentsOf(t, dir)[0].file
	b := load(t, dir, first)
	if bytes.IndexByte(b, 0) >= 0 {
		t.Fatal("a segment that has ended holds zeros")
	}
	put(t, dir, first, append(b, make([]byte, 100)...))
	if r, err := Verify(dir, ""); !isKind(err, fault.Refused) {
		t.Errorf("found nothing: %+v, %v", r, err)
	}
}

// TestWhoIsAnsweredWhileItClosesIsKept: an Append beside Close is kept or refused, and has an answer.
func TestWhoIsAnsweredWhileItClosesIsKept(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, dir)
	var callers sync.WaitGroup
	acked := make([]uint64, 8)
	begun := make(chan struct{}, len(acked))
	for g := range acked {
		callers.Go(func() {
			source := string(rune('a' + g))
			for seq := uint64(1); ; seq++ {
				if err := l.Append(context.Background(), []wire.Event{{Source: source, Seq: seq, Kind: "x"}}); err != nil {
					if !errors.Is(err, errClosed) {
						t.Error(err)
					}
					return
				}
				if acked[g] = seq; seq == 1 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range acked {
		<-begun
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	kept := map[string]uint64{}
	if err := ReadDir(dir, func(r Record) bool { kept[r.Source] = r.Seq; return true }); err != nil {
		t.Fatal(err)
	}
	for g, n := range acked {
		if source := string(rune('a' + g)); kept[source] != n {
			t.Errorf("%s: acknowledged up to %d, kept up to %d", source, n, kept[source])
		}
	}
	if r, err := Verify(dir, ""); err != nil || r.Tail != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAFolderOfZerosAloneIsEmpty: the power was cut before the first batch's text was on disk.
func TestAFolderOfZerosAloneIsEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := openTest(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	put(t, dir, firstRecords, make([]byte, aheadBytes))
	l := openTest(t, dir)
	defer l.Close()
	if err := l.Read(0, func(r Record) bool { t.Errorf("%+v", r); return true }); err != nil {
		t.Error(err)
	}
	appendN(t, l, 1, 2)
	if n, _ := l.Size(); n != 2 {
		t.Errorf("%d records", n)
	}
}
