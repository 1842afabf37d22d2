package wardfile

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/base/condition"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/form"
	"github.com/wardhq/ward/internal/model/lexis"
)

const (
	defaultIdle     = 8 * 3600
	defaultAbsolute = 24 * 3600
)

func (p *parser) users(e entry, f *form.Form) {
	u := &p.m.Users
	*u = model.Users{Pos: e.pos, Passwords: true, Idle: defaultIdle, Absolute: defaultAbsolute}
	if isNull(e.value) {
		return
	}
	p.object(e.value, f, func(e entry, f *form.Form) { p.usersKey(u, e, f) })
	if u.Idle > u.Absolute {
		p.errorf(u.Pos, "make idle the shorter one", "a session of users ends after %s in any case, and after %s without a request", lexis.Duration(u.Absolute), lexis.Duration(u.Idle))
	}
}

func (p *parser) usersKey(u *model.Users, e entry, f *form.Form) {
	switch e.key {
	case "host":
		u.Host, _ = p.pattern(e.value, f, "")
		u.Host = strings.ToLower(u.Host)
	case "name":
		u.Name, _ = p.pattern(e.value, f, "")
	case "color":
		u.Color, _ = p.pattern(e.value, f, `in quotes, for # begins a comment: "#1a6b4f"`)
	case "texts":
		p.names(e.value, f, "a text", func(e entry) {
			s, _ := p.pattern(e.value, f.Elem, "")
			u.Texts = append(u.Texts, model.Text{Key: e.key, Text: s})
		})
	case "register":
		w, _ := p.scalar(e.value, f)
		u.Register = model.Register(max(slices.Index(f.Words, w), 0))
	case "second_factor":
		w, _ := p.scalar(e.value, f)
		u.SecondFactor = model.SecondFactor(max(slices.Index(f.Words, w), 0))
	case "sign_in":
		u.Passwords = slices.Contains(p.list(e.value, f), "password")
	case "groups":
		u.Groups = p.list(e.value, f)
	case "roles":
		u.Roles = p.list(e.value, f)
	case "session":
		p.object(e.value, f, func(e entry, f *form.Form) {
			if e.key == "idle" {
				u.Idle = p.seconds(e.value, f)
			} else {
				u.Absolute = p.seconds(e.value, f)
			}
		})
	case "mail":
		p.texts(e.value, f, map[string]*string{"from": &u.Mail.From, "smtp": &u.Mail.SMTP, "user": &u.Mail.User, "password_file": &u.Mail.PasswordFile})
	case "sms":
		p.texts(e.value, f, map[string]*string{"webhook": &u.SMS.Webhook, "twilio": &u.SMS.Twilio, "account": &u.SMS.Account, "from": &u.SMS.From, "secret_file": &u.SMS.SecretFile})
	case "providers":
		p.names(e.value, f, "a provider", func(e entry) { p.provider(u, e, f.Elem) })
	case "clients":
		p.names(e.value, f, "a client", func(e entry) { p.client(u, e, f.Elem) })
	case "issuers":
		p.names(e.value, f, "an issuer", func(e entry) {
			x := model.Issuer{Pos: e.pos, Name: e.key}
			p.texts(e.value, f.Elem, map[string]*string{"issuer": &x.Issuer, "audience": &x.Audience, "jwks": &x.JWKS})
			u.Issuers = append(u.Issuers, x)
		})
	case "geoip":
		u.GeoIP = p.path(e, f)
	case "breached":
		u.Breached = p.path(e, f)
	case "flags":
		p.object(e.value, f, func(e entry, f *form.Form) {
			u.Flags = append(u.Flags, model.Flag{Pos: e.pos, Name: e.key, Response: p.list(e.value, f)})
		})
	}
}

// texts reads an object of texts, each into its place.
func (p *parser) texts(n *yaml.Node, f *form.Form, into map[string]*string) {
	p.object(n, f, func(e entry, f *form.Form) {
		if at := into[e.key]; at != nil {
			*at = p.value(e, f)
		}
	})
}

