package site

import (
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/account"
	"github.com/wardhq/ward/internal/cap/identity/internal/page"
	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// Export is all that is kept about a person, but for secrets.
type Export struct {
	Person   signin.Person   `json:"person"`
	Password bool            `json:"has_password"`
	Factors  []Exported      `json:"factors"`
	Sessions []Exported      `json:"sessions"`
	Activity []account.Event `json:"activity"`
}

// Exported is a factor or session as it is given out.
type Exported struct {
	Kind  string    `json:"kind"`
	Label string    `json:"label"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last,omitzero"`
}

// export collects it.
func (v *visit) export(person string) (*Export, error) {
	r, err := v.Lookup(v.ctx, person)
	if err != nil {
		return nil, err
	}
	out := &Export{Person: r.Person, Password: r.HasPassword()}
	list, _, err := v.Factors(v.ctx, person)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		out.Factors = append(out.Factors, Exported{string(f.Kind), f.Label, f.Added, f.Used})
	}
	sessions, err := v.Sessions(v.ctx, person)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		out.Sessions = append(out.Sessions, Exported{s.Device, s.Place, s.Started, s.Last})
	}
	federal, err := v.Linked(v.ctx, person)
	if err != nil {
		return nil, err
	}
	for _, l := range federal {
		out.Factors = append(out.Factors, Exported{string(page.KindProvider), l.Issuer, l.Added, time.Time{}})
	}
	for before := (time.Time{}); ; {
		events, more, err := v.Activity(v.ctx, person, before)
		if err != nil {
			return nil, err
		}
		out.Activity = append(out.Activity, events...)
		if !more || len(out.Activity) >= 10_000 {
			return out, nil
		}
		before = events[len(events)-1].At
	}
}
