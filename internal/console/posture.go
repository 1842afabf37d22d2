package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/capability"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/reach"
)

// postureData is what protects what, and what doesn't.
type postureData struct {
	Layers   []capability.Capability
	Services []standing
	Gaps     []gap // of the whole application
	Count    int   // gaps in all
}

// standing is how one service is protected.
type standing struct {
	reach.Row
	Entry       string // who gets in from outside
	Callers     int
	Secrets     string
	Sealed      string
	Gaps        []gap
	Quarantined bool
}

// gap is something that isn't as narrow as it could be.
type gap struct {
	Text string
	Line int // of ward.yaml, 0 for none
}

func (c *Console) posturePage(v *visit) (view, error) {
	d := postureData{Layers: c.config.Layers}
	p := c.config.Plan()
	if p == nil {
		return view{Page: "posture", Title: "Posture", Here: "posture", Topic: "posture", Data: d}, nil
	}
	cut := c.quarantined()
	for _, row := range reach.Rank(p, v.Now.UTC().Format(time.DateOnly)) {
		i := slices.IndexFunc(p.Services, func(s plan.Service) bool { return string(s.Name) == row.Service })
		if i < 0 {
			continue
		}
		s := &p.Services[i]
		x := standing{Row: row, Entry: entryOf(p, s), Secrets: secretsOf(s), Sealed: sealedOf(p, s), Gaps: gapsOf(p, s), Quarantined: cut[row.Service]}
		callers := map[string]bool{}
		for k := range p.Rules {
			if r := &p.Rules[k]; r.Target == row.Service && r.Caller != plan.Outside {
				callers[r.Caller] = true
			}
		}
		x.Callers = len(callers)
		d.Services = append(d.Services, x)
		d.Count += len(x.Gaps)
	}
	d.Gaps = append(gapsOfAll(p), c.dropped()...)
	d.Count += len(d.Gaps)
	return view{Page: "posture", Title: "Posture", Here: "posture", Topic: "posture", Data: d}, nil
}

// dropped is the gap in what can be seen.
func (c *Console) dropped() []gap {
	if c.config.Drops == nil {
		return nil
	}
	all := c.config.Drops()
	if len(all) == 0 {
		return nil
	}
	return []gap{{watch.Dropped(all) + " (ward metrics tells more)", 0}}
}

// entryOf says who gets in to a service from outside.
func entryOf(p *plan.Plan, s *plan.Service) string {
	anyone, asked := 0, 0
	for i := range p.Rules {
		if r := &p.Rules[i]; r.Caller == plan.Outside && r.Target == string(s.Name) {
			if r.Need.Asks() {
				asked++
			} else {
				anyone++
			}
		}
	}
	switch {
	case anyone+asked == 0:
		return "closed"
	case anyone == 0:
		return fmt.Sprintf("%s, signed in", count(asked, "route"))
	case asked == 0:
		return fmt.Sprintf("%s, anyone", count(anyone, "route"))
	}
	return fmt.Sprintf("%s: %d anyone, %d signed in", count(anyone+asked, "route"), anyone, asked)
}

func secretsOf(s *plan.Service) string {
	files, variables := 0, 0
	for _, u := range s.Secrets {
		if u.Env != "" {
			variables++
		} else {
			files++
		}
	}
	var out []string
	if files > 0 {
		out = append(out, count(files, "file"))
	}
	if variables > 0 {
		out = append(out, count(variables, "variable"))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// sealedOf says which data a service holds, and whether it has the key to seal it with; whether it does, only the service knows.
func sealedOf(p *plan.Plan, s *plan.Service) string {
	if len(s.Data) == 0 {
		return "none declared"
	}
	var out []string
	for _, class := range s.Data {
		word := class + ": no key"
		if hasKey(p, string(s.Name), class) {
			word = class + ": has a key"
		}
		out = append(out, word)
	}
	return strings.Join(out, "; ")
}

// hasKey tells whether a service may seal a class of data: its key has the class's name.
func hasKey(p *plan.Plan, service, class string) bool {
	i := slices.IndexFunc(p.Keys, func(k plan.Key) bool { return k.Name == class })
	return i >= 0 && p.Keys[i].May(service, model.UseEncrypt)
}

// gapsOf are the gaps of one service.
func gapsOf(p *plan.Plan, s *plan.Service) []gap {
	var out []gap
	add := func(line int, format string, args ...any) { out = append(out, gap{fmt.Sprintf(format, args...), line}) }
	name := string(s.Name)
	for i := range p.Rules {
		r := &p.Rules[i]
		in, fromOutside := r.Target == name, r.Caller == plan.Outside
		if r.Mode == plan.Observe && (r.Caller == name || in) {
			add(r.Pos.Line, "only observed until %s: %s → %s %s", r.Until, partyName(r.Caller), r.Target, r.Grant)
		}
		if in && fromOutside && !r.Need.Asks() && s.Sensitivity >= model.High {
			add(r.Pos.Line, "%s is open to anyone, and the service is of %s sensitivity", r.Grant, s.Sensitivity)
		}
		if in && fromOutside && isBroad(&r.Grant) {
			add(r.Pos.Line, "exposes more than a route: %s", r.Grant)
		}
		if r.Caller == name && isBroad(&r.Grant) {
			add(r.Pos.Line, "may do more at %s than a route: %s", r.Target, r.Grant)
		}
	}
	for _, u := range s.Secrets {
		if u.Env != "" {
			add(u.Pos.Line, "%s comes in a variable: children inherit it, and it can't change while the service runs", u.Secret)
		}
	}
	for _, class := range s.Data {
		if !hasKey(p, name, class) {
			add(s.Pos.Line, "holds %s, and has no key to seal it with", class)
		}
	}
	if s.Sensitivity == model.SensitivityUnset && len(s.Data) > 0 {
		add(s.Pos.Line, "holds data, and says no sensitivity")
	}
	return out
}

// isBroad tells whether a grant is wider than people mostly mean.
func isBroad(g *model.Grant) bool {
	return g.Kind == model.GrantAny || g.Kind == model.GrantHTTP && (g.Pattern == "/**" || slices.Contains(g.Methods, "*"))
}

// gapsOfAll are those that no service has.
func gapsOfAll(p *plan.Plan) []gap {
	var out []gap
	for i := range p.Externals {
		if e := &p.Externals[i]; e.TLS == model.TLSNone {
			out = append(out, gap{fmt.Sprintf("%s is spoken to without TLS", e.Name), e.Pos.Line})
		}
	}
	if !p.Users.On() {
		out = append(out, gap{"nobody is asked who they are: there is no users:", 0})
	} else if p.Users.SecondFactor == model.SecondFactorOptional {
		out = append(out, gap{"people may do without a second factor", p.Users.Pos.Line})
	}
	if len(p.Watch.Notify) == 0 {
		out = append(out, gap{"nobody is told of findings: there is no watch: notify:", 0})
	}
	if len(p.Watch.Anchor) == 0 {
		out = append(out, gap{"checkpoints of the audit trail stay on this machine: there is no watch: anchor:", 0})
	}
	if p.Watch.NoCanaries {
		out = append(out, gap{"there are no traps: watch: canaries: is off", 0})
	}
	return out
}
