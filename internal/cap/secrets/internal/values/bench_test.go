package values

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
)

// withLedger is a world whose ledger is the real one, on disk.
func withLedger(b *testing.B) (*world, *Store) {
	w := newWorld(b, sqlite(b))
	l, err := ledger.Open(filepath.Join(b.TempDir(), "ledger"), "test.ward", w.root)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	s, err := Open(b.Context(), Config{DB: w.db, Root: w.root, Clock: w.clock(), Record: l.Append})
	if err != nil {
		b.Fatal(err)
	}
	return w, s
}

// cpu is the time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs op from 32 callers for each core, and reports its rate and its CPU.
func measure(b *testing.B, op func() error) {
	b.SetParallelism(32)
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "µs-cpu/op")
}

func BenchmarkSetDurable(b *testing.B) {
	_, s := withLedger(b)
	names := make(chan string, 100)
	for i := range cap(names) {
		names <- fmt.Sprintf("secret-%d", i)
	}
	measure(b, func() error {
		name := <-names
		_, err := s.Set(b.Context(), "ann", Setting{Name: name, Value: text("0123456789abcdef0123456789abcdef")})
		names <- name
		return err
	})
}

func BenchmarkGetAudited(b *testing.B) {
	w, s := withLedger(b)
	w.set(s, "a", "0123456789abcdef0123456789abcdef", Current)
	measure(b, func() error {
		_, err := s.Get(b.Context(), Query{Name: "a", Who: "orders", Why: "delivery"})
		return err
	})
}

func BenchmarkGetAuditedAlone(b *testing.B) {
	w, s := withLedger(b)
	w.set(s, "a", "0123456789abcdef0123456789abcdef", Current)
	before := cpu(b)
	for b.Loop() {
		if _, err := s.Get(b.Context(), Query{Name: "a", Who: "orders", Why: "delivery"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "µs-cpu/op")
}

// BenchmarkStartWith100000 is what 100,000 secrets add to a start: opening, and the same plan again.
func BenchmarkStartWith100000(b *testing.B) {
	w := newWorld(b, sqlite(b))
	defs := make([]Definition, 100_000)
	for i := range defs {
		defs[i] = Definition{Name: fmt.Sprintf("secret-%d", i), Generate: "password", Rotate: 24 * time.Hour}
	}
	if err := w.open().Define(b.Context(), defs); err != nil {
		b.Fatal(err)
	}
	var s *Store
	for b.Loop() {
		s = w.open()
		if err := s.Define(b.Context(), defs); err != nil {
			b.Fatal(err)
		}
	}
	for what, do := range map[string]func() error{
		"ms-one-more": func() error {
			return s.Define(b.Context(), append(defs, Definition{Name: "one-more", Generate: "password"}))
		},
		"ms-list": func() error { _, err := s.List(b.Context()); return err },
		"ms-each": func() error {
			return s.Each(b.Context(), "b", "b", func(string, Stage, secret.Bytes) error { return nil })
		},
	} {
		at := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(at).Milliseconds()), what)
	}
}
