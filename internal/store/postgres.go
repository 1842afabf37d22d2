package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

const (
	postgresConnections = 16
	// postgresTries bounds how often a transaction runs that other replicas are in the way of.
	postgresTries = 8
	// migrationLock is the advisory lock of Ward's migrations: "ward" in ASCII.
	migrationLock = 0x77617264
)

// postgresDB is a PostgreSQL database. Writers are SERIALIZABLE, so that what is right alone is right
// together, as with SQLite's one writer.
type postgresDB struct {
	db *sql.DB
	// turn is held by all who write, and exclusively by one who tries again: nobody of this
	// process is in its way then.
	turn sync.RWMutex
}

func openPostgres(ctx context.Context, at secret.Bytes) (*postgresDB, error) {
	c, err := pgx.ParseConfig(string(at.Reveal()))
	if err != nil {
		return nil, fault.New(fault.Invalid, "the database's URL is not a PostgreSQL URL") // err may show it
	}
	for name, value := range map[string]string{
		"application_name": "ward", "statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s",
	} {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 10 * time.Second
	}
	db := stdlib.OpenDB(*c)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(time.Hour)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, fault.Wrap(fault.Unavailable, "the PostgreSQL database can't be reached", err)
	}
	return &postgresDB{db: db}, nil
}

func (*postgresDB) dialect() string { return "postgres" }

func (p *postgresDB) close() error {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.db.Close()
}

func (p *postgresDB) read(ctx context.Context, fn func(context.Context, *Tx) error) error {
	return p.once(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
}

func (p *postgresDB) migrate(ctx context.Context, fn func(context.Context, *Tx) error) error {
	// READ COMMITTED: what was committed while we waited for the lock must be seen.
	return p.once(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = 0"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(?)", int64(migrationLock)); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

func (p *postgresDB) write(ctx context.Context, fn func(context.Context, *Tx) error) error {
	p.turn.RLock()
	err := func() error {
		defer p.turn.RUnlock()
		return p.once(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}, fn)
	}()
	if !inTheWay(err) {
		return err
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	for range postgresTries - 1 {
		if err = p.once(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}, fn); !inTheWay(err) {
			break
		}
	}
	return err
}

func (p *postgresDB) once(ctx context.Context, o *sql.TxOptions, fn func(context.Context, *Tx) error) error {
	on, err := p.db.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	defer func() { _ = on.Rollback() }() // does nothing after Commit
	tx := &Tx{on: on, numbered: true}
	if err := tx.finish(ctx, fn(ctx, tx)); err != nil {
		if inTheWay(tx.err) && !inTheWay(err) {
			err = errors.Join(err, tx.err) // fn has hidden why
		}
		return err
	}
	if err := on.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
