package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/up"
	"github.com/wardhq/ward/internal/wardtest"
)

func TestUpDoesntClaimToBeReadyWhileAServiceFails(t *testing.T) {
	t.Parallel()
	dir, _ := wardtest.Folder(t, `
app: test
gateway: {listen: "127.0.0.1:{{port}}"}
services:
  good:
    run: [./toy]
    env: {NAME: good, GORACE: "atexit_sleep_ms=0"}
    listen: http://:8080
  bad:
    run: [python3, serve.py]
    listen: http://:8080
  job:
    run: ["true"]
    restart: never
`)
	file, log, ready := filepath.Join(dir, "ward.yaml"), &wardtest.Log{}, make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- up.Run(ctx, up.Config{File: file, Out: log, Ready: ready, Load: func() (*plan.Plan, error) { return wardtest.Load(file) }})
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	wardtest.Eventually(t, "the services have started", func() bool { return strings.Contains(log.String(), "started, but not ready: bad;") })
	select {
	case <-ready:
		t.Errorf("it claims to be ready\n%s", log)
	default:
	}
	if err := os.WriteFile(filepath.Join(dir, "serve.py"), []byte("import http.server as h\nh.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wardtest.Eventually(t, "the last service is ready", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
}
