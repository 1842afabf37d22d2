package agent

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/jose"
	"github.com/wardhq/ward/internal/wire"
)

// FollowUsers applies every state of people that control has, until ctx ends: what ended there ends here within the
// time of one call.
func FollowUsers(ctx context.Context, c *wire.Client, set func(*wire.UserState) error) {
	have := ""
	for ctx.Err() == nil {
		s, err := c.UserState(ctx, have)
		if err == nil {
			err = set(&s)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			slog.Warn("follow users", "error", err)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		have = strconv.FormatUint(s.Sequence, 10)
	}
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
