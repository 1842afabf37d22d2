package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/proxy"
)

func serveRole(role, arg string) error {
	addr, upstream, _ := strings.Cut(arg, ",")
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	switch role {
	case "upstream":
		return serveUpstream(ln)
	case "ward":
		return serveWard(ln, upstream)
	case "std":
		return serveStd(ln, upstream)
	}
	return fmt.Errorf("no role %q", role)
}

// serveUpstream answers every head with the same 1 KiB.
func serveUpstream(ln net.Listener) error {
	page := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: tiny\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 1024\r\n\r\n%s", bytes.Repeat([]byte("x"), 1024))
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 8192)
			n := 0
			for {
				m, err := c.Read(buf[n:])
				if err != nil {
					return
				}
				if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
					n = 0
					if _, err := c.Write(page); err != nil {
						return
					}
				}
			}
		}()
	}
}

// grants stands for the two tables of a decision: a lookup for each end.
type grants struct {
	mu    sync.RWMutex
	rules map[string]map[string]bool
}

func (g *grants) allow(method, path string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	end := strings.IndexByte(path[1:], '/')
	if end < 0 {
		end = len(path) - 1
	}
	return g.rules[path[:end+1]][method]
}

func serveWard(ln net.Listener, upstream string) error {
	up := proxy.NewUpstream(proxy.UpstreamConfig{Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", upstream)
	}})
	out, in := &grants{rules: map[string]map[string]bool{}}, &grants{rules: map[string]map[string]bool{}}
	for _, g := range []*grants{out, in} {
		for i := range 1000 {
			g.rules[fmt.Sprint("/svc", i)] = map[string]bool{"GET": true}
		}
		g.rules["/api"] = map[string]bool{"GET": true}
	}
	set := []proxy.Header{{Name: "X-Ward-Caller", Value: "spiffe://bench.internal/web"}}
	var count, spent, bytesOut atomic.Int64
	e := proxy.New(proxy.Config{
		Decide: func(_ context.Context, r *proxy.Request) proxy.Verdict {
			if !out.allow(r.Method, r.Path) || !in.allow(r.Method, r.Path) {
				return proxy.Verdict{DenialID: "d"}
			}
			return proxy.Verdict{Allow: true, Upstream: up, Set: set}
		},
		Done: func(r *proxy.Record) {
			count.Add(1)
			spent.Add(int64(r.Took))
			bytesOut.Add(r.Out)
		},
	})
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go e.ServeConn(context.Background(), c, proxy.ConnInfo{AllowH1: true, AllowH2: true})
	}
}

// pool lends buffers to ReverseProxy, as its manual advises.
type pool struct{ p sync.Pool }

func (p *pool) Get() []byte {
	if b, ok := p.p.Get().([]byte); ok {
		return b
	}
	return make([]byte, 32<<10)
}
func (p *pool) Put(b []byte) { p.p.Put(b) }

func serveStd(ln net.Listener, upstream string) error {
	u := &url.URL{Scheme: "http", Host: upstream}
	rp := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(u) },
		BufferPool: &pool{},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, IdleConnTimeout: time.Minute},
	}
	return (&http.Server{Handler: rp, ReadHeaderTimeout: 10 * time.Second}).Serve(ln)
}
