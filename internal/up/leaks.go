package up

import (
	"github.com/wardhq/ward/internal/leak"
)

// shownInLog is a credential that Ward doesn't know in what somebody prints.
func (s *Supervisor) shownInLog(who, kind string) { s.flags.Note(flagged{who, "token-in-log", kind}) }

// foundInLog is one secret in what somebody prints.
func (s *Supervisor) foundInLog(who string, f leak.Finding) {
	kind, what := "secret-in-log", f.Secret+" ("+f.Form.String()+")"
	switch {
	case f.Canary:
		kind = "canary"
	case f.Form == leak.Card:
		kind, what = "card-in-log", "the number of a payment card"
	}
	s.flags.Note(flagged{who, kind, what})
}
