package series

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func aBlock() ([]byte, *block) {
	w := newBuilder(false, 50_000, []int64{60_000, 75_000, 90_001})
	w.add(name{"a", Counter}, []int64{1, 2, 3})
	w.add(name{"a/b", Gauge}, []int64{absent, -5, 5})
	w.add(name{"b", Counter}, []int64{absent, absent, 1 << 50})
	b := w.bytes()
	return b, &block{from: 1, to: 1, first: 60_000, last: 90_001, size: int64(len(b))}
}

// TestNoByteOfABlockChangesUnseen flips every bit of every byte, and cuts the file everywhere.
func TestNoByteOfABlockChangesUnseen(t *testing.T) {
	dir := memory(t)
	whole, b := aBlock()
	try := func(content []byte) error {
		if err := os.WriteFile(filepath.Join(dir, b.file()), content, 0o600); err != nil {
			t.Fatal(err)
		}
		b.checked.Store(false)
		b.size = int64(len(content))
		o, err := b.open(dir, &room{})
		if err != nil {
			return err
		}
		defer o.close()
		if _, err := readNames(o.names, len(o.ends)); err != nil {
			return err
		}
		return o.columns(0, [][]int64{make([]int64, 3)})
	}
	if err := try(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for bit := range 8 {
			changed := []byte(string(whole))
			changed[i] ^= 1 << bit
			if err := try(changed); !errors.Is(err, errDamaged) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if err := try(whole[:i]); !errors.Is(err, errDamaged) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}

func TestNamesOfFiles(t *testing.T) {
	_, b := aBlock()
	if got := blockOf(b.file()); got == nil || got.file() != b.file() {
		t.Errorf("%s isn't read", b.file())
	}
	for _, bad := range []string{"", "head", "raw-1-1-2", "raw-1-1-3-2", "raw-2-1-2-3", "raw-1-1-2-3-4", "raw-01-1-2-3", "raw-1-1--2-3", "cooked-1-1-2-3", "raw-1-1-2-99999999999999999999", "raw-1-1-2-3.tmp"} {
		if blockOf(bad) != nil {
			t.Errorf("%q is taken for a block", bad)
		}
	}
}

func FuzzIndex(f *testing.F) {
	w := newBuilder(true, 5, []int64{10, 20, 31})
	w.add(name{"a", Counter}, []int64{1, 2, 3})
	w.add(name{"ab", Gauge}, []int64{1, 2, 3}, []int64{1, 2, 3}, []int64{1, 2, 3}, []int64{1, 2, 3})
	b := w.bytes()
	f.Add(b[headerLen:len(b)-len(w.data)], w.data)
	f.Add([]byte{0, 0, 1, 2, 1, 0}, []byte{})
	f.Fuzz(func(t *testing.T, b, data []byte) {
		x, err := readIndex(b, len(data))
		if err != nil {
			return
		}
		if len(x.times) > maxRows || len(x.ends) > len(b) {
			t.Fatalf("%d rows, %d series of %d bytes", len(x.times), len(x.ends), len(b))
		}
		o := opened{index: x, data: data}
		rows := make([]int64, len(x.times))
		for i := range x.ends {
			_ = o.columns(i, [][]int64{rows})
		}
		names, err := readNames(x.names, len(x.ends))
		if err != nil {
			return
		}
		for i, n := range names {
			if n.series == "" || len(n.series) > MaxName || i > 0 && n.series <= names[i-1].series {
				t.Fatalf("name %q", n.series)
			}
		}
		g := grid{from: 1, step: 7, n: 20}
		for _, s := range g.stretches(x.before, x.times, x.rolled) {
			if s.lo < 0 || s.hi > len(x.times) || s.lo >= s.hi || s.last < 0 || s.first >= g.n || s.first > s.last || s.first < s.last && s.b <= s.a {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func FuzzReplay(f *testing.F) {
	h := head{seq: 7, before: 1000, by: map[string]*column{}}
	old := h.register(name{"old", Counter})
	old.last, old.at = 5, 900
	log := h.opening()
	for i := range 3 {
		_, record, _ := h.plan(int64(2000+i), []Point{{Series: "old", Kind: Counter, Value: float64(9 - i)}, {Series: strings.Repeat("g", i+1), Kind: Gauge, Value: 1.5}}, 100)
		log = append(log, record...)
		h.times = append(h.times, int64(2000+i))
	}
	f.Add(log, false)
	f.Add(log[:len(log)-3], false)
	f.Add(log[recordHeader:], true)
	f.Fuzz(func(t *testing.T, b []byte, wrap bool) {
		if wrap { // so that hostile content gets past the CRC
			b = seal(append(make([]byte, recordHeader), b...))
			b = append(log[:len(log):len(log)], b...)
		}
		h, good := replay(b, 100)
		if good > len(b) || len(h.order) > 100 || len(h.by) != len(h.order) || len(h.times) > maxRows {
			t.Fatalf("%d of %d bytes, %d series, %d rows", good, len(b), len(h.order), len(h.times))
		}
		for i, c := range h.order {
			if c.number != i || h.by[c.series] != c || c.from+len(c.values) > len(h.times) {
				t.Fatalf("%+v", c)
			}
		}
		if h.seq == 0 || len(h.times) == 0 {
			return
		}
		again, end := replay(b[:good], 100)
		if end != good {
			t.Fatalf("what was whole up to %d is whole up to %d", good, end)
		}
		if d := cmp.Diff(h.encode(), again.encode()); d != "" {
			t.Error(d)
		}
	})
}
