package detect

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/finding"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/wire"
)

// flagRules are the rules of the flags that identity and the sandboxes raise.
func flagRules() map[string]string {
	return map[string]string{
		"brute-force": "failed-sign-ins", "credential-stuffing": "password-spraying", "password-spraying": "password-spraying", "enumeration": "failed-sign-ins",
		"refresh-reuse": "replay", "passkey-clone": "replay", "session-moved": "replay", "factor-fatigue": "factor-fatigue", "factors-removed": "factors-removed",
		"new-device": "new-device", "impossible-travel": "new-device", "sign-in-denied": "replay",
		"secret-in-log": "leak", "card-in-log": "leak", "token-in-log": "leak", "canary": "canary", "canary-user": "canary", "dns": "undeclared-name", "bind": "new-listener",
		"connect": "direct-connect", "exec": "undeclared-program", "write": "denied-write", "syscall": "bypass",
	}
}

// crashes is how many ends of a service within crashSpan are one too many.
const (
	crashes   = 3
	crashSpan = 10 * time.Minute
)

// probing is how long what a service does may come from an attack that 'ward attack' makes in its sandbox.
const probing = 2 * time.Minute

// Event looks at one record of the ledger. What happens while 'ward attack' probes a service is said, as of low severity, and not answered.
func (d *Detector) Event(index int64, e *wire.Event) []Signal {
	if e.Kind == "probe.run" {
		d.probed[e.Object] = e.Time
		return nil
	}
	all := d.event(index, e)
	for i := range all {
		s := &all[i]
		if t, ok := d.probed[s.Service]; ok && s.Time.Sub(t) < probing && s.Service != "" {
			s.Severity, s.Held, s.Lasts = finding.Low, true, 24*time.Hour
			s.What = "While 'ward attack' probed " + s.Service + ": " + s.What
			s.Probed, s.Subject, s.Object, s.Service, s.Call = s.Service, "ward attack", "", "", nil
		}
	}
	return all
}

func (d *Detector) event(index int64, e *wire.Event) []Signal {
	s := Signal{Record: index, Subject: e.Subject, Object: e.Object, Count: e.Count, Time: e.Time, Evidence: evidence(e), Trace: e.Detail["trace"]}
	kind, _, _ := strings.Cut(e.Kind, ".")
	switch {
	case kind == "flag":
		return d.flag(s, e)
	case e.Kind == "request.denied":
		return d.denied(s, e)
	case e.Kind == "token.misused":
		s.Rule, s.Service = "token-misused", e.Subject
		s.What = fmt.Sprintf("%s used a user's token at %s that didn't count there: %s.", e.Subject, e.Object, e.Detail["token"])
	case e.Kind == "request.leak", e.Kind == "secret.echo":
		s.Rule, s.What = "leak", fmt.Sprintf("A secret was in an answer of %s, and was masked: %s.", e.Object, detail(e, "secret", "form", "where"))
	case e.Kind == "request.canary":
		s.Rule, s.Service, s.Held = "canary", e.Object, true // who got it is to be asked first
		s.What = fmt.Sprintf("An answer of %s showed %s, which nobody uses. It was masked.", e.Object, e.Detail["secret"])
	case e.Kind == "ledger.lost":
		s.Rule = "ledger-gap"
		s.What = fmt.Sprintf("%d events of %s were lost before they reached the audit trail.", max(e.Count, 1), e.Source)
	case e.Kind == "ledger.torn":
		s.Rule, s.What = "ledger-gap", "The end of the audit trail was torn, and put aside: "+detail(e, "bytes", "file")+"."
	case e.Kind == "ledger.dropped":
		s.Rule, s.What = "ledger-gap", fmt.Sprintf("%d allowed calls weren't kept in the audit trail.", max(e.Count, 1))
	case e.Kind == "ledger.contradicted":
		s.Rule, s.Severity = "ledger-gap", finding.Critical
		s.What = "The audit trail doesn't go on from a checkpoint that was anchored: an older copy was put back, or records were cut off."
	case e.Kind == "ledger.damaged":
		s.Rule, s.Severity = "ledger-gap", finding.Critical
		s.What = "The audit trail doesn't verify: " + detail(e, "problem") + "."
	case e.Kind == "anchor.failed":
		s.Rule, s.Severity, s.What = "ledger-gap", finding.Medium, "The audit trail can't be anchored: "+strings.TrimSpace(e.Object+" "+detail(e, "error"))+"."
	case e.Kind == "ledger.low", e.Kind == "ledger.reserve":
		s.Rule, s.What = "disk-budget", "There is little room left for the audit trail; allowed calls aren't kept until there is more."
		if e.Kind == "ledger.reserve" {
			s.Severity, s.What = finding.Critical, "The audit trail lives on its reserve: when that ends, administration stops."
		}
	case e.Kind == "service.exit":
		return d.exit(s, e)
	case e.Kind == "role.restart":
		s.Rule, s.Severity = "silence", finding.Medium
		s.What = "Ward's " + e.Object + " ended and was started anew."
	case e.Kind == "key.use", e.Kind == "secret.read":
		return d.habit(s, e)
	case e.Kind == "admin.request":
		return d.administration(s, e, e.Subject)
	case e.Kind == "console.entered" && e.Detail["role"] != "viewer":
		return d.administration(s, e, e.Detail["person"])
	}
	if s.Rule == "" {
		return nil
	}
	return []Signal{s}
}

