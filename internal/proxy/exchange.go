package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/h1"
	"github.com/wardhq/ward/internal/proxy/internal/pace"
	"github.com/wardhq/ward/internal/proxy/internal/page"
)

// one serves one request, and tells whether the connection can take another.
func (s *serving) one(ctx context.Context) (keep bool) {
	s.begin()
	defer func() {
		if p := recover(); p != nil {
			s.e.log.Error("panic while serving a request", "panic", p, "stack", string(debug.Stack()))
			s.rec.Err = fmt.Errorf("panic: %v", p)
			s.answer(answer{status: http.StatusInternalServerError, public: "internal error"}, false)
			keep = false
			s.e.cfg.Done(s.finished())
		}
	}()
	read, status, err := s.readHead()
	if err != nil {
		if status == 0 {
			return false // the client went, or said nothing: that isn't a request
		}
		s.rec.Err = err
		s.answer(answer{status: status, public: publicOf(err)}, false)
		s.lingers = true
		s.e.cfg.Done(s.finished())
		return false
	}
	s.verdict = s.e.cfg.Decide(ctx, &s.req)
	s.body = s.rd.Body(read, nil)
	s.watchBody()
	keep = s.follow(ctx, &s.body)
	if s.pace != nil {
		s.pace.Stop()
		s.pace = nil
	}
	s.e.cfg.Done(s.finished())
	return keep
}

// watchBody sets the pace of a body that isn't here yet.
func (s *serving) watchBody() {
	if s.e.lim.Rate == 0 || s.body.Done() || s.head.Body.Kind == h1.Length && int64(len(s.rd.Buffered())) >= s.head.Body.Length {
		return
	}
	if s.paced == nil {
		s.paced = s.e.newPace(&s.conn, func() { _ = s.SetReadDeadline(time.Unix(1, 0)) })
	}
	s.pace = s.paced
	s.pace.Start()
}

func (e *Engine) newPace(c *Conn, cut func()) *pace.Pace {
	return &pace.Pace{Rate: e.lim.Rate, Grace: e.lim.Grace, Cut: cut, Slow: func(slow bool) { e.cfg.Slow(c, slow) }}
}

func (s *serving) begin() {
	now := time.Now()
	s.rec = Record{Request: &s.req, Verdict: &s.verdict, Start: now}
	s.req = Request{Conn: &s.conn}
	s.verdict = Verdict{}
	s.out, s.early, s.whole, s.sent, s.lingers, s.fields = s.out[:0], nil, nil, false, false, nil
}

func (s *serving) finished() *Record {
	s.rec.Took = time.Since(s.rec.Start)
	return &s.rec
}

// publicOf is the text for a request that can't be understood.
func publicOf(err error) string {
	if e, ok := errors.AsType[canon.Error](err); ok {
		return e.Error()
	}
	if e, ok := h1.Refused(err); ok {
		return e.Error()
	}
	return ""
}

const (
	errUpgradeKind h1.Error = "the upgrade is not to websocket"
	errUpgradeForm h1.Error = "a websocket upgrade is a GET without a body"
	errNoH1        h1.Error = "this port speaks HTTP/2 only"
	errHeadSlow    h1.Error = "the head did not arrive in time"
)

// readHead reads and canonicalises a head. With an error comes the status to answer
// with, 0 if there is nobody to answer.
func (s *serving) readHead() (h1.Framing, int, error) {
	armed := false
	for {
		ok, err := s.rd.Request(&s.head)
		if err != nil {
			return h1.Framing{}, refusalStatus(err), err
		}
		if ok {
			break
		}
		if !armed {
			s.strictRead(time.Now(), s.e.lim.Head)
			armed = true
		}
		if err := s.rd.Fill(); err != nil {
			switch {
			case isTimeout(err):
				return h1.Framing{}, http.StatusRequestTimeout, errHeadSlow
			case refusalStatus(err) != 0:
				return h1.Framing{}, refusalStatus(err), err
			}
			return h1.Framing{}, 0, err
		}
	}
	if !s.conn.AllowH1 {
		return h1.Framing{}, http.StatusHTTPVersionNotSupported, errNoH1
	}
	host := s.head.Host
	if host == "" && s.head.Minor == 0 {
		host = s.conn.Host
	}
	c, err := canon.New(s.head.Method, host, s.head.Target)
	if err == nil {
		err = upgradeOf(&c, &s.head)
	}
	s.req.fields = s.head.Fields
	if err != nil {
		return h1.Framing{}, http.StatusBadRequest, err
	}
	s.req.Request = c
	return s.head.Body, 0, nil
}

func refusalStatus(err error) int {
	if e, ok := h1.Refused(err); ok {
		return e.Status()
	}
	return 0
}

