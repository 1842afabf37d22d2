package wardfile

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/model/vocabulary"
)

const defaultLife = 3600 // of a database's made user, in seconds

func (p *parser) secret(e entry, f *form.Form) {
	s := model.Secret{Pos: e.pos, Name: e.key}
	p.object(e.value, f, func(e entry, f *form.Form) {
		switch e.key {
		case "generate":
			s.Generate, _ = p.scalar(e.value, f)
		case "sealed":
			s.SealedFile = p.path(e, f)
		case "rotate":
			s.RotateDays = p.days(e.value, f)
		case "canary":
			s.Canary = p.truth(e.value, f)
		}
	})
	if s.Generate != "" && s.SealedFile != "" {
		p.errorf(e.pos, "leave one of them out", "secret %s is both generated and read from a file", lexis.Clip(s.Name))
	}
	p.m.Secrets = append(p.m.Secrets, s)
}

func (p *parser) key(e entry, f *form.Form) {
	k := model.Key{Pos: e.pos, Name: e.key, Purpose: model.PurposeEncrypt}
	p.object(e.value, f, func(e entry, f *form.Form) {
		if e.key == "purpose" {
			k.Purpose, _ = p.scalar(e.value, f)
		} else {
			k.RotateDays = p.days(e.value, f)
		}
	})
	p.m.Keys = append(p.m.Keys, k)
}

func (p *parser) days(n *yaml.Node, f *form.Form) int {
	s, ok := p.pattern(n, f, "a number and d: 30d")
	if !ok {
		return 0
	}
	v, _ := lexis.Decimal(s[:len(s)-1])
	return v
}

func (p *parser) truth(n *yaml.Node, f *form.Form) bool {
	s, _ := p.scalar(n, f)
	return s == "true"
}

// sentence reads a text of package phrase; the zero T where it is none.
func sentence[T any](p *parser, n *yaml.Node, f *form.Form, parse func(string) (T, error)) T {
	s, ok := p.scalar(n, f)
	if !ok {
		var zero T
		return zero
	}
	v, err := parse(s)
	if err != nil {
		p.errorf(pos(n), lexis.Hint(err), "%v", err)
	}
	return v
}

func (p *parser) keyUse(s *model.Service, e entry, f *form.Form) {
	u := model.KeyUse{Pos: e.pos, Key: e.key, Uses: p.list(e.value, f)}
	slices.SortFunc(u.Uses, func(a, b string) int {
		return slices.Index(vocabulary.KeyUses(), a) - slices.Index(vocabulary.KeyUses(), b)
	})
	s.Keys = append(s.Keys, u)
}

func (p *parser) auth(n *yaml.Node, f *form.Form) *model.Auth {
	a := &model.Auth{Pos: pos(n)}
	if n.Kind == yaml.ScalarNode {
		a.Auth = sentence(p, n, f.Text, phrase.ParseAuth)
		return a
	}
	p.object(n, f.Elem, func(e entry, f *form.Form) {
		if e.key == "use" {
			a.Auth = sentence(p, e.value, f, phrase.ParseAuth)
		} else {
			a.For = p.grants(e.value, f)
		}
	})
	return a
}

func (p *parser) database(e entry, f *form.Form) {
	d := model.Database{Pos: e.pos, Name: e.key, Database: e.key}
	p.object(e.value, f, func(e entry, f *form.Form) {
		switch e.key {
		case "at":
			if s, ok := p.pattern(e.value, f, ""); ok {
				d.Target, d.Port = targetOf(s)
			}
		case "name":
			d.Database, _ = p.pattern(e.value, f, "")
		case "tls":
			d.TLS, _ = p.scalar(e.value, f)
		case "ca":
			d.CAFile = p.path(e, f)
		case "admin":
			d.Admin = sentence(p, e.value, f, phrase.ParseLogin)
		case "users":
			p.names(e.value, f, "a service", func(e entry) { p.databaseUser(&d, e, f.Elem) })
		}
	})
	p.m.Databases = append(p.m.Databases, d)
}

func (p *parser) databaseUser(d *model.Database, e entry, f *form.Form) {
	u := model.DatabaseUser{Pos: e.pos, Service: model.ServiceName(e.key), Life: defaultLife}
	p.object(e.value, f, func(e entry, f *form.Form) {
		switch e.key {
		case "login":
			u.Login = sentence(p, e.value, f, phrase.ParseLogin)
		case "role":
			u.Role, _ = p.pattern(e.value, f, "")
		case "grants":
			for _, n := range p.items(e.value, f) {
				u.Rights = append(u.Rights, sentence(p, n, f.Elem, phrase.ParseRights))
			}
		case "life":
			u.Life = p.seconds(e.value, f)
			if u.Life > 0 && (u.Life < 60 || u.Life > 24*3600) {
				p.errorf(pos(e.value), "from 1m to 24h", "a user of %s would live for %s", lexis.Clip(d.Name), lexis.Duration(u.Life))
			}
		}
	})
	d.Users = append(d.Users, u)
}
