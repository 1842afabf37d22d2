package keys

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// benchRing has a real ledger behind it.
func benchRing(b testing.TB) *Ring {
	w := newWorld(b)
	l, err := ledger.Open(filepath.Join(b.TempDir(), "ledger"), "bench/ledger", secret.New(bytes.Repeat([]byte{9}, 32)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	r, err := Open(b.Context(), Config{DB: w.db, Root: w.root, Clock: clock.System{}, Record: func(ctx context.Context, uses []Use) error {
		events := make([]wire.Event, len(uses))
		for i, u := range uses {
			events[i] = wire.Event{
				Source: "control", Time: time.Now(), Kind: "key." + string(u.Op), Subject: u.Service, Object: u.Key, Count: u.Count,
				Detail: map[string]string{"class": u.Class, "table": u.Table, "column": u.Column, "instance": u.Instance},
			}
		}
		return l.Append(ctx, events)
	}})
	if err != nil {
		b.Fatal(err)
	}
	w.define(r, "pii", Encrypt)
	return r
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // can't fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEncrypt reports the CPU of each call, with as many callers at once, through the API of services but without a socket.
func BenchmarkEncrypt(b *testing.B) {
	for _, callers := range []int{1, 32} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("callers=%d/items=%d", callers, batch), func(b *testing.B) {
				r := benchRing(b)
				h := r.Services(func(*http.Request) (Access, error) {
					return Access{Caller: orders, Keys: map[string][]string{"pii": {"encrypt", "decrypt"}}}, nil
				})
				body := benchBody(batch, 100)
				request := httptest.NewRequest("POST", "/v1/keys/pii/encrypt", bytes.NewReader(body))
				run(b, callers, func() {
					q, a := *request, &answer{header: http.Header{}}
					q.Body = io.NopCloser(bytes.NewReader(body))
					if h.ServeHTTP(a, &q); a.status != 0 {
						b.Error(a.status)
					}
				})
			})
		}
	}
}

// BenchmarkEncryptDirectly is the same without JSON.
func BenchmarkEncryptDirectly(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("callers=32/items=%d", batch), func(b *testing.B) {
			r := benchRing(b)
			items := make([]Item, batch)
			for i := range items {
				items[i] = Item{Context: address, Data: make([]byte, 100)}
			}
			run(b, 32, func() {
				if _, err := r.Encrypt(context.Background(), orders, "pii", items); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// answer forgets what is written, so that the recorder isn't what is measured.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header       { return a.header }
func (a *answer) WriteHeader(status int)    { a.status = status }
func (*answer) Write(b []byte) (int, error) { return len(b), nil }

func benchBody(items, size int) []byte {
	type m = map[string]any
	one := m{"context": m{"class": "pii", "table": "orders", "column": "address", "row": "1234567"}, "plaintext": make([]byte, size)}
	var v any = one
	if items > 1 {
		var all []any
		for range items {
			all = append(all, one)
		}
		v = m{"items": all}
	}
	body, _ := json.Marshal(v) // of our own making
	return body
}

func run(b *testing.B, callers int, f func()) {
	f()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	before := cpu()
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkStart opens a database of 10,000 keys and defines them again, as at every start.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	r := w.open()
	all := make([]Definition, 10_000)
	for i := range all {
		all[i] = Definition{Name: label(i), Purpose: Encrypt}
	}
	begin := time.Now()
	w.do(r.Define(b.Context(), all))
	b.Logf("first: %s", time.Since(begin))
	for b.Loop() {
		r := w.open()
		w.do(r.Define(b.Context(), all))
	}
}
