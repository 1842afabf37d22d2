package control

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/watch"
	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
	"github.com/wardhq/ward/internal/plan/explain"
)

// allowance says which line of ward.yaml would allow the call that a finding is about.
func allowance(p *plan.Plan, today string, f watch.Finding) string {
	if strings.ContainsAny(f.Call.Path, "*{}") {
		return "no line of ward.yaml says this path alone: it holds a character that stands for others\n"
	}
	res, err := explain.Explain(p, today, explain.Query{Caller: f.Call.Caller, Target: f.Call.Target, Port: f.Call.Port, Method: f.Call.Method, Path: f.Call.Path})
	if q, ok := errors.AsType[*explain.QueryError](err); ok {
		return "the call isn't of the plan any more: " + q.Message + "\n"
	}
	if err != nil {
		return fault.PublicText(err)
	}
	return res.Text("ward.yaml")
}

// declaration is what a person would write into ward.yaml for what was found in a service's sandbox, with the line that it belongs to; "" where no line
// is to be written, or what was found can't stand in one as it is.
func declaration(p *plan.Plan, f *watch.Finding) string {
	if !plain().MatchString(f.Object) || f.Object == watch.Others {
		return ""
	}
	for i := range p.Services {
		if s := &p.Services[i]; string(s.Name) == f.Service {
			if lines := declared(p, f); lines != "" {
				return fmt.Sprintf("ward.yaml:%d\nservices:\n  %s:\n%s", s.Pos.Line, s.Name, lines)
			}
		}
	}
	return ""
}

// plain are objects that mean themselves in YAML, and that nobody else's text hides in.
func plain() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9 ._/-]{1,256}$`) }

func declared(p *plan.Plan, f *watch.Finding) string {
	switch f.Rule {
	case "new-listener":
		if port, ok := strings.CutPrefix(f.Object, "port "); ok {
			return fmt.Sprintf("    listen: tcp://:%s   # or http://:%[1]s; beside what is there\n", port)
		}
	case "undeclared-secret":
		if f.Object != "" {
			return fmt.Sprintf("    keys: {%s: encrypt}   # or the class of data: data: [%[1]s]\n", f.Object)
		}
	case "undeclared-name":
		for i := range p.Services {
			s := &p.Services[i]
			if string(s.Name) != f.Object {
				continue
			}
			if len(s.Listen) > 0 && s.Listen[0].Protocol == model.TCP {
				return fmt.Sprintf("    calls: {%s: tcp}\n", s.Name)
			}
			return fmt.Sprintf("    calls: {%s: [GET /]}   # the routes that it needs\n", s.Name)
		}
		name, _, _ := strings.Cut(f.Object, ".")
		if host().MatchString(f.Object) && !taken(p, name) {
			return fmt.Sprintf("    calls: {%s: [GET /]}   # the routes that it needs\nexternals:\n  %[1]s: {host: %s, tls: originate}\n", name, f.Object)
		}
	}
	return ""
}

// host is a name of the outside, whose first label may name an external.
func host() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9](\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.[a-z]{2,}$`)
}

// taken tells whether a service or an external has a name.
func taken(p *plan.Plan, name string) bool {
	return slices.ContainsFunc(p.Services, func(s plan.Service) bool { return string(s.Name) == name }) ||
		slices.ContainsFunc(p.Externals, func(x model.External) bool { return string(x.Name) == name })
}
