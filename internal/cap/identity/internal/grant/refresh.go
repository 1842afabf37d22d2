package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/store"
)

// Refresh is a refresh token as it is kept, with its grant.
type Refresh struct {
	Authorization
	Grant   string
	Ended   bool
	Expires time.Time
	UsedAt  time.Time // zero: never

	hash  string
	limit time.Time // of the grant
}

// Refresh reads a refresh token; nil if there is none.
func (s *Store) Read(ctx context.Context, token string) (*Refresh, error) {
	r := &Refresh{hash: Hash(token)}
	var data string
	var used, expires, limit int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT r.grant_id, r.used_at, r.expires, g.data, g.ended, g.expires
			FROM grant_refresh r JOIN grant_given g ON g.id = r.grant_id WHERE r.hash = ?`, r.hash).
			Scan(&r.Grant, &used, &expires, &data, &r.Ended, &limit)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(data), &r.Authorization)
	}
	if err != nil {
		return nil, fmt.Errorf("read refresh token: %w", err)
	}
	if used > 0 {
		r.UsedAt = time.UnixMicro(used)
	}
	r.Expires, r.limit = time.UnixMicro(expires), time.UnixMicro(limit)
	return r, nil
}

// Rotation is how a rotation ended.
type Rotation uint8

// The ends of rotations.
const (
	Void  Rotation = iota // the token is none, or its grant has ended
	Done                  // there is a successor
	Retry                 // it was done before, just now: the successor is the same
	Reuse                 // it was used before, and isn't the retry of a client that didn't get the answer
)

// Rotate replaces a refresh token by its successor (RFC 9700 §4.14.2), and puts a new access token under its grant. A
// token that comes again within RetryWindow has the same successor, unless that was used.
func (s *Store) Rotate(ctx context.Context, r *Refresh, jti string) (next string, outcome Rotation, err error) {
	fail := func(err error) (string, Rotation, error) {
		return "", Void, fmt.Errorf("rotate refresh token: %w", err)
	}
	now, fresh := s.Clock.Now(), Random()
	sealed, err := secret.Seal(s.Seal, []byte(fresh), sealContext(r.hash))
	if err != nil {
		return fail(err)
	}
	err = s.DB.Write(ctx, func(ctx context.Context, tx *store.Tx) error {
		next, outcome = fresh, Done
		n, err := tx.Exec(ctx, `UPDATE grant_refresh SET used_at = ?, next_sealed = ? WHERE hash = ? AND used_at = 0
			AND EXISTS (SELECT 1 FROM grant_given WHERE id = ? AND NOT ended)`, now.UnixMicro(), sealed, r.hash, r.Grant)
		if err != nil {
			return err
		}
		if n == 1 {
			if err := insertRefresh(ctx, tx, next, r.Grant, s.refreshEnd(now, r.limit)); err != nil {
				return err
			}
		} else if next, outcome, err = s.again(ctx, tx, r, now); err != nil || outcome != Retry {
			return err
		}
		return insertToken(ctx, tx, jti, r.Grant, now.Add(s.Access))
	})
	if err != nil {
		return fail(err)
	}
	return next, outcome, nil
}

// again looks at a token that was used before: within the window, and with a successor that wasn't used, it is a retry.
func (s *Store) again(ctx context.Context, tx *store.Tx, r *Refresh, now time.Time) (string, Rotation, error) {
	var used int64
	var sealed []byte
	err := tx.QueryRow(ctx, "SELECT r.used_at, r.next_sealed FROM grant_refresh r JOIN grant_given g ON g.id = r.grant_id WHERE r.hash = ? AND NOT g.ended", r.hash).Scan(&used, &sealed)
	if errors.Is(err, store.ErrNoRows) {
		return "", Void, nil
	}
	if err != nil {
		return "", Void, err
	}
	if now.Sub(time.UnixMicro(used)) > RetryWindow {
		return "", Reuse, nil
	}
	plain, err := secret.Open(s.Seal, sealed, sealContext(r.hash))
	if err != nil {
		return "", Void, err
	}
	unused := 0
	err = tx.QueryRow(ctx, "SELECT count(*) FROM grant_refresh WHERE hash = ? AND used_at = 0", Hash(string(plain))).Scan(&unused)
	if err != nil {
		return "", Void, err
	}
	if unused == 0 {
		return "", Reuse, nil
	}
	return string(plain), Retry, nil
}

func sealContext(hash string) string { return "ward refresh successor v1 " + hash }