// upgradeOf sets the protocol. Upgrade: h2c is left out as RFC 9110 §7.8 lets a
// server do, because some clients (Java's among them) offer it on every request.
func upgradeOf(c *canon.Request, q *h1.Request) error {
	switch {
	case q.Upgrade == "" || h1.EqualFold(q.Upgrade, "h2c"):
		return nil
	case !h1.EqualFold(q.Upgrade, "websocket"):
		return errUpgradeKind
	case q.Method != "GET" || q.Body.Kind != h1.None:
		return errUpgradeForm
	}
	c.Protocol = canon.WebSocket
	return nil
}

// follow does what the verdict says.
func (s *serving) follow(ctx context.Context, body *h1.Body) bool {
	v := &s.verdict
	var a answer
	switch {
	case !v.Allow:
		a = denial(v)
	case v.Upstream == nil:
		s.rec.Err = errNoUpstream
		a = answer{status: http.StatusBadGateway, public: "There is no service behind this name."}
	case v.Upstream.cfg.Protocol == H2:
		s.rec.Err = errNeedsH2
		a = answer{status: http.StatusBadGateway, public: "The service speaks HTTP/2 only, and this request came as HTTP/1."}
	default:
		if v.Ends != nil {
			defer s.cutAtEnd()()
		}
		return s.forward(ctx, body)
	}
	return s.refuse(a, body)
}

var (
	errNoUpstream = errors.New("allowed, but without an upstream")
	errNeedsH2    = errors.New("HTTP/1 request for an HTTP/2 upstream")
)

// refuse answers in place of the upstream. The body, if it is here already, is
// skipped; if not, the connection can't be used again.
func (s *serving) refuse(a answer, body *h1.Body) bool {
	keep := s.reusable()
	if keep && !body.Done() {
		keep = s.skip(body)
	}
	s.lingers = !keep && !body.Done()
	return s.answer(a, keep) && keep
}

// reusable tells whether connection options allow another request.
func (s *serving) reusable() bool { return !s.head.Close && !s.e.draining.Load() }

// skip reads a body as far as it is buffered.
func (s *serving) skip(body *h1.Body) bool {
	block := s.e.block()
	defer s.e.blocks.Put(block)
	for len(s.rd.Buffered()) > 0 && !body.Done() {
		if _, err := body.Read(block[:]); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
	}
	return body.Done()
}

// answer is a response of Ward's own.
type answer struct {
	status int
	public string // a sentence; the status text if empty
	denial string
	set    []Header
}

// mark is the field by which our own pages are known: the denial, or that something else went wrong. No service's
// answer carries it.
func (a *answer) mark() Header {
	if a.denial != "" {
		return Header{"X-Ward-Denial", a.denial}
	}
	return Header{"X-Ward-Error", strconv.Itoa(a.status)}
}

func denial(v *Verdict) answer {
	a := answer{status: v.Status, public: v.Public, denial: v.DenialID, set: v.Respond}
	if a.status < 200 || a.status > 599 {
		a.status = http.StatusForbidden
	}
	return a
}

// page renders an answer as text, or as JSON for who prefers that.
func (a *answer) page(accept string) (contentType, body string) {
	text := a.public
	if text == "" {
		text = http.StatusText(a.status)
	}
	if strings.Contains(accept, "application/json") {
		return "application/json", page.JSON(a.status, text, a.denial)
	}
	body = fmt.Sprintf("%d %s\n%s\n", a.status, http.StatusText(a.status), text)
	if a.denial != "" {
		body += "id: " + a.denial + "\n"
	}
	return "text/plain; charset=utf-8", body
}

// answer writes a response of our own, unless one has begun, and tells whether
// that worked.
func (s *serving) answer(a answer, keep bool) bool {
	if s.sent {
		return false
	}
	s.sent = true
	s.rec.Status = a.status
	accept, _ := s.req.Get("Accept")
	kind, body := a.page(accept)
	out := h1.AppendStatusLine(s.out[:0], a.status, "")
	out = appendHeaders(out, a.set)
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		out = h1.AppendField(out, "Content-Type", kind)
		out = h1.AppendFraming(out, h1.Framing{Kind: h1.Length, Length: int64(len(body))})
	} else {
		body = ""
	}
	out = h1.AppendField(out, "Cache-Control", "no-store")
	out = h1.AppendField(out, "X-Content-Type-Options", "nosniff")
	if mark := a.mark(); h1.ValidField(mark.Name, mark.Value) {
		out = h1.AppendField(out, mark.Name, mark.Value)
	}
	if !keep {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "\r\n"...)
	if s.head.Method != "HEAD" {
		out = append(out, body...)
		s.rec.Out = int64(len(body))
	}
	s.out = out
	return s.write(out) == nil
}

// write writes to the client, who may take Limits.BodyIdle for it.
func (s *serving) write(b []byte) error {
	s.armWrite(time.Now(), s.e.lim.BodyIdle)
	_, err := s.Write(b)
	return err
}
