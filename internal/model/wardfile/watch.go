package wardfile

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
)

func (p *parser) watch(n *yaml.Node, f *form.Form) {
	w := &p.m.Watch
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "otlp":
			for _, n := range p.items(e.value, f) {
				w.OTLP = append(w.OTLP, p.otlp(n, f.Elem))
			}
		case "notify":
			for _, n := range p.items(e.value, f) {
				w.Notify = append(w.Notify, p.notify(n, f.Elem))
			}
		case "heartbeat":
			p.object(e.value, f, func(e entry, f *form.Form) {
				if e.key == "url" {
					w.Heartbeat.URL, _ = p.pattern(e.value, f, "")
				} else {
					w.Heartbeat.Every = p.seconds(e.value, f)
				}
			})
		case "rules":
			p.object(e.value, f, func(e entry, f *form.Form) {
				word, _ := p.scalar(e.value, f)
				w.Rules = append(w.Rules, model.WatchRule{Pos: e.pos, Name: e.key, Observe: word == "observe"})
			})
		case "slo":
			p.slo(e.value, f)
		case "ledger":
			p.ledger(e.value, f)
		case "anchor":
			for _, n := range p.items(e.value, f) {
				w.Anchor = append(w.Anchor, p.anchor(n, f.Elem))
			}
		case "never_block":
			w.NeverBlock = p.addresses(e.value, f)
		case "console":
			p.console(e.value, f)
		case "canaries":
			word, _ := p.scalar(e.value, f)
			w.NoCanaries = word == "off"
		}
	})
}

func (p *parser) otlp(n *yaml.Node, f *form.Form) model.OTLP {
	o := model.OTLP{Pos: pos(n)}
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "endpoint":
			o.Endpoint, _ = p.pattern(e.value, f, "")
			o.Endpoint = strings.TrimSuffix(o.Endpoint, "/")
		case "send":
			all := p.list(e.value, f)
			o.NoMetrics, o.NoTraces = !slices.Contains(all, "metrics"), !slices.Contains(all, "traces")
		case "format":
			word, _ := p.scalar(e.value, f)
			o.JSON = word == "json"
		case "headers_file":
			o.HeadersFile = p.path(e, f)
		}
	})
	return o
}

func (p *parser) notify(n *yaml.Node, f *form.Form) model.Notify {
	t := model.Notify{Pos: pos(n)}
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "to":
			t.To, _ = p.scalar(e.value, f)
		case "least":
			t.Least, _ = p.scalar(e.value, f)
		case "repeat":
			t.Repeat = p.seconds(e.value, f)
		default:
			*map[string]*string{
				"url": &t.URL, "url_file": &t.URLFile, "host": &t.Host, "key_file": &t.KeyFile, "address": &t.Address,
				"from": &t.From, "smtp": &t.SMTP, "user": &t.User, "quiet": &t.Quiet,
			}[e.key] = p.value(e, f)
		}
	})
	return t
}

func (p *parser) slo(n *yaml.Node, f *form.Form) {
	s := &p.m.Watch.SLO
	p.object(n, f, func(e entry, f *form.Form) {
		if e.key != "services" {
			p.objective(&s.Objective, e, f)
			return
		}
		p.names(e.value, f, "a service", func(e entry) {
			of := model.ServiceSLO{Pos: e.pos, Service: model.ServiceName(e.key)}
			p.object(e.value, f.Elem, func(e entry, f *form.Form) { p.objective(&of.Objective, e, f) })
			s.Services = append(s.Services, of)
		})
	})
}

func (p *parser) objective(o *model.Objective, e entry, f *form.Form) {
	v, ok := p.pattern(e.value, f, "")
	switch {
	case !ok:
	case e.key == "availability":
		o.Availability, _ = strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
		if o.Availability < 1 {
			p.errorf(pos(e.value), "99.5% is usual", "an availability of %s promises nothing", v)
		}
	default:
		if n, ms := strings.CutSuffix(v, "ms"); ms {
			o.P99, _ = strconv.Atoi(n)
		} else {
			o.P99, _ = strconv.Atoi(strings.TrimSuffix(v, "s"))
			o.P99 *= 1000
		}
	}
}

func (p *parser) ledger(n *yaml.Node, f *form.Form) {
	l := &p.m.Watch.Ledger
	p.object(n, f, func(e entry, f *form.Form) {
		switch e.key {
		case "allowed":
			l.Allowed = p.list(e.value, f)
		case "budget":
			text, ok := p.scalar(e.value, f)
			size, fits := lexis.Size(text)
			if ok && (!fits || size < 256<<20) {
				p.errorf(pos(e.value), "at least 256MiB", "a ledger of %q is too small", lexis.Clip(text))
			}
			l.Budget = size
		case "keep":
			l.Days = p.days(e.value, f)
		}
	})
}

func (p *parser) anchor(n *yaml.Node, f *form.Form) model.Anchor {
	a := model.Anchor{Pos: pos(n)}
	p.object(n, f, func(e entry, f *form.Form) {
		if e.key == "every" {
			a.Every = p.seconds(e.value, f)
			return
		}
		v, _ := p.pattern(e.value, f, "")
		*map[string]*string{"file": &a.File, "webhook": &a.Webhook, "rfc3161": &a.RFC3161}[e.key] = v
	})
	return a
}

