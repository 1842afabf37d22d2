// Command identity floods the sign-in of a running Ward with ten times the passwords that it can check, and measures what
// that does to those who want tokens: latencies of the token and introspection endpoints before and during the flood,
// the answers of the flood, and the memory of control and gateway. Everything goes through the gateway, over TLS.
//
// It measures this machine at this moment; load and server share its cores.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

const (
	port   = 18461
	origin = "https://localhost:18461"
	pages  = "https://id.localhost:18461"
	secret = "7d0c9a4d1c1e4f3fa6b6b1f2b9f5e3c7aa55d3e1f0c94b1"
)

const modelOf = `
app: flooded
gateway: {listen: "127.0.0.1:%d"}
users:
  name: Flooded
  second_factor: optional
  clients: {reports: {secret_sha256: %s, grants: [client_credentials], audiences: ["%s"]}}
services: {web: {run: ./web serve, listen: http://:8080, runtime: go, expose: [{routes: ["GET /**"], to: signed-in}]}}
`

func main() {
	log.SetFlags(0)
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "in") })))
	}
	length := flag.Duration("length", 10*time.Second, "length of a phase")
	times := flag.Int("times", 10, "times the capacity")
	flag.Parse()
	if err := run(*length, *times); err != nil {
		log.Fatal(err)
	}
}

// world is a running Ward.
type world struct {
	dir  string
	ward string
	log  *os.File
}

func (w *world) say(args ...string) ([]byte, error) {
	cmd := exec.Command(w.ward, append(args, "-f", filepath.Join(w.dir, "ward.yaml"))...)
	cmd.Stderr = w.log
	return cmd.Output()
}

func start(dir string) (*world, func(), error) {
	w := &world{dir: dir, ward: filepath.Join(dir, "ward")}
	build := exec.Command("go", "build", "-o", w.ward, "./cmd/ward")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build ward: %w: %s", err, out)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "web"), self, 0o755); err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256([]byte(secret))
	yaml := fmt.Sprintf(modelOf, port, hex.EncodeToString(sum[:]), origin)
	if err := os.WriteFile(filepath.Join(dir, "ward.yaml"), []byte(yaml), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.Setenv("WARD_KEY_FILE", filepath.Join(dir, "key")); err != nil {
		return nil, nil, err
	}
	if w.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		return nil, nil, err
	}
	up := exec.Command(w.ward, "up", "-f", filepath.Join(dir, "ward.yaml"))
	up.Stdout, up.Stderr = w.log, w.log
	if err := up.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() {
		_ = up.Process.Signal(os.Interrupt)
		_ = up.Wait()
	}
	for range 200 {
		if b, _ := os.ReadFile(w.log.Name()); strings.Contains(string(b), "ready in") {
			return w, stop, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	b, _ := os.ReadFile(w.log.Name())
	return nil, nil, fmt.Errorf("ward isn't ready: %s", b)
}

// people imports n people with one password.
func (w *world) people(n int) error {
	var b strings.Builder
	for i := range n {
		line, err := json.Marshal(map[string]any{"email": fmt.Sprintf("p%d@example.org", i), "name": "P", "verified": true, "password_hash": hashOf(password)})
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	file := filepath.Join(w.dir, "people.jsonl")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return err
	}
	out, err := w.say("users", "import", file)
	if err != nil {
		return fmt.Errorf("import: %w: %s", err, out)
	}
	return nil
}

func run(length time.Duration, times int) error {
	dir, err := os.MkdirTemp("", "flooded")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, stop, err := start(dir)
	if err != nil {
		return err
	}
	defer stop()
	w.memory("idle")
	if err := w.people(4000); err != nil {
		return err
	}
	w.memory("4,000 people")

	// Capacity: eight people at a time, one after the other.
	next := new(atomic.Int64)
	began, spent := time.Now(), w.cpu()
	good := signInFor(length, 8, next)
	capacity := float64(len(good)) / time.Since(began).Seconds()
	fmt.Printf("password sign-ins, 8 at a time: %d, %.1f/s, %.1f per CPU-second of control and gateway; p50 %s p99 %s\n", len(good), capacity,
		float64(len(good))/(w.cpu()-spent).Seconds(), percentile(good, 50), percentile(good, 99))
	alone := signInFor(length, 1, next)
	fmt.Printf("one at a time: p50 %s p99 %s\n", percentile(alone, 50), percentile(alone, 99))
	w.memory(fmt.Sprintf("%d sessions", next.Load()))

	quiet := tokens(length)
	fmt.Printf("quiet: %s\n", quiet)
	rate := int(capacity * float64(times))
	ready := prepare(rate*int(length.Seconds()), next)
	fmt.Printf("%d sign-ins stand before their password\n", len(ready))
	w.memory("before the flood")
	ended := make(chan string)
	go func() { ended <- flood(ready, rate) }()
	during := tokens(length)
	w.memory("in the flood")
	fmt.Printf("flood of %d/s: %s\n", rate, <-ended)
	fmt.Printf("in the flood: %s\n", during)
	w.memory("after the flood")
	return nil
}

// resolve finds every name that ends in localhost on this machine, as browsers do.
func resolve(local net.IP) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: local}}
		return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}
}