// list reads texts, each once.
func (p *parser) list(n *yaml.Node, f *form.Form) []string {
	var out []string
	for _, item := range p.items(n, f) {
		s, ok := p.pattern(item, f.Elem, "")
		if ok && slices.Contains(out, s) {
			p.errorf(pos(item), "", "%q stands twice", lexis.Clip(s))
		}
		if ok {
			out = append(out, s)
		}
	}
	return out
}

func (p *parser) provider(u *model.Users, e entry, f *form.Form) {
	x := model.Provider{Pos: e.pos, Name: e.key, Title: e.key}
	p.object(e.value, f, func(e entry, f *form.Form) {
		if e.key == "scopes" {
			x.Scopes = p.list(e.value, f)
			return
		}
		*map[string]*string{"title": &x.Title, "issuer": &x.Issuer, "client_id": &x.ClientID, "secret_file": &x.SecretFile}[e.key] = p.value(e, f)
	})
	if x.Scopes == nil {
		x.Scopes = []string{"openid", "email", "profile"}
	}
	u.Providers = append(u.Providers, x)
}

func (p *parser) client(u *model.Users, e entry, f *form.Form) {
	x := model.Client{Pos: e.pos, Name: e.key, Title: e.key}
	p.object(e.value, f, func(e entry, f *form.Form) {
		switch e.key {
		case "redirects":
			x.Redirects = p.list(e.value, f)
		case "logout_redirects":
			x.Logouts = p.list(e.value, f)
		case "grants":
			x.Grants = p.list(e.value, f)
		case "scopes":
			x.Scopes = p.list(e.value, f)
		case "audiences":
			x.Audiences = p.list(e.value, f)
		case "service":
			s, _ := p.pattern(e.value, f, "")
			x.Service = model.ServiceName(s)
		case "title", "backchannel_logout", "secret_sha256", "jwks_file":
			*map[string]*string{"title": &x.Title, "backchannel_logout": &x.Back, "secret_sha256": &x.SecretHash, "jwks_file": &x.JWKSFile}[e.key] = p.value(e, f)
		default:
			s, _ := p.scalar(e.value, f)
			*map[string]*bool{"public": &x.Public, "nonce_only": &x.NonceOnly, "rs256": &x.RS256, "dpop": &x.DPoP, "consent": &x.Consent}[e.key] = s == "true"
		}
	})
	if x.Grants == nil {
		x.Grants = []string{"authorization_code", "refresh_token"}
	}
	if x.Scopes == nil {
		x.Scopes = []string{"openid", "profile", "email", "offline_access"}
	}
	u.Clients = append(u.Clients, x)
}

// condition reads a CEL text.
func (p *parser) condition(n *yaml.Node, f *form.Form) string {
	text, ok := p.pattern(n, f, "")
	if !ok {
		return ""
	}
	if p.conditions == nil {
		l, err := condition.New()
		if err != nil {
			p.errorf(pos(n), "", "%v", err)
			return ""
		}
		p.conditions = l
	}
	if p.compiled++; p.compiled > maxConditions {
		p.errorf(pos(n), "", "more than %d conditions", maxConditions)
		return ""
	}
	if _, err := p.conditions.Compile(text); err != nil {
		p.errorf(pos(n), "there are user.id, user.email, user.groups, user.roles, params, method, path, ip and now", "condition: %v", err)
	}
	return text
}