// flag is what identity or a sandbox has seen itself.
func (d *Detector) flag(s Signal, e *wire.Event) []Signal {
	name := strings.TrimPrefix(e.Kind, "flag.")
	if s.Rule = flagRules()[name]; s.Rule == "" {
		return nil
	}
	if name == "canary-user" {
		s.What = "Somebody tried to sign in as " + plan.CanaryUser + ", whom only the trap in a service's environment names."
		s.Subject, s.Object = e.Detail["network"], ""
		if p, err := netip.ParsePrefix(e.Detail["network"]); err == nil {
			s.Client = p
		}
		return []Signal{s}
	}
	if e.Detail["reason"] != "" { // identity's
		if s.Rule == "new-device" && (e.Detail["severity"] == "low" || e.Detail["place"] == "usual") {
			return nil // one's own phone elsewhere, or another one at home: people do that, and are asked by mail
		}
		s.Severity, s.Person = finding.SeverityOf(e.Detail["severity"]), e.Object
		s.Subject, s.Object = e.Object, name
		if name == "new-device" { // people have new devices; they are asked by mail
			s.Severity, s.Subject = finding.Low, "people"
		}
		s.What = capital(e.Detail["reason"]) + "."
		if p, err := netip.ParsePrefix(e.Detail["client"]); err == nil {
			s.Client = p
			if s.Person == "" {
				s.Subject = text(p)
			}
		}
		if name == "new-device" {
			s.Severity = finding.Low
		}
		s.Held = !strings.Contains(e.Detail["response"], "block") // sign-in knows best whom it would close out
		if did := strings.TrimSuffix(strings.TrimSuffix(e.Detail["response"], "record"), ", "); did != "" {
			s.What += " Done: " + did + "."
		}
		return []Signal{s}
	}
	return d.inside(s, e, name)
}

