package wardfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/lexis"
)

// side is what a call can meet: the listeners of a service, or an external.
type side struct {
	pos      model.Pos
	what     string // "service" or "external"
	listen   []model.Listen
	vague    bool
	external bool
}

// resolve checks what holds between parts of the model.
func (p *parser) resolve() {
	p.resolveUsers()
	sides := make(map[string]side, len(p.m.Services)+len(p.m.Externals))
	names := make([]string, 0, len(sides))
	for i := range p.m.Services {
		s := &p.m.Services[i]
		sides[string(s.Name)] = side{pos: s.Pos, what: "service", listen: s.Listen, vague: p.vague[s.Name]}
		names = append(names, string(s.Name))
	}
	for i := range p.m.Externals {
		x := &p.m.Externals[i]
		if o, ok := sides[string(x.Name)]; ok {
			p.errorf(x.Pos, "services and externals share one name space", "%q is the name of a %s already (line %d)", lexis.Clip(string(x.Name)), o.what, o.pos.Line)
			continue
		}
		sides[string(x.Name)] = side{
			pos: x.Pos, what: "external", external: true, vague: x.LocalPort == 0,
			listen: []model.Listen{{Pos: x.Pos, Protocol: x.Protocol, Port: x.LocalPort}},
		}
		names = append(names, string(x.Name))
	}
	routes := map[string]routeOwner{}
	for i := range p.m.Services {
		s := &p.m.Services[i]
		for _, c := range s.Calls {
			p.resolveCall(s, c, sides, names)
		}
		p.resolveExpose(s, routes)
		p.resolveReady(s)
	}
	for _, o := range p.m.Observe {
		p.resolveObserve(o, sides, names)
	}
	p.resolveSecrets(sides, names)
	p.resolveWatch(names)
}

func (p *parser) unknown(at model.Pos, name, what string, names []string) {
	hint := ""
	if near := p.nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if what == "target" {
		hint = "name it under services, or under externals if it lies outside"
	}
	p.errorf(at, hint, "unknown %s %q", what, lexis.Clip(name))
}

func (p *parser) resolveCall(s *model.Service, c model.Call, sides map[string]side, names []string) {
	t, ok := sides[c.Target]
	switch {
	case !ok:
		p.unknown(c.Pos, c.Target, "target", names)
		return
	case c.Target == string(s.Name):
		p.errorf(c.Pos, "what happens inside of a service needs no grant", "service %s calls itself", lexis.Clip(c.Target))
		return
	case t.vague:
		return
	}
	listen := t.listen
	if c.Port != 0 {
		listen = slices.Clone(listen)
		listen = slices.DeleteFunc(listen, func(l model.Listen) bool { return l.Port != c.Port })
		if len(listen) == 0 && len(t.listen) > 0 {
			p.errorf(c.Pos, "it listens on "+listenText(t.listen), "%s doesn't listen on port %d", c.Target, c.Port)
			return
		}
	}
	for _, g := range c.Grants {
		p.fit(g, c.Target, t, listen)
	}
}

// fit checks that a grant can mean one of the listeners.
func (p *parser) fit(g model.Grant, target string, t side, listen []model.Listen) {
	if len(listen) == 0 {
		p.errorf(g.Pos, fmt.Sprintf("add a listen line to %s (line %d), such as http://:8080", lexis.Clip(target), t.pos.Line), "%s %s listens on nothing that could be called", t.what, lexis.Clip(target))
		return
	}
	if slices.ContainsFunc(listen, func(l model.Listen) bool { return g.Kind.Fits(l.Protocol) }) {
		return
	}
	is := listenText(listen)
	hint := fmt.Sprintf("%s says %s (line %d); ", target, is, t.pos.Line)
	if t.external {
		hint = fmt.Sprintf("its protocol is %s (line %d); ", listen[0].Protocol, t.pos.Line)
	}
	switch g.Kind {
	case model.GrantGRPC:
		hint += "make that grpc or h2c if it speaks gRPC"
	case model.GrantTCP:
		hint += "make that tcp, or grant methods and paths"
	default:
		hint += "make that http or h2c if it speaks HTTP"
		if listen[0].Protocol == model.TCP {
			hint += ", or grant \"tcp\""
		}
	}
	if t.external && g.Kind != model.GrantTCP {
		hint += " (with tls: none or originate)"
	}
	p.errorf(g.Pos, hint, "%q fits no port of %s", lexis.Clip(g.String()), lexis.Clip(target))
}

