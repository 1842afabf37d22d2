package console

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/ledger"
	"github.com/wardhq/ward/internal/ledger/anchor"
	"github.com/wardhq/ward/internal/ledger/check"
	"github.com/wardhq/ward/internal/ledger/search"
)

// chain is how the audit trail proves itself.
type chain struct {
	Status     ledger.Status
	Checkpoint ledger.Checkpoint
	Check      check.State
	Anchors    []anchored
	Lost       int64 // events that were lost before they came
	LostMore   bool  // and more than were counted
	Problems   []string
}

// anchored is an anchor, and whether it should have been here long ago.
type anchored struct {
	anchor.State
	Overdue bool
}

// maxLosses is how many records of losses are added up.
const maxLosses = 1000

// chain looks at the checkpoint and the anchors as they are now.
func (c *Console) chain(ctx context.Context, now time.Time) (chain, error) {
	x := chain{Status: c.config.Ledger.Status(), Check: c.config.Checks.State()}
	var err error
	if x.Checkpoint, err = c.config.Ledger.Checkpoint(); err != nil {
		slog.Error("checkpoint doesn't verify", "error", err)
		x.Problems = append(x.Problems, "The checkpoint doesn't verify: "+fault.PublicText(err))
	}
	if x.Check.Problem != "" {
		x.Problems = append(x.Problems, "The records don't verify: "+x.Check.Problem)
	}
	for _, s := range c.config.Anchors() {
		a := anchored{State: s, Overdue: s.Overdue(now)}
		if s.Contradicted {
			x.Problems = append(x.Problems, fmt.Sprintf("The ledger doesn't go on from what %s %s has", s.Kind, s.To))
		} else if a.Overdue {
			x.Problems = append(x.Problems, fmt.Sprintf("%s %s should have a newer checkpoint", s.Kind, s.To))
		}
		x.Anchors = append(x.Anchors, a)
	}
	losses := 0
	err = c.config.Records.Search(ctx, search.Query{Kind: "ledger.lost", Newest: true, Limit: maxLosses}, func(r ledger.Record) bool {
		losses++
		x.Lost += max(r.Count, 1)
		return true
	})
	x.LostMore = losses == maxLosses
	return x, err
}

// checkLedger has every record read again.
func (c *Console) checkLedger(*visit) (to, done string, err error) {
	c.config.Checks.Ask()
	return "/audit", "checking", nil
}
