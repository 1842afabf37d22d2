package grant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wardhq/ward/internal/store"
)

// End ends all that came from a grant. It may be called again.
func (s *Store) End(ctx context.Context, grant string) error {
	var tokens []string
	now := s.Clock.Now().UnixMicro()
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) (err error) {
		if _, err := tx.Exec(ctx, "UPDATE grant_given SET ended = TRUE WHERE id = ?", grant); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO grant_ended (id, expires) SELECT jti, expires FROM grant_token WHERE grant_id = ? AND expires > ? ON CONFLICT DO NOTHING", grant, now); err != nil {
			return err
		}
		tokens, err = texts(ctx, tx, "SELECT jti FROM grant_token WHERE grant_id = ? AND expires > ?", grant, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("end grant: %w", err)
	}
	return s.tell(ctx, tokens)
}

func texts(ctx context.Context, tx *store.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

func (s *Store) tell(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if err := s.Tell(ctx, ids...); err != nil {
		return fmt.Errorf("tell what ended: %w", err)
	}
	return nil
}

// EndToken ends one access token.
func (s *Store) EndToken(ctx context.Context, jti string, expires time.Time) error {
	err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return insertEnded(ctx, tx, jti, expires)
	})
	if err != nil {
		return fmt.Errorf("end token: %w", err)
	}
	return s.tell(ctx, []string{jti})
}

func insertEnded(ctx context.Context, tx *store.Tx, id string, expires time.Time) error {
	_, err := tx.Exec(ctx, "INSERT INTO grant_ended (id, expires) VALUES (?, ?) ON CONFLICT DO NOTHING", id, expires.UnixMicro())
	return err
}

// Holder is a client that holds something of a person's session.
type Holder struct{ Client, Person, Session string }

// Holders are the clients that hold something of sessions.
func (s *Store) Holders(ctx context.Context, sessions []string) ([]Holder, error) {
	var found []Holder
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		found = nil
		for _, session := range sessions {
			rows, err := tx.Query(ctx, "SELECT DISTINCT client, person FROM grant_given WHERE session = ?", session)
			if err != nil {
				return err
			}
			for rows.Next() {
				h := Holder{Session: session}
				if err := rows.Scan(&h.Client, &h.Person); err != nil {
					return err
				}
				found = append(found, h)
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the clients of sessions: %w", err)
	}
	return found, nil
}

// EndSessions ends all that came from sessions; also runs in the same transaction.
func (s *Store) EndSessions(ctx context.Context, sessions []string, also func(context.Context, *store.Tx) error) error {
	until := s.Clock.Now().Add(s.Access)
	for batch := range slices.Chunk(sessions, 500) {
		err := s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
			for _, session := range batch {
				if _, err := tx.Exec(ctx, "UPDATE grant_given SET ended = TRUE WHERE session = ?", session); err != nil {
					return err
				}
				if err := insertEnded(ctx, tx, session, until); err != nil {
					return err
				}
			}
			return also(ctx, tx)
		})
		if err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
	}
	return s.tell(ctx, sessions)
}

// HasEnded tells whether a token or its session ended before its time.
func (s *Store) HasEnded(ctx context.Context, jti, session string) (bool, error) {
	n := 0
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM grant_ended WHERE id IN (?, ?)", jti, session).Scan(&n)
	})
	if err != nil {
		return false, fmt.Errorf("look for ended tokens: %w", err)
	}
	return n > 0, nil
}

// Sweep deletes what has expired.
func (s *Store) Sweep(ctx context.Context) error {
	now := s.Clock.Now()
	return Sweep(ctx, s.DB, map[string]time.Time{
		"grant_given": now, "grant_refresh": now, "grant_token": now, "grant_ended": now, "grant_seen": now, "grant_code": now.Add(-usedLife),
	})
}

// sweepRows bounds what one transaction deletes, so that writers needn't wait for long.
const sweepRows = 10_000

// Sweep deletes the rows of tables whose column expires lies before a time.
func Sweep(ctx context.Context, db *store.DB, tables map[string]time.Time) error {
	for table, before := range tables {
		for more := true; more; {
			err := db.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
				// The time up to which about sweepRows rows go; there is an index on expires.
				var end int64
				if err := tx.QueryRow(ctx, "SELECT coalesce(max(expires), 0) FROM (SELECT expires FROM "+table+" WHERE expires < ? ORDER BY expires LIMIT ?) AS old", before.UnixMicro(), sweepRows).Scan(&end); err != nil {
					return err
				}
				n, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE expires <= ?", end)
				more = n >= sweepRows
				return err
			})
			if err != nil {
				return fmt.Errorf("sweep %s: %w", table, err)
			}
		}
	}
	return nil
}
