package diff

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// uncovered lists what b opens by no longer governing: a keeps a path for some people, and b leaves it to a less
// specific rule for others. What b opens is said once per rule of a; it may be said of methods and paths that b
// governs in another way.
func uncovered(a, b *side) []Right {
	var out []Right
	for i := range a.plan.Rules {
		narrow := &a.plan.Rules[i]
		if narrow.To == "" || narrow.To == anyone || b.exact[exactKey(narrow)] != "" {
			continue
		}
		x := newRight(narrow)
		for j := range b.plan.Rules {
			wide := &b.plan.Rules[j]
			if wide.Caller != narrow.Caller || wide.To == narrow.To || wide.Caller != plan.Outside && wide.Target != narrow.Target {
				continue
			}
			y := newRight(wide)
			if !sameProtocol(&x, &y) || !overlaps(x.path, y.path) || wide.Grant.Pattern == narrow.Grant.Pattern {
				continue // rules of the very same path are compared as rights
			}
			g := narrow.Grant
			if g.Kind == model.GrantHTTP && !slices.Contains(y.methods, "*") && !slices.Contains(g.Methods, "*") {
				g.Methods = slices.DeleteFunc(slices.Clone(g.Methods), func(m string) bool { return !slices.Contains(y.methods, m) })
			}
			out = append(out, Right{Caller: wide.Caller, Target: wide.Target, Ports: wide.Ports, Grant: g, To: wide.To, Line: wide.Pos.Line})
		}
	}
	return out
}

func sameProtocol(x, y *right) bool {
	if x.rule.Grant.Kind != y.rule.Grant.Kind {
		return false
	}
	return x.rule.Grant.Kind != model.GrantHTTP || slices.Contains(x.methods, "*") || slices.Contains(y.methods, "*") ||
		slices.ContainsFunc(x.methods, func(m string) bool { return slices.Contains(y.methods, m) })
}

func usersFields(old, new *model.Users) []Field {
	f := fields{}
	on := func(u *model.Users) string { return strconv.FormatBool(u.On()) }
	seconds := func(n int) string { return number(float64(n)) }
	f.add("sign-in", on(old), on(new))
	f.add("host", old.Host, new.Host)
	f.add("name", old.Name, new.Name)
	f.add("color", old.Color, new.Color)
	f.add("register", map[bool]string{true: "open", false: "closed"}[old.Register == model.RegisterOpen], map[bool]string{true: "open", false: "closed"}[new.Register == model.RegisterOpen])
	f.add("second factor", map[bool]string{true: "optional", false: "required"}[old.SecondFactor == model.SecondFactorOptional], map[bool]string{true: "optional", false: "required"}[new.SecondFactor == model.SecondFactorOptional])
	f.add("passwords", strconv.FormatBool(old.Passwords), strconv.FormatBool(new.Passwords))
	f.add("groups", sorted(old.Groups), sorted(new.Groups))
	f.add("roles", sorted(old.Roles), sorted(new.Roles))
	f.add("session idle seconds", seconds(old.Idle), seconds(new.Idle))
	f.add("session seconds", seconds(old.Absolute), seconds(new.Absolute))
	f.add("mail", strings.TrimSpace(old.Mail.SMTP+" "+old.Mail.From), strings.TrimSpace(new.Mail.SMTP+" "+new.Mail.From))
	f.add("sms", old.SMS.Webhook+old.SMS.Twilio, new.SMS.Webhook+new.SMS.Twilio)
	f.add("geoip", old.GeoIP, new.GeoIP)
	f.add("breached", old.Breached, new.Breached)
	f.add("flags", flagsText(old.Flags), flagsText(new.Flags))
	return f
}

func flagsText(fs []model.Flag) string {
	out := make([]string, 0, len(fs))
	for _, x := range fs {
		out = append(out, x.Name+": "+strings.Join(x.Response, " "))
	}
	return sorted(out)
}

func compareClients(old, new []model.Client) []Item {
	return items(old, new, func(c *model.Client) string { return c.Name }, func(a, b *model.Client) []Field {
		f := fields{}
		flag := strconv.FormatBool
		f.add("title", a.Title, b.Title)
		f.add("public", flag(a.Public), flag(b.Public))
		f.add("redirects", sorted(a.Redirects), sorted(b.Redirects))
		f.add("logout redirects", sorted(a.Logouts), sorted(b.Logouts))
		f.add("back-channel logout", a.Back, b.Back)
		f.add("grants", sorted(a.Grants), sorted(b.Grants))
		f.add("scopes", sorted(a.Scopes), sorted(b.Scopes))
		f.add("audiences", sorted(a.Audiences), sorted(b.Audiences))
		f.add("secret", a.SecretHash, b.SecretHash)
		f.add("keys", a.JWKSFile, b.JWKSFile)
		f.add("service", string(a.Service), string(b.Service))
		f.add("nonce only", flag(a.NonceOnly), flag(b.NonceOnly))
		f.add("RS256", flag(a.RS256), flag(b.RS256))
		f.add("DPoP", flag(a.DPoP), flag(b.DPoP))
		f.add("consent", flag(a.Consent), flag(b.Consent))
		return f
	})
}

func compareProviders(old, new []model.Provider) []Item {
	return items(old, new, func(p *model.Provider) string { return p.Name }, func(a, b *model.Provider) []Field {
		f := fields{}
		f.add("title", a.Title, b.Title)
		f.add("issuer", a.Issuer, b.Issuer)
		f.add("client", a.ClientID, b.ClientID)
		f.add("secret", a.SecretFile, b.SecretFile)
		f.add("scopes", sorted(a.Scopes), sorted(b.Scopes))
		return f
	})
}

func compareIssuers(old, new []model.Issuer) []Item {
	return items(old, new, func(x *model.Issuer) string { return x.Name }, func(a, b *model.Issuer) []Field {
		f := fields{}
		f.add("issuer", a.Issuer, b.Issuer)
		f.add("audience", a.Audience, b.Audience)
		f.add("keys", a.JWKS, b.JWKS)
		return f
	})
}
