package pgusers

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/pglogin"
)

// server is a database as its administrator. One thing is done there at a time: changes of roles wait for each other anyway.
type server struct {
	config *Config
	model  model.Database
	tls    *tls.Config
	key    string // equal for servers that may share a session
	turn   chan struct{}
	kept   *kept
}

// kept is the administrator's session; the turn guards it.
type kept struct{ session *pglogin.Session }

// How long one thing may take there, with the login that may come first.
const (
	doTime    = 10 * time.Second
	loginTime = 5 * time.Second
)

// makes tells whether there may be users to sweep.
func (s *server) makes() bool {
	for i := range s.model.Users {
		if s.model.Users[i].Login.User == "" {
			return true
		}
	}
	return false
}

// leave ends the session when nothing is done there any more, which takes doTime at most.
func (s *server) leave() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.drop()
}

func (s *server) drop() {
	if s.kept.session != nil {
		s.kept.session.Close()
		s.kept.session = nil
	}
}

// run runs statements in one round trip and one transaction, and returns the first column of their rows. A session that was broken while
// nobody looked is replaced once.
func (s *server) run(ctx context.Context, statements string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, doTime)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for database %s: %w", s.model.Name, ctx.Err())
	}
	defer func() { <-s.turn }()
	for {
		used := s.kept.session != nil
		if !used {
			var err error
			if s.kept.session, err = s.connect(ctx); err != nil {
				return nil, err
			}
		}
		out, err := s.kept.session.Run(ctx, statements)
		if err == nil || pglogin.Code(err) != "" {
			return out, err
		}
		s.drop()
		if !used || ctx.Err() != nil {
			return nil, err
		}
	}
}

// connect logs in as the administrator, with the first of its passwords that counts.
func (s *server) connect(ctx context.Context) (*pglogin.Session, error) {
	passwords, err := s.config.Passwords(ctx, s.model.Admin.Secret)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("secret %s has no value", s.model.Admin.Secret)
	for _, password := range passwords {
		var session *pglogin.Session
		if session, err = s.logIn(ctx, s.model.Admin.User, password); err == nil {
			return session, nil
		}
		if !pglogin.IsRefused(err) {
			return nil, err
		}
	}
	return nil, err
}

// logIn opens a session. Its settings are ours: names mean the catalogue's, whatever else is in the database, and nothing waits for long.
func (s *server) logIn(ctx context.Context, user string, password secret.Bytes) (*pglogin.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTime)
	defer cancel()
	c, err := s.config.Dial(ctx, s.model.Name)
	if err != nil {
		return nil, err
	}
	session, err := pglogin.Connect(ctx, c, pglogin.Login{User: user, Password: password, Database: s.model.Database, TLS: s.tls, Parameters: map[string]string{
		"application_name": "ward", "client_encoding": "UTF8", "search_path": "pg_catalog", "lock_timeout": "5s", "statement_timeout": "8s", "standard_conforming_strings": "on",
	}})
	if err != nil {
		c.Close()
		return nil, err
	}
	return session, nil
}

// tryLogin returns nil if a user can log in.
func (s *server) tryLogin(ctx context.Context, user string, password secret.Bytes) error {
	session, err := s.logIn(ctx, user, password)
	if err != nil {
		return err
	}
	session.Close() // it was opened: that is what matters
	return nil
}

// exec is run for statements without rows.
func (s *server) exec(ctx context.Context, statements string) error {
	_, err := s.run(ctx, statements)
	return err
}

// end takes a user away: first it can't log in, and then what it has open ends, so that nothing comes in between.
func (s *server) end(ctx context.Context, user string) error {
	if err := s.exec(ctx, closeStatements(user)); err != nil {
		return err
	}
	return s.exec(ctx, dropStatements(user))
}

// isMissing tells that there is no such role.
func isMissing(err error) bool { return pglogin.Code(err) == "42704" }

// isElsewhere tells that a role has objects or rights in another database.
func isElsewhere(err error) bool { return pglogin.Code(err) == "2BP01" }
