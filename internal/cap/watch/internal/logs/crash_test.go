package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// only is the one file that matches in a folder of a service.
func only(t testing.TB, dir, pattern string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "web", pattern))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return all[0]
}

// TestATornHeadIsCutAndSaid cuts a head at every byte, as kill -9 in the middle of a write would.
func TestATornHeadIsCutAndSaid(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	ends := map[int64]int{0: 0}
	for i := range 5 {
		put(t, s, line("web", i, fmt.Sprint("line ", i)))
		ends[s.services["web"].head.size] = i + 1
	}
	s.Close()
	path := only(t, dir, headPrefix+"*")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for n := range int64(len(whole) + 1) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, noon, noon); err != nil {
			t.Fatal(err)
		}
		if i, ok := ends[n]; ok {
			kept = i
		}
		_, isWhole := ends[n]
		s := open(t, dir, Limits{})
		r := find(t, s, Query{})
		gaps := len(r.Entries) - kept
		if isWhole && gaps != 0 || !isWhole && (gaps != 1 || r.Entries[0].Level != Gap || s.Stats().Cut == 0) {
			t.Fatalf("cut at %d: %d lines are left, want %d; %+v", n, len(r.Entries), kept, s.Stats())
		}
		put(t, s, line("web", 9, "goes on"))
		if got := texts(find(t, s, Query{Limit: 1})); got[0] != "goes on" {
			t.Fatalf("cut at %d: %q", n, got)
		}
		s.Close()
		heads, _ := filepath.Glob(filepath.Join(dir, "web", headPrefix+"*"))
		for _, h := range heads {
			os.Remove(h)
		}
	}
}

// TestACrashWhileABlockIsMade has the head still there, and of the block any part.
func TestACrashWhileABlockIsMade(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	put(t, s, line("web", 0, "before"))
	sealed(t, s)
	put(t, s, line("web", 1, "one"), line("web", 2, "two"))
	head := s.services["web"].head.f.Name()
	lines, err := os.ReadFile(head)
	if err != nil {
		t.Fatal(err)
	}
	first := s.services["web"].segments[0].size
	sealed(t, s)
	s.Close()
	path := only(t, dir, "*"+segmentSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zeros := append(slices.Clone(whole[:len(whole)-5]), 0, 0, 0, 0, 0)
	for n := first; n <= int64(len(whole))+1; n++ {
		b := zeros
		if n <= int64(len(whole)) {
			b = whole[:n]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(head, lines, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Limits{})
		r := find(t, s, Query{})
		if got := texts(r); !slices.Equal(got, []string{"two", "one", "before"}) || len(r.Unread) != 0 {
			t.Fatalf("cut at %d: %q %v", n, got, r.Unread)
		}
		s.Close()
	}
}

// TestDamageIsTold changes each byte of a block in the middle: no line is ever another one, and what is missing is said.
func TestDamageIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	var ends []int64
	for i := range 3 {
		put(t, s, line("web", i, fmt.Sprint("12345678 of line ", i)))
		sealed(t, s)
		ends = append(ends, s.services["web"].segments[0].size)
	}
	s.Close()
	path := only(t, dir, "*"+segmentSuffix)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"12345678 of line 2", "12345678 of line 1", "12345678 of line 0"}
	told := 0
	for at := ends[0]; at < ends[1]; at++ {
		b := slices.Clone(whole)
		b[at] ^= 0xff
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Limits{})
		for _, q := range []Query{{}, {Text: "12345678 of"}, {Text: " 12345678 "}, {Since: noon.Add(time.Second), Until: noon.Add(2 * time.Second)}} {
			r := find(t, s, q)
			left := slices.DeleteFunc(slices.Clone(want), func(x string) bool {
				return !slices.Contains(texts(r), x)
			})
			if !slices.Equal(texts(r), left) {
				t.Fatalf("damage at %d: %q", at-ends[0], texts(r))
			}
			if q.Text == " 12345678 " {
				continue
			}
			if found := slices.Contains(left, want[1]); !found && len(r.Unread) == 0 {
				t.Fatalf("damage at %d hides a line from %+v", at-ends[0], q)
			} else if !found {
				told++
			}
		}
		s.Close()
	}
	if told == 0 {
		t.Error("nothing was ever damaged")
	}
}

func TestADamagedFilterHidesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	put(t, s, line("web", 0, "the connection of 12345678 ends"))
	sealed(t, s)
	s.Close()
	path := only(t, dir, "*"+segmentSuffix)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[headerLen : headerLen+minFilter])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := texts(find(t, open(t, dir, Limits{}), Query{Text: "connection of 12345678 "})); len(got) != 1 {
		t.Error("a line is hidden")
	}
}

// TestADamagedHeadIsCut changes each byte of a head: what is left are its lines as far as they are whole, and that some were lost.
func TestADamagedHeadIsCut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Limits{})
	for i := range 3 {
		put(t, s, line("web", i, fmt.Sprint("line ", i)))
	}
	s.Close()
	path := only(t, dir, headPrefix+"*")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := slices.Clone(whole)
		b[at] ^= 0xff
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Limits{})
		r := find(t, s, Query{})
		gaps := 0
		for _, e := range r.Entries {
			if e.Level == Gap {
				gaps++
			} else if !slices.Contains([]string{"line 0", "line 1", "line 2"}, e.Text) {
				t.Fatalf("damage at %d: %q", at, e.Text)
			}
		}
		if gaps != 1 || s.Stats().Cut == 0 {
			t.Fatalf("damage at %d isn't said: %q", at, texts(r))
		}
		s.Close()
		heads, _ := filepath.Glob(filepath.Join(dir, "web", headPrefix+"*"))
		for _, h := range heads {
			os.Remove(h)
		}
	}
}

func TestASearchEndsWithItsContext(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	fill(t, s, "web", 20_000, 1)
	sealed(t, s)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r, err := s.Search(ctx, Query{Text: "request"})
	if err != nil || r.Unsearched.IsZero() || len(r.Entries) != 0 {
		t.Errorf("%+v %v", r, err)
	}
	ctx, stop = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	heavy := Query{Regexp: `([a-z0-9":,/.{}-]*){30}([a-z0-9":,/.{}-]*){30}[#@]`}
	began := time.Now()
	r, err = s.Search(ctx, heavy)
	if took := time.Since(began); err != nil || r.Unsearched.IsZero() || took > 5*time.Second {
		t.Errorf("a heavy regexp took %s: %+v %v", took, r, err)
	}
	q := Query{Limit: 10, Until: noon.Add(time.Hour)}
	all := find(t, s, q)
	q.Before = r.Next
	if rest := find(t, s, q); len(rest.Entries) != 10 || rest.Entries[0].Seq != all.Entries[0].Seq {
		t.Error("what wasn't looked at doesn't come with the next question")
	}
}

// FuzzRead reads segments and heads that somebody has changed.
func FuzzRead(f *testing.F) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPart))
	if err != nil {
		f.Fatal(err)
	}
	b := newBuilder(2)
	b.add(noon.UnixMicro(), 1, Error, 0, []byte("ERROR x"))
	b.add(noon.UnixMicro()+5, 3, Unknown, 1, []byte(""))
	f.Add(b.encode(e))
	f.Add([]byte("x"))
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, raw []byte) {
		eachLine(raw, func(int64, uint64, Level, int, []byte) {})
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := openSegment("x", path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var c content
		for _, k := range g.blocks {
			if k.bad.Load() {
				continue
			}
			if x, err := k.filter(file); err == nil {
				x.mayHold(keysOf([]byte("connection 12345678 "), false))
			}
			if k.read(file, d, &c) == nil && (len(c.at) != k.lines || len(c.text) == 0) {
				t.Errorf("%d of %d lines", len(c.at), k.lines)
			}
		}
	})
}
