package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/grant"
	"github.com/wardhq/ward/internal/store"
)

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// keepRequest stores an authorization request under a new secret, for the browser with that secret ("" for a client's push).
func (p *Provider) keepRequest(ctx context.Context, q *request, browser string, life time.Duration) (string, error) {
	id := grant.Random()
	err := p.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO oidc_request (hash, browser, data, expires) VALUES (?, ?, ?, ?)",
			grant.Hash(id), grant.Hash(browser), encode(q), p.Clock.Now().Add(life).UnixMicro())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep authorization request: %w", err)
	}
	return id, nil
}

// readRequest reads one that was kept; nil if there is none for this browser.
func (p *Provider) readRequest(ctx context.Context, id, browser string) (*request, error) {
	var data string
	err := p.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT data FROM oidc_request WHERE hash = ? AND browser = ? AND expires > ?", grant.Hash(id), grant.Hash(browser), p.Clock.Now().UnixMicro()).Scan(&data)
	})
	return decodeRequest(data, err)
}

// takeRequest reads one that was kept, once.
func (p *Provider) takeRequest(ctx context.Context, id, browser string) (*request, error) {
	var data string
	err := p.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "DELETE FROM oidc_request WHERE hash = ? AND browser = ? AND expires > ? RETURNING data", grant.Hash(id), grant.Hash(browser), p.Clock.Now().UnixMicro()).Scan(&data)
	})
	return decodeRequest(data, err)
}

func decodeRequest(data string, err error) (*request, error) {
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	var q request
	if err == nil {
		err = json.Unmarshal([]byte(data), &q)
	}
	if err != nil {
		return nil, fmt.Errorf("read authorization request: %w", err)
	}
	return &q, nil
}

// sweep deletes what has expired, a bounded number of rows per call and table.
func (p *Provider) sweep(ctx context.Context) error {
	now := p.Clock.Now()
	err := grant.Sweep(ctx, p.DB, map[string]time.Time{"oidc_request": now, "oidc_device": now.Add(-time.Hour)})
	return errors.Join(err, p.grants.Sweep(ctx))
}
