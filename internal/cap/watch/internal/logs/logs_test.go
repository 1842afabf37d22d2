package logs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string, l Limits) *Store {
	t.Helper()
	s, err := Open(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t testing.TB, s *Store, lines ...Line) {
	t.Helper()
	if err := s.Append(lines[len(lines)-1].Time, lines); err != nil {
		t.Fatal(err)
	}
}

func line(service string, second int, text string) Line {
	return Line{Service: service, Time: noon.Add(time.Duration(second) * time.Second), Text: text}
}

func find(t testing.TB, s *Store, q Query) Result {
	t.Helper()
	r, err := s.Search(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func texts(r Result) []string {
	out := []string{}
	for _, e := range r.Entries {
		out = append(out, e.Text)
	}
	return out
}

// sealed makes a block of every head.
func sealed(t testing.TB, s *Store) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sv := range s.services {
		if sv.head != nil {
			if err := s.seal(sv); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func TestSearch(t *testing.T) {
	for _, where := range []string{"head", "block", "opened again"} {
		t.Run(where, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Limits{})
			put(t, s,
				line("web", 1, `{"level":"info","msg":"Started","trace_id":"`+traceID+`"}`), line("db", 2, "ERROR disk is full"), line("web", 3, "level=warn msg=slow order=ab12cd34ef"),
				line("web", 4, ""), line("db", 5, "[error] Ünïcode \xff\x00 of dis\u212a and \x1b[31mred"), line("web", 6, "x"+traceID+" is another word"))
			if where != "head" {
				sealed(t, s)
			}
			if where == "opened again" {
				s.Close()
				s = open(t, dir, Limits{})
			}
			for _, c := range []struct {
				name string
				q    Query
				want []int // seconds
			}{
				{"all", Query{}, []int{6, 5, 4, 3, 2, 1}},
				{"of a service", Query{Services: []string{"db", "none"}}, []int{5, 2}},
				{"since and until", Query{Since: noon.Add(2 * time.Second), Until: noon.Add(4 * time.Second)}, []int{3, 2}},
				{"text in any case", Query{Text: "STARTED"}, []int{1}},
				{"part of a word", Query{Text: "tarte"}, []int{1}},
				{"part of an ID", Query{Text: "2cd34e"}, []int{3}},
				{"text beyond ASCII", Query{Text: "Ünïcode"}, []int{5}},
				{"text that is no UTF-8", Query{Text: "\xff\x00"}, []int{5}},
				{"regexp", Query{Regexp: `order=[a-z0-9]+$`}, []int{3}},
				{"regexp minds case", Query{Regexp: `started`}, []int{}},
				{"regexp in any case", Query{Regexp: `(?i)started`}, []int{1}},
				{"regexp with kelvin", Query{Regexp: `(?i)dis\x{212a}`}, []int{5, 2}},
				{"regexp that finds kelvin", Query{Regexp: `(?i)disk`}, []int{5, 2}},
				{"regexp of choices", Query{Regexp: `^(ERROR|level)`}, []int{3, 2}},
				{"regexp of empty lines", Query{Regexp: `^$`}, []int{4}},
				{"level", Query{Level: Warn}, []int{5, 3, 2}},
				{"worse", Query{Level: Error}, []int{5, 2}},
				{"trace is a word", Query{Trace: strings.ToUpper(traceID)}, []int{1}},
				{"all at once", Query{Trace: traceID, Text: "start", Regexp: "info", Level: Info, Services: []string{"web"}}, []int{1}},
				{"limit", Query{Limit: 2}, []int{6, 5}},
				{"after", Query{After: 4}, []int{6, 5}},
				{"none", Query{Text: "disk is full of"}, []int{}},
			} {
				t.Run(c.name, func(t *testing.T) {
					got := []int{}
					for _, e := range find(t, s, c.q).Entries {
						got = append(got, int(e.Time.Sub(noon)/time.Second))
					}
					if diff := cmp.Diff(c.want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
			r := find(t, s, Query{Text: "started"})
			want := []Entry{{Service: "web", Time: noon.Add(time.Second), Level: Info, Trace: traceID, Text: `{"level":"info","msg":"Started","trace_id":"` + traceID + `"}`, Seq: 1}}
			if diff := cmp.Diff(want, r.Entries); diff != "" || r.Last != 6 {
				t.Error(diff, r.Last)
			}
		})
	}
}

func TestBadQuestionsAreRefused(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	for name, q := range map[string]Query{
		"regexp": {Regexp: "("}, "large regexp": {Regexp: "((a{100}){100}){10}"}, "nested": {Regexp: "(x{500}){500}"}, "long regexp": {Regexp: "[a-z]{1000}[a-z]{1000}[a-z]{1000}"}, "long": {Text: strings.Repeat("x", 2000)},
		"trace": {Trace: "abc"}, "limit": {Limit: -1}, "level": {Level: 9},
	} {
		if _, err := s.Search(context.Background(), q); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "../x", strings.Repeat("x", 200), "a\x00"} {
		if err := s.Append(noon, []Line{line(name, 1, "x")}); err == nil {
			t.Errorf("%q became a folder", name)
		}
	}
}

// TestEveryPageComesOnce reads a store by its cursor while more comes, with times that stand still and go back.
func TestEveryPageComesOnce(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		put(t, s, line([]string{"a", "b"}[i%2], rng.IntN(100), fmt.Sprint("line ", i)))
		if rng.IntN(300) == 0 {
			sealed(t, s)
		}
	}
	seen := map[string]bool{}
	q := Query{Limit: 70, Until: noon.Add(time.Hour)}
	for page := 0; ; page++ {
		r := find(t, s, q)
		for i, e := range r.Entries {
			if seen[e.Text] || i > 0 && e.Time.After(r.Entries[i-1].Time) {
				t.Fatalf("page %d: %+v", page, e)
			}
			seen[e.Text] = true
		}
		if r.Next == (Cursor{}) {
			break
		}
		q.Before = r.Next
		put(t, s, line("a", 7200, "later"))
	}
	if len(seen) != 3000 {
		t.Errorf("%d lines came", len(seen))
	}
}

// words are those that searches and lines of the test are made of.
var words = []string{"user", "User", "order", "o", "failed", "fail", "12345678", "1234567", "ab12cd34", "x9", "-", "=", "[", "ERROR", "ß", "\xff", "connection", "conn", " ", ":"}

func phrase(rng *rand.Rand, n int) string {
	var b strings.Builder
	for range 1 + rng.IntN(n) {
		b.WriteString(words[rng.IntN(len(words))])
	}
	return b.String()
}

// TestSearchFindsWhatAScanFinds compares with the simplest search there is; each block holds few lines, so that filters have something to skip.
func TestSearchFindsWhatAScanFinds(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	rng := rand.New(rand.NewPCG(3, 4))
	var all []string
	for i := range 400 {
		all = append(all, phrase(rng, 6))
		put(t, s, line("web", i, all[i]))
		if i%4 == 3 {
			sealed(t, s)
		}
	}
	slices.Reverse(all)
	skipped := 0
	for range 400 {
		q := Query{Text: phrase(rng, 3), Limit: MaxLimit}
		match := func(x string) bool {
			return strings.Contains(string(fold(nil, []byte(x))), string(fold(nil, []byte(q.Text))))
		}
		if rng.IntN(2) == 0 {
			q.Regexp = regexp.QuoteMeta(q.Text) + "+(o|x)?"
			if rng.IntN(2) == 0 {
				q.Regexp = "(?i)" + q.Regexp
			}
			re, err := regexp.Compile(q.Regexp)
			if err != nil {
				continue // of half a letter
			}
			q.Text, match = "", re.MatchString
		}
		want := slices.DeleteFunc(slices.Clone(all), func(x string) bool { return !match(x) })
		r := find(t, s, q)
		if diff := cmp.Diff(want, texts(r)); diff != "" && len(want)+len(r.Entries) > 0 {
			t.Fatalf("%+v: %s", q, diff)
		}
		skipped += r.Skipped
	}
	if skipped == 0 {
		t.Error("no filter ever skipped a block")
	}
}

func TestARareWordSkipsBlocks(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	fill(t, s, "web", 40_000, 1)
	put(t, s, line("web", 50_000, "the zebra of order 77ab99cd12 left trace="+traceID))
	fill(t, s, "web", 40_000, 50_001)
	sealed(t, s)
	blocks := s.Stats().Blocks
	for _, q := range []Query{{Text: "zebra"}, {Regexp: "zeb.a|zebra o"}, {Trace: traceID}, {Text: " 77AB99CD12 "}} {
		r := find(t, s, q)
		if len(r.Entries) != 1 || r.Read > 1+blocks/5 && q.Regexp == "" {
			t.Errorf("%+v: %d lines, %d of %d blocks read", q, len(r.Entries), r.Read, blocks)
		}
	}
	if r := find(t, s, Query{Text: "request"}); r.Read != 1 {
		t.Errorf("a common word was looked for in %d blocks", r.Read)
	}
}

// sample is a line as services print them, with what no compressor foretells.
func sample(rng *rand.Rand, i int) string {
	return fmt.Sprintf(`{"time":"2026-11-22T12:%02d:%02d.%06dZ","level":"info","msg":"request served","method":"GET","path":"/books/%d","status":200,"took_ms":%.3f,"trace_id":"%016x%016x","user":"user-%05d"}`,
		i/60%60, i%60, rng.IntN(1e6), rng.IntN(5000), rng.ExpFloat64()*20, rng.Uint64(), rng.Uint64(), rng.IntN(50_000))
}

func fill(t testing.TB, s *Store, service string, n, second int) {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(second)))
	for i := 0; i < n; i += 1000 {
		var batch []Line
		for j := range min(1000, n-i) {
			l := line(service, second, sample(rng, i+j))
			l.Time = l.Time.Add(time.Duration(i+j) * 10 * time.Microsecond)
			batch = append(batch, l)
		}
		put(t, s, batch...)
	}
}

// TestANoisyServiceTakesFromNobody lets one service print 100,000 lines a second while others have printed little for a week.
func TestANoisyServiceTakesFromNobody(t *testing.T) {
	s := open(t, t.TempDir(), Limits{Keep: 7 * day, Bytes: 4 << 20})
	const hours = 7*24 - 1
	for h := range hours {
		for _, service := range []string{"quiet", "silent"} {
			put(t, s, line(service, h*3600, fmt.Sprintf("hour %d of %s", h, service)))
		}
		if err := s.Compact(noon.Add(time.Duration(h) * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for second := range 3 {
		fill(t, s, "noisy", 100_000, hours*3600+second)
	}
	if err := s.Compact(noon.Add(hours * time.Hour)); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Evicted == 0 || st.Bytes > 4<<20 {
		t.Errorf("%+v", st)
	}
	for _, service := range []string{"quiet", "silent"} {
		r := find(t, s, Query{Services: []string{service}, Limit: MaxLimit})
		if len(r.Entries) != hours {
			t.Errorf("%d of %d lines of %s are left", len(r.Entries), hours, service)
		}
	}
	if r := find(t, s, Query{Services: []string{"noisy"}, Limit: 1}); len(r.Entries) != 1 {
		t.Error("nothing of the noisy one is left")
	}
}

// TestOldLinesGo keeps two days, and what lies in one file with them.
func TestOldLinesGo(t *testing.T) {
	s := open(t, t.TempDir(), Limits{Keep: 2 * day, Bytes: 4 << 20})
	for d := range 6 {
		put(t, s, line("web", d*86400, fmt.Sprint("day ", d)), line([]string{"gone", "web"}[min(d, 1)], d*86400+1, "x"))
		if err := s.Compact(noon.Add(time.Duration(d) * day)); err != nil {
			t.Fatal(err)
		}
	}
	got := texts(find(t, s, Query{Text: "day"}))
	if diff := cmp.Diff([]string{"day 5", "day 4", "day 3", "day 2"}, got); diff != "" {
		t.Error(diff)
	}
	if names, oldest := s.Services(); !slices.Equal(names, []string{"web"}) || !oldest.Equal(noon.Add(2*day)) {
		t.Error(names, oldest)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder of a service without lines stays", err)
	}
}

func TestLongLinesAndEndsInLines(t *testing.T) {
	s := open(t, t.TempDir(), Limits{})
	put(t, s, line("web", 1, strings.Repeat("x", 20<<10)), line("web", 2, "two\nlines\r"))
	if got := texts(find(t, s, Query{})); len(got) != 2 || got[0] != "two lines\r" || len(got[1]) != MaxLine {
		t.Errorf("%.40q", got)
	}
}