// resolveUsers checks what holds between users: and the rest.
func (p *parser) resolveUsers() {
	u := &p.m.Users
	for i := range p.m.Services {
		s := &p.m.Services[i]
		for j := range s.Expose {
			p.resolveNeed(&s.Expose[j])
		}
		for _, c := range s.Calls {
			for _, g := range c.Grants {
				if g.AsUser && !u.On() {
					p.errorf(g.Pos, "add users:", "%q needs sign-in, and the file has no users:", g.String())
				}
			}
		}
	}
	for i := range u.Clients {
		p.resolveClient(&u.Clients[i])
	}
	if u.On() && u.Host == "" {
		if lexis.IsAddress(strings.Trim(p.m.Gateway.Host, "[]")) {
			p.errorf(u.Pos, "such as host: id.example.com", "the sign-in pages need a host name of their own, and the gateway's host is an address")
		}
		u.Host = "id." + p.m.Gateway.Host
	}
	if u.On() && u.Host == p.m.Gateway.Host {
		p.errorf(u.Pos, "a service behind the gateway could act on the pages of its own origin; the default is id."+p.m.Gateway.Host, "users.host and gateway.host are the same")
	}
}

func (p *parser) resolveNeed(x *model.Expose) {
	u := &p.m.Users
	if x.Need.Asks() && !u.On() && (len(x.Need.Who) > 0 || x.Need.MFA > 0) {
		p.errorf(x.Pos, "add users:", "%q needs sign-in, and the file has no users:", x.To)
		return
	}
	p.knownPeople(x.Pos, x.Need.Who)
	if x.Need.MFA > 0 && len(x.Need.Who) == 0 {
		x.Need.Who = []string{"signed-in"}
		p.warnf("factor-of-anyone", x.Pos, "write to: signed-in", "a second factor can't be asked of anyone: the route is for people who signed in")
	}
	if x.Need.MFA > 0 {
		x.To += ", mfa " + lexis.Duration(x.Need.MFA)
	}
	if x.Need.When != "" {
		x.To += ", when " + x.Need.When
	}
}

// knownPeople checks that users: has the groups and roles that words name; Ward's own roles are there always.
func (p *parser) knownPeople(at model.Pos, words []string, own ...string) {
	u := &p.m.Users
	for _, w := range words {
		kind, name, _ := strings.Cut(w, ":")
		known := map[string][]string{"group": u.Groups, "role": slices.Concat(u.Roles, own)}[kind]
		if kind != "group" && kind != "role" || slices.Contains(known, name) {
			continue
		}
		hint := p.suggest(name, known)
		if hint == "" || len(known) == 0 {
			hint = "name it under users: " + kind + "s: [" + lexis.Clip(name) + "]"
		}
		p.errorf(at, hint, "users: has no %s %q", kind, lexis.Clip(name))
	}
}

func (p *parser) resolveClient(c *model.Client) {
	kinds := 0
	for _, has := range []bool{c.Public, c.SecretHash != "", c.JWKSFile != "", c.Service != ""} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		p.errorf(c.Pos, "", "client %s is to have exactly one of public: true, secret_sha256, jwks_file and service", lexis.Clip(c.Name))
	}
	if c.Public && (c.NonceOnly || slices.Contains(c.Grants, "client_credentials") || slices.Contains(c.Grants, "token_exchange")) {
		p.errorf(c.Pos, "a public client sends a PKCE challenge and acts for people only", "client %s is public and can't prove who it is", lexis.Clip(c.Name))
	}
	if slices.Contains(c.Grants, "authorization_code") && len(c.Redirects) == 0 {
		p.errorf(c.Pos, "", "client %s has no redirects", lexis.Clip(c.Name))
	}
	for _, uri := range slices.Concat(c.Redirects, c.Logouts) {
		if problem := lexis.RedirectProblem(uri, c.Public); problem != "" {
			p.errorf(c.Pos, problem, "client %s: %q can't be redirected to", lexis.Clip(c.Name), lexis.Clip(uri))
		}
	}
	if c.NonceOnly {
		p.warnf("nonce-only", c.Pos, "let it send a PKCE challenge (RFC 9700 §2.1.1)", "client %s relies on nonce alone against code injection", lexis.Clip(c.Name))
	}
	if c.Service != "" && !slices.ContainsFunc(p.m.Services, func(s model.Service) bool { return s.Name == c.Service }) {
		p.errorf(c.Pos, "", "client %s is no service %q of this file", lexis.Clip(c.Name), lexis.Clip(string(c.Service)))
	}
}
