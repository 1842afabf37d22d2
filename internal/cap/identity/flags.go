package identity

import (
	"context"
	"net/netip"

	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/flag"
)

// flag brings what accounts observe to the detectors, and their decision back.
func (x *parts) flag(ctx context.Context, f account.Flag) account.Response {
	kind := flag.KindOf(string(f.Kind))
	if kind == 0 {
		return account.Response{}
	}
	address, _ := netip.ParseAddr(f.Visitor.IP) // none counts as one
	d, err := x.flags.See(ctx, flag.Observation{
		Kind: kind, Person: f.Person, Identifier: f.Who, Address: address, Fingerprint: f.Visitor.Fingerprint,
		Known: f.Kind == account.FlagOK,
	})
	if err != nil {
		x.users.config.Log.Error("keep counts of red flags", "error", err)
	}
	wait, _ := d.Refused(x.users.config.Clock.Now())
	return account.Response{Wait: wait, StepUp: d.StepUp, EndSessions: d.EndSessions, Ask: d.Mail}
}

// tokenFlag brings what the provider observes.
func (x *parts) tokenFlag(ctx context.Context, kind string, detail map[string]string) {
	k := flag.KindOf(kind)
	if k == 0 {
		return
	}
	d, err := x.flags.See(ctx, flag.Observation{Kind: k, Person: detail["person"], Identifier: detail["client"]})
	if err != nil {
		x.users.config.Log.Error("keep counts of red flags", "error", err)
	}
	if d.EndSessions && detail["person"] != "" {
		if err := x.accounts.EndSessions(ctx, detail["person"], ""); err != nil {
			x.users.config.Log.Error("end sessions on a red flag", "error", err)
		}
	}
}