func listenText(ls []model.Listen) string {
	words := make([]string, 0, len(ls))
	for i, l := range ls {
		if i == 5 {
			words = append(words, "…")
			break
		}
		words = append(words, l.String())
	}
	return strings.Join(words, ", ")
}

type routeOwner struct {
	service model.ServiceName
	line    int
}

func (p *parser) resolveExpose(s *model.Service, routes map[string]routeOwner) {
	if len(s.Expose) == 0 || p.vague[s.Name] {
		return
	}
	web := slices.ContainsFunc(s.Listen, func(l model.Listen) bool { return l.Protocol != model.TCP })
	if !web {
		p.errorf(s.Expose[0].Pos, "the gateway speaks HTTP: add a listen line such as http://:8080", "service %s exposes routes but has no http, h2c or grpc port", lexis.Clip(string(s.Name)))
		return
	}
	t := side{pos: s.Pos, what: "service"}
	for _, x := range s.Expose {
		for _, g := range x.Routes {
			p.fit(g, string(s.Name), t, s.Listen)
			for _, key := range routeKeys(g) {
				o, ok := routes[key]
				if !ok {
					routes[key] = routeOwner{s.Name, g.Pos.Line}
					continue
				}
				hint := "a route leads to one service"
				if o.service == s.Name {
					hint = ""
				}
				p.errorf(g.Pos, hint, "the route %q is exposed already, by %s on line %d", lexis.Clip(key), lexis.Clip(string(o.service)), o.line)
				break
			}
		}
	}
}

// routeKeys is a grant's routes one by one, alike for patterns that differ only in
// the names of their segments.
func routeKeys(g model.Grant) []string {
	segs := strings.Split(g.Pattern, "/")
	for i, s := range segs {
		if strings.HasPrefix(s, "{") {
			segs[i] = "*"
		}
	}
	pattern := strings.Join(segs, "/")
	if g.Kind != model.GrantHTTP {
		return []string{g.Kind.String() + " " + pattern}
	}
	keys := make([]string, len(g.Methods))
	for i, m := range g.Methods {
		keys[i] = m + " " + pattern
	}
	return keys
}

func (p *parser) resolveReady(s *model.Service) {
	r := s.Ready
	if r.Pos.Line == 0 || r.Kind == model.ReadyNone || p.vague[s.Name] {
		return
	}
	listen := s.Listen
	if r.Port != 0 {
		listen = slices.DeleteFunc(slices.Clone(listen), func(l model.Listen) bool { return l.Port != r.Port })
	}
	switch {
	case len(listen) == 0 && r.Port != 0:
		p.errorf(r.Pos, "", "service %s doesn't listen on port %d", lexis.Clip(string(s.Name)), r.Port)
	case len(listen) == 0 && r.Kind != model.ReadyDefault:
		p.errorf(r.Pos, "write ready: none, or add a listen line", "service %s has no port to ask", lexis.Clip(string(s.Name)))
	case r.Kind == model.ReadyHTTP && (listen[0].Protocol == model.TCP || listen[0].Protocol == model.GRPC):
		p.errorf(r.Pos, "name an http or h2c port: {probe: GET /…, port: N}; or write tcp", "the ready probe asks %s, which doesn't speak HTTP/1.1", listen[0])
	}
}

func (p *parser) resolveObserve(o model.Observe, sides map[string]side, names []string) {
	from, ok := sides[string(o.From)]
	if o.From != "" && (!ok || from.external) {
		p.unknown(o.Pos, string(o.From), "service", names)
	}
	t, ok := sides[o.To]
	switch {
	case o.To == "":
	case !ok:
		p.unknown(o.Pos, o.To, "target", names)
	case o.To == string(o.From):
		p.errorf(o.Pos, "", "service %s calls itself", lexis.Clip(o.To))
	case !t.vague:
		for _, g := range o.Grants {
			p.fit(g, o.To, t, t.listen)
		}
	}
}
