// Package postgres starts real PostgreSQL servers for tests: on a Unix socket in a
// folder of their own, reachable by nobody else, and gone with the test.
//
// It guarantees durable commits, as in production. Without PostgreSQL a test skips, and
// fails in CI.
package postgres

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wardtest/need"
)

// Server is a PostgreSQL server.
type Server struct {
	dir   string
	count atomic.Int64
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, func(string) []string { return []string{"-c", "listen_addresses="} })
}

// start makes a folder with an empty server, lets prepare change it and say how to start it, and does.
func start(t testing.TB, prepare func(dir string) []string) *Server {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is well-formed
	if len(bins) == 0 {
		need.Missing(t, "Debian's PostgreSQL isn't installed")
	}
	bin := bins[len(bins)-1]
	dir, err := os.MkdirTemp("/tmp", "ward-pg") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		const nobody = 65534 // PostgreSQL won't run as root
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(filepath.Dir(bin), "initdb"), "-D", data, "-A", "trust", "-U", "ward", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	run(t, bin, dir, attr, prepare(dir)...)
	return &Server{dir: dir}
}

// run starts the server, and returns when it answers.
func run(t testing.TB, bin, dir string, attr *syscall.SysProcAttr, args ...string) {
	t.Helper()
	server := exec.Command(bin, append([]string{"-D", filepath.Join(dir, "data"), "-k", dir, "-c", "max_connections=200"}, args...)...)
	server.Dir, server.SysProcAttr = dir, attr
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	var said strings.Builder
	var reader sync.WaitGroup
	reader.Go(func() {
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				ready <- true
				break
			}
			fmt.Fprintln(&said, lines.Text())
		}
		for lines.Scan() {
		}
		close(ready)
	})
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown; it may be gone
		reader.Wait()
		_ = server.Wait() // how it ended doesn't matter
	})
	if !<-ready {
		t.Fatalf("PostgreSQL doesn't start:\n%s", said.String())
	}
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) secret.Bytes {
	t.Helper()
	name := fmt.Sprintf("t%d", s.count.Add(1))
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return secret.New([]byte(s.url(name)))
}

func (s *Server) url(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {s.dir}, "user": {"ward"}, "sslmode": {"disable"}}.Encode()
}
