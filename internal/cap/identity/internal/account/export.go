package account

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wardhq/ward/internal/cap/identity/internal/signin"
)

// Export is all that is kept about a person, but for secrets.
type Export struct {
	Person   signin.Person `json:"person"`
	Password bool          `json:"has_password"`
	Factors  []Exported    `json:"factors"`
	Sessions []Exported    `json:"sessions"`
	Activity []Event       `json:"activity"`
}

// Exported is a factor or session as it is given out.
type Exported struct {
	Kind  string    `json:"kind"`
	Label string    `json:"label"`
	Since time.Time `json:"since"`
	Last  time.Time `json:"last,omitzero"`
}

// Export collects it.
func (s *Service) Export(ctx context.Context, person string) (*Export, error) {
	r, err := s.Lookup(ctx, person)
	if err != nil {
		return nil, err
	}
	out := &Export{Person: r.Person, Password: r.password != ""}
	list, _, err := s.Factors(ctx, person)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		out.Factors = append(out.Factors, Exported{string(f.Kind), f.Label, f.Added, f.Used})
	}
	sessions, err := s.Sessions(ctx, person)
	if err != nil {
		return nil, err
	}
	for _, v := range sessions {
		out.Sessions = append(out.Sessions, Exported{v.Device, v.Place, v.Started, v.Last})
	}
	for before := (time.Time{}); ; {
		events, more, err := s.Activity(ctx, person, before)
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

// ReadEvent reads the event of a link.
func ReadEvent(data string) (e Event, err error) {
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return e, fmt.Errorf("read event: %w", err)
	}
	return e, nil
}
