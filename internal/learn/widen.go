package learn

import (
	"fmt"
	"slices"

	"github.com/wardhq/ward/internal/plan"
)

// Widen returns the plan under which services are watched: each can dial every other service of the model on every
// port, and the rules are those of p. What passes beyond the rules is for the agent to record, while it learns. p isn't changed.
func Widen(p *plan.Plan) *plan.Plan {
	out := *p
	out.Services = slices.Clone(p.Services)
	for i := range out.Services {
		s := &out.Services[i]
		s.Upstreams = slices.Clone(s.Upstreams)
		next := 0
		for j := range p.Services {
			if t := &p.Services[j]; t.Name != s.Name {
				next = widen(s, t, next)
			}
		}
		markLocalhost(s)
	}
	return &out
}

func widen(s, t *plan.Service, next int) int {
	ip := ""
	for k := range s.Upstreams {
		if u := &s.Upstreams[k]; u.Target == string(t.Name) && !u.External {
			ip = u.IP
		}
	}
	if ip == "" {
		// The last /16 of the block that plans take addresses from, from its far end.
		ip = fmt.Sprintf("127.127.%d.%d", (next+1)>>8&255, (next+1)&255)
		next++
	}
	for _, l := range t.Listen {
		if !slices.ContainsFunc(s.Upstreams, func(u plan.Upstream) bool {
			return u.Target == string(t.Name) && !u.External && u.TargetPort == l.Port
		}) {
			s.Upstreams = append(s.Upstreams, plan.Upstream{
				Target: string(t.Name), Hosts: []string{string(t.Name)}, IP: ip, Port: l.Port, TargetPort: l.Port, Protocol: l.Protocol,
			})
		}
	}
	return next
}

// markLocalhost opens 127.0.0.1 too, where one upstream alone has the port: before Ward, services on one machine
// often called each other there. What p had stays.
func markLocalhost(s *plan.Service) {
	users, marked := map[int]int{}, map[int]bool{}
	for _, l := range s.Listen {
		users[l.Port]++
	}
	for i := range s.Upstreams {
		users[s.Upstreams[i].Port]++
		marked[s.Upstreams[i].Port] = marked[s.Upstreams[i].Port] || s.Upstreams[i].Localhost
	}
	for i := range s.Upstreams {
		u := &s.Upstreams[i]
		u.Localhost = u.Localhost || users[u.Port] == 1 && !marked[u.Port]
	}
}