// inside is what was seen inside a sandbox, a service's or one of Ward's own.
func (d *Detector) inside(s Signal, e *wire.Event, name string) []Signal {
	what := e.Detail["what"]
	service, _, _ := strings.Cut(e.Subject, ".") // without the replica
	s.Service, s.Subject = service, service
	if own, ok := strings.CutPrefix(service, "ward/"); ok { // nothing of Ward's own does any of this by mistake
		s.Service, s.Severity, service = "", finding.Critical, "Ward's own "+own
	}
	if what == plan.Further {
		s.Object, s.What = Others, fmt.Sprintf("%s did that with so many others that they aren't told apart.", service)
		return []Signal{s}
	}
	switch s.Rule {
	case "leak":
		s.Object = what
		s.What = fmt.Sprintf("%s printed %s; it was masked.", service, what)
	case "canary":
		s.What, s.Held = fmt.Sprintf("%s printed a canary: %s.", service, what), true // shown, and not used: it may have come with somebody's error
		if strings.HasPrefix(what, plan.CanaryName(service)+" ") {                    // it has shown its own environment
			s.Rule, s.Object = "leak", what
		}
	case "undeclared-name":
		if d.traps && what == d.trap(service) {
			s.Rule, s.What = "canary", fmt.Sprintf("A program in %s tried to reach the database of its trap.", service)
			return []Signal{s}
		}
		if what == plan.SelfHost && !d.known[plan.SelfHost] {
			s.Rule, s.Severity = "undeclared-secret", finding.Medium // a name alone, and no key yet
			s.What = fmt.Sprintf("%s looked up %s, where keys are; ward.yaml gives it none.", service, what)
			return []Signal{s}
		}
		s.Object = what
		s.What = fmt.Sprintf("%s looked up %s.", service, what)
	case "direct-connect":
		return d.connect(s, service, what)
	case "denied-write":
		s.Object = path.Dir(what)
		s.What = fmt.Sprintf("A program in %s wanted to write %s, which %s may only read. It was refused.", service, what, service)
	case "undeclared-program":
		s.Object = what
		s.What = fmt.Sprintf("A program in %s wanted to run %s, which isn't the service's. It was refused.", service, what)
	case "new-listener":
		s.Object, _, _ = strings.Cut(what, ",")
		s.What = fmt.Sprintf("A program in %s listens on %s.", service, what)
	case "bypass":
		s.Object = what
		s.What = fmt.Sprintf("A program in %s asked the kernel for %s. It was refused.", service, what)
	default:
		s.Object = name
		s.What = fmt.Sprintf("%s: %s.", service, what)
	}
	return []Signal{s}
}

// dialed is how long after a sandbox has named an address the kernel's count of missing routes, which knows none, may be about that too: a
// sandbox tells the same address again after half a minute.
const dialed = time.Minute

// connect is a way out that isn't there: with its address from the sandbox's filter, or without one from the kernel's count.
func (d *Detector) connect(s Signal, service, what string) []Signal {
	to, err := netip.ParseAddrPort(what)
	switch {
	case err != nil && s.Time.Sub(d.dialed[s.Subject]) < dialed:
		return nil
	case err != nil:
		s.Object = "an address"
		s.What = fmt.Sprintf("%s: %s.", service, what)
	case to.Addr().IsLoopback() || to.Addr().IsUnspecified():
		s.Object, s.Severity = to.String(), finding.Medium
		s.What = fmt.Sprintf("%s wanted to connect to %s, where nothing that ward.yaml declares listens. It was refused.", service, to)
	default:
		d.dialed[s.Subject] = s.Time
		s.Object = to.String()
		s.What = fmt.Sprintf("%s wanted to connect to %s, past Ward. It was refused.", service, to)
	}
	return []Signal{s}
}

