package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/model"
)

// How often the keys of foreign authorities are fetched, and again after an error; and how much is read.
const (
	foreignEvery = 10 * time.Minute
	foreignRetry = 5 * time.Second
	maxForeign   = 256 << 10
)

// foreign fetches the keys of the authorities that ward.yaml declares, so that gateways, which have no network, can verify their
// tokens. The last good keys stay until others come.
type foreign struct {
	client *http.Client
	told   func() // called when keys have changed

	mu   sync.Mutex
	keys map[string]json.RawMessage // guarded by mu: JWKS by issuer
	wake chan struct{}
}

func newForeign(t http.RoundTripper, told func()) *foreign {
	return &foreign{
		told: told, keys: map[string]json.RawMessage{}, wake: make(chan struct{}, 1),
		client: &http.Client{Transport: t, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// look lets run look at a new plan at once.
func (f *foreign) look() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// all are the keys as they are now.
func (f *foreign) all() map[string]json.RawMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]json.RawMessage, len(f.keys))
	for k, v := range f.keys {
		out[k] = v
	}
	return out
}

// run fetches until ctx ends. issuers are those of the plan in force.
func (f *foreign) run(ctx context.Context, issuers func() []model.Issuer, failed func(issuer string, err error)) {
	for {
		wait := foreignEvery
		list := issuers()
		changed := f.forget(list)
		for i := range list {
			jwks, err := f.fetch(ctx, &list[i])
			if err != nil {
				if ctx.Err() == nil {
					failed(list[i].Issuer, err)
				}
				wait = foreignRetry
				continue
			}
			changed = f.keep(list[i].Issuer, jwks) || changed
		}
		if changed {
			f.told()
		}
		select {
		case <-time.After(wait):
		case <-f.wake:
		case <-ctx.Done():
			return
		}
	}
}

// forget drops the keys of whom the plan doesn't name any more.
func (f *foreign) forget(list []model.Issuer) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.keys {
		known := false
		for i := range list {
			known = known || list[i].Issuer == name
		}
		if !known {
			delete(f.keys, name)
			changed = true
		}
	}
	return changed
}

func (f *foreign) keep(issuer string, jwks json.RawMessage) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = string(f.keys[issuer]) != string(jwks)
	f.keys[issuer] = jwks
	return changed
}

// fetch reads an authority's keys: from the URL that ward.yaml names, or from the one of its discovery document (OpenID Connect
// Discovery §4, RFC 8414), which must name the same issuer.
func (f *foreign) fetch(ctx context.Context, x *model.Issuer) (json.RawMessage, error) {
	from := x.JWKS
	if from == "" {
		b, err := f.get(ctx, strings.TrimSuffix(x.Issuer, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, err
		}
		var doc struct {
			Issuer string `json:"issuer"`
			JWKS   string `json:"jwks_uri"`
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, fmt.Errorf("read its discovery document: %w", err)
		}
		if doc.Issuer != x.Issuer || !strings.HasPrefix(doc.JWKS, "https://") && !strings.HasPrefix(x.Issuer, "http://") {
			return nil, fmt.Errorf("its discovery document is of %.200q, with keys at %.200q", doc.Issuer, doc.JWKS)
		}
		from = doc.JWKS
	}
	b, err := f.get(ctx, from)
	if err != nil {
		return nil, err
	}
	keys, err := jose.ParseKeySet(b)
	if err != nil {
		return nil, err
	}
	return keys.MarshalJSON() // public keys that we can verify with, and nothing else
}

func (f *foreign) get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", url, resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxForeign))
}
