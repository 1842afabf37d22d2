package wire

import (
	"context"
	"net/http"
)

// Secret is a managed secret as people see it: never its value. Versions count from 1; 0 is none. Times are seconds
// since 1970; 0 is never.
type Secret struct {
	Name     string `json:"name"`
	Declared bool   `json:"declared"`           // ward.yaml has it
	Generate string `json:"generate,omitempty"` // what Ward makes for it
	Sealed   bool   `json:"sealed,omitempty"`   // its value lies in git, encrypted
	Canary   bool   `json:"canary,omitempty"`

	Newest   int64 `json:"newest"` // the highest version that was ever made
	Current  int64 `json:"current,omitempty"`
	Pending  int64 `json:"pending,omitempty"`
	Previous int64 `json:"previous,omitempty"`

	Since     int64 `json:"since,omitempty"`      // when the current version was made
	Rotate    int64 `json:"rotate,omitempty"`     // how old it may become, in seconds
	RotatesAt int64 `json:"rotates_at,omitempty"` // when Ward makes the next one by itself
	Due       bool  `json:"due,omitempty"`        // it is older than that, and a human has to change it
	DeletedAt int64 `json:"deleted_at,omitempty"`
	GoneAt    int64 `json:"gone_at,omitempty"` // until then a deleted one can be restored

	Versions []SecretVersion `json:"versions,omitempty"` // newest first; only of a secret asked for by name
}

// SecretVersion is one value that a secret has or had.
type SecretVersion struct {
	Version int64  `json:"version"`
	Stage   string `json:"stage,omitempty"` // current, pending, previous
	Made    int64  `json:"made"`
	Expires int64  `json:"expires,omitempty"`
}

// SecretSet brings a new value.
type SecretSet struct {
	Value []byte `json:"value"`
	// IfVersion: only if no version is newer than this one; 0 if there must be none at all.
	IfVersion *int64 `json:"if_version,omitempty"`
	Expires   int64  `json:"expires,omitempty"`
	Stage     string `json:"stage,omitempty"` // current (or nothing) or pending
}

// SecretValue is a revealed value.
type SecretValue struct {
	Value   []byte `json:"value"`
	Version int64  `json:"version"`
	Expires int64  `json:"expires,omitempty"`
}

// SecretsImport brings a .env file. All of it is taken, or nothing.
type SecretsImport struct {
	Dotenv  []byte `json:"dotenv"`
	Replace bool   `json:"replace,omitempty"` // values that are there get a new version; otherwise they are kept
}

// SecretsImported is what became of it.
type SecretsImported struct {
	Secrets []SecretImported `json:"secrets"`
}

// SecretImported is one variable.
type SecretImported struct {
	Variable string `json:"variable"`
	Name     string `json:"name"`
	Version  int64  `json:"version"`        // current now
	Kept     bool   `json:"kept,omitempty"` // it had a value, which stayed
	Declared bool   `json:"declared"`       // ward.yaml has it
}

// SecretsRecipient is the age recipient that values in git are sealed for.
type SecretsRecipient struct {
	Recipient string `json:"recipient"`
}

// Secrets lists all (administrator only).
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	var out []Secret
	return out, c.Call(ctx, http.MethodGet, "/v1/secrets", nil, &out)
}

// Secret returns one with its versions (administrator only).
func (c *Client) Secret(ctx context.Context, name string) (Secret, error) {
	var out Secret
	return out, c.Call(ctx, http.MethodGet, "/v1/secrets/"+name, nil, &out)
}

// SetSecret sets a value (administrator only).
func (c *Client) SetSecret(ctx context.Context, name string, s SecretSet) (Secret, error) {
	var out Secret
	return out, c.Call(ctx, http.MethodPut, "/v1/secrets/"+name, s, &out)
}

// ChangeSecret does one of: promote, rollback, delete, restore, generate (administrator only).
func (c *Client) ChangeSecret(ctx context.Context, name, what string) (Secret, error) {
	var out Secret
	return out, c.Call(ctx, http.MethodPost, "/v1/secrets/"+name+"/"+what, struct{}{}, &out)
}

// RevealSecret returns the current value; the ledger keeps who asked (administrator only).
func (c *Client) RevealSecret(ctx context.Context, name string) (SecretValue, error) {
	var out SecretValue
	return out, c.Call(ctx, http.MethodPost, "/v1/secrets/"+name+"/reveal", struct{}{}, &out)
}

// ImportSecrets takes a .env file (administrator only).
func (c *Client) ImportSecrets(ctx context.Context, in SecretsImport) (SecretsImported, error) {
	var out SecretsImported
	return out, c.Call(ctx, http.MethodPost, "/v1/secrets-import", in, &out)
}

// SecretsRecipient returns the recipient of values in git (administrator only).
func (c *Client) SecretsRecipient(ctx context.Context) (string, error) {
	var out SecretsRecipient
	return out.Recipient, c.Call(ctx, http.MethodGet, "/v1/secrets-recipient", nil, &out)
}
