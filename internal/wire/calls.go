package wire

import (
	"context"
	"net/http"
	"net/url"
)

// Plan returns the plan in force; with have, it waits for one of another
// revision, or returns the same after a while.
func (c *Client) Plan(ctx context.Context, have string) (PlanState, error) {
	var out PlanState
	return out, c.Call(ctx, http.MethodGet, "/v1/plan?have="+url.QueryEscape(have), nil, &out)
}

// SetPlan puts a plan into force (supervisor only).
func (c *Client) SetPlan(ctx context.Context, p PlanState) error {
	return c.Call(ctx, http.MethodPut, "/v1/plan", p, nil)
}

// SignX509 asks for an X.509-SVID.
func (c *Client) SignX509(ctx context.Context, r SignRequest) (SignReply, error) {
	var out SignReply
	return out, c.Call(ctx, http.MethodPost, "/v1/svid/x509", r, &out)
}

// SignJWT asks for a JWT-SVID.
func (c *Client) SignJWT(ctx context.Context, r JWTRequest) (JWTReply, error) {
	var out JWTReply
	return out, c.Call(ctx, http.MethodPost, "/v1/svid/jwt", r, &out)
}

// Bundle returns the trust bundle; with have (a sequence number) it waits for a newer one,
// or returns the same after a while.
func (c *Client) Bundle(ctx context.Context, have string) (Bundle, error) {
	var out Bundle
	return out, c.Call(ctx, http.MethodGet, "/v1/bundle?have="+url.QueryEscape(have), nil, &out)
}

// Record brings events to the ledger. When it returns without an error they are durable.
func (c *Client) Record(ctx context.Context, events []Event) error {
	return c.Call(ctx, http.MethodPost, "/v1/events", events, nil)
}

// RecordLater brings events to the ledger that may be lost: a crash takes at most those of the last second (agents and the gateway only).
func (c *Client) RecordLater(ctx context.Context, events []Event) error {
	return c.Call(ctx, http.MethodPost, "/v1/allowed", events, nil)
}
