package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/h1"
	"github.com/wardhq/ward/internal/proxy/internal/pace"
	"github.com/wardhq/ward/internal/proxy/internal/page"
)

// tlsConn is what is asked of a TLS connection.
type tlsConn interface {
	HandshakeContext(context.Context) error
	ConnectionState() tls.ConnectionState
}

// pingAfter is the silence after which an HTTP/2 peer has to prove that it lives.
const pingAfter = 30 * time.Second

func (e *Engine) startH2() {
	e.h2 = &http2.Server{
		MaxConcurrentStreams: uint32(e.lim.Streams),
		IdleTimeout:          e.lim.Idle,
		ReadIdleTimeout:      pingAfter,
		WriteByteTimeout:     e.lim.BodyIdle,
	}
	e.h2base = &http.Server{
		MaxHeaderBytes: e.lim.HeadBytes,
		ErrorLog:       slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	if err := http2.ConfigureServer(e.h2base, e.h2); err != nil {
		panic("proxy: configure HTTP/2: " + err.Error()) // only a TLS config could be wrong, and there is none
	}
}

func (u *Upstream) transports() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return u.dial(ctx) }
	u.h1t = &http.Transport{
		DialContext:            dial,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        u.cfg.IdleTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
	u.h2t = &http2.Transport{
		// The scheme is "http" whatever Dial does: it does TLS, if any.
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, n, a string, _ *tls.Config) (net.Conn, error) {
			return dial(ctx, n, a)
		},
		DisableCompression: true,
		IdleConnTimeout:    u.cfg.IdleTimeout,
		ReadIdleTimeout:    pingAfter,
		MaxHeaderListSize:  64 << 10,
	}
}

func (e *Engine) serveH2(ctx context.Context, s *serving, nc net.Conn) {
	e.h2.ServeConn(nc, &http2.ServeConnOpts{
		Context:    ctx,
		BaseConfig: e.h2base,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			(&stream{e: e, s: s, w: w, r: r}).serve()
		}),
	})
}

// stream is one HTTP/2 request.
type stream struct {
	e       *Engine
	s       *serving // only what doesn't change: conn and address
	w       http.ResponseWriter
	r       *http.Request
	req     Request
	verdict Verdict
	rec     Record
	in      atomic.Int64
	whole   atomic.Bool // the client has sent all of the request
	sent    bool
	fields  Mask // for the response's heads and trailers; nil for none
}

func (x *stream) serve() {
	x.req = Request{Conn: &x.s.conn, header: x.r.Header}
	x.rec = Record{Request: &x.req, Verdict: &x.verdict, Start: time.Now()}
	defer func() {
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			x.e.log.Error("panic while serving a request", "panic", p, "stack", string(debug.Stack()))
			x.rec.Err = fmt.Errorf("panic: %v", p)
			x.answer(answer{status: http.StatusInternalServerError, public: "internal error"})
		}
		x.rec.In = x.in.Load()
		x.rec.Took = time.Since(x.rec.Start)
		x.e.cfg.Done(&x.rec)
		if p != nil {
			panic(http.ErrAbortHandler) // resets the stream
		}
	}()
	c, err := canon.New(x.r.Method, x.r.Host, x.r.RequestURI)
	if err != nil {
		x.rec.Err = err
		x.answer(answer{status: http.StatusBadRequest, public: publicOf(err)})
		return
	}
	if n := countFields(x.r.Header); n > x.e.lim.Fields {
		x.rec.Err = h1.ErrFieldCount
		x.answer(answer{status: http.StatusRequestHeaderFieldsTooLarge, public: h1.ErrFieldCount.Error()})
		return
	}
	if x.isGRPC() {
		c.Protocol = canon.GRPC
	}
	x.req.Request = c
	x.verdict = x.e.cfg.Decide(x.r.Context(), &x.req)
	x.follow()
}

func countFields(h http.Header) (n int) {
	for _, vs := range h {
		n += len(vs)
	}
	return n
}

