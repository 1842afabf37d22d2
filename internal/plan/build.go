package plan

import (
	"slices"
	"strconv"

	"github.com/wardhq/ward/internal/model"
)

// Build derives the plan of a model that Parse accepted. It doesn't change m,
// and shares m's slices. Rules stand in the order of the file: of each service
// its expose and then its calls, and all observe rules last. A grant that fits
// no port of its target makes no rule: it would open nothing.
func Build(m *model.Model) *Plan {
	b := builder{
		services:  make(map[string]*model.Service, len(m.Services)),
		externals: make(map[string]*model.External, len(m.Externals)),
		ports:     map[portKey][]int{},
		callees:   map[edge]*callee{},
		byCaller:  map[string][]*callee{},
		rules:     make([]Rule, 0, countGrants(m)),
	}
	for i := range m.Services {
		b.services[string(m.Services[i].Name)] = &m.Services[i]
	}
	for i := range m.Externals {
		b.externals[string(m.Externals[i].Name)] = &m.Externals[i]
	}
	b.selfFree = b.services[SelfHost] == nil && b.externals[SelfHost] == nil
	b.users = m.Users.On()
	b.allRules(m)
	externals := b.addPages(m)
	after := b.startAfter(m.Services)
	p := &Plan{
		App:         m.App,
		TrustDomain: m.TrustDomain,
		Gateway:     m.Gateway,
		Services:    make([]Service, 0, len(m.Services)),
		Externals:   externals,
		Rules:       b.rules,
		Users:       m.Users,
		Watch:       m.Watch,
		Secrets:     m.Secrets,
		Keys:        buildKeys(m),
		Databases:   m.Databases,
	}
	for i := range m.Services {
		s := &m.Services[i]
		p.Services = append(p.Services, Service{
			Service:    *s,
			ID:         "spiffe://" + m.TrustDomain + "/svc/" + string(s.Name),
			Upstreams:  b.upstreams(s),
			StartAfter: after[i],
		})
	}
	return p
}

type portKey struct {
	target  string
	kind    model.GrantKind
	port    int
	outside bool
}

// builder holds the indexes that one Build needs.
type builder struct {
	services  map[string]*model.Service
	externals map[string]*model.External
	ports     map[portKey][]int // memo: rules of one kind and target share their slice
	callees   map[edge]*callee
	byCaller  map[string][]*callee // in the order of the rules
	rules     []Rule
	users     bool // there is sign-in: every service may ask Ward for the keys of transaction tokens
	selfFree  bool // no service or external has taken Ward's own name
}

// callee is a target of one caller, with the ports that the pair's rules open.
type callee struct {
	target string
	ports  []int
}

type edge struct{ caller, target string }

func (b *builder) allRules(m *model.Model) {
	for i := range m.Services {
		s := &m.Services[i]
		for j := range s.Expose {
			e := &s.Expose[j]
			b.add(Rule{Caller: Outside, Target: string(s.Name), Mode: Enforce, To: e.To, Need: e.Need, Forward: e.Forward, Pos: e.Pos}, e.Routes, 0)
		}
		for j := range s.Calls {
			c := &s.Calls[j]
			b.add(Rule{Caller: string(s.Name), Target: c.Target, Mode: Enforce, Pos: c.Pos}, c.Grants, c.Port)
		}
	}
	for i := range m.Observe {
		o := &m.Observe[i]
		r := Rule{Caller: string(o.From), Target: o.To, Mode: Observe, Until: o.Until, Pos: o.Pos}
		b.add(r, o.Grants, 0)
	}
}

// add makes one rule of each grant, on the pattern of r.
func (b *builder) add(r Rule, grants []model.Grant, port int) {
	pos, to, need := r.Pos, r.To, r.Need
	_, r.External = b.externals[r.Target]
	for _, g := range grants {
		r.Ports = b.portsFor(portKey{r.Target, g.Kind, port, r.Caller == Outside})
		if len(r.Ports) == 0 {
			continue
		}
		r.Grant, r.Pos, r.To, r.Need = g, pos, to, need
		if g.AsUser {
			r.To, r.Need = AsUser, model.Need{Who: []string{SignedIn}, MFA: g.MFA}
		}
		if g.Pos != (model.Pos{}) {
			r.Pos = g.Pos
		}
		b.rules = append(b.rules, r)
		b.open(&r)
	}
}

// open notes the ports of a rule for the upstreams of its caller.
func (b *builder) open(r *Rule) {
	if r.Caller == Outside {
		return
	}
	e := edge{r.Caller, r.Target}
	c := b.callees[e]
	if c == nil {
		c = &callee{target: r.Target, ports: r.Ports}
		b.callees[e] = c
		b.byCaller[r.Caller] = append(b.byCaller[r.Caller], c)
		return
	}
	for _, port := range r.Ports {
		if !slices.Contains(c.ports, port) {
			c.ports = append(slices.Clip(c.ports), port)
		}
	}
}

func countGrants(m *model.Model) int {
	n := 0
	for i := range m.Services {
		for j := range m.Services[i].Expose {
			n += len(m.Services[i].Expose[j].Routes)
		}
		for j := range m.Services[i].Calls {
			n += len(m.Services[i].Calls[j].Grants)
		}
	}
	for i := range m.Observe {
		n += len(m.Observe[i].Grants)
	}
	return n
}

// portsFor lists the ports of a target that a kind of grant opens. The gateway
// speaks HTTP only, so nothing opens a tcp port to the outside.
func (b *builder) portsFor(k portKey) []int {
	if ports, ok := b.ports[k]; ok {
		return ports
	}
	var ports []int
	for _, l := range b.listens(k.target) {
		open := k.kind.Fits(l.Protocol) && (k.port == 0 || k.port == l.Port)
		if open && !(k.outside && l.Protocol == model.TCP) {
			ports = append(ports, l.Port)
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	b.ports[k] = ports
	return ports
}

func (b *builder) listens(target string) []model.Listen {
	if s, ok := b.services[target]; ok {
		return s.Listen
	}
	if e, ok := b.externals[target]; ok {
		return []model.Listen{{Protocol: ExternalProtocol(e), Port: e.Port}}
	}
	return nil
}

// ExternalProtocol is how a service speaks to e as Ward sees it: TLS that the
// service speaks itself is bytes to Ward.
func ExternalProtocol(e *model.External) model.Protocol {
	if e.TLS == model.TLSPassthrough || e.Protocol == model.ProtocolUnknown {
		return model.TCP
	}
	return e.Protocol
}

// startAfter returns for each service the services among its callees that start
// before it. A depth-first walk in the order of the file drops the edges that
// close a cycle, so what remains has none.
func (b *builder) startAfter(services []model.Service) [][]string {
	index := make(map[string]int, len(services))
	for i := range services {
		index[string(services[i].Name)] = i
	}
	const fresh, open, done = 0, 1, 2
	state := make([]uint8, len(services))
	out := make([][]string, len(services))
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		out[i] = []string{}
		for _, c := range b.byCaller[string(services[i].Name)] {
			j, ok := index[c.target]
			if !ok || state[j] == open {
				continue
			}
			if state[j] == fresh {
				visit(j)
			}
			out[i] = append(out[i], c.target)
		}
		state[i] = done
	}
	for i := range services {
		if state[i] == fresh {
			visit(i)
		}
	}
	return out
}

// loopback is the i-th address of 127.64.0.0/10, from 127.64.0.1.
func loopback(i int) string {
	n := i + 1
	return "127." + strconv.Itoa(64+n>>16) + "." + strconv.Itoa(n>>8&255) + "." + strconv.Itoa(n&255)
}
