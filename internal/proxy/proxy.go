// Package proxy forwards HTTP/1.1, HTTP/2 (gRPC too), WebSocket and plain TCP from
// accepted connections to upstreams. It is the engine of gateway and agent, which
// tell it by one call per request whether and where to.
//
// Guarantee: a request is decided exactly once, on its canonical form, and what is
// forwarded is that form; a request with two readings is refused before it is
// decided; what was decided as a WebSocket gets no page. Fields named X-Ward-*, also spelled with "_" or ".", never pass from a
// client, nor from a service to its caller. Bodies stream both ways without being gathered; every buffer, queue and
// wait has a bound; when one side goes, the other is closed.
//
// Not guaranteed: identity (the caller of ServeConn knows it), TLS set-up, and
// extended CONNECT (RFC 8441), which is refused: WebSocket is HTTP/1.1 only.
package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/h1"
)

// Header is one field that Ward itself sets. The name must be a token and the
// value free of controls: otherwise the field is left out.
type Header struct{ Name, Value string }

// Verdict is what Decide says of a request. The zero Verdict refuses with 403.
type Verdict struct {
	Allow bool
	// Status answers a request that isn't allowed; 0 means 403.
	Status int
	// DenialID is shown in X-Ward-Denial and in the body; "" if there is none.
	DenialID string
	// Public is the sentence of the body; "" means the status text.
	Public string
	// Upstream is where an allowed request goes.
	Upstream *Upstream
	// Set are request fields to set; the client's fields of these names, and those
	// named in Drop, are left out. Neither slices nor values are read after Done.
	Set  []Header
	Drop []string
	// Target, if not empty, is forwarded in place of the canonical path and query. It is in origin form, and ours.
	Target string
	// Respond are fields to set on the response, of a denial too (Location,
	// WWW-Authenticate), in place of the upstream's of the same names.
	Respond []Header
	// OwnCookies lets the upstream set cookies that begin with Config.Cookies.
	OwnCookies bool
	// Ends, if not nil, is closed when the right to the request ends: what is under way is cut then, a tunnel too.
	Ends <-chan struct{}
	// Sign, if not nil, gets the request's whole body before anything of it is sent, and returns further fields to set. A
	// body of more than 1 MiB is refused, and trailers are left out. The strings of the Request hold until then.
	Sign func(body []byte) []Header
	// Masks, if not nil, clean the response.
	Masks Masks
	// Tag comes back in the Record.
	Tag any
}

// ConnInfo is what the owner of a listener knows of a connection.
type ConnInfo struct {
	Peer    any  // who it is; for Decide
	AllowH1 bool // serve HTTP/1.0 and 1.1
	AllowH2 bool // serve HTTP/2: by ALPN over TLS, by prior knowledge otherwise
	TLS     bool // the client side is encrypted; only X-Forwarded-Proto asks
	// Host stands in for the Host that an HTTP/1.0 request may lack; "" refuses it.
	Host string
}

// Conn is an accepted connection, as Decide sees it.
type Conn struct {
	ConnInfo
	Remote net.Addr
}

// Request is a request, as Decide and Done see it. It and all its strings end with
// the call: copy what is to be kept.
type Request struct {
	canon.Request
	Conn *Conn

	fields []h1.Field  // of HTTP/1
	header http.Header // of HTTP/2
}

// Get is the value of the first field of a name, in any case, and the number of
// such fields. Fields that the engine treats itself (Host, Connection, lengths)
// may be missing.
func (r *Request) Get(name string) (value string, n int) {
	if r.header != nil {
		vs := r.header.Values(name)
		if len(vs) > 0 {
			value = vs[0]
		}
		return value, len(vs)
	}
	for i := range r.fields {
		f := &r.fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
			continue
		}
		if n == 0 {
			value = f.Value
		}
		n++
	}
	return value, n
}

// Each calls f with every field that Get may find, those of one name in their order.
func (r *Request) Each(f func(name, value string)) {
	for name, values := range r.header {
		for _, v := range values {
			f(name, v)
		}
	}
	for i := range r.fields {
		f(r.fields[i].Name, r.fields[i].Value)
	}
}

// Record tells of a request that ended, well or not.
type Record struct {
	Request *Request // without a method if it was refused before it was understood
	Verdict *Verdict // zero if it was never decided
	Status  int      // what the client was sent; 0 if nothing was
	In, Out int64    // bytes of the bodies; of a tunnel, all bytes
	Start   time.Time
	Took    time.Duration
	Err     error // why it wasn't forwarded, or not to its end; for the log
}

// Limits bound a connection and a request. A zero field means its default.
type Limits struct {
	HeadBytes     int           // of a request, and of a response; 32 KiB
	Fields        int           // in a head; 128
	Conns         int           // served at once by the Engine, more are closed; 10,000
	Streams       int           // open at once on an HTTP/2 connection; 250
	Head          time.Duration // from a head's first byte to its last; 10 s
	Idle          time.Duration // between requests, and for silent tunnels; 2 min
	BodyIdle      time.Duration // between two reads or writes of a body; 2 min
	Rate          int           // bytes a second that a client brings of a body, but for Grace; gRPC streams as they like. No default: 0 for any
	Grace         time.Duration // 20 s
	ResponseStart time.Duration // from the end of a request to its answer; 1 min
}

func (l Limits) orDefault() Limits {
	def := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	num := func(p *int, n int) {
		if *p <= 0 {
			*p = n
		}
	}
	num(&l.HeadBytes, 32<<10)
	num(&l.Fields, 128)
	num(&l.Conns, 10_000)
	num(&l.Streams, 250)
	def(&l.Head, 10*time.Second)
	def(&l.Idle, 2*time.Minute)
	def(&l.BodyIdle, 2*time.Minute)
	def(&l.Grace, 20*time.Second)
	def(&l.ResponseStart, time.Minute)
	return l
}

// Config makes an Engine. Only Decide has no default.
type Config struct {
	// Decide is called once for each request that could be understood, by many
	// goroutines at once.
	Decide func(context.Context, *Request) Verdict
	// Done is called once for each request, refused ones too, when it has ended.
	// HTTP/2 requests that break the protocol itself never become requests.
	Done func(*Record)
	// Slow is called when a client is three seconds behind with a body (see Limits.Rate), and with false when that body has ended. It must not wait.
	Slow func(c *Conn, slow bool)
	// Strip are further request fields to leave out always; a name that ends in
	// "-" stands for all that begin so. "X-Ward-" is always in it.
	Strip []string
	// Edge sets X-Forwarded-For, -Proto and -Host from the connection, and leaves
	// out what the client claims there, in Forwarded and in X-Real-IP.
	Edge bool
	// Cookies is how the names of the edge's own cookies begin, "" for none: no upstream sets one, in any spelling.
	Cookies string
	Limits  Limits
	Log     *slog.Logger // nil means slog.Default
}
