package wire

import (
	"context"
	"net/http"
	"net/url"
)

// DeliveryRequest asks for a service's secrets.
type DeliveryRequest struct {
	Service string `json:"service"`
}

// Delivery is what a service gets: values by secret, with their versions. The supervisor alone may ask, for it starts the service.
type Delivery struct {
	Values   map[string][]byte `json:"values"`
	Versions map[string]int64  `json:"versions"`
}

// Canary is a trap: the URL of a database that there is none of, "" for none.
type Canary struct {
	URL string `json:"url,omitempty"`
}

// Canary returns a service's trap (supervisor only).
func (c *Client) Canary(ctx context.Context, r DeliveryRequest) (Canary, error) {
	var out Canary
	return out, c.Call(ctx, http.MethodPost, "/v1/canary", r, &out)
}

// SecretVersions are the current versions of the secrets that have a value.
type SecretVersions struct {
	Sequence uint64           `json:"sequence"`
	Versions map[string]int64 `json:"versions"`
}

// AgentSecrets are the values that agents need: what they add to calls of externals, and with what they log in to databases.
type AgentSecrets struct {
	Sequence uint64            `json:"sequence"`
	Values   map[string][]byte `json:"values"`
	// Spare are other values that may count at a database while a password changes: the pending one, and the previous.
	Spare map[string][][]byte `json:"spare,omitempty"`
}

// Deliver returns a service's secrets; fault.NotFound if one has no value yet (supervisor only).
func (c *Client) Deliver(ctx context.Context, r DeliveryRequest) (Delivery, error) {
	var out Delivery
	return out, c.Call(ctx, http.MethodPost, "/v1/deliver", r, &out)
}

// SecretVersions returns the current versions; with have (a sequence number) it waits for newer ones, or returns the same after a
// while (supervisor only).
func (c *Client) SecretVersions(ctx context.Context, have string) (SecretVersions, error) {
	var out SecretVersions
	return out, c.Call(ctx, http.MethodGet, "/v1/secret-versions?have="+url.QueryEscape(have), nil, &out)
}

// AgentSecrets returns what agents need; have is as in SecretVersions (agents only).
func (c *Client) AgentSecrets(ctx context.Context, have string) (AgentSecrets, error) {
	var out AgentSecrets
	return out, c.Call(ctx, http.MethodGet, "/v1/agent-secrets?have="+url.QueryEscape(have), nil, &out)
}

// Fingerprints find secrets where they must not be; see package leak.
type Fingerprints struct {
	Sequence uint64 `json:"sequence"`
	Prints   []byte `json:"prints"` // as leak.Unmarshal reads them
}

// Fingerprints returns those of the secrets; have is as in SecretVersions (supervisor; the gateway gets those that it may have).
func (c *Client) Fingerprints(ctx context.Context, have string) (Fingerprints, error) {
	var out Fingerprints
	return out, c.Call(ctx, http.MethodGet, "/v1/fingerprints?have="+url.QueryEscape(have), nil, &out)
}
