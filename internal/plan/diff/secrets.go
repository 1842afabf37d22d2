package diff

import (
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/words"
)

// compareSecrets says who gets a secret, too: a new reader is the change that matters.
func compareSecrets(old, new *plan.Plan) []Item {
	readers := func(p *plan.Plan, name string) string {
		var out []string
		for _, r := range p.Readers(name) {
			out = append(out, r.Kind+" "+r.Name+" ("+r.How+")")
		}
		return strings.Join(out, ", ")
	}
	list := items(old.Secrets, new.Secrets, func(s *model.Secret) string { return s.Name }, func(a, b *model.Secret) []Field {
		var f fields
		f.add("generated", a.Generate, b.Generate)
		f.add("sealed file", a.SealedFile, b.SealedFile)
		f.add("rotated after days", number(float64(a.RotateDays)), number(float64(b.RotateDays)))
		f.add("canary", strconv.FormatBool(a.Canary), strconv.FormatBool(b.Canary))
		f.add("goes to", readers(old, a.Name), readers(new, b.Name))
		return f
	})
	for i := range list {
		if to := readers(new, list[i].Name); list[i].Change == "added" && to != "" {
			list[i].Fields = []Field{{"goes to", "", to}}
		}
	}
	return list
}

func compareKeys(old, new []plan.Key) []Item {
	list := items(old, new, func(k *plan.Key) string { return k.Name }, func(a, b *plan.Key) []Field {
		var f fields
		f.add("purpose", a.Purpose, b.Purpose)
		f.add("rotated after days", number(float64(a.RotateDays)), number(float64(b.RotateDays)))
		f.add("used by", words.KeyGrants(a), words.KeyGrants(b))
		return f
	})
	for i := range list {
		for j := range new {
			if list[i].Change == "added" && new[j].Name == list[i].Name {
				list[i].Fields = []Field{{"used by", "", words.KeyGrants(&new[j])}}
			}
		}
	}
	return list
}

func compareDatabases(old, new []model.Database) []Item {
	users := func(d *model.Database) string {
		out := make([]string, len(d.Users))
		for i := range d.Users {
			out[i] = words.DatabaseUser(&d.Users[i])
		}
		return strings.Join(out, "; ")
	}
	list := items(old, new, func(d *model.Database) string { return d.Name }, func(a, b *model.Database) []Field {
		var f fields
		f.add("at", a.Target+":"+strconv.Itoa(a.Port), b.Target+":"+strconv.Itoa(b.Port))
		f.add("name", a.Database, b.Database)
		f.add("tls", a.TLS, b.TLS)
		f.add("ca", a.CAFile, b.CAFile)
		f.add("admin", a.Admin.String(), b.Admin.String())
		f.add("users", users(a), users(b))
		return f
	})
	for i := range list {
		for j := range new {
			if list[i].Change == "added" && new[j].Name == list[i].Name {
				list[i].Fields = []Field{{"users", "", users(&new[j])}}
			}
		}
	}
	return list
}

func secretUses(all []model.SecretUse) string {
	out := make([]string, len(all))
	for i, u := range all {
		out[i] = u.Secret + " (" + u.String() + ")"
	}
	return strings.Join(out, ", ")
}

func auth(a *model.Auth) string {
	if a == nil {
		return ""
	}
	out := a.String()
	for i, g := range a.For {
		out += map[bool]string{true: " for ", false: ", "}[i == 0] + g.String()
	}
	return out
}
