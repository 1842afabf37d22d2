package logs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkAppend keeps lines as they come: batches of 400 of ten services.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), Limits{})
	rng := rand.New(rand.NewPCG(1, 1))
	var text []string
	for i := range 100_000 {
		text = append(text, sample(rng, i))
	}
	batch := make([]Line, 400)
	bytes, n := 0, 0
	b.ResetTimer()
	for b.Loop() {
		for i := range batch {
			batch[i] = Line{Service: fmt.Sprint("s", i%10), Time: noon.Add(time.Duration(n) * time.Microsecond), Text: text[n%len(text)]}
			bytes += len(batch[i].Text) + 1
			n++
		}
		if err := s.Append(noon, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
}

// BenchmarkSearch looks through 1 GB of text. WARD_BENCH_LOGS names a folder where text and store stay, for other programs and the next run.
func BenchmarkSearch(b *testing.B) {
	dir := os.Getenv("WARD_BENCH_LOGS")
	if dir == "" {
		b.Skip("WARD_BENCH_LOGS names no folder")
	}
	s := open(b, filepath.Join(dir, "store"), Limits{Bytes: 4 << 30})
	if s.Stats().Blocks == 0 {
		corpus(b, s, filepath.Join(dir, "raw.log"))
	}
	st, err := os.Stat(filepath.Join(dir, "raw.log"))
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"newest", Query{}},
		{"rare word", Query{Text: "zebra"}},
		{"rare part of a word", Query{Text: "ebr"}},
		{"trace", Query{Trace: traceID}},
		{"common word, newest 100", Query{Text: "served"}},
		{"every error", Query{Level: Error, Limit: MaxLimit}},
		{"regexp with a word", Query{Regexp: `zebra [0-9]+ left`}},
		{"regexp without", Query{Regexp: `[0-9]{9} [a-z]+`}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var r Result
			for b.Loop() {
				if r, err = s.Search(context.Background(), c.q); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(r.Entries)), "found")
			b.ReportMetric(float64(r.Read), "read")
			b.ReportMetric(float64(r.Skipped), "skipped")
			b.ReportMetric(float64(s.Stats().Bytes)/float64(st.Size()), "bytes/byte")
		})
	}
}

// corpus is 1 GB of ten services' lines, with three rare ones in them.
func corpus(b *testing.B, s *Store, path string) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	batch := make([]Line, 0, 4000)
	for n, i := int64(0), 0; n < 1<<30; i++ {
		text := sample(rng, i)
		switch {
		case i%1_500_000 == 700_000:
			text = "the zebra 4711 left trace_id=" + traceID
		case i%10_000 == 5000:
			text = "ERROR can't reach the database"
		}
		n += int64(len(text)) + 1
		batch = append(batch, Line{Service: fmt.Sprint("s", rng.IntN(10)), Time: noon.Add(time.Duration(i) * time.Millisecond), Text: text})
		if len(batch) == cap(batch) {
			for _, l := range batch {
				if _, err := f.WriteString(l.Text + "\n"); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Append(batch[0].Time, batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}
