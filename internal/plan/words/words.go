// Package words says a plan in plain text: what each service may do, in and out.
//
// It guarantees that every rule of the plan is said, with its line, and that equal
// plans give equal text. The text is for people and may change between versions;
// machines read the plan's JSON.
package words

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Plan says the whole plan; file is the name that lines are given with.
func Plan(p *plan.Plan, file string) string {
	w := writer{file: file}
	w.linef("%s: %s, %s, %s", p.App, Count(len(p.Services), "service"),
		Count(len(p.Externals), "external"), Count(len(p.Rules), "right"))
	w.linef("gateway %s as %s, trust domain %s", p.Gateway.Listen, p.Gateway.Host, p.TrustDomain)
	w.users(&p.Users)
	in, out := map[string][]*plan.Rule{}, map[string][]*plan.Rule{}
	for i := range p.Rules {
		r := &p.Rules[i]
		in[r.Target] = append(in[r.Target], r)
		out[r.Caller] = append(out[r.Caller], r)
	}
	for i := range p.Services {
		s := &p.Services[i]
		w.service(s, in[string(s.Name)], out[string(s.Name)])
	}
	for i := range p.Externals {
		w.external(&p.Externals[i], in[string(p.Externals[i].Name)])
	}
	w.secrets(p)
	return w.String()
}

// Name is a caller or target as people call it.
func Name(name string) string {
	if name == plan.Outside {
		return "outside"
	}
	return name
}

// Party is who records call what people call so: the other way round than Name.
func Party(said string) string {
	if s := strings.ToLower(said); s == "outside" || s == "internet" {
		return plan.Outside
	}
	return said
}

// Grant is a right with its end, if it has one: "GET /x (observed until 2026-08-31)".
func Grant(r *plan.Rule) string {
	if r.Mode == plan.Observe {
		return r.Grant.String() + " (observed until " + r.Until + ")"
	}
	return r.Grant.String()
}

// Ports is ":80" or ":80,81".
func Ports(ports []int) string {
	out := make([]string, 0, len(ports))
	for _, p := range ports {
		out = append(out, strconv.Itoa(p))
	}
	return ":" + strings.Join(out, ",")
}

// Count is "1 thing" or "n things".
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// Bytes is a size as ward.yaml would say it: "128MiB".
func Bytes(n int64) string {
	units := []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}}
	for _, u := range units {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

type writer struct {
	strings.Builder
	file string
}

func (w *writer) linef(format string, args ...any) {
	w.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " "))
	w.WriteByte('\n')
}

// users says who may sign in, and which clients there are.
func (w *writer) users(u *model.Users) {
	if !u.On() {
		return
	}
	factor, register := "a second factor is required", "only administrators make accounts"
	if u.SecondFactor == model.SecondFactorOptional {
		factor = "a second factor is optional"
	}
	if u.Register == model.RegisterOpen {
		register = "everybody may make an account"
	}
	w.linef("sign-in at %s: %s, %s", u.Host, factor, register)
	for i := range u.Clients {
		c := &u.Clients[i]
		kind := "confidential"
		switch {
		case c.Public:
			kind = "public"
		case c.Service != "":
			kind = "service " + string(c.Service)
		}
		note := ""
		if c.NonceOnly {
			note = "; relies on nonce, without PKCE"
		}
		w.linef("  client %s (%s): %s%s", c.Name, kind, strings.Join(c.Grants, ", "), note)
	}
	for i := range u.Providers {
		w.linef("  sign-in with %s: %s", u.Providers[i].Name, u.Providers[i].Issuer)
	}
}

