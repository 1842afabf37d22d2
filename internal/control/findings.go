package control

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/wire"
)

// gather is how long changes of answers are gathered before they are told: a flood of attackers is told of in few, long replies.
const gather = 100 * time.Millisecond

// restricts tells agents and the gateway what answers restrict: each what is its to enforce.
func (k *Control) restricts(mux *http.ServeMux, role string) {
	wire.Handle(mux, "GET /v1/restrictions", func(ctx context.Context, h wire.Have) (wire.Restrictions, error) {
		fresh := func() (wire.Restrictions, bool, <-chan struct{}) {
			all, changed := k.found.Restrictions()
			return all, strconv.FormatUint(all.Sequence, 10) != h.Revision, changed
		}
		_, err := await(ctx, fresh)
		if h.Revision != "" {
			select {
			case <-time.After(gather):
			case <-ctx.Done():
			}
		}
		all, _, _ := fresh()
		all.All = slices.DeleteFunc(all.All, func(r wire.Restriction) bool { return (role == "gateway") != r.Client.IsValid() })
		for i := range all.All {
			all.All[i].Reason, all.All[i].By, all.All[i].Finding = "", "", 0
		}
		return all, err
	})
}

// findings is what an administrator may do with what was found.
func (k *Control) findings(mux *http.ServeMux) {
	wire.Handle(mux, "POST /v1/findings", func(ctx context.Context, q watch.FindingQuery) ([]watch.Finding, error) { return k.found.List(ctx, q) })
	wire.Handle(mux, "POST /v1/finding", func(ctx context.Context, q wire.FindingAct) (watch.FindingReport, error) { return k.report(ctx, q.ID) })
	wire.Handle(mux, "POST /v1/finding/close", func(ctx context.Context, q wire.FindingAct) (watch.Finding, error) {
		return k.found.Close(ctx, q.ID, q.By, q.Note)
	})
	wire.Handle(mux, "GET /v1/answers", func(context.Context, none) (wire.Restrictions, error) {
		all, _ := k.found.Restrictions()
		return all, nil
	})
	wire.Handle(mux, "POST /v1/answers", k.found.Restrict)
	wire.Handle(mux, "POST /v1/answers/lift", func(ctx context.Context, q wire.AnswerAct) (wire.Restriction, error) {
		return k.found.Lift(ctx, q.ID, q.By)
	})
	wire.Handle(mux, "GET /v1/rules", func(context.Context, none) ([]watch.RuleState, error) { return k.found.Rules(), nil })
	wire.Handle(mux, "GET /v1/silences", func(context.Context, none) ([]watch.Silence, error) { return k.found.Silences(), nil })
	wire.Handle(mux, "POST /v1/silences", k.found.Silence)
	wire.Handle(mux, "POST /v1/silences/end", func(ctx context.Context, q wire.FindingAct) (none, error) {
		return none{}, k.found.EndSilence(ctx, q.ID, q.By)
	})
}

// report is a finding with what explains it: why it is unusual, what is done about it, and which line would allow it.
func (k *Control) report(ctx context.Context, id int64) (watch.FindingReport, error) {
	f, err := k.found.Get(ctx, id)
	if err != nil {
		return watch.FindingReport{}, err
	}
	rule := watch.RuleOf(f.Rule)
	out := watch.FindingReport{Finding: f, Title: rule.Title, Why: rule.Why, Right: strings.ReplaceAll(rule.Right, " ID`", fmt.Sprintf(" %d`", id)), Answer: string(rule.Answer), Offer: string(rule.Offer)}
	all, _ := k.found.Restrictions()
	for _, r := range all.All {
		if r.Finding == id || r.Service != "" && r.Service == f.Service {
			out.Answers = append(out.Answers, r)
		}
	}
	k.mu.Lock()
	p, today := k.state.Plan, k.config.Clock.Now().UTC().Format("2006-01-02")
	k.mu.Unlock()
	switch {
	case p == nil:
	case f.Call != nil:
		out.Allow = allowance(p, today, f)
	default:
		out.Allow = declaration(p, &f)
	}
	return out, nil
}
