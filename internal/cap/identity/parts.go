package identity

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/pki"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/breach"
	oauth "github.com/wardhq/ward/internal/cap/identity/internal/client"
	"github.com/wardhq/ward/internal/cap/identity/internal/device"
	"github.com/wardhq/ward/internal/cap/identity/internal/flag"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/cap/identity/internal/oidc"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/pow"
	"github.com/wardhq/ward/internal/cap/identity/internal/site"
	"github.com/wardhq/ward/internal/cap/identity/internal/upstream"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// parts are what there is once an application has users.
type parts struct {
	users    *Users
	origin   string // of the pages; the issuer
	pages    http.Handler
	admin    http.Handler
	accounts *account.Service
	provider *oidc.Provider
	clients  *oauth.Registry
	flags    *flag.Detector
	mail     *outbox
	sms      *outbox
	foreign  *foreign
	upstream *upstream.Service

	plan atomic.Pointer[plan.Plan]
	look atomic.Pointer[page.Pages]
}

// lives of tokens. An access token must end before told.Life does.
const (
	accessLife  = 10 * time.Minute
	idLife      = time.Hour
	refreshLife = 14 * 24 * time.Hour
	keyAhead    = 24 * time.Hour
	keySign     = 30 * 24 * time.Hour
)

// open makes the parts of the first plan with users.
func (u *Users) open(ctx context.Context, p *plan.Plan, files map[string][]byte) (*parts, error) {
	c := u.config
	x := &parts{users: u, origin: p.Origin(p.Users.Host), mail: newOutbox(c), sms: newOutbox(c), foreign: newForeign(egressTransport(c.Egress), u.board.Refresh)}
	places, checker, err := u.bigFiles()
	if err != nil {
		return nil, err
	}
	detector := flag.Config{DB: c.DB, Key: derive(c.Key, "flags"), Clock: c.Clock, Record: c.Record}
	if places != nil {
		detector.Place = places.Lookup
	}
	if x.flags, err = flag.Open(ctx, detector); err != nil {
		return nil, err
	}
	if x.clients, err = oauth.Open(ctx, oauth.Config{DB: c.DB, Clock: c.Clock, ServiceID: x.serviceID, Service: x.service}); err != nil {
		return nil, err
	}
	x.upstream, err = upstream.Open(ctx, upstream.Config{
		DB: c.DB, Key: derive(c.Key, "upstream"), Clock: c.Clock, Client: &http.Client{Transport: egressTransport(c.Egress)}, Origin: x.origin,
	})
	if err != nil {
		return nil, err
	}
	if err := x.apply(p, files); err != nil {
		return nil, err
	}
	x.accounts, err = account.New(ctx, account.Config{
		DB: c.DB, Key: derive(c.Key, "accounts"), Clock: c.Clock, Origin: x.origin, Log: c.Log,
		Users: func() *model.Users { return &x.plan.Load().Users }, Places: places, Breached: checker, Mail: x.mail, SMS: x.smsOrNil(p),
		AllowOrigin: x.allowOrigin, Ended: x.ended, Renewed: x.renewed, Record: c.Record, Flag: x.flag, Stands: x.stands,
	})
	if err != nil {
		return nil, err
	}
	pages := site.New(site.Config{Accounts: x.accounts, Pages: x.look.Load, Visitor: visitor, Work: x.work, Upstreams: x.upstream, Log: c.Log})
	x.provider, err = oidc.Open(ctx, oidc.Config{
		Issuer: x.origin, DB: c.DB, Seal: derive(c.Key, "provider"), Clock: c.Clock, Accounts: pages, Clients: x.clients, Pages: x.look.Load(), Log: c.Log,
		Lives:       oidc.Lives{Access: accessLife, ID: idLife, Refresh: refreshLife, KeyAhead: keyAhead, KeySign: keySign},
		Certificate: x.certificate, Visitor: visitor, Record: c.Record, Flag: x.tokenFlag, Tell: u.board.End, KeysChanged: u.board.Refresh,
		Transport: egressTransport(c.Egress),
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	pages.Routes(mux)
	x.provider.Routes(mux)
	x.admin = x.administration()
	guarded, err := x.guarded()
	if err != nil {
		return nil, err
	}
	mux.Handle("/v1/", guarded)
	x.pages = mux
	return x, nil
}

// derive makes a key of its own for each part.
func derive(key secret.Bytes, part string) secret.Bytes {
	return secret.Derive(key, "ward identity "+part)
}

// bigFiles opens those that the operator mounted.
func (u *Users) bigFiles() (places *device.Places, checker *breach.Checker, err error) {
	c := u.config
	if _, serr := os.Stat(c.GeoIP); serr == nil {
		if places, err = device.OpenPlaces(c.GeoIP); err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, "users: geoip isn't a MaxMind database", err)
		}
	}
	f, oerr := os.Open(c.Breached)
	if oerr != nil {
		return places, nil, nil // the built-in filter serves
	}
	defer f.Close()
	filter, err := breach.Open(f)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, "users: breached isn't a filter made by ward users breached", err)
	}
	return places, &breach.Checker{Filter: filter, Log: c.Log}, nil
}

