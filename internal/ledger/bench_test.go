package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/wire"
)

// BenchmarkAppendOf50 is a durable call of 50 records; cpu-µs/record is what the process took, kernel and all.
func BenchmarkAppendOf50(b *testing.B) {
	l, err := Open(b.TempDir(), "test.ward", testKey)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	events := make([]wire.Event, 50)
	for i := range events {
		events[i] = denial(i)
	}
	before := cpu()
	for b.Loop() {
		if err := l.Append(context.Background(), events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N)/50, "cpu-µs/record")
	b.ReportMetric(float64(b.N)*50/b.Elapsed().Seconds(), "records/s")
}

// denial is what most records are like.
func denial(i int) wire.Event {
	return wire.Event{Source: "agent-0123456789ab", Time: time.Unix(1_790_000_000+int64(i), 123456789).UTC(), Kind: "request.denied", Subject: "web", Object: "payments", Detail: map[string]string{"id": "d-abcdefghij", "path": "/charge", "reason": "undeclared", "method": "GET"}}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLater is what nobody waits for, in calls of 100 as agents send them; until all of it is on disk.
func BenchmarkLater(b *testing.B) {
	l, err := Open(b.TempDir(), "test.ward", testKey)
	if err != nil {
		b.Fatal(err)
	}
	events := make([]wire.Event, 100)
	for i := range events {
		events[i] = denial(i)
		events[i].Kind = "request.allowed"
	}
	before := cpu()
	for b.Loop() {
		if err := l.Later(events); err != nil {
			b.Fatal(err)
		}
		for l.waiting() > maxLater/2 { // as fast as the disk, and no faster: nothing is to be lost
			time.Sleep(time.Millisecond)
		}
	}
	if err := l.Close(); err != nil || l.Status().Dropped > 0 {
		b.Fatal(l.Status(), err)
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N)/100, "cpu-µs/record")
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "records/s")
}

func (l *Ledger) waiting() int {
	l.later.mu.Lock()
	defer l.later.mu.Unlock()
	return l.later.b.size()
}

// million is a ledger of so many records, made once for all benchmarks of a run.
func million(b *testing.B) string {
	b.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprint("ward-ledger-of-a-million-", os.Getpid()))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	l, err := Open(dir, "test.ward", testKey)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		events := make([]wire.Event, 1000)
		for j := range events {
			events[j] = denial(1000*i + j)
		}
		if err := l.Append(context.Background(), events); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkAppendOf50Together is BenchmarkAppendOf50 from eight callers, whose calls share syncs.
func BenchmarkAppendOf50Together(b *testing.B) {
	l, err := Open(b.TempDir(), "test.ward", testKey)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	before := cpu()
	b.SetParallelism(4)
	b.RunParallel(func(p *testing.PB) {
		events := make([]wire.Event, 50)
		for i := range events {
			events[i] = denial(i)
		}
		for p.Next() {
			if err := l.Append(context.Background(), events); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N)/50, "cpu-µs/record")
	b.ReportMetric(float64(b.N)*50/b.Elapsed().Seconds(), "records/s")
}
