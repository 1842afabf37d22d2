package pglogin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// maxReplies bounds the messages that answer Run.
const maxReplies = 10_000

// Run sends statements in one message, so that they are one transaction, and returns the first column of all rows. After an error
// that isn't the server's (Code says ""), the session is broken.
func (s *Session) Run(ctx context.Context, statements string) ([]string, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.Conn.SetDeadline(time.Unix(1, 0)) })
	out, err := s.run(statements)
	if !stop() && (err == nil || Code(err) != "") {
		return nil, ctx.Err() // the connection's deadline has passed for good
	}
	return out, err
}

func (s *Session) run(statements string) (out []string, failed error) {
	if err := send(s.Conn, &pgproto3.Query{String: statements}); err != nil {
		return nil, err
	}
	for range maxReplies {
		m, err := readMessage(s.Conn)
		if err != nil {
			return nil, err
		}
		switch m.kind {
		case 'Z':
			return out, failed
		case 'E':
			if failed = serverError(m.body); Code(failed) == "" {
				return nil, failed
			}
		case 'D':
			var row pgproto3.DataRow
			if err := row.Decode(m.body); err != nil || len(row.Values) == 0 {
				return nil, fmt.Errorf("read from the server: a row that isn't one: %w", err)
			}
			out = append(out, string(row.Values[0]))
		}
	}
	return nil, errors.New("the server's answer has no end")
}

// Close ends the session.
func (s *Session) Close() {
	_ = s.Conn.SetDeadline(time.Now().Add(time.Second))
	_ = send(s.Conn, &pgproto3.Terminate{}) // it sees the connection's end as well
	_ = s.Conn.Close()
}

// Code is the SQLSTATE of a server's error; "" for any other.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) && e.server {
		return e.Code
	}
	return ""
}
