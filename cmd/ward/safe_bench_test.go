package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

// cpu is what processes have used so far (proc_pid_stat(5), fields 14 and 15; a tick is 10 ms).
func cpu(b *testing.B, pids ...int) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, pid := range pids {
		s, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		f := strings.Fields(string(s[strings.LastIndexByte(string(s), ')')+2:]))
		for _, i := range []int{11, 12} {
			n, err := strconv.Atoi(f[i])
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// running is the safe model's application with the processes of control and agent.
func running(b *testing.B) (w *wardtest.World, p up.Paths, control, agent int) {
	b.Helper()
	w = wardtest.Start(b, safeModel, nil)
	p, err := up.FindPaths(w.File)
	if err != nil {
		b.Fatal(err)
	}
	var st up.Status
	if err := p.Up().Call(context.Background(), http.MethodGet, "/v1/status", nil, &st); err != nil {
		b.Fatal(err)
	}
	return w, p, rolePID(b, st, "control"), rolePID(b, st, "agent")
}

// BenchmarkKeysAPI is a service that encrypts through http://ward, with 32 callers: identity by socket, the plan at both ends, the use
// durable in the ledger. Judged by the CPU of control and agent together.
func BenchmarkKeysAPI(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("encrypt-%d", batch), func(b *testing.B) {
			w, _, control, agent := running(b)
			client := wardtest.Client()
			client.Timeout = 5 * time.Minute // one request asks for the whole load
			load := func(n int) {
				q := url.Values{"n": {strconv.Itoa(n)}, "callers": {"32"}, "batch": {strconv.Itoa(batch)}}
				u := "http://orders:8080/load?" + q.Encode()
				resp, err := client.Get(w.URL + "/relay?url=" + url.QueryEscape(u))
				if err != nil {
					b.Fatal(err)
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Fatalf("status %d", resp.StatusCode)
				}
			}
			load(2000)
			before, began := cpu(b, control, agent), time.Now()
			b.ResetTimer()
			load(b.N)
			b.StopTimer()
			used := cpu(b, control, agent) - before
			b.Logf("control %v agent %v", cpu(b, control), cpu(b, agent))
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "op/s")
		})
	}
}

// BenchmarkSecretRead is an administrator's read over the socket, with 32 callers, each read durable in the ledger.
func BenchmarkSecretRead(b *testing.B) {
	_, p, control, _ := running(b)
	admin := p.Admin()
	load := func(n int) {
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := admin.RevealSecret(context.Background(), "session"); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	load(2000)
	before, began := cpu(b, control), time.Now()
	b.ResetTimer()
	load(b.N)
	b.StopTimer()
	b.ReportMetric(float64((cpu(b, control)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "op/s")
}
