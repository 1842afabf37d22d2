package prove

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Call is one request, as its bytes are sent.
type Call struct {
	ID      int    `json:"id"`
	Address string `json:"address"` // host:port to dial
	// Protocol is "http" (HTTP/1.1), "h2" (HTTP/2 without content-type), "grpc", "ws",
	// "tcp", or "tls" (a TLS handshake with Host as the server name).
	Protocol string   `json:"protocol"`
	TLS      bool     `json:"tls,omitempty"` // HTTP over TLS, certificate unchecked: this is the attacker's side
	Method   string   `json:"method,omitempty"`
	Target   string   `json:"target,omitempty"` // request target, verbatim
	Host     string   `json:"host,omitempty"`
	Header   []string `json:"header,omitempty"` // further lines, "Name: value"
}

// Outcome is what became of a call.
type Outcome uint8

// The outcomes. Passed means that Ward let the call through, but the service gave no
// answer; Silent that nothing came back in time.
const (
	OutcomeUnknown Outcome = iota
	Unreachable            // no name, no route, no listener
	Refused                // Ward said no
	Reached                // the service answered
	Passed
	Silent
)

var outcomeWords = [...]string{"unknown", "unreachable", "refused", "reached", "passed", "silent"}

// String is the word of reports and JSON.
func (o Outcome) String() string {
	if int(o) < len(outcomeWords) {
		return outcomeWords[o]
	}
	return outcomeWords[OutcomeUnknown]
}

// MarshalJSON writes the word of String.
func (o Outcome) MarshalJSON() ([]byte, error) { return json.Marshal(o.String()) }

// UnmarshalJSON reads what MarshalJSON writes; any other word is OutcomeUnknown.
func (o *Outcome) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("decode outcome: %w", err)
	}
	*o = Outcome(max(0, slices.Index(outcomeWords[:], s)))
	return nil
}

// Through tells whether the call got past Ward. Silence counts: Ward refuses at once.
func (o Outcome) Through() bool { return o == Reached || o == Passed || o == Silent }

// Answer is what a call brought.
type Answer struct {
	ID      int     `json:"id"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"` // status line, error or denial
	Denial  string  `json:"denial,omitempty"` // of X-Ward-Denial
}

func (c *Call) perform() Answer {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	if c.Protocol == "grpc" || c.Protocol == "h2" {
		return c.http2(ctx)
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return failed(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	switch c.Protocol {
	case "tcp":
		return listen(conn)
	case "tls":
		return shakeHands(ctx, conn, c.Host)
	}
	if _, err := conn.Write(c.bytes()); err != nil {
		return Answer{Outcome: Refused, Detail: "closed: " + err.Error()}
	}
	return readAnswer(conn, c.Method)
}

func (c *Call) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	conn, err := d.DialContext(ctx, "tcp", c.Address)
	if err != nil || !c.TLS {
		return conn, err
	}
	protocols := []string{"http/1.1"}
	if c.Protocol == "grpc" || c.Protocol == "h2" {
		protocols = []string{"h2"}
	}
	t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", NextProtos: protocols})
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// failed is a call that came to no connection.
func failed(err error) Answer {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() && !errors.Is(err, os.ErrDeadlineExceeded) {
		return Answer{Outcome: Unreachable, Detail: "no connection in time"}
	}
	return Answer{Outcome: Unreachable, Detail: err.Error()}
}

// bytes is the request as HTTP/1.1, however malformed its parts are.
func (c *Call) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", c.Method, c.Target, c.Host)
	for _, h := range c.Header {
		b.WriteString(h + "\r\n")
	}
	if c.Protocol == "ws" {
		b.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: d2FyZC1hdHRhY2std2FyZA==\r\n\r\n")
		return b.Bytes()
	}
	if c.Method != http.MethodGet && c.Method != http.MethodHead {
		b.WriteString("Content-Length: 0\r\n")
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

func readAnswer(r io.Reader, method string) Answer {
	resp, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: method})
	if err != nil {
		return broken(err)
	}
	defer resp.Body.Close()
	return judge(resp)
}

// broken is a connection that ended, or went on, without an answer.
func broken(err error) Answer {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return Answer{Outcome: Silent, Detail: "no answer in time"}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return Answer{Outcome: Refused, Detail: "closed without an answer"}
	}
	// Something answered, and it isn't HTTP.
	return Answer{Outcome: Reached, Detail: err.Error()}
}

// judge tells Ward's answers from a service's: Ward marks its own, and takes the marks out of all others.
func judge(resp *http.Response) Answer {
	a := Answer{Outcome: Reached, Detail: resp.Status, Denial: resp.Header.Get("X-Ward-Denial")}
	status := resp.Header.Get("X-Ward-Error")
	switch {
	case a.Denial != "":
		a.Outcome = Refused
	case slices.Contains([]string{"502", "503", "504"}, status):
		a.Outcome = Passed
	case status != "":
		a.Outcome = Refused
	}
	return a
}

// listen waits for a refusal, which is a connection that ends at once.
func listen(c net.Conn) Answer {
	_ = c.SetReadDeadline(time.Now().Add(silenceLimit))
	n, err := c.Read(make([]byte, 1))
	switch {
	case n > 0:
		return Answer{Outcome: Reached, Detail: "the service speaks"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Answer{Outcome: Reached, Detail: "the connection stays open"}
	}
	return Answer{Outcome: Refused, Detail: "closed at once"}
}

func shakeHands(ctx context.Context, c net.Conn, name string) Answer {
	err := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: name}).HandshakeContext(ctx)
	if err == nil {
		return Answer{Outcome: Reached, Detail: "a TLS server answers as " + name}
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return Answer{Outcome: Reached, Detail: err.Error()}
	}
	return broken(err)
}

// http2 makes one request over HTTP/2. Its path is sent as it is.
func (c *Call) http2(ctx context.Context) Answer {
	var dialErr error
	t := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, DisableKeepAlives: true}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := c.dial(ctx)
		dialErr = err
		return conn, err
	}
	scheme := "http"
	if c.TLS {
		scheme = "https"
		t.Protocols.SetHTTP2(true)
		t.DialTLSContext = dial
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
		t.DialContext = dial
	}
	defer t.CloseIdleConnections()
	req := &http.Request{Method: c.Method, URL: &url.URL{Scheme: scheme, Host: c.Address, Opaque: c.Target}, Host: c.Host, Header: http.Header{}}
	if c.Protocol == "grpc" {
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		// One empty message: a length of 0, uncompressed.
		req.Body = io.NopCloser(bytes.NewReader(make([]byte, 5)))
	}
	for _, h := range c.Header {
		if k, v, ok := strings.Cut(h, ": "); ok {
			req.Header.Set(k, v)
		}
	}
	resp, err := t.RoundTrip(req.WithContext(ctx))
	if dialErr != nil {
		return failed(dialErr)
	}
	if err != nil {
		a := broken(err)
		if a.Outcome == Reached {
			a.Outcome = Refused // the HTTP/2 layer gave no answer: a reset stream, GOAWAY
		}
		return a
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 256)) // trailers come after the body
	a := judge(resp)
	if s := resp.Header.Get("Grpc-Status") + resp.Trailer.Get("Grpc-Status"); s != "" {
		a.Detail = "grpc status " + s
	}
	return a
}
