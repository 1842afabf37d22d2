package store

import (
	"context"
	"database/sql"
)

// lane is a connection to SQLite with the statements that it has prepared. One transaction has it at a
// time.
type lane struct {
	conn *sql.Conn
	kept map[string]*sql.Stmt
}

// maxKept bounds the statements kept; Ward's own queries are far fewer.
const maxKept = 512

func newLane(ctx context.Context, db *sql.DB) (*lane, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	l := &lane{conn: conn, kept: map[string]*sql.Stmt{}}
	var tables int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		_ = conn.Close() // the first error is the one to tell
		return nil, err
	}
	return l, nil
}

// begin is a Tx on the lane. SQLite answers an interrupted statement by undoing everything, others'
// work too, so none is interrupted.
func (l *lane) begin() *Tx { return &Tx{on: l.conn, prepared: l.prepare, detached: true} }

func (l *lane) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := l.kept[query]; s != nil {
		return s, nil
	}
	if len(l.kept) >= maxKept {
		l.forget()
	}
	s, err := l.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	l.kept[query] = s
	return s, nil
}

func (l *lane) forget() {
	for _, s := range l.kept {
		_ = s.Close() // it is only a cache
	}
	clear(l.kept)
}

// close lets go of the statements first: SQLite keeps a connection open that has any.
func (l *lane) close() error {
	l.forget()
	return l.conn.Close()
}

// exec runs a statement of our own; no context may keep it from it.
func (l *lane) exec(query string) error {
	s, err := l.prepare(context.Background(), query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}
