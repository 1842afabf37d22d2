package agent

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wardhq/ward/internal/cap/mesh"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/proxy"
	"github.com/wardhq/ward/internal/wire"
)

// egress is control's way out: control has no network, and reaches through the agent what users: and watch: name, the databases where it makes
// users, and nothing else.
type egress struct {
	database func(ctx context.Context, name string) (net.Conn, error)
	known    chan struct{} // closed by the first plan

	mu      sync.Mutex
	named   map[string]bool // guarded by mu: "host:port" of the file
	anyHTTP bool            // guarded by mu: the file names OpenID providers, whose endpoints only their documents know
}

func newEgress(database func(ctx context.Context, name string) (net.Conn, error)) *egress {
	return &egress{database: database, known: make(chan struct{})}
}

// set takes what a plan names.
func (e *egress) set(p *plan.Plan) {
	named := map[string]bool{}
	u := &p.Users
	addURL := func(s string) {
		if at, err := url.Parse(s); err == nil && at.Hostname() != "" {
			port := at.Port()
			if port == "" {
				port = map[string]string{"https": "443", "http": "80", "smtp": "587", "smtps": "465"}[at.Scheme]
			}
			named[net.JoinHostPort(strings.ToLower(at.Hostname()), port)] = true
		}
	}
	for _, s := range []string{u.Mail.SMTP, u.SMS.Webhook, u.SMS.Twilio} {
		addURL(s)
	}
	for i := range u.Clients {
		addURL(u.Clients[i].Back)
	}
	for i := range u.Providers {
		addURL(u.Providers[i].Issuer)
	}
	for i := range u.Issuers {
		addURL(u.Issuers[i].Issuer)
		addURL(u.Issuers[i].JWKS)
	}
	for _, s := range p.Watch.Destinations() {
		addURL(s)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.named == nil {
		close(e.known)
	}
	e.named, e.anyHTTP = named, len(u.Providers)+len(u.Issuers) > 0
}

// errNotNamed refuses a destination.
var errNotNamed = errors.New("ward.yaml doesn't name this destination")

// dial connects to a database or another destination that the file names; or, of the providers' endpoints, to port 443 at public addresses. Control may
// ask before the first plan is here: then it waits.
func (e *egress) dial(ctx context.Context, to string) (net.Conn, error) {
	if name, ok := strings.CutPrefix(to, wire.EgressDatabase); ok {
		return e.database(ctx, name)
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.known:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e.mu.Lock()
	named, public := e.named[net.JoinHostPort(strings.ToLower(host), port)], e.anyHTTP && port == "443"
	e.mu.Unlock()
	var d net.Dialer
	switch {
	case named:
		return d.DialContext(ctx, "tcp", to)
	case !public:
		return nil, errNotNamed
	}
	addresses, err := mesh.ResolvePublic(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		var c net.Conn
		if c, err = d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// whyNot says to control why a destination isn't reached.
func whyNot(err error) wire.EgressAnswer {
	if _, unknown := errors.AsType[*net.DNSError](err); unknown {
		return wire.EgressUnknown
	}
	slow, ok := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errNotNamed):
		return wire.EgressUnnamed
	case errors.Is(err, syscall.ECONNREFUSED):
		return wire.EgressRefused
	case errors.Is(err, context.DeadlineExceeded), ok && slow.Timeout():
		return wire.EgressLate
	}
	return wire.EgressFailed
}

// serveEgress accepts control until ln is closed.
func (a *Agent) serveEgress(ctx context.Context, ln net.Listener) {
	proxy.Accept(ln, func(c net.Conn) {
		a.owned.Go(func() { a.carryOut(ctx, c) })
	})
}

// carryOut reads where to, one line, and then carries bytes both ways.
func (a *Agent) carryOut(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // a closed connection shows below
	in := bufio.NewReaderSize(c, 512)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return
	}
	to := strings.TrimSuffix(string(line), "\n")
	dialling, cancel := context.WithTimeout(ctx, 8*time.Second)
	out, err := a.egress.dial(dialling, to)
	cancel()
	if err != nil {
		slog.Warn("control's way out", "to", wire.Clip(to), "error", err)
		_, _ = io.WriteString(c, string(whyNot(err))+"\n") // control has gone
		return
	}
	defer out.Close()
	if _, err := io.WriteString(c, string(wire.EgressReached)+"\n"); err != nil {
		return
	}
	stopOut := context.AfterFunc(ctx, func() { out.Close() })
	defer stopOut()
	var end time.Time
	if !strings.HasPrefix(to, wire.EgressDatabase) { // where control keeps its session
		end = time.Now().Add(2 * time.Minute)
	}
	_ = c.SetDeadline(end)
	_ = out.SetDeadline(end)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, in)
		if t, ok := out.(interface{ CloseWrite() error }); ok {
			_ = t.CloseWrite()
		}
	}()
	_, _ = io.Copy(c, out)
	c.Close()
	<-done
}

// setPlan puts a plan into force, for services, for what they do with keys and databases, and for control's way out.
func (a *Agent) setPlan(p *plan.Plan, today string) error {
	a.egress.set(p)
	a.keys.set(p)
	a.allowed.set(p)
	defer a.accounts.setPlan(p)
	return a.mesh.SetPlan(p, today)
}