// isGRPC follows the content types of the gRPC protocol over HTTP/2.
func (x *stream) isGRPC() bool {
	kind := x.r.Header.Get("Content-Type")
	rest, ok := strings.CutPrefix(kind, "application/grpc")
	return ok && x.r.Method == "POST" && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

func (x *stream) follow() {
	v := &x.verdict
	switch {
	case !v.Allow:
		x.answer(denial(v))
	case v.Upstream == nil:
		x.rec.Err = errNoUpstream
		x.answer(answer{status: http.StatusBadGateway, public: "There is no service behind this name."})
	case v.Upstream.cfg.Protocol == H1 && x.req.Protocol == canon.GRPC:
		x.rec.Err = errNeedsH1
		x.answer(answer{status: http.StatusBadGateway, public: "The service speaks HTTP/1 only, and this is a gRPC request."})
	default:
		x.forward()
	}
}

var errNeedsH1 = errors.New("gRPC request for an HTTP/1 upstream")

func (x *stream) forward() {
	up := x.verdict.Upstream
	if _, err := up.enter(x.r.Context(), false); err != nil {
		x.fail(err)
		return
	}
	defer up.leave(nil)
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	if x.verdict.Ends != nil {
		defer cutAt(x.verdict.Ends, func() { cancel(errEnded) })()
	}
	// A gRPC call has a deadline of its own, and may begin to answer late.
	var start *time.Timer
	if x.req.Protocol != canon.GRPC {
		start = time.AfterFunc(x.e.lim.ResponseStart, func() { cancel(errSilent) })
		defer start.Stop()
	}
	if x.e.lim.Rate > 0 && x.r.ContentLength != 0 && x.req.Protocol != canon.GRPC {
		p := x.e.newPace(&x.s.conn, func() {
			cancel(errSlowBody)
			_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0)) // of who reads it all first
		})
		p.Untaken = &x.s.untaken
		body := pace.NewBody(x.r.Body, p)
		defer body.Stop()
		x.r.Body = body
	}
	if x.verdict.Sign != nil && !x.sign() {
		return
	}
	if x.verdict.Masks != nil {
		x.fields = x.verdict.Masks.Fields()
	}
	out := x.outgoing(x.withInterim(ctx), start)
	var resp *http.Response
	var err error
	if up.cfg.Protocol == H1 {
		resp, err = up.h1t.RoundTrip(out)
	} else {
		resp, err = up.h2t.RoundTrip(out)
	}
	if start != nil {
		start.Stop()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		x.fail(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.fail(errUpgraded)
		return
	}
	x.relay(resp)
}

func (x *stream) fail(err error) {
	x.rec.Err = err
	if x.r.Context().Err() != nil {
		if x.whole.Load() {
			x.rec.Err = ErrGone
		}
		return // nobody is there to be told
	}
	status, public := errorStatus(err)
	x.answer(answer{status: status, public: public, set: x.verdict.Respond})
}

// withInterim passes interim responses on while the final one is awaited.
func (x *stream) withInterim(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
				return nil // the server side sends 100 by itself
			}
			for k, vs := range h {
				if !h1.HopByHop(k) && !x.e.unsaid.has(k) {
					x.w.Header()[k] = cleanValues(x.fields, vs)
				}
			}
			x.w.WriteHeader(code)
			clear(x.w.Header())
			return nil
		},
	})
}

// countingBody counts a request body, and puts off the time for the response while
// it is on its way.
type countingBody struct {
	io.ReadCloser
	n     *atomic.Int64
	whole *atomic.Bool
	timer *time.Timer // may be nil
	wait  time.Duration
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if errors.Is(err, io.EOF) {
		b.whole.Store(true)
	}
	if b.timer != nil && n > 0 {
		b.timer.Reset(b.wait)
	}
	return n, err
}

