package agent

import (
	"context"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/wire"
)

// FollowUsers applies every state of people that control has, until ctx ends: what ended there ends here within the
// time of one call.
func FollowUsers(ctx context.Context, c *wire.Client, set func(*wire.UserState) error) {
	wire.Follow(ctx, "follow users", func(have string) (uint64, error) {
		s, err := c.UserState(ctx, have)
		if err == nil {
			err = set(&s)
		}
		return s.Sequence, err
	})
}

// setUsers tells the mesh whose transaction tokens count, and which sessions have ended.
func (a *Agent) setUsers(s *wire.UserState) error {
	keys, err := jose.ParseKeySet(s.TxnKeys)
	if err != nil {
		return err
	}
	a.mesh.SetUsers(keys, s.Ended)
	return nil
}
