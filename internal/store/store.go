// Package store keeps Ward's state in SQLite, or in PostgreSQL when several control
// replicas share it. Each capability owns its tables, queries and migrations.
//
// It guarantees: what Write acknowledged survives kill -9 and power loss; transactions
// are serializable on both engines; a statement that fails dooms its transaction; and
// migrations run once, in order, whoever starts at the same time.
// Not guaranteed: that a function given to Write runs only once. Nothing is sealed
// here: callers seal secrets before they store them.
//
// SQL that both engines take: ? for arguments, TEXT, BIGINT (times in microseconds
// since 1970), BOOLEAN, BYTEA (an empty one may be scanned as nil), ON CONFLICT and
// RETURNING. PostgreSQL's operators that hold a question mark can't be used.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// ErrNoRows is in the error of a Row that doesn't exist.
var ErrNoRows = sql.ErrNoRows

// Config says where the state is.
type Config struct {
	URL   secret.Bytes // postgres://…; empty means SQLite
	Path  string       // SQLite's file; made with mode 0600 if missing
	Clock clock.Clock  // dates migrations
}

// DB is an open database, safe for concurrent use.
type DB struct {
	engine engine
	clock  clock.Clock
}

// engine is what differs between the two.
type engine interface {
	write(ctx context.Context, fn func(context.Context, *Tx) error) error
	read(ctx context.Context, fn func(context.Context, *Tx) error) error
	// migrate runs fn alone among all processes, seeing all that was committed before.
	migrate(ctx context.Context, fn func(context.Context, *Tx) error) error
	dialect() string
	close() error
}

// Open opens the database; a file that others may read, is damaged, or isn't SQLite's is refused.
func Open(ctx context.Context, c Config) (*DB, error) {
	var e engine
	var err error
	if len(c.URL.Reveal()) > 0 {
		e, err = openPostgres(ctx, c.URL)
	} else {
		e, err = openSQLite(ctx, c.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", explain(err))
	}
	return &DB{engine: e, clock: c.Clock}, nil
}

// Close waits for transactions under way.
func (d *DB) Close() error {
	if err := d.engine.close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Write runs fn in a transaction, and returns nil when what it did is durable. An error or panic of
// fn undoes all it did. When others were in the way, or the engine undid it, fn runs again, up to a
// few times, so that it must only have effects through its Tx. A context that ends undoes it too, but
// SQLite sees that between statements only.
func (d *DB) Write(ctx context.Context, fn func(context.Context, *Tx) error) error {
	return d.run(ctx, "write", fn, d.engine.write)
}

// Read runs fn in a transaction that can't write and sees the state of one moment.
func (d *DB) Read(ctx context.Context, fn func(context.Context, *Tx) error) error {
	return d.run(ctx, "read", fn, d.engine.read)
}

// inside marks the context that a transaction's function gets.
type inside struct{}

func (d *DB) run(ctx context.Context, what string, fn func(context.Context, *Tx) error, on func(context.Context, func(context.Context, *Tx) error) error) error {
	if ctx.Value(inside{}) == d {
		return fmt.Errorf("%s store: it is called inside another transaction", what)
	}
	if err := on(context.WithValue(ctx, inside{}, d), fn); err != nil {
		return explain(err)
	}
	return nil
}

// explain gives the errors of an engine that a human can do something about a sentence of their own.
func explain(err error) error {
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	kind, public := reason(err)
	if public == "" {
		return err
	}
	return fault.Wrap(kind, public, err)
}
