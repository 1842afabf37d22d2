package words

import (
	"fmt"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/plan"
)

// KeyGrants is who may do what with a key: "orders encrypt, decrypt; web encrypt".
func KeyGrants(k *plan.Key) string {
	out := make([]string, len(k.Grants))
	for i, g := range k.Grants {
		out[i] = g.Service + " " + strings.Join(g.Uses, ", ")
	}
	return strings.Join(out, "; ")
}

// DatabaseUser is who a service is at a database.
func DatabaseUser(u *model.DatabaseUser) string {
	if u.Login.User != "" {
		return string(u.Service) + " as " + u.Login.String()
	}
	rights := "member of " + u.Role
	if u.Role == "" {
		each := make([]string, len(u.Rights))
		for i, r := range u.Rights {
			each[i] = r.String()
		}
		rights = strings.Join(each, ", ")
	}
	return fmt.Sprintf("%s by users that live %s (%s)", u.Service, lexis.Duration(u.Life), rights)
}

// secrets says what Ward keeps for services, and who gets it.
func (w *writer) secrets(p *plan.Plan) {
	for i := range p.Keys {
		k := &p.Keys[i]
		if i == 0 {
			w.linef("")
		}
		w.linef("key %s (%s)  %s", k.Name, k.Purpose, KeyGrants(k))
	}
	for i := range p.Secrets {
		s := &p.Secrets[i]
		if i == 0 {
			w.linef("")
		}
		w.linef("secret %s (%s)", s.Name, origin(s))
		for _, r := range p.Readers(s.Name) {
			w.linef("  to %s %s: %s  %s:%d", r.Kind, r.Name, r.How, w.file, r.Pos.Line)
		}
	}
	for i := range p.Databases {
		d := &p.Databases[i]
		if i == 0 {
			w.linef("")
		}
		w.linef("database %s at %s:%d (tls %s)", d.Name, d.Target, d.Port, d.TLS)
		for j := range d.Users {
			w.linef("  %s", DatabaseUser(&d.Users[j]))
		}
	}
}

func origin(s *model.Secret) string {
	out := "set by people"
	switch {
	case s.Generate != "":
		out = "a generated " + s.Generate
	case s.SealedFile != "":
		out = "from " + s.SealedFile
	}
	if s.RotateDays > 0 {
		out += fmt.Sprintf(", rotated after %dd", s.RotateDays)
	}
	if s.Canary {
		out += ", a canary"
	}
	return out
}
