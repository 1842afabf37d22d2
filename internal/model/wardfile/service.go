package wardfile

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
	"github.com/wardhq/ward/internal/model/phrase"
	"github.com/wardhq/ward/internal/model/vocabulary"
)

// file reads the top level.
func (p *parser) file(root *yaml.Node) {
	p.m.Gateway = model.Gateway{Listen: "127.0.0.1:8443", Host: "localhost", TLS: "internal"}
	p.object(root, vocabulary.File(), func(e entry, f *form.Form) {
		switch e.key {
		case "app":
			p.m.App, _ = p.pattern(e.value, f, "a DNS label has a-z, 0-9 and hyphens inside, and at most 63 characters")
		case "trust_domain":
			p.m.TrustDomain, _ = p.pattern(e.value, f, "as in SPIFFE: lower-case letters, digits, dot, hyphen, underscore")
		case "gateway":
			p.gateway(e, f)
		case "services":
			p.names(e.value, f, "a service", func(e entry) { p.service(e, f.Elem) })
		case "externals":
			p.names(e.value, f, "an external", func(e entry) { p.external(e, f.Elem) })
		case "users":
			p.users(e, f)
		case "secrets":
			p.names(e.value, f, "a secret", func(e entry) { p.secret(e, f.Elem) })
		case "keys":
			p.names(e.value, f, "a key", func(e entry) { p.key(e, f.Elem) })
		case "databases":
			p.names(e.value, f, "a database", func(e entry) { p.database(e, f.Elem) })
		case "scan":
			p.scan(e.value, f)
		case "update":
			p.update(e.value, f)
		case "watch":
			p.watch(e.value, f)
		case "observe":
			for _, n := range p.items(e.value, f) {
				p.observe(n, f.Elem)
			}
		}
	})
	if p.m.TrustDomain == "" && p.m.App != "" {
		p.m.TrustDomain = p.m.App + ".internal"
	}
}

func (p *parser) gateway(e entry, f *form.Form) {
	g := &p.m.Gateway
	g.Pos = e.pos
	var listen, redirect model.Pos
	p.object(e.value, f, func(e entry, f *form.Form) {
		const hint = `host and port: "127.0.0.1:8443", "[::1]:8443", or ":443" for every address`
		switch e.key {
		case "listen":
			listen = pos(e.value)
			g.Listen, _ = p.pattern(e.value, f, hint)
		case "http":
			redirect = pos(e.value)
			g.HTTP, _ = p.pattern(e.value, f, hint)
		case "host":
			g.Host, _ = p.pattern(e.value, f, "")
			g.Host = strings.ToLower(g.Host)
		case "tls":
			if e.value.Kind == yaml.ScalarNode {
				g.TLS, _ = p.scalar(e.value, f.Text)
				return
			}
			g.TLS = "files"
			p.object(e.value, f.Elem, func(e entry, f *form.Form) {
				*map[string]*string{"cert": &g.CertFile, "key": &g.KeyFile}[e.key] = p.path(e, f)
			})
		}
	})
	if g.HTTP != "" && g.HTTP == g.Listen {
		p.errorf(redirect, "give the redirect its own port", "gateway listens on %s already (line %d)", g.HTTP, max(listen.Line, e.pos.Line))
	}
}

func (p *parser) service(e entry, f *form.Form) {
	s := model.Service{Pos: e.pos, Name: model.ServiceName(e.key), Workdir: ".", Replicas: 1, Ready: model.Ready{TimeoutSeconds: 60}}
	if isNull(e.value) {
		p.errorf(e.pos, "", "service %s says nothing; \"run\" is missing", lexis.Clip(e.key))
		p.vague[s.Name] = true
		p.m.Services = append(p.m.Services, s)
		return
	}
	p.object(e.value, f, func(e entry, f *form.Form) { p.serviceKey(&s, e, f) })
	p.m.Services = append(p.m.Services, s)
}