func (p *parser) console(n *yaml.Node, f *form.Form) {
	c := &p.m.Watch.Console
	*c = model.Console{
		Pos:    pos(n),
		Viewer: []string{"role:" + model.ConsoleViewer}, Operator: []string{"role:" + model.ConsoleOperator}, Administrator: []string{"role:" + model.ConsoleAdministrator},
	}
	p.object(n, f, func(e entry, f *form.Form) {
		if e.key == "host" {
			host, _ := p.pattern(e.value, f, "")
			c.Host = strings.ToLower(host)
			return
		}
		var who []string
		for _, item := range p.items(e.value, f) {
			w, ok := p.pattern(item, f.Elem, whoHint(item, "one of group:NAME, role:NAME, user:MAIL"))
			switch {
			case ok && (w == "anyone" || w == "signed-in"):
				p.errorf(pos(item), "name a group, a role or a person", "the console shows what attackers want to know: it can't be open to %s", w)
			case ok:
				who = append(who, w)
			}
		}
		*map[string]*[]string{"viewer": &c.Viewer, "operator": &c.Operator, "administrator": &c.Administrator}[e.key] = who
	})
}

// whoHint says how a person is named, where that is what is wrong with a word; else what is usual.
func whoHint(n *yaml.Node, usual string) string {
	if name, person := strings.CutPrefix(n.Value, "user:"); person && !strings.Contains(name, "@") {
		return "a person is named by the mail address: user:ada@example.com"
	}
	return usual
}

// resolveConsole finds the console a host of its own, and checks who may come.
func (p *parser) resolveConsole() {
	c := &p.m.Watch.Console
	if !c.On() {
		return
	}
	if !p.m.Users.On() {
		p.errorf(c.Pos, "add users:", "the console behind the gateway needs sign-in, and the file has no users:")
		return
	}
	if c.Host == "" {
		c.Host = "console." + p.m.Gateway.Host // an address as the gateway's host is an error of users: already
	}
	if strings.EqualFold(c.Host, p.m.Gateway.Host) || strings.EqualFold(c.Host, p.m.Users.Host) {
		p.errorf(c.Pos, "the default is console."+p.m.Gateway.Host, "the console needs a host of its own: pages of %s could act on it", lexis.Clip(c.Host))
	}
	p.knownPeople(c.Pos, c.Who(), model.ConsoleViewer, model.ConsoleOperator, model.ConsoleAdministrator)
}

// resolveWatch checks what each of whom to tell needs, and that what watch: names is there.
func (p *parser) resolveWatch(names []string) {
	w := &p.m.Watch
	p.resolveConsole()
	for i := range w.Notify {
		p.resolveNotify(&w.Notify[i])
	}
	for i := range w.OTLP {
		p.overTLS(w.OTLP[i].Pos, w.OTLP[i].Endpoint)
	}
	for i := range w.Anchor {
		p.overTLS(w.Anchor[i].Pos, w.Anchor[i].Webhook) // a time-stamp is signed by itself
	}
	p.overTLS(model.Pos{}, w.Heartbeat.URL)
	known := func(at model.Pos, name string) {
		if !slices.ContainsFunc(p.m.Services, func(s model.Service) bool { return string(s.Name) == name }) {
			p.unknown(at, name, "service", names)
		}
	}
	for _, s := range w.SLO.Services {
		known(s.Pos, string(s.Service))
	}
	for _, name := range w.Ledger.Allowed {
		if name != model.AllServices {
			known(model.Pos{}, name)
		}
	}
}

func (p *parser) resolveNotify(t *model.Notify) {
	need := func(missing bool, key string) {
		if missing {
			p.errorf(t.Pos, "", "%s needs %q", t.To, key)
		}
	}
	switch t.To {
	case "slack":
		need(t.URLFile == "", "url_file")
		t.Host = cmp.Or(t.Host, "hooks.slack.com")
	case "teams":
		need(t.URLFile == "", "url_file")
		need(t.Host == "", "host")
	case "webhook":
		need(t.URL == "", "url")
		need(t.KeyFile == "", "key_file")
	case "ntfy":
		need(t.URL == "", "url")
	case "pagerduty":
		need(t.KeyFile == "", "key_file")
		t.URL = cmp.Or(t.URL, "https://events.pagerduty.com/v2/enqueue")
	case "mail":
		need(t.Address == "", "address")
		mail := &p.m.Users.Mail
		if t.SMTP == "" {
			t.SMTP, t.User, t.KeyFile = mail.SMTP, mail.User, mail.PasswordFile
		}
		t.From = cmp.Or(t.From, mail.From)
		need(t.SMTP == "", "smtp")
		need(t.From == "", "from")
	}
	p.overTLS(t.Pos, t.URL)
}

// overTLS refuses to send what Ward has seen through a network in clear.
func (p *parser) overTLS(at model.Pos, s string) {
	u, err := url.Parse(s)
	if s == "" || err != nil || u.Scheme == "https" {
		return
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && ip.IsLoopback() {
		return
	}
	p.errorf(at, "write https://, or run what takes it on this machine", "%s would get what Ward has seen in clear", lexis.Clip(s))
}
