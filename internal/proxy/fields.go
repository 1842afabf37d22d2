package proxy

import (
	"net"
	"net/http"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
	"github.com/wardhq/ward/internal/base/h1"
)

// dropList is a set of field names and prefixes.
type dropList struct {
	first    [256]bool // of the folded first bytes
	names    []string
	prefixes []string
}

func newDropList(names []string, edge bool) *dropList {
	d := &dropList{}
	names = append([]string{"X-Ward-"}, names...)
	if edge {
		names = append(names, "X-Forwarded-", "Forwarded", "X-Real-IP")
	}
	for _, n := range names {
		if n == "" {
			continue
		}
		d.first[fold(n[0])] = true
		if strings.HasSuffix(n, "-") {
			d.prefixes = append(d.prefixes, n)
		} else {
			d.names = append(d.names, n)
		}
	}
	return d
}

func (d *dropList) has(name string) bool {
	if d == nil || name == "" || !d.first[fold(name[0])] {
		return false
	}
	for _, n := range d.names {
		if alike(name, n) {
			return true
		}
	}
	for _, p := range d.prefixes {
		if len(name) >= len(p) && alike(name[:len(p)], p) {
			return true
		}
	}
	return false
}

// fold maps what CGI, WSGI, PHP and their like map: they hand a service "X_Ward.A"
// under the same name as "X-Ward-A", so to us they are one name.
func fold(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return c
	}
	return '-'
}

// alike tells whether two field names are one to such a server.
func alike(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

// takes tells whether v replaces or drops the request field of a name.
func (v *Verdict) takes(name string) bool {
	for i := range v.Set {
		if alike(name, v.Set[i].Name) {
			return true
		}
	}
	for _, n := range v.Drop {
		if alike(name, n) {
			return true
		}
	}
	return false
}

// responds tells whether v replaces the response field of a name.
func (v *Verdict) responds(name string) bool {
	for i := range v.Respond {
		if strings.EqualFold(name, v.Respond[i].Name) {
			return true
		}
	}
	return false
}

func nominated(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func appendHeaders(dst []byte, hs []Header) []byte {
	for i := range hs {
		if h1.ValidField(hs[i].Name, hs[i].Value) {
			dst = h1.AppendField(dst, hs[i].Name, hs[i].Value)
		}
	}
	return dst
}

func appendAuthority(dst []byte, c *canon.Request) []byte {
	dst = append(dst, c.Host...)
	if c.Port != "" {
		dst = append(dst, ':')
		dst = append(dst, c.Port...)
	}
	return dst
}

func authority(c *canon.Request) string {
	if c.Port == "" {
		return c.Host
	}
	return c.Host + ":" + c.Port
}

// addressOf is the IP address of a peer, "" if it has none.
func addressOf(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	return t.AddrPort().Addr().Unmap().WithZone("").String()
}

func scheme(info *ConnInfo) string {
	if info.TLS {
		return "https"
	}
	return "http"
}

// requestHead writes the head to send upstream.
func (s *serving) requestHead(dst []byte) []byte {
	c, q := &s.req.Request, &s.head
	if to := s.verdict.Target; to != "" {
		dst = h1.AppendRequestLine(dst, c.Method, to, "", false)
	} else {
		dst = h1.AppendRequestLine(dst, c.Method, c.Path, c.Query, c.HasQuery)
	}
	dst = append(dst, "Host: "...)
	dst = append(appendAuthority(dst, c), "\r\n"...)
	sized := false
	for i := range q.Fields {
		f := &q.Fields[i]
		if f.Kind != h1.End {
			sized = sized || f.Kind == h1.ContentLength
			continue
		}
		if s.e.drop.has(f.Name) || s.verdict.takes(f.Name) || nominated(q.Nominated, f.Name) {
			continue
		}
		dst = h1.AppendField(dst, f.Name, f.Value)
	}
	if s.e.cfg.Edge {
		if s.address != "" {
			dst = h1.AppendField(dst, "X-Forwarded-For", s.address)
		}
		dst = h1.AppendField(dst, "X-Forwarded-Proto", scheme(&s.conn.ConnInfo))
		dst = append(dst, "X-Forwarded-Host: "...)
		dst = append(appendAuthority(dst, c), "\r\n"...)
	}
	dst = appendHeaders(dst, s.verdict.Set)
	switch {
	case q.Body.Kind != h1.None:
		dst = h1.AppendFraming(dst, q.Body)
	case sized:
		dst = append(dst, "Content-Length: 0\r\n"...)
	}
	if q.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	switch {
	case c.Protocol == canon.WebSocket:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	case s.lastOnConn():
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// lastOnConn tells whether the upstream's connection ends with this request.
func (s *serving) lastOnConn() bool {
	return s.head.Body.Kind != h1.None && s.verdict.Upstream.cfg.CloseAfterBody
}

// responseHead writes the head of the upstream's response for the client.
func (s *serving) responseHead(dst []byte, out h1.Framing, keep bool) []byte {
	p := &s.resp
	from := len(dst)
	dst = h1.AppendStatusLine(dst, p.Status, p.Reason)
	clean(s.fields, dst[from+len("HTTP/1.1 200 "):len(dst)-len("\r\n")])
	sized := false
	for i := range p.Fields {
		f := &p.Fields[i]
		switch {
		case f.Kind == h1.ContentLength && out.Kind == h1.None && p.Status >= 200 && p.Status != 204:
			// Of HEAD and 304 it tells what the length would be; else it is 0.
			if !sized {
				dst = h1.AppendField(dst, "Content-Length", f.Value)
			}
			sized = true
		case f.Kind != h1.End, nominated(p.Nominated, f.Name), s.verdict.responds(f.Name), s.e.unsaid.has(f.Name), s.e.ownCookie(&s.verdict, f.Name, f.Value):
		default:
			from := len(dst)
			dst = h1.AppendField(dst, f.Name, f.Value)
			clean(s.fields, dst[from:len(dst)-len("\r\n")])
		}
	}
	if p.Status >= 200 {
		dst = appendHeaders(dst, s.verdict.Respond)
	}
	switch {
	case p.Status == http.StatusSwitchingProtocols:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	case p.Status >= 200 && !keep:
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(h1.AppendFraming(dst, out), "\r\n"...)
}

// ownCookie tells whether a response field sets a cookie that only the edge may set.
func (e *Engine) ownCookie(v *Verdict, name, value string) bool {
	own := e.cfg.Cookies
	if own == "" || v.OwnCookies || !strings.EqualFold(name, "Set-Cookie") {
		return false
	}
	value = strings.TrimLeft(value, " \t=") // a cookie without a name comes back as its value
	return len(value) >= len(own) && strings.EqualFold(value[:len(own)], own)
}

// cleanTrailers leaves out what a client may not send as a header either.
func (s *serving) cleanTrailers(ts []h1.Field) []h1.Field {
	kept := ts[:0]
	for _, f := range ts {
		if !s.e.drop.has(f.Name) && !s.verdict.takes(f.Name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// cleanSaid leaves out what a service may not say as a header either.
func (e *Engine) cleanSaid(ts []h1.Field) []h1.Field {
	kept := ts[:0]
	for _, f := range ts {
		if !e.unsaid.has(f.Name) {
			kept = append(kept, f)
		}
	}
	return kept
}
