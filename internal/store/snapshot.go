package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Snapshot writes a copy of the whole database, as of one moment, to a new file, while others go on writing. A database in PostgreSQL is
// backed up by PostgreSQL's own means.
func (d *DB) Snapshot(ctx context.Context, path string) (err error) {
	s, ok := d.engine.(*sqliteDB)
	if !ok {
		return errors.New("snapshot: this database isn't a file; use pg_dump")
	}
	l := <-s.readers
	defer func() { s.readers <- l }()
	// VACUUM INTO reads in one transaction, and leaves no pages behind that deleted rows were in.
	if _, err = l.conn.ExecContext(ctx, "PRAGMA query_only = 0"); err == nil {
		_, err = l.conn.ExecContext(ctx, "VACUUM INTO '"+strings.ReplaceAll(path, "'", "''")+"'")
	}
	_, back := l.conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA query_only = 1")
	if err = errors.Join(err, back); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}
