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
	if err := try(append(whole, 0)); !errors.Is(err, errDamaged) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestHostileColumns(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                {},
		"too many rows":          {6, 0, 0},
		"rows without end":       {255, 255, 255, 255, 255, 255, 255, 255, 255, 127},
		"an empty run":           {1, 0, 4, 0, 0},
		"no numbers":             {5},
		"a strange predictor":    {5, 3, 0},
		"a strange coding":       {5, 3 << 2, 0},
		"a strange scale":        {5, 7 << 4, 0},
		"a row behind the last":  {5, sparse << 2, 0, 1, 5, 1},
		"and by a second step":   {5, sparse << 2, 0, 2, 4, 1, 1, 1},
		"more than all rows":     {5, sparse << 2, 0, 6, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1},
		"a row without a number": {5, sparse << 2, 0, 1, 4},
		"no bits":                {5, rice << 2, 0, 1},
		"numbers of 41 bits":     append([]byte{5, rice << 2, 0, maxRice + 1}, make([]byte, 100)...),
	} {
		if rest, err := readColumn(b, make([]int64, 5)); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v, rest %v", name, err, rest)
		}
	}
}

// TestHostileRecords puts records with a right CRC behind a good log of one counter: none of them is taken, nor what follows.
func TestHostileRecords(t *testing.T) {
	h := head{seq: 1, by: map[string]*column{}}
	_, first, _ := h.plan(1000, []Point{counter("c", 5)}, 10)
	begin := append((&head{seq: 1}).opening(), first...)
	record := func(b ...byte) []byte { return seal(append(make([]byte, recordHeader), b...)) }
	at := string([]byte{0xa0, 0x1f}) // 2000
	for name, content := range map[string]string{
		"a second opening":      "\x00\x01\x00\x00",
		"no time":               "\x01",
		"no later time":         "\x01\x02\x00",
		"a series before all":   "\x01" + at + "\x01\x01\x00",
		"a series behind all":   "\x01" + at + "\x01\x04\x00",
		"a series twice":        "\x01" + at + "\x02\x00\x02\x01\x02",
		"a new one twice":       "\x01" + at + "\x01\x02\x01\x01c\x02",
		"a new one of no kind":  "\x01" + at + "\x01\x02\x03\x01d\x02",
		"a new one of no name":  "\x01" + at + "\x01\x02\x01\x00\x02",
		"more than it tells":    "\x01" + at + "\x00\x00",
		"fewer than it tells":   "\x01" + at + "\x09\x00\x02",
		"another kind of thing": "\x02" + at + "\x00",
	} {
		log := append(append(begin[:len(begin):len(begin)], record([]byte(content)...)...), record([]byte("\x01"+at+"\x00")...)...)
		h, good := replay(log, 10)
		if good != len(begin) || len(h.times) != 1 || len(h.order) != 1 || h.by["c"] == nil {
			t.Errorf("%s: %d bytes instead of %d, %d rows, %d series", name, good, len(begin), len(h.times), len(h.order))
		}
	}
	log := begin
	for i := range maxRows + 10 {
		_, r, _ := (&head{by: map[string]*column{}}).plan(int64(1001+i), nil, 10)
		log = append(log, r...)
	}
	if h, good := replay(log, 10); len(h.times) != maxRows || good == len(log) {
		t.Errorf("%d rows", len(h.times))
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
