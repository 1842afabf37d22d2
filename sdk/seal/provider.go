package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

// ErrRefused says that the provider has answered, and said no; the text around it says why. Trying again is no use.
var ErrRefused = errors.New("refused")

// A Provider has the managed keys, which never leave it, and gives out what is made of them. API and Keyset are the two
// that there are. Implementations are safe for concurrent use; a definite no is ErrRefused or ErrDecrypt.
type Provider interface {
	// Service is the name in whose contexts values are sealed.
	Service(ctx context.Context) (string, error)
	// NewDataKey makes a data key under a managed key, or, if owner isn't empty, under that owner's key.
	NewDataKey(ctx context.Context, key, owner string) (Grant, error)
	// OpenDataKey returns the data key of a header that NewDataKey has given.
	OpenDataKey(ctx context.Context, key, owner string, header []byte) (Grant, error)
	// LookupKeys returns every version of a lookup key that may be used, the current one first.
	LookupKeys(ctx context.Context, key string) ([]*envelope.LookupKey, error)
}

// Grant is a data key and what the provider allows for it; a zero limit is none of the provider's. Messages and bytes are for sealing.
type Grant struct {
	Key         *envelope.DataKey
	MaxAge      time.Duration
	MaxMessages int64
	MaxBytes    int64
}

const (
	maxReply = 1 << 20
	timeout  = 10 * time.Second
)

// API is Ward's own, as a service reaches it. Ward knows the service by the socket on which it calls; there is no token.
type API struct {
	URL    string       // "" for http://ward
	Client *http.Client // nil for one with a timeout of ten seconds
}

// Service implements Provider.
func (a *API) Service(ctx context.Context) (string, error) {
	var me struct {
		Service string `json:"service"`
	}
	if err := a.call(ctx, http.MethodGet, "me", nil, &me); err != nil {
		return "", fmt.Errorf("ask who we are: %w", err)
	}
	return me.Service, nil
}

// granted is the answer with a data key.
type granted struct {
	Header        []byte `json:"header"`
	Plaintext     []byte `json:"plaintext"`
	MaxAgeSeconds int64  `json:"max_age_seconds"`
	MaxUses       int64  `json:"max_uses"`
	MaxBytes      int64  `json:"max_bytes"`
}

// grant prepares the key that came for header.
func (g *granted) grant(header []byte) (Grant, error) {
	d, err := envelope.NewDataKey(header, g.Plaintext)
	clear(g.Plaintext)
	return Grant{d, time.Duration(g.MaxAgeSeconds) * time.Second, g.MaxUses, g.MaxBytes}, err
}

// NewDataKey implements Provider.
func (a *API) NewDataKey(ctx context.Context, key, owner string) (Grant, error) {
	var out granted
	if err := a.call(ctx, http.MethodPost, keyPath(key, "data-key"), map[string]any{"owner": owner}, &out); err != nil {
		return Grant{}, fmt.Errorf("make data key of %s: %w", key, err)
	}
	g, err := out.grant(out.Header)
	if err != nil {
		return Grant{}, fmt.Errorf("make data key of %s: the answer isn't one", key)
	}
	return g, nil
}

// OpenDataKey implements Provider.
func (a *API) OpenDataKey(ctx context.Context, key, owner string, header []byte) (Grant, error) {
	var out granted
	err := a.call(ctx, http.MethodPost, keyPath(key, "open-data-key"), map[string]any{"owner": owner, "header": header}, &out)
	if err != nil {
		return Grant{}, fmt.Errorf("open data key of %s: %w", key, err)
	}
	return out.grant(header)
}

// LookupKeys implements Provider.
func (a *API) LookupKeys(ctx context.Context, key string) ([]*envelope.LookupKey, error) {
	var out struct {
		Versions []struct {
			KeyID envelope.KeyID `json:"key_id"`
			Key   []byte         `json:"key"`
		} `json:"versions"`
	}
	if err := a.call(ctx, http.MethodGet, keyPath(key, "lookup-keys"), nil, &out); err != nil {
		return nil, fmt.Errorf("get lookup keys of %s: %w", key, err)
	}
	var all []*envelope.LookupKey
	for _, v := range out.Versions {
		k, err := envelope.KeyFrom(v.Key)
		clear(v.Key)
		if err != nil {
			return nil, fmt.Errorf("get lookup keys of %s: %w", key, err)
		}
		l, err := envelope.NewLookupKey(v.KeyID, k)
		if err != nil {
			return nil, fmt.Errorf("get lookup keys of %s: %w", key, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func keyPath(key, operation string) string { return "keys/" + url.PathEscape(key) + "/" + operation }

// call speaks one request; in nil sends no body.
func (a *API) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	base := a.URL
	if base == "" {
		base = "http://ward"
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/v1/"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	client := a.Client
	if client == nil {
		client = &http.Client{Timeout: timeout}
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return err
	}
	defer clear(reply)
	if len(reply) > maxReply {
		return errors.New("the answer is too long")
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res.StatusCode, reply)
	}
	if err := json.Unmarshal(reply, out); err != nil {
		return errors.New("the answer isn't as expected") // the decoder's error may quote it
	}
	return nil
}

// refusal makes an error of a reply that isn't 200. Only what the caller's request is to blame for is final.
func refusal(status int, reply []byte) error {
	var say struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(reply, &say) != nil || say.Error == "" || len(say.Error) > 1000 {
		say.Error = http.StatusText(status)
	}
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict:
		if say.Error == ErrDecrypt.Error() {
			return ErrDecrypt
		}
		return fmt.Errorf("%w: %s", ErrRefused, say.Error)
	}
	return fmt.Errorf("status %d: %s", status, say.Error)
}