func (w *writer) service(s *plan.Service, in, out []*plan.Rule) {
	w.linef("")
	traits := []string{s.Runtime.String()}
	if s.Sensitivity != model.SensitivityUnset {
		traits = append(traits, s.Sensitivity.String())
	}
	if len(s.Data) > 0 {
		traits = append(traits, "holds "+strings.Join(s.Data, ", "))
	}
	if s.Replicas > 1 {
		traits = append(traits, Count(s.Replicas, "replica"))
	}
	w.linef("%s (%s)", s.Name, strings.Join(traits, "; "))
	listens := make([]string, 0, len(s.Listen))
	for _, l := range s.Listen {
		listens = append(listens, fmt.Sprintf("%s :%d", l.Protocol, l.Port))
	}
	if len(listens) == 0 {
		listens = []string{"nothing"}
	}
	w.linef("  listens on %s", strings.Join(listens, ", "))
	w.rules("may be called by", in, func(r *plan.Rule) string {
		if r.Caller == plan.Outside {
			return r.To + " outside"
		}
		return r.Caller
	})
	w.rules("may call", out, target)
	w.files(&s.Files, s.Workdir)
	w.linef("  limits     %s", limits(s.Limits))
	if len(s.StartAfter) > 0 {
		w.linef("  starts after %s", strings.Join(s.StartAfter, ", "))
	}
}

func target(r *plan.Rule) string {
	if r.External {
		return r.Target + " (external)"
	}
	return r.Target
}

// rules writes one aligned line per rule. A name is written once for all of its
// rules in a row.
func (w *writer) rules(what string, rules []*plan.Rule, name func(*plan.Rule) string) {
	if len(rules) == 0 {
		nobody := "nobody"
		if what == "may call" {
			nobody = "nothing"
		}
		w.linef("  %s %s", what, nobody)
		return
	}
	w.linef("  %s", what)
	var rows [][]string
	last := ""
	for _, r := range rules {
		n := name(r) + " " + Ports(r.Ports)
		shown := n
		if n == last {
			shown = ""
		}
		last = n
		rows = append(rows, []string{shown, Grant(r), fmt.Sprintf("%s:%d", w.file, r.Pos.Line)})
	}
	w.WriteString(Columns("    ", rows))
}

func (w *writer) files(f *model.Files, workdir string) {
	if workdir == "" {
		workdir = "."
	}
	w.linef("  may read   %s", strings.Join(append([]string{workdir}, paths(f.Read)...), ", "))
	if len(f.Write) == 0 {
		w.linef("  may write  nothing")
		return
	}
	w.linef("  may write  %s", strings.Join(paths(f.Write), ", "))
}

func paths(in []model.Path) []string {
	out := make([]string, 0, len(in))
	for _, p := range in {
		out = append(out, p.Path)
	}
	return out
}

func limits(l model.Limits) string {
	var out []string
	if l.MemoryBytes > 0 {
		out = append(out, "memory "+Bytes(l.MemoryBytes))
	}
	if l.CPU > 0 {
		out = append(out, strconv.FormatFloat(l.CPU, 'g', -1, 64)+" cores")
	}
	if l.PIDs > 0 {
		out = append(out, strconv.Itoa(l.PIDs)+" processes")
	}
	if l.OpenFiles > 0 {
		out = append(out, strconv.Itoa(l.OpenFiles)+" open files")
	}
	if len(out) == 0 {
		return "Ward's defaults"
	}
	return strings.Join(out, ", ")
}

func (w *writer) external(e *model.External, in []*plan.Rule) {
	w.linef("")
	w.linef("%s (external)", e.Name)
	tls := map[model.ExternalTLS]string{
		model.TLSNone:        "no TLS",
		model.TLSPassthrough: "the service's own TLS, its name checked",
		model.TLSOriginate:   "Ward speaks verified TLS",
	}[e.TLS]
	w.linef("  is %s:%d, %s, %s", e.Host, e.Port, plan.ExternalProtocol(e), tls)
	if e.TLS == model.TLSOriginate && e.LocalPort != e.Port {
		w.linef("  services dial %s:%d, without TLS", e.Host, e.LocalPort)
	}
	if len(e.Addresses) > 0 {
		w.linef("  only at %s", strings.Join(e.Addresses, ", "))
	}
	w.rules("may be called by", in, func(r *plan.Rule) string { return r.Caller })
}

// Columns aligns rows with two spaces between cells, each line after indent.
func Columns(indent string, rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := indent
		for i, cell := range row {
			line += cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
		}
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	return b.String()
}