// denied is a call that no line allows, at an agent. The gateway's are seen client by client.
func (d *Detector) denied(s Signal, e *wire.Event) []Signal {
	if e.Subject == plan.Outside || e.Detail["end"] == "gateway" || e.Detail["reason"] == "quarantined" {
		return nil
	}
	port, _ := strconv.Atoi(e.Detail["port"]) // absent: any
	method, at := e.Detail["method"], strings.TrimSuffix(e.Detail["path"], "…")
	s.Service = e.Subject
	if reason := e.Detail["reason"]; reason == "needs-user" || reason == "needs-factor" || reason == "other-user" || reason == "condition-failed" {
		s.Rule, s.Severity = "denied-call", finding.Low // the call is declared, for somebody else
	}
	key, isKey := strings.CutPrefix(at, "/v1/keys/")
	switch {
	case s.Rule != "":
	case e.Object == plan.SelfHost && isKey && !d.known[plan.SelfHost]:
		s.Rule = "undeclared-secret"
		s.Object, _, _ = strings.Cut(key, "/")
		s.What = fmt.Sprintf("%s asked for the key %s, which ward.yaml doesn't give it.", e.Subject, s.Object)
		return []Signal{s}
	case e.Detail["host"] != "" || e.Detail["reason"] == "wrong_host":
		s.Rule, s.Object = "undeclared-host", e.Object
		s.What = fmt.Sprintf("%s asked %s for another host: %s.", e.Subject, e.Object, e.Detail["host"])
		return []Signal{s}
	case !d.known[e.Subject]:
		s.Rule, s.Service = "unknown-agent", ""
	default:
		s.Rule = "denied-call"
		if d.exposed[e.Subject] || d.sensitive[e.Object] {
			s.Severity = finding.High
		}
		if e.Object != "" {
			s.Object = strings.TrimSpace(e.Object + " " + strings.TrimSpace(method+" "+at))
		}
		if method != "*" && e.Object != "" {
			s.Call = &Call{Caller: e.Subject, Target: e.Object, Port: port, Method: method, Path: at}
		}
	}
	s.What = fmt.Sprintf("%s called %s: %s.", e.Subject, e.Object, strings.TrimSpace(method+" "+at))
	switch {
	case d.exposed[e.Subject]:
		s.What += " " + e.Subject + " faces the Internet, and may have been taken over."
	case d.sensitive[e.Object]:
		s.What += " " + e.Object + " is sensitive."
	}
	return []Signal{s}
}

// exit is one end of a service that wasn't asked for.
func (d *Detector) exit(s Signal, e *wire.Event) []Signal {
	service, _, _ := strings.Cut(e.Object, ".")
	if !d.known[service] {
		return nil
	}
	n := d.exits.get(service, e.Time).add(e.Time, 1, crashSpan)
	if n < crashes {
		return nil
	}
	s.Rule, s.Subject, s.Object, s.Service = "crash-loop", service, "", service
	s.What = fmt.Sprintf("%s ended %d times within ten minutes: %s.", service, n, e.Detail["reason"])
	return []Signal{s}
}

// place is where somebody acts from.
type place struct{ networks []placed }

type placed struct {
	network string
	last    time.Time
}

const (
	placeSpan = 30 * 24 * time.Hour
	maxPlaced = 8
)

// administration is an act of an administrator who is signed in as a person, or their coming into the console.
func (d *Detector) administration(s Signal, e *wire.Event, person string) []Signal {
	from := e.Detail["network"]
	if from == "" || person == "" {
		return nil
	}
	p := d.places.get(person, e.Time)
	first := len(p.networks) == 0
	for i := range p.networks {
		if p.networks[i].network == from {
			fresh := e.Time.Sub(p.networks[i].last) <= placeSpan
			p.networks[i].last = e.Time
			if fresh {
				return nil
			}
		}
	}
	if len(p.networks) >= maxPlaced {
		p.networks = p.networks[1:]
	}
	p.networks = append(p.networks, placed{from, e.Time})
	if first {
		return nil // nothing is usual yet
	}
	s.Rule, s.Person, s.Object = "unusual-administration", person, from
	s.What = fmt.Sprintf("%s acted as an administrator from %s for the first time in 30 days: %s.", e.Subject, from, e.Object)
	return []Signal{s}
}

// Administrates tells whether an administrator has acted from a client's network lately.
func (d *Detector) Administrates(c netip.Prefix) bool {
	if !c.IsValid() {
		return false
	}
	for _, e := range d.places.all {
		if slices.ContainsFunc(e.v.networks, func(p placed) bool { return p.network == c.String() }) {
			return true
		}
	}
	return false
}

// evidence is an event in a line.
func evidence(e *wire.Event) string {
	parts := []string{e.Kind}
	for _, s := range []string{e.Subject, e.Object} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if d := detail(e, "method", "path", "reason", "what", "id"); d != "" {
		parts = append(parts, d)
	}
	return strings.Join(parts, " ")
}

// detail is what an event says under keys, in their order.
func detail(e *wire.Event, keys ...string) string {
	var out []string
	for _, k := range keys {
		if v := e.Detail[k]; v != "" {
			out = append(out, v)
		}
	}
	return strings.Join(out, " ")
}

func capital(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return string(s[0]-'a'+'A') + s[1:]
}
