package secrets

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/pgusers"
	"github.com/wardhq/ward/internal/cap/secrets/internal/values"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

func (s *Safe) newUsers() *pgusers.Users {
	return pgusers.New(pgusers.Config{
		Clock: s.config.Clock, Record: s.config.Record,
		Dial: func(ctx context.Context, database string) (net.Conn, error) {
			return wire.DialEgress(ctx, s.config.Egress, wire.EgressDatabase+database)
		},
		Passwords: func(ctx context.Context, name string) ([]secret.Bytes, error) {
			v, err := s.values.Get(ctx, values.Query{Name: name, Who: "control", Why: "database administration"})
			if err != nil {
				return nil, err
			}
			spare, err := s.others(ctx, name, "control")
			return append([]secret.Bytes{v.Secret}, spare...), err
		},
	})
}

// others are the pending and the previous value of a secret, as far as there are any that count.
func (s *Safe) others(ctx context.Context, name, who string) ([]secret.Bytes, error) {
	var out []secret.Bytes
	for _, stage := range []values.Stage{values.Pending, values.Previous} {
		v, err := s.values.Get(ctx, values.Query{Name: name, Stage: stage, Who: who, Why: "change of a password"})
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Refused, fault.Conflict: // none, expired, deleted
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v.Secret)
	}
	return out, nil
}

// spare gathers what else may count at databases, of the fixed accounts' passwords.
func (s *Safe) spare(ctx context.Context, p *plan.Plan, out map[string][][]byte) error {
	for i := range p.Databases {
		for j := range p.Databases[i].Users {
			name := p.Databases[i].Users[j].Login.Secret
			if _, ok := out[name]; ok || name == "" {
				continue
			}
			others, err := s.others(ctx, name, "agent")
			if err != nil {
				return err
			}
			out[name] = nil
			for _, v := range others {
				out[name] = append(out[name], v.Reveal())
			}
		}
	}
	return nil
}

// MakeDatabaseUser makes a user for an instance; see wire.Client.MakeDatabaseUser.
func (s *Safe) MakeDatabaseUser(ctx context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	return s.users.Make(ctx, r)
}

// RenewDatabaseUser lets a user live on; see wire.Client.RenewDatabaseUser.
func (s *Safe) RenewDatabaseUser(ctx context.Context, r wire.DatabaseUserRequest) (wire.DatabaseUser, error) {
	return s.users.Renew(ctx, r)
}

// EndDatabaseUser ends a user; see wire.Client.EndDatabaseUser.
func (s *Safe) EndDatabaseUser(ctx context.Context, r wire.DatabaseUserRequest) error {
	return s.users.End(ctx, r)
}

// rotator changes the password at the databases that a secret is for, if any.
func (s *Safe) rotator(name string) values.Rotator {
	accounts := slices.DeleteFunc(s.users.All(), func(a pgusers.Account) bool { return a.Secret != name })
	if len(accounts) == 0 {
		return nil
	}
	return passwords{s.users, accounts}
}

// passwords rotates the password of fixed accounts.
type passwords struct {
	users    *pgusers.Users
	accounts []pgusers.Account
}

// Try makes the pending password the one that counts. Agents have it already, beside the current one.
func (p passwords) Try(ctx context.Context, _ string, pending secret.Bytes) error {
	for _, a := range p.accounts {
		if err := p.users.SetPassword(ctx, a, pending); err != nil {
			return err
		}
	}
	return nil
}

// Done does nothing: PostgreSQL forgot the password before when it got the new one.
func (passwords) Done(context.Context, string) error { return nil }

// Pauses between looks at the databases.
const (
	databasesEvery = time.Minute
	databasesRetry = time.Second // doubled with each failure
)

// runDatabases sweeps made users, and brings passwords that Ward generates to the databases, until ctx ends.
func (s *Safe) runDatabases(ctx context.Context) {
	defer s.users.Close()
	settled := map[pgusers.Account]int64{}         // the version whose password counts there
	pause, retry := databasesRetry, databasesRetry // agents get the plan when control has it
	for {
		s.mu.Lock()
		planned := s.planned
		s.mu.Unlock()
		_, changed := s.values.Changed()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-planned:
			retry = databasesRetry
		case <-changed:
		case <-ctx.Done():
			return
		}
		timer.Stop()
		err := errors.Join(s.settle(ctx, settled), s.users.Sweep(ctx))
		if err == nil {
			pause, retry = databasesEvery, databasesRetry
			continue
		}
		pause = min(retry, databasesEvery)
		retry = min(2*retry, databasesEvery)
		if retry > 4*databasesRetry { // it isn't that something has just begun
			slog.Warn("look after databases", "error", err)
		}
	}
}

// settle sets the passwords that Ward generated and no database has yet: nobody else knows them, so nobody else can.
func (s *Safe) settle(ctx context.Context, settled map[pgusers.Account]int64) error {
	p := s.plan.Load()
	if p == nil {
		return nil
	}
	for _, a := range s.users.All() {
		if !slices.ContainsFunc(p.plan.Secrets, func(d model.Secret) bool { return d.Name == a.Secret && d.Generate != "" }) {
			continue
		}
		info, err := s.values.Info(ctx, a.Secret)
		if err != nil {
			return err
		}
		if info.Current == 0 || info.Current == settled[a] || info.Pending != 0 { // a rotation comes to its end by itself
			continue
		}
		if err := s.settleOne(ctx, a); err != nil {
			return err
		}
		settled[a] = info.Current
	}
	return nil
}

func (s *Safe) settleOne(ctx context.Context, a pgusers.Account) error {
	v, err := s.values.Get(ctx, values.Query{Name: a.Secret, Who: "control", Why: "database administration"})
	if err != nil {
		return err
	}
	counts, err := s.users.Counts(ctx, a, v.Secret)
	if err != nil || counts {
		return err
	}
	return s.users.SetPassword(ctx, a, v.Secret)
}
