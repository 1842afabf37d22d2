package identity

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/flag"
	"github.com/wardhq/ward/internal/cap/identity/internal/message"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// observation is what accounts observe, as detectors take it.
func observation(f *account.Flag) flag.Observation {
	address, _ := netip.ParseAddr(f.Visitor.IP) // none counts as one
	return flag.Observation{
		Kind: flag.KindOf(string(f.Kind)), Person: f.Person, Identifier: f.Who, Address: address, Known: f.Known,
		Fingerprint: f.Visitor.Fingerprint, Password: f.Password,
	}
}

// flag brings what accounts observe to the detectors, and their decision back.
func (x *parts) flag(ctx context.Context, f account.Flag) account.Response {
	if f.Kind == account.FlagDenied {
		// Nothing to detect: somebody says it. The account isn't open to the password any more, and nobody is asked again.
		x.users.config.Record(wire.Event{
			Time: f.At, Kind: "flag.sign-in-denied", Object: f.Person,
			Detail: map[string]string{"severity": flag.High.String(), "reason": "its person says that a sign-in wasn't theirs", "response": "end-sessions, reset, record"},
		})
		return account.Response{EndSessions: true}
	}
	if name, _, _ := strings.Cut(f.Who, "@"); name == plan.CanaryUser && f.Person == "" {
		x.users.config.Record(wire.Event{Time: f.At, Kind: "flag.canary-user", Detail: map[string]string{"network": wire.Network(f.Visitor.IP)}})
	}
	d, err := x.flags.See(ctx, observation(&f))
	if err != nil {
		x.users.config.Log.Error("keep counts of red flags", "error", err)
	}
	wait, _ := d.Refused(x.users.config.Clock.Now())
	return account.Response{Wait: wait, StepUp: d.StepUp, EndSessions: d.EndSessions, Ask: d.Mail}
}

// stands is what was seen before and stands against a try.
func (x *parts) stands(_ context.Context, f account.Flag) time.Duration {
	wait, _ := x.flags.Ask(observation(&f)).Refused(x.users.config.Clock.Now())
	return max(wait, 0)
}

// work is the difficulty of the proof of work for a visitor.
func (x *parts) work(v wire.Visitor) int64 {
	address, _ := netip.ParseAddr(v.IP)
	return x.flags.Work(address)
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
	if detail["person"] == "" {
		return
	}
	if d.EndSessions {
		if err := x.accounts.EndSessions(ctx, detail["person"], ""); err != nil {
			x.users.config.Log.Error("end sessions on a red flag", "error", err)
		}
	}
	if d.Mail {
		if err := x.accounts.AskWhether(ctx, detail["person"], message.WasItYou, "", wire.Visitor{}); err != nil {
			x.users.config.Log.Error("mail about a red flag", "error", err)
		}
	}
}
