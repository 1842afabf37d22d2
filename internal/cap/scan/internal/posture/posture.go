// Package posture judges ward.yaml itself: what it allows more broadly than it must, services without limits, weak sandboxes, credentials
// that live long.
//
// Guarantee: every rule has an example that it finds and one that it doesn't; every finding stands at its line. Not guaranteed: that what
// it doesn't find is wise; `ward reach` and `ward attack` look deeper.
package posture

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/model"
)

// Rule is one thing that may be unwise about a model.
type Rule struct {
	ID        string // "ward-" and the name
	Title     string // for lists of rules
	Severity  finding.Severity
	Reason    string // what an attacker gains, or what is lost
	Reference string
	Fix       string // "" where the place says it better

	find func(*model.Model, func(at model.Pos, format string, args ...any)) // nil for those that `ward check` knows
}

const (
	nist207 = "NIST SP 800-207 §2.1"
	nist57  = "NIST SP 800-57 part 1 §5.3"
)

// Rules are all of them. The first ones are warnings of `ward check`, which knows them by ID without "ward-".
func Rules() []Rule {
	return []Rule{
		{ID: "ward-broad-grant", Title: "A call is granted with every method and path", Severity: finding.Medium, Reason: "Whoever takes the caller over may do everything at the callee.", Reference: nist207},
		{ID: "ward-sensitive-exposed", Title: "A sensitive service is open to anyone", Severity: finding.High, Reason: "Every hole in it is one that anybody reaches.", Reference: nist207},
		{ID: "ward-everything-exposed", Title: "Every route of a service is open to anyone", Severity: finding.Medium, Reason: "Debug and admin routes are open too, also those that come with the next library.", Reference: "OWASP API9:2023"},
		{ID: "ward-secret-in-file", Title: "A secret stands in ward.yaml", Severity: finding.High, Reason: "Whoever reads the repository, now or in its history, has it.", Reference: "CWE-798"},
		{ID: "ward-secret-in-environment", Title: "A secret is delivered by an environment variable", Severity: finding.Low, Reason: "Child processes, crash reports and debug pages show the environment.", Reference: "CWE-526"},
		{ID: "ward-broad-files", Title: "A sandbox shows much of the machine", Severity: finding.High, Reason: "A service that was taken over reads, or changes, what belongs to others.", Reference: "CIS Docker Benchmark 5.6"},
		{ID: "ward-circle", Title: "Services call each other in a circle", Severity: finding.Low, Reason: "Each of them can be taken over through the others.", Reference: nist207},
		{ID: "ward-factor-of-anyone", Title: "A second factor is asked of anyone", Severity: finding.Low, Reason: "The route doesn't do what it seems to.", Reference: nist207},
		{ID: "ward-nonce-only", Title: "A client relies on a nonce alone", Severity: finding.Low, Reason: "Injected codes are found by the client alone.", Reference: "RFC 9700 §2.1.1"},
		{
			ID: "ward-no-limits", Title: "A service has no limit of memory", Severity: finding.Medium, Reason: "One service that leaks, or is made to, takes the machine's memory from all others.", Reference: "CIS Docker Benchmark 5.11",
			Fix: "say what it may use: limits: {memory: 512MB}", find: noLimits,
		},
		{
			ID: "ward-plaintext-external", Title: "Calls leave the application unencrypted", Severity: finding.Medium, Reason: "Whoever is on the way reads and changes them.", Reference: "CWE-319",
			Fix: "say tls: originate, and let the service speak plain HTTP to Ward", find: plaintextExternals,
		},
		{
			ID: "ward-plaintext-database", Title: "A database outside is spoken to without TLS", Severity: finding.High, Reason: "Whoever is on the way reads and changes the data.", Reference: "CWE-319",
			Fix: "leave tls: off out, and name the server's authority by ca", find: plaintextDatabases,
		},
		{
			ID: "ward-fixed-database-login", Title: "A service uses one database account for ever", Severity: finding.Low, Reason: "A password that never ends is worth stealing, and nobody sees who used it.", Reference: nist57,
			Fix: "let Ward make users that live for an hour: role or grants instead of login", find: fixedLogins,
		},
		{
			ID: "ward-secret-never-rotated", Title: "A generated secret is never rotated", Severity: finding.Low, Reason: "What was stolen once stays good.", Reference: nist57,
			Fix: "say how old it gets: rotate: 90d", find: neverRotated,
		},
		{
			ID: "ward-static-client-secret", Title: "A client authenticates with a fixed secret", Severity: finding.Low, Reason: "It lies somewhere where it can be read, and is good until somebody changes it.", Reference: "RFC 9700 §2.5",
			Fix: "name the service that it is (service), or its public keys (jwks_file)", find: staticClients,
		},
		{
			ID: "ward-observed-grant", Title: "A grant only records, and lets everything through", Severity: finding.Medium, Reason: "Until its last day it is as if the call were granted.", Reference: nist207,
			Fix: "grant what `ward unused` shows as used, and remove the rule", find: observed,
		},
		{
			ID: "ward-second-factor-optional", Title: "Nobody needs a second factor", Severity: finding.Medium, Reason: "One password that was used elsewhere too opens an account.", Reference: "NIST SP 800-63B §2.2",
			Fix: "leave second_factor: optional out, or ask for mfa at the routes that matter", find: optionalFactor,
		},
		{
			ID: "ward-open-registration", Title: "A route for signed-in people is for everybody", Severity: finding.Medium, Reason: "Anybody may make an account, so \"signed-in\" keeps nobody out.", Reference: "OWASP API5:2023",
			Fix: "open the route to a group, or close registration", find: openRegistration,
		},
		{
			ID: "ward-forwarded-credentials", Title: "A service gets people's own credentials", Severity: finding.Low, Reason: "Whoever takes it over can use them elsewhere.", Reference: nist207,
			Fix: "let the service read the user from Ward's token instead: see docs/verify-user.md", find: forwarded,
		},
	}
}

