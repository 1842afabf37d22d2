package wardfile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/model/cycle"
	"github.com/wardhq/ward/internal/model/lexis"
)

// advise warns of what is allowed but unwise.
func (p *parser) advise() {
	used := map[string]bool{}
	for i := range p.m.Services {
		for _, c := range p.m.Services[i].Calls {
			used[c.Target] = true
		}
	}
	for _, o := range p.m.Observe {
		used[o.To] = true
	}
	for i := range p.m.Services {
		s := &p.m.Services[i]
		if !used[string(s.Name)] && len(s.Expose) == 0 && len(s.Calls) == 0 && len(s.Listen) > 0 {
			p.warnf("unused-service", s.Pos, "grant someone a call to it, expose a route, or remove it", "nobody calls service %s, and nothing exposes it", s.Name)
		}
		for _, c := range s.Calls {
			p.adviseCall(s, c)
		}
		p.adviseExpose(s)
		p.adviseEnv(s)
		p.adviseFiles(s)
	}
	for _, x := range p.m.Externals {
		if !used[string(x.Name)] {
			p.warnf("unused-external", x.Pos, "grant someone a call to it, or remove it", "nobody calls external %s", x.Name)
		}
	}
	p.adviseSecrets()
	p.adviseCycles()
}

func (p *parser) adviseCall(s *model.Service, c model.Call) {
	for _, g := range c.Grants {
		switch {
		case g.Kind == model.GrantAny:
		case g.Kind == model.GrantHTTP && g.Pattern == "/**":
		case g.Kind == model.GrantWS && g.Pattern == "/**":
		case g.Kind == model.GrantGRPC && g.Pattern == "/*/*":
		default:
			continue
		}
		p.warnf("broad-grant", g.Pos, "name what it needs; `ward learn` finds out which calls are made", "%q from %s to %s is broad", g.String(), s.Name, c.Target)
	}
}

func (p *parser) adviseExpose(s *model.Service) {
	for _, x := range s.Expose {
		if len(x.Need.Who) > 0 {
			continue
		}
		if s.Sensitivity >= model.High {
			p.warnf("sensitive-exposed", x.Pos, "put a less sensitive service in front of it", "service %s has sensitivity %s, and is exposed to anyone", s.Name, s.Sensitivity)
		}
		for _, g := range x.Routes {
			if g.Kind == model.GrantHTTP && g.Pattern == "/**" && slices.Contains(g.Methods, "*") {
				p.warnf("everything-exposed", g.Pos, "name methods and paths: what isn't named stays closed", "every route of %s, with every method, is open to anyone", s.Name)
			}
		}
	}
}

func (p *parser) adviseEnv(s *model.Service) {
	for _, v := range s.Env {
		if lexis.SecretLooking(v.Name, v.Value) {
			p.warnf("secret-in-file", v.Pos, fmt.Sprintf("declare a secret, and deliver it: secrets: {%s: env %s}", strings.ReplaceAll(strings.ToLower(v.Name), "_", "-"), v.Name), "%s looks like a secret, and its value stands in the file", v.Name)
		}
	}
}

// adviseSecrets warns of what is less well kept than it could be, and of what nobody gets.
func (p *parser) adviseSecrets() {
	used := map[string]bool{}
	for i := range p.m.Services {
		for _, u := range p.m.Services[i].Secrets {
			used[u.Secret] = true
			if u.Env != "" {
				p.warnf("secret-in-environment", u.Pos, "a file is safer, where the program can read one: "+u.Secret+": file", "every child of %s, and whatever prints its environment, sees the secret %s", p.m.Services[i].Name, u.Secret)
			}
		}
	}
	for _, x := range p.m.Externals {
		if x.Auth != nil {
			used[x.Auth.Secret] = true
		}
	}
	for i := range p.m.Databases {
		d := &p.m.Databases[i]
		used[d.Admin.Secret] = true
		for _, u := range d.Users {
			used[u.Login.Secret] = true
		}
	}
	for _, s := range p.m.Secrets {
		if !used[s.Name] && !s.Canary {
			p.warnf("unused-secret", s.Pos, "name it under a service's secrets:, or remove it", "nobody gets secret %s", s.Name)
		}
	}
}

func (p *parser) adviseFiles(s *model.Service) {
	for _, f := range slices.Concat(s.Files.Read, s.Files.Write) {
		switch strings.TrimRight(f.Path, "/") {
		case "", "/etc", "/home", "/root", "/proc", "/sys", "/dev", "/var", "/run", "/usr":
			p.warnf("broad-files", f.Pos, "name the files that it needs", "%q opens much of the machine to %s", f.Path, s.Name)
		}
	}
}

// adviseCycles shows one circle for each group of services that can reach each other.
func (p *parser) adviseCycles() {
	services := p.m.Services
	index := make(map[string]int, len(services))
	for i := range services {
		index[string(services[i].Name)] = i
	}
	out, at := make([][]int, len(services)), map[[2]int]model.Pos{}
	for i := range services {
		for _, c := range services[i].Calls {
			if j, ok := index[c.Target]; ok {
				out[i] = append(out[i], j)
				at[[2]int{i, j}] = c.Pos
			}
		}
	}
	for _, path := range cycle.Find(out) {
		names := make([]string, 0, len(path)+1)
		for i, v := range path {
			if i == 8 && len(path) > 10 {
				names = append(names, "…")
				break
			}
			names = append(names, string(services[v].Name))
		}
		names = append(names, string(services[path[0]].Name))
		p.warnf("circle", at[[2]int{path[0], path[1]}], "each of them can be taken over through the others; a queue or an event breaks the circle", "services call each other in a circle: %s", strings.Join(names, " → "))
	}
}
