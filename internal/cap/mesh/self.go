package mesh

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"github.com/wardhq/ward/internal/proxy"
)

// keysPath is where a service finds the keys that verify transaction tokens.
const keysPath = "/.well-known/jwks.json"

// Self is what services may ask Ward itself, below http://ward/v1/.
type Self struct {
	// Dial reaches who answers.
	Dial func(context.Context) (net.Conn, error)
	// Target is where a service's request to path leads there; ok is false for what it may not ask.
	Target func(service, method, path string) (target string, ok bool)
}

// selfService answers what services ask Ward itself: it is an engine of its own, because no rule of the plan is about it.
type selfService struct {
	engine *proxy.Engine
	tokens *proxy.Upstream // in this process
}

// selfPeer is an instance that asks.
type selfPeer struct {
	service string
	keys    *proxy.Upstream // at control, for this instance alone: none can take the others' turn; nil for none
}

func (m *Mesh) newSelf() *selfService {
	inside := make(pipes)
	tokens := &http.Server{Handler: m.tokenKeys(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { _ = tokens.Serve(inside) }() // as long as the process, like the mesh
	s := &selfService{tokens: proxy.NewUpstream(proxy.UpstreamConfig{Dial: inside.dial, IdleTimeout: time.Minute, Protocol: proxy.H1})}
	s.engine = proxy.New(proxy.Config{Decide: m.decideSelf, Log: m.config.Log})
	return s
}

// maxSelf bounds the connections that one instance has open to Ward itself; half as many requests are at control at once, and as many
// wait.
const maxSelf = 256

// serveSelf accepts what a service asks Ward itself, until ln is closed.
func (m *Mesh) serveSelf(service string, ln net.Listener) {
	peer := &selfPeer{service: service}
	if c := m.config.Self; c != nil {
		peer.keys = proxy.NewUpstream(proxy.UpstreamConfig{Dial: c.Dial, IdleTimeout: time.Minute, Protocol: proxy.H1, MaxConcurrent: maxSelf / 2})
		defer peer.keys.Close()
	}
	proxy.Accept(netutil.LimitListener(ln, maxSelf), func(c net.Conn) {
		m.wg.Go(func() {
			m.self.engine.ServeConn(context.Background(), c, proxy.ConnInfo{Peer: peer, AllowH1: true, Host: "ward"})
		})
	})
}

// maxTracing bounds the connections on which one instance sends its spans.
const maxTracing = 16

// serveTraces takes a service's own spans, until ln is closed.
func (m *Mesh) serveTraces(service string, ln net.Listener) {
	if m.config.Traces == nil {
		return
	}
	s := &http.Server{
		Handler: m.config.Traces(service), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what a service gets wrong there is its own
	}
	_ = s.Serve(netutil.LimitListener(ln, maxTracing)) // until ln is closed
	s.Close()
}

// decideSelf lets a service ask for the tokens' keys, and for what Config.Self says.
func (m *Mesh) decideSelf(_ context.Context, r *proxy.Request) proxy.Verdict {
	peer := r.Conn.Peer.(*selfPeer)
	if r.Path == keysPath && r.Method == http.MethodGet {
		return proxy.Verdict{Allow: true, Upstream: m.self.tokens}
	}
	if peer.keys != nil && !m.quarantine.holds(&link{caller: peer.service}) {
		if target, ok := m.config.Self.Target(peer.service, r.Method, r.Path); ok {
			return proxy.Verdict{Allow: true, Upstream: peer.keys, Target: target}
		}
	}
	id := m.note(denied{caller: peer.service, target: "ward", port: 80, method: methodOf(&r.Request), path: r.Path, end: "outbound"})
	return proxy.Verdict{DenialID: id, Public: "ward.yaml doesn't let " + peer.service + " do this; see 'ward plan' for what it may do with keys"}
}

// tokenKeys serves the keys that verify transaction tokens.
func (m *Mesh) tokenKeys() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m.users.mu.Lock()
		keys := m.users.keys
		m.users.mu.Unlock()
		b := []byte(`{"keys":[]}`)
		if keys != nil {
			var err error
			if b, err = keys.MarshalJSON(); err != nil {
				m.config.Log.Error("write keys", "error", err)
				http.Error(w, "internal error", http.StatusInternalServerError)
				return
			}
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "max-age=5")
		_, _ = w.Write(b) // the service has gone
	})
}

// pipes is a listener in this process; Dial reaches it.
type pipes chan net.Conn

func (p pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Close implements net.Listener.
func (p pipes) Close() error { close(p); return nil }

// Addr is nowhere.
func (pipes) Addr() net.Addr { return &net.UnixAddr{} }