func (p *parser) serviceKey(s *model.Service, e entry, f *form.Form) {
	switch e.key {
	case "run":
		s.Run = p.run(e.value, f)
	case "workdir":
		s.Workdir, _ = p.pattern(e.value, f, "")
	case "source":
		s.Source, _ = p.pattern(e.value, f, "")
	case "env":
		p.names(e.value, f, "an environment variable", func(e entry) {
			v, _ := p.scalar(e.value, f.Elem)
			s.Env = append(s.Env, model.EnvVar{Pos: e.pos, Name: e.key, Value: v})
		})
	case "keys":
		p.names(e.value, f, "a key", func(e entry) { p.keyUse(s, e, f.Elem) })
	case "secrets":
		p.names(e.value, f, "a secret", func(e entry) {
			s.Secrets = append(s.Secrets, model.SecretUse{Pos: e.pos, Secret: e.key, Delivery: sentence(p, e.value, f.Elem, phrase.ParseDelivery)})
		})
	case "runtime":
		w, _ := p.scalar(e.value, f)
		s.Runtime = model.Runtime(max(slices.Index(f.Words, w), 0))
	case "listen":
		before := p.count[model.Error]
		for _, n := range p.items(e.value, f) {
			p.listen(s, n, f.Elem)
		}
		p.vague[s.Name] = p.count[model.Error] > before
	case "expose":
		for _, n := range p.items(e.value, f) {
			p.expose(s, n, f.Elem)
		}
	case "calls":
		p.names(e.value, f, "a target (service or service:port)", func(e entry) { p.call(s, e, f.Elem) })
	case "ready":
		p.ready(s, e, f)
	case "files":
		p.object(e.value, f, func(e entry, f *form.Form) {
			for _, n := range p.items(e.value, f) {
				v, _ := p.pattern(n, f.Elem, "")
				path := model.Path{Pos: pos(n), Path: v}
				if e.key == "read" {
					s.Files.Read = append(s.Files.Read, path)
				} else {
					s.Files.Write = append(s.Files.Write, path)
				}
			}
		})
	case "limits":
		p.object(e.value, f, func(e entry, f *form.Form) { p.limit(&s.Limits, e, f) })
	case "sensitivity":
		w, _ := p.scalar(e.value, f)
		s.Sensitivity = model.Sensitivity(slices.Index(f.Words, w) + 1)
	case "data":
		p.data(s, e, f)
	case "replicas":
		s.Replicas = p.whole(e.value, f)
	case "restart":
		w, _ := p.scalar(e.value, f)
		s.Restart = model.Restart(max(slices.Index(f.Words, w), 0))
	}
}

func (p *parser) data(s *model.Service, e entry, f *form.Form) {
	for _, n := range p.items(e.value, f) {
		w, ok := p.pattern(n, f.Elem, "such as pii, cards or health")
		if ok && slices.Contains(s.Data, w) {
			p.errorf(pos(n), "", "%q stands twice", lexis.Clip(w))
		}
		s.Data = append(s.Data, w)
	}
}

func (p *parser) run(n *yaml.Node, f *form.Form) []string {
	if n.Kind == yaml.ScalarNode {
		s, ok := p.scalar(n, f.Text)
		if !ok {
			return nil
		}
		argv, err := lexis.SplitCommand(s)
		if err != nil {
			p.errorf(pos(n), lexis.Hint(err), "%v", err)
		}
		return argv
	}
	var argv []string
	for i, item := range p.items(n, f.Elem) {
		arg, ok := p.scalar(item, f.Elem.Elem)
		if ok && i == 0 && arg == "" {
			p.errorf(pos(item), "", "the program's name is empty")
		}
		argv = append(argv, arg)
	}
	return argv
}

func (p *parser) listen(s *model.Service, n *yaml.Node, f *form.Form) {
	text, ok := p.scalar(n, f)
	if !ok {
		return
	}
	l, err := model.ParseListen(text)
	if err != nil {
		hint := lexis.Hint(err)
		if scheme, _, ok := strings.Cut(text, ":"); ok && hint == "" {
			hint = p.suggest(scheme, vocabulary.Protocols()[1:])
		}
		p.errorf(pos(n), hint, "%v", err)
		return
	}
	l.Pos = pos(n)
	for _, o := range s.Listen {
		if o.Port == l.Port {
			p.errorf(l.Pos, "", "service %s listens on port %d already (line %d)", lexis.Clip(string(s.Name)), l.Port, o.Pos.Line)
			return
		}
	}
	s.Listen = append(s.Listen, l)
}

func (p *parser) expose(s *model.Service, n *yaml.Node, f *form.Form) {
	x := model.Expose{Pos: pos(n)}
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "to":
			p.to(&x, e.value, f)
		case "mfa":
			x.Need.MFA = p.seconds(e.value, f)
		case "when":
			x.Need.When = p.condition(e.value, f)
		case "forward":
			for _, n := range p.items(e.value, f) {
				w, _ := p.scalar(n, f.Elem)
				x.Forward = append(x.Forward, w)
			}
		case "route":
			x.Routes = p.grants(e.value, &form.Form{Shape: form.SomeShape, What: f.What, Elem: f})
			if e.value.Kind == yaml.SequenceNode {
				p.errorf(pos(e.value), `write "routes" for a list`, "one route is a text, not a list")
			}
		default:
			x.Routes = p.grants(e.value, f)
		}
	})
	s.Expose = append(s.Expose, x)
}

