package secrets

import (
	"context"

	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/cap/secrets/internal/values"
)

// Prove opens everything that is sealed here, and counts it: the proof of a restore.
func (s *Safe) Prove(ctx context.Context) (keys, secrets int, err error) {
	if keys, err = s.keys.Prove(ctx); err != nil {
		return keys, 0, err
	}
	err = s.values.Each(ctx, Administrator, "prove", func(string, values.Stage, secret.Bytes) error {
		secrets++
		return nil
	})
	return keys, secrets, err
}
