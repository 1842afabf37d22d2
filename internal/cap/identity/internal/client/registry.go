package client

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Spec describes a client.
type Spec struct {
	model.Client
	JWKS json.RawMessage `json:",omitempty"` // of private_key_jwt: the content of JWKSFile
}

// ServiceRights is what a service of the plan may ask for.
type ServiceRights struct {
	Title     string
	Own       []string // audiences that are the service itself
	Audiences []string // what it may call
	Scopes    []string
}

// Config is what a Registry needs.
type Config struct {
	DB    *store.DB
	Clock clock.Clock
	// ServiceID is the SPIFFE ID of a service.
	ServiceID func(model.ServiceName) string
	// Service returns what the service of a SPIFFE ID may ask for; false if there is none. nil: services are no clients.
	Service func(spiffeID string) (ServiceRights, bool)
}

// Registry is all clients. Its methods are safe for concurrent use.
type Registry struct {
	Config

	mu       sync.RWMutex // guards the following
	declared map[string]*Client
	origins  map[string]bool // of declared clients
}

// Open prepares the tables.
func Open(ctx context.Context, c Config) (*Registry, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open clients: %w", err)
	}
	if err := c.DB.Migrate(ctx, "client", files); err != nil {
		return nil, fmt.Errorf("open clients: %w", err)
	}
	return &Registry{Config: c}, nil
}

// Declare replaces all declared clients, or none if one is wrong.
func (r *Registry) Declare(specs []Spec) error {
	declared, origins := map[string]*Client{}, map[string]bool{}
	for _, s := range specs {
		c, err := r.make(s, Declared)
		if err != nil {
			return fmt.Errorf("declare client %q: %w", s.Name, err)
		}
		declared[c.Name] = c
		for _, o := range c.origins() {
			origins[o] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.declared, r.origins = declared, origins
	return nil
}

// Find returns the client of an ID; fault.NotFound if there is none.
func (r *Registry) Find(ctx context.Context, id string) (*Client, error) {
	r.mu.RLock()
	c := r.declared[id]
	r.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	if strings.HasPrefix(id, "spiffe://") {
		return r.service(id)
	}
	var data string
	err := r.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT data FROM client_added WHERE id = ?", id).Scan(&data)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, unknown()
	}
	if err != nil {
		return nil, fmt.Errorf("find client: %w", err)
	}
	return r.added(data)
}

func unknown() error { return fault.New(fault.NotFound, "there is no such client") }

func (r *Registry) service(id string) (*Client, error) {
	if r.Service == nil {
		return nil, unknown()
	}
	rights, ok := r.Service(id)
	if !ok {
		return nil, unknown()
	}
	return &Client{
		Client: model.Client{
			Name: id, Title: rights.Title, Grants: []string{"client_credentials", "token_exchange"},
			Scopes: rights.Scopes, Audiences: rights.Audiences,
		},
		SPIFFE: id, Own: rights.Own, From: Service,
	}, nil
}

func (r *Registry) added(data string) (*Client, error) {
	var s Spec
	if err := json.Unmarshal([]byte(data), &s); err != nil {
		return nil, fmt.Errorf("read an added client: %w", err)
	}
	c, err := r.make(s, Added)
	if err != nil {
		return nil, fmt.Errorf("read the added client %q: %w", s.Name, err)
	}
	return c, nil
}

// Add adds a client at run time. A confidential one without keys or service gets a new secret, which is returned this
// once. fault.Conflict: there is one of that name; fault.Invalid: it can't be.
func (r *Registry) Add(ctx context.Context, s Spec) (secret.Bytes, error) {
	var made secret.Bytes
	if !s.Public && len(s.JWKS) == 0 && s.Service == "" && s.SecretHash == "" {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return made, fmt.Errorf("add client: %w", err)
		}
		text := base64.RawURLEncoding.EncodeToString(raw)
		sum := sha256.Sum256([]byte(text))
		made, s.SecretHash = secret.New([]byte(text)), hex.EncodeToString(sum[:])
	}
	c, err := r.make(s, Added)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("add client: %w", err)
	}
	r.mu.RLock()
	taken := r.declared[s.Name] != nil
	r.mu.RUnlock()
	if taken {
		return secret.Bytes{}, fault.New(fault.Conflict, "ward.yaml declares a client of that name")
	}
	data, err := json.Marshal(s)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("add client: %w", err)
	}
	err = r.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO client_added (id, data, added_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", s.Name, string(data), r.Clock.Now().UnixMicro())
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "there is a client of that name")
		}
		for _, o := range c.origins() {
			if _, err := tx.Exec(ctx, "INSERT INTO client_origin (origin, client) VALUES (?, ?) ON CONFLICT DO NOTHING", o, s.Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("add client: %w", err)
	}
	return made, nil
}

// Remove removes a client that was added at run time. What it was given before is the caller's to end.
func (r *Registry) Remove(ctx context.Context, id string) error {
	err := r.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM client_added WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return unknown()
		}
		_, err = tx.Exec(ctx, "DELETE FROM client_origin WHERE client = ?", id)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove client: %w", err)
	}
	return nil
}

// Listed is a client in a list.
type Listed struct {
	*Client
	Shadowed bool // it was added, but ward.yaml declares one of that name, which counts
}

// List returns the declared and the added clients by name. Services aren't listed: the plan has them.
func (r *Registry) List(ctx context.Context) ([]Listed, error) {
	var out []Listed
	r.mu.RLock()
	declared := r.declared
	r.mu.RUnlock()
	for _, c := range declared {
		out = append(out, Listed{Client: c})
	}
	var data []string
	err := r.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		data = nil
		rows, err := tx.Query(ctx, "SELECT data FROM client_added")
		if err != nil {
			return err
		}
		for rows.Next() {
			var d string
			if err := rows.Scan(&d); err != nil {
				return err
			}
			data = append(data, d)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	for _, d := range data {
		c, err := r.added(d)
		if err != nil {
			return nil, err
		}
		out = append(out, Listed{Client: c, Shadowed: declared[c.Name] != nil})
	}
	slices.SortFunc(out, func(a, b Listed) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return int(a.From) - int(b.From)
	})
	return out, nil
}

// HasOrigin tells whether a public client lives at a web origin, so that its scripts may read our answers (CORS).
func (r *Registry) HasOrigin(ctx context.Context, origin string) (bool, error) {
	r.mu.RLock()
	known := r.origins[origin]
	r.mu.RUnlock()
	if known {
		return true, nil
	}
	n := 0
	err := r.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM client_origin WHERE origin = ?", origin).Scan(&n)
	})
	if err != nil {
		return false, fmt.Errorf("find origin: %w", err)
	}
	return n > 0, nil
}

// make checks a description.
func (r *Registry) make(s Spec, from From) (*Client, error) {
	c := &Client{Client: s.Client, From: from}
	if len(s.JWKS) > 0 {
		keys, err := jose.ParseKeySet(s.JWKS)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "its JWKS can't be read", err)
		}
		if keys.Len() == 0 {
			return nil, fault.New(fault.Invalid, "its JWKS has no key that we support")
		}
		c.Keys = keys
	}
	if s.Service != "" && r.ServiceID != nil {
		c.SPIFFE = r.ServiceID(s.Service)
	}
	if err := check(c); err != nil {
		return nil, err
	}
	return c, nil
}
