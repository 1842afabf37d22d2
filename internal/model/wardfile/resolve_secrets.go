package wardfile

import (
	"net/netip"
	"slices"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/phrase"
)

// resolveSecrets checks that every secret and key that is used is declared, and that each use makes sense.
func (p *parser) resolveSecrets(sides map[string]side, names []string) {
	declared := make([]string, len(p.m.Secrets))
	for i := range p.m.Secrets {
		declared[i] = p.m.Secrets[i].Name
	}
	need := func(at model.Pos, name string) {
		i := slices.Index(declared, name)
		switch {
		case name == "":
		case i < 0:
			p.unknownSecret(at, name, declared)
		case p.m.Secrets[i].Canary:
			p.errorf(at, "a canary is for thieves alone", "secret %s is a canary (line %d), and is used", lexis.Clip(name), p.m.Secrets[i].Pos.Line)
		}
	}
	purposes := map[string]string{}
	for _, k := range p.m.Keys {
		purposes[k.Name] = k.Purpose
	}
	for i := range p.m.Services {
		s := &p.m.Services[i]
		for _, u := range s.Secrets {
			need(u.Pos, u.Secret)
		}
		for _, v := range s.Env {
			if j := slices.IndexFunc(s.Secrets, func(u model.SecretUse) bool { return u.Env == v.Name }); j >= 0 {
				p.errorf(v.Pos, "leave one of them out", "%s is the secret %s already (line %d)", v.Name, lexis.Clip(s.Secrets[j].Secret), s.Secrets[j].Pos.Line)
			}
		}
		p.resolveKeys(s, purposes)
		if t, taken := sides["ward"]; taken && len(s.Data)+len(s.Keys) > 0 {
			p.errorf(t.pos, "services reach Ward's keys at http://ward; give it another name", "%s uses keys, and another %s is called ward", lexis.Clip(string(s.Name)), t.what)
			delete(sides, "ward") // said once
		}
	}
	for i := range p.m.Externals {
		if x := &p.m.Externals[i]; x.Auth != nil {
			need(x.Auth.Pos, x.Auth.Secret)
			p.resolveAuth(x)
		}
	}
	for i := range p.m.Databases {
		p.resolveDatabase(&p.m.Databases[i], sides, names, need)
	}
}

func (p *parser) unknownSecret(at model.Pos, name string, declared []string) {
	hint := "declare it under secrets: " + lexis.Clip(name) + ": {}"
	if near := p.nearest(name, declared); near != "" {
		hint = "did you mean \"" + near + "\"?"
	}
	p.errorf(at, hint, "unknown secret %q", lexis.Clip(name))
}

// fits tells which uses a purpose has.
func fits(purpose, use string) bool {
	switch purpose {
	case model.PurposeEncrypt:
		return use == model.UseEncrypt || use == model.UseDecrypt || use == model.UseLookup
	case model.PurposeLookup:
		return use == model.UseLookup
	case model.PurposeMAC:
		return use == model.UseMAC
	}
	return use == model.UseSign || use == model.UseVerify
}

func (p *parser) resolveKeys(s *model.Service, purposes map[string]string) {
	for _, class := range s.Data {
		if purpose, ok := purposes[class]; ok && purpose != model.PurposeEncrypt {
			p.errorf(s.Pos, "give the key another name", "%q is a class of data of %s, and a key for %s", class, s.Name, purpose)
		}
	}
	for _, u := range s.Keys {
		purpose, ok := purposes[u.Key]
		if !ok && slices.ContainsFunc(p.m.Services, func(o model.Service) bool { return slices.Contains(o.Data, u.Key) }) {
			purpose, ok = model.PurposeEncrypt, true
		}
		if !ok {
			p.errorf(u.Pos, "declare it under keys, or as a class of data of the service that holds the data", "unknown key %q", lexis.Clip(u.Key))
			continue
		}
		for _, use := range u.Uses {
			if !fits(purpose, use) {
				p.errorf(u.Pos, "", "the key %s is for %s: nobody can %s with it", u.Key, purpose, use)
			}
		}
	}
}

