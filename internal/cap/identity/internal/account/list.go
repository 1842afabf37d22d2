package account

import (
	"context"
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
	"github.com/wardhq/ward/internal/store"
)

// maxList is how many people one page of a list has at most.
const maxList = 500

// People are those whose address begins with a prefix, by address, after one ("" from the beginning).
func (s *Service) People(ctx context.Context, prefix, after string, limit int) (list []signin.Person, err error) {
	prefix = emailKey(prefix)
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		list = []signin.Person{}
		rows, err := tx.Query(ctx, personColumns+"WHERE email_key > ? AND email_key >= ? ORDER BY email_key LIMIT ?", emailKey(after), prefix, max(1, min(limit, maxList)))
		if err != nil {
			return fmt.Errorf("list people: %w", err)
		}
		defer func() { _ = rows.Close() }() // rows.Err says what is wrong
		for rows.Next() {
			r, err := scanPerson(rows)
			if err != nil {
				return fmt.Errorf("list people: %w", err)
			}
			if !strings.HasPrefix(emailKey(r.Email), prefix) {
				return nil
			}
			list = append(list, r.Person)
		}
		return rows.Err()
	})
	return list, err
}
