package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
)

const (
	callTimeout = 5 * time.Second
	maxAnswer   = 1 << 20        // bytes; JWKS with certificates are the largest
	freshFor    = time.Hour      // a discovery document
	staleFor    = 24 * time.Hour // while a newer one can't be had
	pause       = 10 * time.Second
	attempts    = 2
)

// remote is a provider with what was discovered of it.
type remote struct {
	Provider
	client *http.Client
	clock  clock.Clock
	*discovery
}

// discovery is shared by those who know the provider before and after a Configure.
type discovery struct {
	turn   chan struct{} // holds one; who took it may use what follows
	got    *metadata
	at     time.Time // of got
	failed time.Time
	err    error
}

// metadata is a discovery document.
type metadata struct {
	provider *oidc.Provider
	style    oauth2.AuthStyle
	issues   bool // iss in answers, RFC 9207
}

func newRemote(p Provider, client *http.Client, c clock.Clock) *remote {
	d := &discovery{turn: make(chan struct{}, 1)}
	d.turn <- struct{}{}
	return &remote{Provider: p, client: client, clock: c, discovery: d}
}

// discover returns the discovery document: a fresh one, or for a day the last one. After a failure it tries again when a
// pause is over.
func (r *remote) discover(ctx context.Context) (*metadata, error) {
	select {
	case <-r.turn:
	case <-ctx.Done():
		return nil, r.unavailable(ctx.Err())
	}
	defer func() { r.turn <- struct{}{} }()
	now := r.clock.Now()
	if r.got != nil && now.Sub(r.at) < freshFor {
		return r.got, nil
	}
	if r.err == nil || now.Sub(r.failed) >= pause {
		var m *metadata
		var err error
		for range attempts {
			if m, err = r.fetch(ctx); err == nil {
				r.got, r.at, r.err = m, now, nil
				return m, nil
			}
			if _, wrong := errors.AsType[*oidc.IssuerMismatchError](err); wrong || ctx.Err() != nil {
				break
			}
		}
		if ctx.Err() == nil { // somebody's going away isn't the provider's failure
			r.failed, r.err = now, err
		} else {
			return nil, r.unavailable(err)
		}
	}
	if r.got != nil && now.Sub(r.at) < staleFor {
		return r.got, nil
	}
	return nil, r.unavailable(r.err)
}

func (r *remote) unavailable(err error) error {
	return fault.Wrap(fault.Unavailable, "the provider doesn't answer; try again, or sign in another way", fmt.Errorf("discover %s: %w", r.Name, err))
}

func (r *remote) fetch(ctx context.Context) (*metadata, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.Issuer)
	if err != nil {
		return nil, err
	}
	var doc struct {
		JWKS    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Issues  bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := p.Claims(&doc); err != nil {
		return nil, err
	}
	for _, e := range []string{p.Endpoint().AuthURL, p.Endpoint().TokenURL, doc.JWKS} {
		if err := r.allowed(e); err != nil {
			return nil, err
		}
	}
	if e := p.UserInfoEndpoint(); e != "" {
		if err := r.allowed(e); err != nil {
			return nil, err
		}
	}
	m := &metadata{provider: p, style: oauth2.AuthStyleInHeader, issues: doc.Issues}
	// Without the list it is basic (OpenID Connect Discovery 1.0 §3).
	if len(r.Secret.Reveal()) == 0 || len(doc.Methods) > 0 && !slices.Contains(doc.Methods, "client_secret_basic") {
		m.style = oauth2.AuthStyleInParams
	}
	return m, nil
}

// allowed takes https, and http where the issuer itself is on this machine.
func (r *remote) allowed(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the discovery document has an endpoint that is no URL")
	}
	issuer, err := url.Parse(r.Issuer)
	if err != nil {
		return fmt.Errorf("read issuer: %w", err)
	}
	if u.Scheme == "https" || u.Scheme == "http" && issuer.Scheme == "http" && loopback(u) && loopback(issuer) {
		return nil
	}
	return errors.New("the discovery document has an endpoint without TLS")
}

func loopback(u *url.URL) bool {
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// limited is a copy of c with limits.
func limited(c *http.Client) *http.Client {
	out := *c
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	out.Transport = transport{next}
	out.Jar = nil
	out.Timeout = callTimeout
	// A redirect of a token request would carry code and secret to wherever it says.
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &out
}

type transport struct{ next http.RoundTripper }

// RoundTrip cuts answers that are too long.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err == nil {
		answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
	}
	return answer, err
}