// resolveAuth: a secret must not go out where Ward can't see the request, nor where others can see the secret.
func (p *parser) resolveAuth(x *model.External) {
	ip, err := netip.ParseAddr(x.Host)
	local := err == nil && ip.IsLoopback()
	switch {
	case x.Protocol == model.TCP && x.TLS != model.TLSOriginate:
		p.errorf(x.Auth.Pos, "write tls: originate", "external %s: Ward can't authenticate requests that it doesn't see", lexis.Clip(string(x.Name)))
	case x.Protocol == model.TCP && x.Auth.Kind != phrase.Certificate:
		p.errorf(x.Auth.Pos, "only a certificate goes with plain bytes", "external %s: %s needs HTTP", lexis.Clip(string(x.Name)), x.Auth.Kind)
	case x.TLS != model.TLSOriginate && !local:
		p.errorf(x.Auth.Pos, "write tls: originate", "external %s: the secret would cross the network in clear", lexis.Clip(string(x.Name)))
	case x.TLS != model.TLSOriginate && x.Auth.Kind == phrase.Certificate:
		p.errorf(x.Auth.Pos, "write tls: originate", "external %s: a certificate needs TLS that Ward speaks", lexis.Clip(string(x.Name)))
	case x.Auth.Kind == phrase.Certificate && len(x.Auth.For) > 0:
		p.errorf(x.Auth.Pos, "leave for: out", "external %s: a certificate is shown for a connection, not for single calls", lexis.Clip(string(x.Name)))
	}
}

func (p *parser) resolveDatabase(d *model.Database, sides map[string]side, names []string, need func(model.Pos, string)) {
	t, ok := sides[d.Target]
	if !ok {
		if d.Target != "" {
			p.unknown(d.Pos, d.Target, "target", names)
		}
		return
	}
	if d.TLS == "" {
		d.TLS = model.TLSOff
		if t.external {
			d.TLS = model.TLSVerify
		}
	}
	var ports []model.Listen
	for _, l := range t.listen {
		if l.Protocol == model.TCP && (d.Port == 0 || d.Port == l.Port) {
			ports = append(ports, l)
		}
	}
	switch {
	case t.vague:
	case len(ports) == 0:
		p.errorf(d.Pos, "a database is spoken to over tcp: listen: tcp://:5432", "%s has no such tcp port", lexis.Clip(d.Target))
	case len(ports) > 1:
		p.errorf(d.Pos, "write at: "+d.Target+":PORT", "%s has several tcp ports", lexis.Clip(d.Target))
	default:
		d.Port = ports[0].Port
	}
	if i := slices.IndexFunc(p.m.Externals, func(x model.External) bool { return string(x.Name) == d.Target }); i >= 0 {
		x := &p.m.Externals[i]
		if x.TLS != model.TLSNone {
			p.errorf(x.Pos, "write tls: none there: PostgreSQL negotiates TLS itself, as databases: says", "external %s is a database, and has TLS of its own", lexis.Clip(string(x.Name)))
		}
		if d.Port == x.LocalPort {
			d.Port = x.Port
		}
	}
	need(d.Pos, d.Admin.Secret)
	for i := range d.Users {
		u := &d.Users[i]
		need(u.Pos, u.Login.Secret)
		j := slices.IndexFunc(p.m.Services, func(s model.Service) bool { return s.Name == u.Service })
		switch {
		case j < 0:
			p.unknown(u.Pos, string(u.Service), "service", names)
		case !slices.ContainsFunc(p.m.Services[j].Calls, func(c model.Call) bool { return c.Target == d.Target }):
			p.errorf(u.Pos, "add to its calls: "+d.Target+": tcp", "service %s has a user at %s, and may not call it", u.Service, lexis.Clip(d.Target))
		}
		if u.Login.User == "" && d.Admin.User == "" {
			p.errorf(u.Pos, "add admin: USER secret:NAME, or give the service a login", "nobody can make users at database %s", lexis.Clip(d.Name))
		}
	}
}
