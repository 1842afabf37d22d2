package search

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

var (
	key   = secret.New(bytes.Repeat([]byte{7}, secret.KeySize))
	start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
)

// event is like what a ledger holds, the n-th of its time.
func event(r *rand.Rand, n int, pad string) wire.Event {
	e := wire.Event{Source: "agent-0123456789ab", Time: start.Add(time.Duration(n) * time.Second), Kind: "request.denied", Subject: fmt.Sprint("svc", r.IntN(12)), Object: fmt.Sprint("svc", r.IntN(12))}
	e.Detail = map[string]string{"id": fmt.Sprintf("d-%06d", r.IntN(500)), "path": "/charge", "pad": pad}
	switch r.IntN(40) {
	case 0:
		e = wire.Event{Source: "control", Time: e.Time, Kind: "certificate.issued", Subject: "control", Object: "spiffe://test.ward/svc/" + e.Subject}
	case 1:
		e.Kind, e.Detail["trace"] = "request.allowed", fmt.Sprintf("%032x", n)
	case 2:
		e.Detail["path"] = `/a"b\<ü>` // what JSON escapes
	case 3:
		e.Subject = "odd \"name\""
	case 4:
		e.Time = e.Time.Add(-time.Hour) // came late
	}
	return e
}

func fill(t testing.TB, n int, pad string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.TempDir(), "test.ward", key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; {
		var events []wire.Event
		for range min(1000, n-i) {
			events = append(events, event(r, i, pad))
			i++
		}
		if err := l.Append(context.Background(), events); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// queries are of every kind.
func queries() map[string]Query {
	return map[string]Query{
		"all":                     {},
		"kind":                    {Kind: "certificate.issued"},
		"kinds that begin so":     {Kind: "request"},
		"no such kind":            {Kind: "request.den"},
		"service":                 {Service: "svc3"},
		"subject":                 {Subject: "svc3"},
		"who and whom":            {Subject: "svc3", Object: "svc11"},
		"subject with quotes":     {Subject: `odd "name"`},
		"time":                    {Since: start.Add(5000 * time.Second), Until: start.Add(5060 * time.Second)},
		"late ones too":           {Until: start.Add(10 * time.Second)},
		"denial":                  {ID: "d-000123"},
		"trace":                   {ID: fmt.Sprintf("%032x", 0)},
		"text":                    {Text: "svc7"},
		"text that JSON escapes":  {Text: `/a"b\<ü>`},
		"text of an index":        {Text: `"index"`},
		"from":                    {From: 6000, Kind: "request.allowed"},
		"newest":                  {Newest: true, Kind: "certificate"},
		"a few":                   {Limit: 7, Subject: "svc1"},
		"the newest few":          {Limit: 7, Newest: true, Service: "svc1"},
		"everything that matches": {Kind: "request.denied", Subject: "svc1", Object: "svc2", Since: start, Text: "charge", From: 1, Limit: 100},
	}
}

// slowly is what searches must find, by reading everything.
func slowly(t *testing.T, dir string) map[string][]int64 {
	t.Helper()
	out, all := map[string][]int64{}, queries()
	if err := ledger.ReadDir(dir, func(r ledger.Record) bool {
		for name, q := range all {
			if q.Match(&r) {
				out[name] = append(out[name], r.Index)
			}
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for name, q := range all {
		if q.Newest {
			slices.Reverse(out[name])
		}
		if q.Limit > 0 && len(out[name]) > q.Limit {
			out[name] = out[name][:q.Limit]
		}
	}
	return out
}

func quickly(t *testing.T, s *Searcher, q Query) []int64 {
	t.Helper()
	var out []int64
	if err := s.Search(t.Context(), q, func(r ledger.Record) bool { out = append(out, r.Index); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

func dirOf(l *ledger.Ledger) string { return filepath.Dir(l.Parts()[0].Path) }

// TestIndexHidesNothing: with an index, without one, and with one that was forged, a search finds what reading everything finds.
func TestIndexHidesNothing(t *testing.T) {
	l := fill(t, 9000, strings.Repeat("x", 4500))
	s, dir := New(l), dirOf(l)
	if n := len(l.Parts()); n < 3 {
		t.Fatalf("%d segments", n)
	}
	want := slowly(t, dir)
	if len(want["who and whom"]) == 0 || len(want["subject with quotes"]) == 0 || len(want["text that JSON escapes"]) == 0 || len(want["trace"])+len(want["denial"]) == 0 {
		t.Fatal("the records aren't what this test wants")
	}
	part := l.Parts()[0]
	empty := &index{first: part.First, bytes: part.Bytes, parties: map[who][]uint64{}, others: []uint64{0}}
	good, err := build(&part)
	if err != nil {
		t.Fatal(err)
	}
	second := l.Parts()[1]
	foreign, err := build(&second)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good.blocks { // the right blocks, and nothing in them
		empty.blocks = append(empty.blocks, block{at: good.blocks[i].at, end: -1})
	}
	noMAC := func([]byte) []byte { return make([]byte, macSize) }
	stale := *good
	stale.bytes--
	for name, forge := range map[string]func() []byte{
		"missing":                nil,
		"as it was made":         func() []byte { return good.marshal(l.IndexMAC) },
		"says that there's none": func() []byte { return empty.marshal(noMAC) },
		"of another state":       func() []byte { return stale.marshal(l.IndexMAC) },
		"of another segment":     func() []byte { return foreign.marshal(l.IndexMAC) },
		"cut":                    func() []byte { b := good.marshal(l.IndexMAC); return b[:len(b)/2] },
	} {
		all, _ := filepath.Glob(filepath.Join(dir, "index-*"))
		for _, path := range all {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if forge != nil {
			if err := os.WriteFile(indexFile(&part), forge(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for query, q := range queries() {
			if forge != nil && len(want[query]) > 1000 {
				continue // it reads nearly everything anyway
			}
			if d := cmp.Diff(want[query], quickly(t, s, q)); d != "" {
				t.Errorf("index %s, query %q: %s", name, query, d)
			}
		}
	}
}

func TestFolderOfALedgerThatIsntOpen(t *testing.T) {
	dir := dirOf(fill(t, 3000, ""))
	want := slowly(t, dir)
	for name, q := range queries() {
		var got []int64
		if err := Folder(dir, q, func(r ledger.Record) bool { got = append(got, r.Index); return true }); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want[name], got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestMorePartiesThanAreToldApart(t *testing.T) {
	l, err := ledger.Open(t.TempDir(), "test.ward", key)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var events []wire.Event
	for i := range maxParties + 3000 {
		events = append(events, wire.Event{Source: "a", Seq: uint64(i + 1), Kind: "x", Subject: fmt.Sprint("s", i)})
	}
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	p := l.Parts()[0]
	p.Sealed = true
	x, err := build(&p)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, maxParties - 1, maxParties, maxParties + 2999} {
		if blocks := x.wanted(&Query{Subject: fmt.Sprint("s", n)}); !blocks[n/ledger.BlockRecords] {
			t.Errorf("subject %d isn't looked for in its block", n)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, q := range queries() {
		f.Add(q.Values().Encode())
	}
	f.Add("since=yesterday&limit=-1")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		q, err := ParseQuery(v)
		if err != nil {
			return
		}
		again, err := ParseQuery(q.Values())
		if err != nil || !again.Since.Equal(q.Since) || !again.Until.Equal(q.Until) {
			t.Fatalf("%+v, %v", again, err)
		}
		again.Since, again.Until = q.Since, q.Until
		if d := cmp.Diff(q, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzParse(f *testing.F) {
	p := ledger.Part{First: 0, End: 300, Bytes: 9, Sealed: true}
	x := &index{bytes: 9, blocks: make([]block, 2), parties: map[who][]uint64{{"a", "b", "c"}: {1}}, others: []uint64{0}}
	open := func([]byte) []byte { return make([]byte, macSize) } // a stranger can't make the right one: let the fuzzer pass
	f.Add(x.marshal(open))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := parse(b, &p, open); err == nil {
			x.wanted(&Query{Kind: "a"})
		}
	})
}

// BenchmarkMillion searches a million records, most of them denials between twelve services.
func BenchmarkMillion(b *testing.B) {
	l := fill(b, 1_000_000, "")
	s := New(l)
	from := time.Now()
	if err := s.Refresh(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d segments indexed in %v", len(l.Parts())-1, time.Since(from))
	middle := start.Add(500_000 * time.Second)
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"newest 100", Query{Newest: true, Limit: 100}},
		{"kind, newest 100", Query{Kind: "certificate.issued", Newest: true, Limit: 100}},
		{"who and whom, newest 100", Query{Subject: "svc3", Object: "svc4", Newest: true, Limit: 100}},
		{"a minute in the middle", Query{Since: middle, Until: middle.Add(time.Minute)}},
		{"a trace", Query{ID: fmt.Sprintf("%032x", 777_777)}},
		{"a denial that never was", Query{ID: "d-999999x"}},
		{"nobody", Query{Subject: "nobody"}},
		{"text of a kind in an hour", Query{Kind: "request", Text: "nothing says this", Since: middle, Until: middle.Add(time.Hour)}},
		{"text alone, not there", Query{Text: "nothing says this"}},
		{"all of one pair", Query{Subject: "svc3", Object: "svc4"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = 0
				if err := s.Search(context.Background(), c.q, func(ledger.Record) bool { n++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "found")
		})
	}
}
