package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/wire"
)

// loadVar makes a process of the test binary the load of a benchmark.
const loadVar = "WARD_TEST_LOAD"

type load struct {
	URL     string
	Callers int
	N       int
	Refresh []string // one family per caller; empty: client credentials
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(loadVar); spec != "" {
		var l load
		if err := json.Unmarshal([]byte(spec), &l); err != nil {
			panic(err)
		}
		fmt.Println(l.run())
		return
	}
	os.Exit(m.Run())
}

// run returns how many answers weren't 200.
func (l load) run() int {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.Callers}}
	var all sync.WaitGroup
	bad := make([]int, l.Callers)
	for i := range l.Callers {
		all.Go(func() {
			form := ccForm("resource", "https://api.example", "scope", "read")
			for range l.N / l.Callers {
				if len(l.Refresh) > 0 {
					form = refreshForm(l.Refresh[i])
				}
				req, err := http.NewRequest(http.MethodPost, l.URL+pathToken, strings.NewReader(form.Encode()))
				if err != nil {
					panic(err)
				}
				req.SetBasicAuth("app", appSecret)
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				resp, err := c.Do(req)
				if err != nil {
					panic(err)
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					panic(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					bad[i]++
				}
				if len(l.Refresh) > 0 {
					var t tokens
					if err := json.Unmarshal(b, &t); err != nil {
						panic(err)
					}
					l.Refresh[i] = t.Refresh
				}
			}
		})
	}
	all.Wait()
	n := 0
	for _, b := range bad {
		n += b
	}
	return n
}

// audited has the world's events written to a real ledger, in batches, by one goroutine that ends with the benchmark.
func (w *world) audited(b *testing.B) {
	b.Helper()
	dir := b.TempDir()
	l, err := ledger.Open(dir, "bench", secret.New(bytes.Repeat([]byte{3}, 32)))
	if err != nil {
		b.Fatal(err)
	}
	events := make(chan wire.Event, 4096)
	var all sync.WaitGroup
	all.Go(func() {
		for e := range events {
			batch := []wire.Event{e}
			for len(events) > 0 && len(batch) < 1000 {
				batch = append(batch, <-events)
			}
			if err := l.Append(context.Background(), batch); err != nil {
				b.Error(err)
			}
		}
	})
	var seq uint64
	var mu sync.Mutex
	w.p.Record = func(e wire.Event) {
		mu.Lock()
		seq++
		e.Source, e.Seq = "bench", seq
		mu.Unlock()
		events <- e
	}
	b.Cleanup(func() {
		close(events)
		all.Wait()
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serve has this process serve a load of another, and reports requests per second and per CPU second.
func (w *world) serve(b *testing.B, l load) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	w.p.Routes(mux)
	server := &http.Server{Handler: mux}
	var all sync.WaitGroup
	all.Go(func() { _ = server.Serve(listener) }) // it ends with Close
	defer all.Wait()
	defer func() { _ = server.Close() }()
	l.URL = (&url.URL{Scheme: "http", Host: listener.Addr().String()}).String()
	l.drive(b, func() time.Duration { return cpuTime(b) })
}

// drive runs the load in a process of its own; used is the CPU time of the server.
func (l load) drive(b *testing.B, used func() time.Duration) {
	b.Helper()
	spec, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), loadVar+"="+string(spec)), os.Stderr
	spent, began := used(), time.Now()
	b.ResetTimer()
	out, err := cmd.Output()
	b.StopTimer()
	wall := time.Since(began)
	spent = used() - spent
	if err != nil || strings.TrimSpace(string(out)) != "0" {
		b.Fatalf("load: %s, %v", out, err)
	}
	n := float64(l.N / l.Callers * l.Callers)
	b.ReportMetric(n/spent.Seconds(), "requests/CPU-s")
	b.ReportMetric(n/wall.Seconds(), "requests/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkClientCredentials: ES256, each token with an event in a real ledger.
func BenchmarkClientCredentials(b *testing.B) {
	w := newWorld(b)
	w.live = true
	w.audited(b)
	w.serve(b, load{Callers: 32, N: max(b.N, 32)})
}

// BenchmarkClientCredentialsOfOIDCProvider is the same load at npm oidc-provider, in memory and without audit.
func BenchmarkClientCredentialsOfOIDCProvider(b *testing.B) {
	at, pid := startPeer(b, "https://id.example")
	l := load{URL: at.String(), Callers: 32, N: max(b.N, 32)}
	l.drive(b, func() time.Duration { return cpuOf(b, pid) })
}

// cpuOf is the CPU time of another process, in steps of a hundredth of a second (proc_pid_stat(5), fields 14 and 15).
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var user, system int64
	field := strings.Fields(rest)
	if _, err := fmt.Sscan(field[11]+" "+field[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkRefresh: durable rotations, each with an access and an ID token and an event.
func BenchmarkRefresh(b *testing.B) {
	w := newWorld(b)
	w.live = true
	l := load{Callers: 32, N: max(b.N, 32)}
	for range l.Callers {
		l.Refresh = append(l.Refresh, w.call(pathToken, "app", codeForm(w.code("app"), appRedirect)).text("refresh_token"))
	}
	w.audited(b)
	w.serve(b, l)
}