// to reads whom a route is open to.
func (p *parser) to(x *model.Expose, n *yaml.Node, f *form.Form) {
	for _, item := range p.items(n, f) {
		w, ok := p.pattern(item, f.Elem, whoHint(item, "one of anyone, signed-in, group:NAME, role:NAME, user:MAIL"))
		if ok && slices.Contains(x.Need.Who, w) {
			p.errorf(pos(item), "", "%q stands twice", lexis.Clip(w))
			ok = false
		}
		if ok {
			x.Need.Who = append(x.Need.Who, w)
		}
	}
	x.To = strings.Join(x.Need.Who, " or ")
	if !slices.Contains(x.Need.Who, "anyone") {
		return
	}
	if len(x.Need.Who) > 1 {
		p.errorf(pos(n), "", `"anyone" includes all the others`)
	}
	x.Need.Who = nil
}

// seconds is a duration, 0 if it is none.
func (p *parser) seconds(n *yaml.Node, f *form.Form) int {
	text, ok := p.scalar(n, f)
	v, fits := lexis.Seconds(text)
	if ok && !fits {
		p.errorf(pos(n), "a number and s, m or h: 30s", "expected %s, found %q", f.What, lexis.Clip(text))
	}
	return v
}

func (p *parser) call(s *model.Service, e entry, f *form.Form) {
	c := model.Call{Pos: e.pos}
	if e.bad {
		return
	}
	c.Target, c.Port = targetOf(e.key)
	c.Grants = p.grants(e.value, f)
	s.Calls = append(s.Calls, c)
}

// targetOf reads "name" or "name:port".
func targetOf(s string) (name string, port int) {
	name, digits, _ := strings.Cut(s, ":")
	port, _ = lexis.Decimal(digits)
	return name, port
}

func (p *parser) ready(s *model.Service, e entry, f *form.Form) {
	s.Ready.Pos = e.pos
	if e.value.Kind == yaml.ScalarNode {
		p.probe(&s.Ready, e.value, f.Text)
		return
	}
	s.Ready.Kind = model.ReadyDefault
	p.object(e.value, f.Elem, func(e entry, f *form.Form) {
		switch e.key {
		case "probe":
			p.probe(&s.Ready, e.value, f)
		case "port":
			s.Ready.Port = p.whole(e.value, f)
		case "timeout":
			s.Ready.TimeoutSeconds = p.seconds(e.value, f)
		}
	})
}

func (p *parser) probe(r *model.Ready, n *yaml.Node, f *form.Form) {
	text, ok := p.scalar(n, f)
	if !ok {
		return
	}
	switch path, isGet := strings.CutPrefix(text, "GET "); {
	case text == "tcp":
		r.Kind = model.ReadyTCP
	case text == "none":
		r.Kind = model.ReadyNone
	case isGet:
		r.Kind = model.ReadyHTTP
		if !strings.HasPrefix(path, "/") || len(path) > model.MaxPattern || strings.ContainsAny(path, " #\t\n") {
			p.errorf(pos(n), `such as "GET /healthz"`, "%q is not a path to ask", lexis.Clip(path))
		}
		r.Path = path
	default:
		p.errorf(pos(n), p.suggest(text, []string{"tcp", "none", "GET /healthz"}), "%q is not a probe", lexis.Clip(text))
	}
}

func (p *parser) limit(l *model.Limits, e entry, f *form.Form) {
	switch e.key {
	case "pids":
		l.PIDs = p.whole(e.value, f)
		return
	case "open_files":
		l.OpenFiles = p.whole(e.value, f)
		return
	}
	text, ok := p.scalar(e.value, f)
	if !ok {
		return
	}
	if e.key == "memory" {
		l.MemoryBytes, ok = lexis.Size(text)
		ok = ok && l.MemoryBytes >= 1<<20
	} else {
		l.CPU, ok = lexis.Cores(text)
	}
	if !ok {
		hint := "at least 1MiB, with a unit: 256MB, 1GiB"
		if e.key == "cpu" {
			hint = "from 0.01 to 1024"
		}
		p.errorf(pos(e.value), hint, "expected %s, found %q", f.What, lexis.Clip(text))
	}
}
