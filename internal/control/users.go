package control

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"

	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// openUsers opens the database and who is in it.
func (k *Control) openUsers() error {
	ctx := context.Background()
	var err error
	if k.db, err = store.Open(ctx, store.Config{Path: filepath.Join(k.config.Dir, "ward.db"), Clock: k.config.Clock}); err != nil {
		return err
	}
	k.users, err = identity.OpenUsers(ctx, identity.UsersConfig{DB: k.db, Key: k.config.Key, Clock: k.config.Clock, Record: k.note})
	return err
}

// follow is for who decides without control: which keys count, and what has ended.
func (k *Control) follow(mux *http.ServeMux, agent bool) {
	wire.Handle(mux, "GET /v1/users/state", func(ctx context.Context, h wire.Have) (wire.UserState, error) {
		return k.users.State(ctx, h.Revision, agent)
	})
}

// signIn is the gateway's part of sign-in.
func (k *Control) signIn(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/txn-key", func(ctx context.Context, jwk json.RawMessage) (none, error) {
		return none{}, k.users.PublishKey(ctx, jwk)
	})
}
