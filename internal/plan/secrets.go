package plan

import (
	"slices"

	"github.com/wardhq/ward/internal/model"
)

// Key is a managed key, with who may do what with it.
type Key struct {
	model.Key
	Grants []KeyGrant `json:"grants"` // by service; empty for a key that nobody uses yet
}

// KeyGrant is what a service may do with a key.
type KeyGrant struct {
	Service string    `json:"service"`
	Uses    []string  `json:"uses"` // in the order of the vocabulary
	Pos     model.Pos `json:"pos"`
}

// May tells whether a service may use the key so.
func (k *Key) May(service, use string) bool {
	return slices.ContainsFunc(k.Grants, func(g KeyGrant) bool { return g.Service == service && slices.Contains(g.Uses, use) })
}

// keyring gathers the keys of a model: those that the file names, those of data classes, and one for lookups beside each
// that encrypts and is looked up by somebody.
type keyring struct {
	keys []Key
	at   map[string]int
}

func buildKeys(m *model.Model) []Key {
	r := keyring{at: map[string]int{}}
	for _, k := range m.Keys {
		r.get(k)
	}
	for i := range m.Services {
		s := &m.Services[i]
		for _, class := range s.Data {
			r.grant(s, model.KeyUse{Pos: s.Pos, Key: class, Uses: []string{model.UseEncrypt, model.UseDecrypt, model.UseLookup}})
		}
		for _, u := range s.Keys {
			r.grant(s, u)
		}
	}
	return r.keys
}

func (r *keyring) get(k model.Key) *Key {
	i, ok := r.at[k.Name]
	if !ok {
		i = len(r.keys)
		r.at[k.Name] = i
		r.keys = append(r.keys, Key{Key: k, Grants: []KeyGrant{}})
	}
	return &r.keys[i]
}

// grant divides uses between a key and the one for its lookups.
func (r *keyring) grant(s *model.Service, u model.KeyUse) {
	purpose := r.get(model.Key{Pos: u.Pos, Name: u.Key, Purpose: model.PurposeEncrypt}).Purpose
	for _, use := range u.Uses {
		k := r.get(model.Key{Name: u.Key})
		if use == model.UseLookup && purpose == model.PurposeEncrypt {
			k = r.get(model.Key{Pos: u.Pos, Name: u.Key + model.LookupSuffix, Purpose: model.PurposeLookup})
		}
		i := slices.IndexFunc(k.Grants, func(g KeyGrant) bool { return g.Service == string(s.Name) })
		if i < 0 {
			i = len(k.Grants)
			k.Grants = append(k.Grants, KeyGrant{Service: string(s.Name), Pos: u.Pos})
		}
		if g := &k.Grants[i]; !slices.Contains(g.Uses, use) {
			g.Uses = append(g.Uses, use)
		}
	}
}

// usesKeys tells whether a service may do anything with any key.
func usesKeys(s *model.Service) bool { return len(s.Data)+len(s.Keys) > 0 }

// Reader is where a secret goes.
type Reader struct {
	Kind string    `json:"kind"` // "service", "external" or "database"
	Name string    `json:"name"`
	How  string    `json:"how"` // in words
	Pos  model.Pos `json:"pos"`
}

// Readers are the places that a secret goes to, in the order of the file.
func (p *Plan) Readers(secret string) []Reader {
	var out []Reader
	for i := range p.Services {
		for _, u := range p.Services[i].Secrets {
			if u.Secret == secret {
				out = append(out, Reader{"service", string(p.Services[i].Name), u.String(), u.Pos})
			}
		}
	}
	for i := range p.Externals {
		if a := p.Externals[i].Auth; a != nil && a.Secret == secret {
			out = append(out, Reader{"external", string(p.Externals[i].Name), "added by Ward as " + string(a.Kind), a.Pos})
		}
	}
	for i := range p.Databases {
		d := &p.Databases[i]
		if d.Admin.Secret == secret {
			out = append(out, Reader{"database", d.Name, "makes its users, as " + d.Admin.User, d.Pos})
		}
		for j := range d.Users {
			if u := &d.Users[j]; u.Login.Secret == secret {
				out = append(out, Reader{"database", d.Name, "Ward logs in as " + u.Login.User + " for " + string(u.Service), u.Pos})
			}
		}
	}
	return out
}

// DatabaseCA is the name in CAs of a database's own authority.
func DatabaseCA(database string) string { return "database:" + database }

// AgentSecrets are the secrets that agents need: what they add to calls, and with what they log in.
func (p *Plan) AgentSecrets() []string {
	var out []string
	add := func(name string) {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for i := range p.Externals {
		if a := p.Externals[i].Auth; a != nil {
			add(a.Secret)
		}
	}
	for i := range p.Databases {
		for j := range p.Databases[i].Users {
			add(p.Databases[i].Users[j].Login.Secret)
		}
	}
	return out
}