// apply puts what may change at any time into force.
func (x *parts) apply(p *plan.Plan, files map[string][]byte) error {
	u := &p.Users
	specs := make([]oauth.Spec, len(u.Clients))
	for i := range u.Clients {
		specs[i] = oauth.Spec{Client: u.Clients[i], JWKS: files[u.Clients[i].JWKSFile]}
	}
	name := u.Name
	if name == "" {
		name = p.App
	}
	texts := map[string]string{}
	for _, t := range u.Texts {
		texts[t.Key] = t.Text
	}
	pages, err := page.New(page.Config{
		Name: name, Color: u.Color, Texts: map[string]map[string]string{"en": texts, "de": texts}, Modules: map[string][]byte{"pow.js": pow.Script()},
	})
	if err != nil {
		return fault.Wrap(fault.Invalid, "users: "+err.Error(), err)
	}
	mail, err := x.mailSender(u, files)
	if err != nil {
		return err
	}
	sms, err := x.smsSender(u, files)
	if err != nil {
		return err
	}
	if err := x.flags.Configure(u.Flags); err != nil {
		return err
	}
	x.plan.Store(p) // the registry asks for services
	if err := x.clients.Declare(specs); err != nil {
		return err
	}
	x.upstream.Configure(providers(u, files))
	x.look.Store(pages)
	x.foreign.look()
	x.mail.use(mail)
	x.sms.use(sms)
	return nil
}

// providers are those that people may sign in with.
func providers(u *model.Users, files map[string][]byte) (out []upstream.Provider) {
	for i := range u.Providers {
		p := &u.Providers[i]
		out = append(out, upstream.Provider{Name: p.Name, Title: p.Title, Issuer: p.Issuer, ClientID: p.ClientID, Secret: line(files[p.SecretFile]), Scopes: p.Scopes})
	}
	return out
}

// run does the background's work until ctx ends.
func (x *parts) run(ctx context.Context) {
	log := x.users.config.Log
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){x.mail.queue.Run, x.sms.queue.Run, x.provider.Run} {
		wg.Go(func() { f(ctx) })
	}
	wg.Go(func() {
		x.foreign.run(ctx, func() []model.Issuer { return x.plan.Load().Users.Issuers }, func(issuer string, err error) {
			log.Warn("keys of a foreign authority", "issuer", issuer, "error", err)
		})
	})
	wg.Go(func() {
		x.flags.Run(ctx, func(err error) { log.Error("keep counts of red flags", "error", err) })
	})
	wg.Go(func() {
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		for {
			if _, err := x.accounts.Sweep(ctx); err != nil && ctx.Err() == nil {
				log.Error("sweep accounts", "error", err)
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Wait()
}

// ended tells everybody of sessions that ended.
func (x *parts) ended(ctx context.Context, ids []string) {
	ctx = context.WithoutCancel(ctx) // the gateway cuts what is under way for them, and who asked may be one of them
	if err := x.users.board.End(ctx, ids...); err != nil {
		x.users.config.Log.Error("tell of ended sessions", "error", err)
	}
	if err := x.provider.Ended(ctx, ids); err != nil {
		x.users.config.Log.Error("end what sessions gave", "error", err)
	}
}

// renewed lets gateways ask about sessions again.
func (x *parts) renewed(_ context.Context, ids []string) { x.users.board.Renew(ids...) }

// allowOrigin tells whether an origin is the application's own.
func (x *parts) allowOrigin(origin string) bool {
	p := x.plan.Load()
	if origin == p.Origin(p.Gateway.Host) || p.Watch.Console.On() && origin == p.Origin(p.Watch.Console.Host) {
		return true
	}
	host, _, err := net.SplitHostPort(p.Gateway.Listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && (origin == p.Origin("localhost") || origin == p.Origin(ip.String()))
}

// visitor is where a request comes from, as the gateway saw it: nobody else reaches the pages' socket.
func visitor(r *http.Request) wire.Visitor {
	return wire.Visitor{IP: r.Header.Get("X-Forwarded-For"), UserAgent: r.UserAgent(), Fingerprint: r.Header.Get("X-Ward-Fingerprint")}
}

// certificate is the SVID that the client of a request showed, verified; nil without one.
func (x *parts) certificate(r *http.Request) (*x509.Certificate, error) {
	field := r.Header.Get("X-Ward-Client-Cert")
	if field == "" {
		return nil, nil
	}
	var chain []*x509.Certificate
	for part := range strings.SplitSeq(field, ",") {
		der, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		chain = append(chain, cert)
	}
	roots, err := x.users.config.Roots()
	if err != nil {
		return nil, err
	}
	if _, err := pki.Verify(chain, roots, x.plan.Load().TrustDomain, x.users.config.Clock.Now()); err != nil {
		return nil, fmt.Errorf("verify client certificate: %w", err)
	}
	return chain[0], nil
}

func (x *parts) serviceID(name model.ServiceName) string {
	return "spiffe://" + x.plan.Load().TrustDomain + "/svc/" + string(name)
}

// service is what a service of the plan may ask tokens for: those that it may call.
func (x *parts) service(id string) (oauth.ServiceRights, bool) {
	p := x.plan.Load()
	for i := range p.Services {
		s := &p.Services[i]
		if s.ID != id {
			continue
		}
		rights := oauth.ServiceRights{Title: string(s.Name), Own: []string{s.ID}}
		seen := map[string]bool{}
		for j := range p.Rules {
			r := &p.Rules[j]
			if r.Caller != string(s.Name) || r.External || seen[r.Target] {
				continue
			}
			seen[r.Target] = true
			rights.Audiences = append(rights.Audiences, x.serviceID(model.ServiceName(r.Target)))
			rights.Scopes = append(rights.Scopes, "call:"+r.Target)
		}
		return rights, true
	}
	return oauth.ServiceRights{}, false
}

// smsOrNil keeps account from offering messages that nobody sends.
func (x *parts) smsOrNil(p *plan.Plan) account.Outbox {
	if p.Users.SMS.Webhook == "" && p.Users.SMS.Twilio == "" {
		return nil
	}
	return x.sms
}

var _ message.Sender = (*outbox)(nil)
