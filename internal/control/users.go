package control

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/identity"
	"github.com/wardhq/ward/internal/store"
	"github.com/wardhq/ward/internal/wire"
)

// openUsers opens the database and who is in it.
func (k *Control) openUsers() error {
	ctx := context.Background()
	var err error
	if k.db, err = store.Open(ctx, store.Config{Path: filepath.Join(k.config.Dir, databaseFile), Clock: k.config.Clock}); err != nil {
		return err
	}
	k.users, err = identity.OpenUsers(ctx, identity.UsersConfig{
		DB: k.db, Key: k.config.Key, Clock: k.config.Clock, Record: k.note, RecordNow: k.recordNow, Roots: k.roots, MailDir: wire.MailDir,
		Egress: filepath.Join(wire.EgressDir, wire.EgressSocket), GeoIP: wire.GeoIPFile, Breached: wire.BreachedFile,
	})
	return err
}

// roots verify SVIDs.
func (k *Control) roots() (*x509.CertPool, error) {
	b, err := k.authority.Bundle()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, der := range b.X509 {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read trust bundle: %w", err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// The files that the plan names for control lie sealed beside the plan, so that control can start again without its supervisor's help.
const (
	usersFiles   = "users.sealed"
	filesContext = "ward users files v1"
)

// setUsers puts users: of a plan into force, with its files, and takes the files out of the state.
func (k *Control) setUsers(ctx context.Context, s *wire.PlanState) error {
	files := s.Files
	s.Files = nil
	if err := k.users.SetPlan(ctx, s.Plan, files); err != nil {
		return err
	}
	if err := k.watch.SetCollectors(s.Plan, files, k.way); err != nil {
		return err
	}
	if err := k.notifier.SetPlan(s.Plan, files); err != nil {
		return err
	}
	plain, err := json.Marshal(files)
	if err != nil {
		return fmt.Errorf("keep files of users: %w", err)
	}
	sealed, err := secret.Seal(k.config.Key, plain, filesContext)
	if err != nil {
		return fmt.Errorf("keep files of users: %w", err)
	}
	path := filepath.Join(k.config.Dir, usersFiles)
	if err := os.WriteFile(path+".new", sealed, 0o600); err != nil {
		return fmt.Errorf("keep files of users: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep files of users: %w", err)
	}
	return nil
}

// loadUsers puts into force what was when control ended.
func (k *Control) loadUsers() error {
	if k.state.Plan == nil {
		return nil
	}
	files := map[string][]byte{}
	sealed, err := os.ReadFile(filepath.Join(k.config.Dir, usersFiles))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("load files of users: %w", err)
	default:
		plain, err := secret.Open(k.config.Key, sealed, filesContext)
		if err != nil {
			return fmt.Errorf("load files of users: %w", err)
		}
		if err := json.Unmarshal(plain, &files); err != nil {
			return fmt.Errorf("load files of users: %w", err)
		}
	}
	if err := k.safe.SetPlan(context.Background(), k.state.Plan, files); err != nil {
		return err
	}
	if err := k.watch.SetCollectors(k.state.Plan, files, k.way); err != nil {
		return err
	}
	if err := k.notifier.SetPlan(k.state.Plan, files); err != nil {
		return err
	}
	return k.users.SetPlan(context.Background(), k.state.Plan, files)
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
	wire.Handle(mux, "POST /v1/sign-in/begin", k.users.BeginSignIn)
	wire.Handle(mux, "POST /v1/sign-in/finish", k.users.FinishSignIn)
	wire.Handle(mux, "POST /v1/session", k.users.Session)
	wire.Handle(mux, "POST /v1/session/end", k.users.EndSession)
	wire.Handle(mux, "POST /v1/sessions/seen", func(ctx context.Context, s wire.SessionsSeen) (none, error) {
		return none{}, k.users.SeeSessions(ctx, s)
	})
}
