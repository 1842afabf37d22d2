package wardfile

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
)

func (p *parser) external(e entry, f *form.Form) {
	x := model.External{Pos: e.pos, Name: model.ExternalName(e.key)}
	at := map[string]model.Pos{}
	p.object(e.value, f, func(e entry, f *form.Form) {
		at[e.key] = pos(e.value)
		switch e.key {
		case "host":
			x.Host, _ = p.pattern(e.value, f, "such as api.example.com, without a scheme, port or path")
			x.Host = strings.ToLower(x.Host)
		case "port":
			x.Port = p.whole(e.value, f)
		case "local_port":
			x.LocalPort = p.whole(e.value, f)
		case "tls":
			w, _ := p.scalar(e.value, f)
			x.TLS = model.ExternalTLS(max(slices.Index(f.Words, w), 0))
		case "protocol":
			w, _ := p.scalar(e.value, f)
			x.Protocol = model.Protocol(slices.Index(f.Words, w) + 1)
		case "addresses":
			x.Addresses = p.addresses(e.value, f)
		case "ca":
			x.CAFile = p.path(e, f)
		case "auth":
			x.Auth = p.auth(e.value, f)
		}
	})
	p.externalDefaults(&x, at, e)
	p.m.Externals = append(p.m.Externals, x)
}

func (p *parser) addresses(n *yaml.Node, f *form.Form) []string {
	var out []string
	for _, n := range p.items(n, f) {
		s, ok := p.scalar(n, f.Elem)
		if ok && !lexis.IsAddress(s) {
			p.errorf(pos(n), "such as 192.0.2.7 or 10.1.0.0/16, with no bits set beyond the prefix", "expected %s, found %q", f.Elem.What, lexis.Clip(s))
		}
		out = append(out, s)
	}
	return out
}

// externalDefaults fills in what the external leaves out, and checks that it all fits.
func (p *parser) externalDefaults(x *model.External, at map[string]model.Pos, e entry) {
	_, hasTLS := at["tls"]
	_, hasPort := at["port"]
	if !hasPort && hasTLS && x.TLS != model.TLSNone {
		x.Port = 443
	}
	if x.Port == 0 && !hasPort && e.value.Kind == yaml.MappingNode {
		p.errorf(e.pos, "", "external %s: \"port\" is missing", lexis.Clip(e.key))
	}
	if !hasTLS && x.Port == 443 {
		x.TLS = model.TLSPassthrough
		if x.Protocol != model.ProtocolUnknown && x.Protocol != model.TCP {
			x.TLS = model.TLSNone
			p.errorf(at["protocol"], "write tls: originate (Ward speaks verified TLS, services speak plain), or tls: none", "external %s: say who speaks TLS on port 443", lexis.Clip(e.key))
		}
	}
	if x.Protocol == model.ProtocolUnknown {
		x.Protocol = model.TCP
		if x.TLS == model.TLSOriginate {
			x.Protocol = model.HTTP
		}
	}
	if x.TLS == model.TLSPassthrough && x.Protocol != model.TCP {
		p.errorf(at["protocol"], "write tls: originate, so that Ward sees the requests; or leave the protocol out", "external %s: Ward can't see %s inside of the service's own TLS", lexis.Clip(e.key), x.Protocol)
	}
	if ca, ok := at["ca"]; ok && x.TLS != model.TLSOriginate {
		p.errorf(ca, "write tls: originate, or leave it out", "external %s: \"ca\" means something only where Ward speaks TLS itself", lexis.Clip(e.key))
	}
	if x.LocalPort == 0 {
		x.LocalPort = x.Port
		if x.TLS == model.TLSOriginate && x.Protocol == model.HTTP {
			x.LocalPort = 80
		}
	}
}

func (p *parser) observe(n *yaml.Node, f *form.Form) {
	o := model.Observe{Pos: pos(n)}
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "from":
			s, _ := p.pattern(e.value, f, "")
			o.From = model.ServiceName(s)
		case "to":
			o.To, _ = p.pattern(e.value, f, "")
		case "grant":
			o.Grants = p.grants(e.value, &form.Form{Shape: form.SomeShape, What: f.What, Elem: f})
			if e.value.Kind == yaml.SequenceNode {
				p.errorf(pos(e.value), `write "grants" for a list`, "one grant is a text, not a list")
			}
		case "grants":
			o.Grants = p.grants(e.value, f)
		case "until":
			o.Until = p.date(e.value, f)
		}
	})
	p.m.Observe = append(p.m.Observe, o)
}

func (p *parser) date(n *yaml.Node, f *form.Form) string {
	s, ok := p.scalar(n, f)
	if ok && !lexis.IsDate(s) {
		p.errorf(pos(n), "a day of the calendar, YYYY-MM-DD", "expected %s, found %q", f.What, lexis.Clip(s))
	}
	return s
}
