package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Tx is a transaction in Write or Read. It is not for concurrent use, nor for use after that.
type Tx struct {
	on       session
	prepared func(context.Context, string) (*sql.Stmt, error) // nil when the driver does it itself
	numbered bool                                             // arguments are $1, not ?
	detached bool                                             // a context that ends doesn't interrupt statements
	rows     []*sql.Rows
	err      error // the first failure; it dooms the transaction, as it does in PostgreSQL
}

// session is what *sql.Tx, *sql.Conn and *sql.Stmt have in common.
type session interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Exec runs a statement and returns how many rows it changed.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	ctx, query, err := t.start(ctx, query)
	if err != nil {
		return 0, err
	}
	var r sql.Result
	if t.prepared == nil {
		r, err = t.on.ExecContext(ctx, query, args...)
	} else {
		var s *sql.Stmt
		if s, err = t.prepared(ctx, query); err == nil {
			r, err = s.ExecContext(ctx, args...)
		}
	}
	if err != nil {
		return 0, t.doom(err)
	}
	n, err := r.RowsAffected()
	return n, t.doom(err)
}

// Query runs a query; the rows are closed with the transaction at the latest.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, query, err := t.start(ctx, query)
	if err != nil {
		return nil, err
	}
	// Not a prepared statement: the same one may be asked again while these rows are read.
	rows, err := t.on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, t.doom(err)
	}
	t.rows = append(t.rows, rows)
	return rows, nil
}

// QueryRow runs a query for one row. Scan it before the next statement.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	ctx, query, err := t.start(ctx, query)
	if err != nil {
		return Row{err: err}
	}
	if t.prepared == nil {
		return Row{tx: t, row: t.on.QueryRowContext(ctx, query, args...)}
	}
	s, err := t.prepared(ctx, query)
	if err != nil {
		return Row{err: t.doom(err)}
	}
	return Row{tx: t, row: s.QueryRowContext(ctx, args...)}
}

// Row is the answer to QueryRow.
type Row struct {
	tx  *Tx
	row *sql.Row
	err error
}

// Scan copies the columns, or returns ErrNoRows.
func (r Row) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.row.Scan(into...)
	if errors.Is(err, ErrNoRows) {
		return err // it dooms nothing
	}
	return r.tx.doom(err)
}

func (t *Tx) start(ctx context.Context, query string) (context.Context, string, error) {
	if t.err != nil {
		return nil, "", fmt.Errorf("the transaction has failed before: %w", t.err)
	}
	if err := ctx.Err(); err != nil {
		return nil, "", t.doom(err)
	}
	if t.detached {
		ctx = context.WithoutCancel(ctx)
	}
	if t.numbered {
		query = number(query)
	}
	return ctx, query, nil
}

func (t *Tx) doom(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// finish is the transaction's outcome when fn has returned err.
func (t *Tx) finish(ctx context.Context, err error) error {
	for _, r := range t.rows {
		_ = t.doom(r.Err())
		_ = r.Close() // what went wrong is in Err
	}
	_ = t.doom(ctx.Err())
	if err == nil {
		err = t.err
	}
	return err
}

// number writes ? as $1, $2… outside of quotes and comments.
func number(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	for n := 0; query != ""; {
		if end := quoted(query); end > 0 {
			b.WriteString(query[:end])
			query = query[end:]
			continue
		}
		if query[0] == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
		} else {
			b.WriteByte(query[0])
		}
		query = query[1:]
	}
	return b.String()
}

// quoted is the length of the quotation or comment that the SQL begins with, or 0.
func quoted(s string) int {
	for _, q := range []struct{ begin, end string }{{"'", "'"}, {`"`, `"`}, {"--", "\n"}, {"/*", "*/"}} {
		if !strings.HasPrefix(s, q.begin) {
			continue
		}
		if _, after, ok := strings.Cut(s[len(q.begin):], q.end); ok {
			return len(s) - len(after) // a doubled quote begins the next quotation
		}
		return len(s)
	}
	return 0
}