// outgoing is the request to send upstream: the canonical one.
func (x *stream) outgoing(ctx context.Context, start *time.Timer) *http.Request {
	c := &x.req.Request
	raw, query, hasQuery := c.Path, c.Query, c.HasQuery
	if x.verdict.Target != "" {
		raw, query, hasQuery = strings.Cut(x.verdict.Target, "?")
	}
	path, _ := url.PathUnescape(raw) // it is canonical, and so can be decoded
	u := &url.URL{Scheme: "http", Host: authority(c), Path: path, RawPath: raw, RawQuery: query, ForceQuery: hasQuery}
	h := make(http.Header, len(x.r.Header)+4)
	for k, vs := range x.r.Header {
		if h1.HopByHop(k) || strings.HasPrefix(k, ":") || x.e.drop.has(k) || x.verdict.takes(k) {
			continue
		}
		h[k] = vs
	}
	for k := range x.r.Trailer {
		if x.e.drop.has(k) || x.verdict.takes(k) {
			delete(x.r.Trailer, k)
		}
	}
	if x.r.Header.Get("Te") == "trailers" {
		h.Set("Te", "trailers")
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // so that the transport adds none
	}
	if x.e.cfg.Edge {
		if x.s.address != "" {
			h.Set("X-Forwarded-For", x.s.address)
		}
		h.Set("X-Forwarded-Proto", scheme(&x.s.conn.ConnInfo))
		h.Set("X-Forwarded-Host", authority(c))
	}
	for _, f := range x.verdict.Set {
		if h1.ValidField(f.Name, f.Value) {
			// The transport's compression remembers values for as long as its connection lives, and what it sends of a
			// request that was broken off it may still be reading after Done.
			h.Add(f.Name, strings.Clone(f.Value))
		}
	}
	out := &http.Request{
		Method: c.Method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/2.0", ProtoMajor: 2,
		ContentLength: x.r.ContentLength, Body: http.NoBody, Trailer: x.r.Trailer,
	}
	x.whole.Store(x.r.ContentLength == 0)
	if x.r.ContentLength != 0 {
		out.Close = x.verdict.Upstream.cfg.Protocol == H1 && x.verdict.Upstream.cfg.CloseAfterBody
		out.Body = &countingBody{ReadCloser: x.r.Body, n: &x.in, whole: &x.whole, timer: start, wait: x.e.lim.ResponseStart}
	}
	return out.WithContext(ctx)
}

// relay passes the response on, each piece as it comes.
func (x *stream) relay(resp *http.Response) {
	h := x.w.Header()
	for k, vs := range resp.Header {
		if !h1.HopByHop(k) && !x.verdict.responds(k) && !x.e.unsaid.has(k) {
			h[k] = cleanValues(x.fields, slices.DeleteFunc(vs, func(v string) bool { return x.e.ownCookie(&x.verdict, k, v) }))
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or the server side would guess one
	}
	x.respond(h, x.verdict.Respond)
	// A client that doesn't take what it asked for may not hold the upstream.
	control := http.NewResponseController(x.w)
	stall := time.AfterFunc(x.e.lim.BodyIdle, func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) })
	defer stall.Stop()
	x.sent = true
	x.rec.Status = resp.StatusCode
	x.w.WriteHeader(resp.StatusCode)
	flush := resp.ContentLength < 0
	if flush && resp.Body != http.NoBody {
		_ = control.Flush()
	}
	var to io.Writer = x.w
	masked := x.masked(resp)
	if masked != nil {
		defer masked.stop()
		to = masked
		if flush {
			masked.flush, flush = control.Flush, false
		}
	}
	block := x.e.block()
	defer x.e.blocks.Put(block)
	for {
		stall.Stop()
		n, err := resp.Body.Read(block[:])
		stall.Reset(x.e.lim.BodyIdle)
		if n > 0 {
			m, werr := to.Write(block[:n])
			x.rec.Out += int64(m)
			if werr == nil && flush {
				werr = control.Flush()
			}
			if werr != nil {
				x.rec.Err = werr
				panic(http.ErrAbortHandler)
			}
		}
		if errors.Is(err, io.EOF) && masked != nil {
			err = cmp.Or(masked.end(), err)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			x.rec.Err = err
			panic(http.ErrAbortHandler)
		}
	}
	for k, vs := range resp.Trailer {
		if !x.e.unsaid.has(k) {
			h[http.TrailerPrefix+k] = cleanValues(x.fields, vs)
		}
	}
}

func (x *stream) respond(h http.Header, set []Header) {
	for _, f := range set {
		if h1.ValidField(f.Name, f.Value) {
			h.Add(f.Name, f.Value)
		}
	}
}

// answer is a response of our own: to gRPC a status without a message (a
// "trailers-only" response), to others a page.
func (x *stream) answer(a answer) {
	if x.sent {
		return
	}
	x.sent = true
	x.rec.Status = a.status
	h := x.w.Header()
	x.respond(h, a.set)
	x.respond(h, []Header{a.mark()})
	if x.isGRPC() {
		text := a.public
		if text == "" {
			text = http.StatusText(a.status)
		}
		if a.denial != "" {
			text += " id: " + a.denial
		}
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", page.GRPCStatus(a.status))
		h.Set("Grpc-Message", page.GRPCMessage(text))
		x.w.WriteHeader(http.StatusOK)
		return
	}
	kind, body := a.page(x.r.Header.Get("Accept"))
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(a.status)
	if x.r.Method != "HEAD" && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		n, _ := io.WriteString(x.w, body)
		x.rec.Out = int64(n)
	}
}