// Find judges a model; file is where ward.yaml lies in the tree, problems is what reading it said.
func Find(m *model.Model, problems model.Problems, file string) []finding.Finding {
	var out []finding.Finding
	for _, r := range Rules() {
		add := func(at model.Pos, title, fix string) {
			out = append(out, finding.Finding{
				ID: r.ID, Kind: finding.Model, Tool: "ward", Title: title, Detail: r.Reason + " (" + r.Reference + ")", Severity: r.Severity, Fix: fix,
				Location: finding.Location{Path: file, Line: at.Line, Column: at.Col},
			})
		}
		if r.find != nil {
			r.find(m, func(at model.Pos, format string, args ...any) { add(at, fmt.Sprintf(format, args...), r.Fix) })
			continue
		}
		for _, p := range problems {
			if "ward-"+p.Rule == r.ID {
				add(p.Pos, p.Message, p.Hint)
			}
		}
	}
	return out
}

type report = func(at model.Pos, format string, args ...any)

func noLimits(m *model.Model, say report) {
	for i := range m.Services {
		if s := &m.Services[i]; s.Limits.MemoryBytes == 0 {
			say(s.Pos, "service %s may use all of the machine's memory", s.Name)
		}
	}
}

func plaintextExternals(m *model.Model, say report) {
	for i := range m.Externals {
		x := &m.Externals[i]
		// What databases' own negotiation encrypts is judged there.
		if x.TLS == model.TLSNone && !local(x.Host) && !slices.ContainsFunc(m.Databases, func(d model.Database) bool { return d.Target == string(x.Name) }) {
			say(x.Pos, "calls to %s (%s) leave unencrypted", x.Name, x.Host)
		}
	}
}

func plaintextDatabases(m *model.Model, say report) {
	for i := range m.Databases {
		d := &m.Databases[i]
		for j := range m.Externals {
			if x := &m.Externals[j]; d.Target == string(x.Name) && d.TLS == model.TLSOff && x.TLS == model.TLSNone && !local(x.Host) {
				say(d.Pos, "database %s at %s is spoken to without TLS", d.Name, x.Host)
			}
		}
	}
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func fixedLogins(m *model.Model, say report) {
	for i := range m.Databases {
		for _, u := range m.Databases[i].Users {
			if u.Login.User != "" {
				say(u.Pos, "%s is always %s at database %s", u.Service, u.Login.User, m.Databases[i].Name)
			}
		}
	}
}

func neverRotated(m *model.Model, say report) {
	for _, s := range m.Secrets {
		if s.Generate != "" && s.RotateDays == 0 && !s.Canary {
			say(s.Pos, "secret %s is generated once, and never again", s.Name)
		}
	}
}

func staticClients(m *model.Model, say report) {
	for i := range m.Users.Clients {
		if c := &m.Users.Clients[i]; c.SecretHash != "" {
			say(c.Pos, "client %s authenticates with a fixed secret", c.Name)
		}
	}
}

func observed(m *model.Model, say report) {
	for _, o := range m.Observe {
		say(o.Pos, "%s may call %s whatever the policy says, until %s", o.From, o.To, o.Until)
	}
}

func optionalFactor(m *model.Model, say report) {
	if m.Users.On() && m.Users.SecondFactor == model.SecondFactorOptional {
		say(m.Users.Pos, "nobody needs a second factor to sign in")
	}
}

func openRegistration(m *model.Model, say report) {
	if m.Users.Register != model.RegisterOpen {
		return
	}
	for i := range m.Services {
		s := &m.Services[i]
		for _, x := range s.Expose {
			if slices.Contains(x.Need.Who, "signed-in") && x.Need.When == "" && s.Sensitivity >= model.High {
				say(x.Pos, "anybody may register, and then reach %s", s.Name)
			}
		}
	}
}

func forwarded(m *model.Model, say report) {
	for i := range m.Services {
		for _, x := range m.Services[i].Expose {
			if len(x.Forward) > 0 {
				say(x.Pos, "%s gets people's %s", m.Services[i].Name, strings.Join(x.Forward, " and "))
			}
		}
	}
}
