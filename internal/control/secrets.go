package control

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/secrets"
	"github.com/wardhq/ward/internal/wire"
)

// openSafe opens the keys and secrets in the database.
func (k *Control) openSafe() error {
	var err error
	k.safe, err = secrets.Open(context.Background(), secrets.Config{DB: k.db, Root: k.config.Key, Clock: k.config.Clock, Record: k.ledger.Append, Egress: filepath.Join(wire.EgressDir, wire.EgressSocket)})
	return err
}

// secretsForAgent is what agents may ask: what they add to calls, users of databases, and what services do with keys.
func (k *Control) secretsForAgent(mux *http.ServeMux) {
	wire.Handle(mux, "GET /v1/agent-secrets", k.safe.ForAgents)
	wire.Handle(mux, "POST /v1/database-user", k.safe.MakeDatabaseUser)
	wire.Handle(mux, "POST /v1/database-user/renew", k.safe.RenewDatabaseUser)
	wire.Handle(mux, "POST /v1/database-user/end", func(ctx context.Context, r wire.DatabaseUserRequest) (none, error) {
		return none{}, k.safe.EndDatabaseUser(ctx, r)
	})
	services := k.safe.Services()
	mux.HandleFunc("/v1/as/{service}/", func(w http.ResponseWriter, r *http.Request) {
		if k.found.Quarantined(r.PathValue("service")) {
			wire.WriteError(w, fault.New(fault.Refused, "the service is in quarantine"))
			return
		}
		services.ServeHTTP(w, r)
	})
}

// secretsForAdmin is what the supervisor and administrators may ask.
func (k *Control) secretsForAdmin(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/deliver", k.safe.Deliver)
	wire.Handle(mux, "POST /v1/canary", k.safe.Canary)
	wire.Handle(mux, "GET /v1/secret-versions", k.safe.Versions)
	wire.Handle(mux, "GET /v1/fingerprints", k.safe.Fingerprints)
	for _, path := range []string{"/v1/keys", "/v1/keys/", "/v1/secrets", "/v1/secrets/", "/v1/secrets-import", "/v1/secrets-recipient"} {
		mux.Handle(path, k.safe.Admin())
	}
}
