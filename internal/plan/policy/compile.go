package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/model"
	"github.com/wardhq/ward/internal/plan"
)

// Set is the compiled policy of one plan.
type Set struct {
	outbound map[string]*Table
	inbound  map[string]*Table
	exposed  *Router
}

// Outbound is the caller's own end: its peers are the targets it may call. The
// caller is a service or plan.Outside (the gateway); nil for any other name.
func (s *Set) Outbound(caller string) *Table { return s.outbound[caller] }

// Inbound is the target's own end: its peers are the callers that it accepts.
// The target is a service; nil for any other name, also for an external, whose
// own end isn't Ward's.
func (s *Set) Inbound(target string) *Table { return s.inbound[target] }

// Exposed routes what comes in from outside.
func (s *Set) Exposed() *Router { return s.exposed }

// Compile makes the tables of a plan as they hold on a day (YYYY-MM-DD): observe
// rules whose last day is past, or that have none, are left out. The tables of
// the two ends are made apart, each from the rules alone, so that a fault in
// one isn't a fault in the other. A plan of Build always compiles.
func Compile(p *plan.Plan, today string) (*Set, error) {
	if !isDate(today) {
		return nil, fmt.Errorf("compile policy: the day %q isn't YYYY-MM-DD", today)
	}
	known := make(map[string]bool, len(p.Services)+len(p.Externals)+1)
	known[plan.Outside] = true
	for i := range p.Externals {
		known[string(p.Externals[i].Name)] = true
	}
	services := make(map[string]bool, len(p.Services))
	for i := range p.Services {
		services[string(p.Services[i].Name)] = true
		known[string(p.Services[i].Name)] = true
	}
	callers := func(name string) bool { return services[name] || name == plan.Outside }
	out := compiler{plan: p, known: known, today: today, tables: map[string]*Table{}}
	if err := out.all(callers, func(r *plan.Rule) (own, peer string) { return r.Caller, r.Target }); err != nil {
		return nil, err
	}
	in := compiler{plan: p, known: known, today: today, tables: map[string]*Table{}}
	if err := in.all(func(name string) bool { return services[name] },
		func(r *plan.Rule) (own, peer string) { return r.Target, r.Caller }); err != nil {
		return nil, err
	}
	exposed, err := compileRouter(p, today)
	if err != nil {
		return nil, err
	}
	return &Set{outbound: out.tables, inbound: in.tables, exposed: exposed}, nil
}

func isDate(s string) bool {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	return strings.Trim(s[:4]+s[5:7]+s[8:], "0123456789") == ""
}

// InForce says whether a rule grants anything on a day (YYYY-MM-DD).
func InForce(r *plan.Rule, today string) bool {
	switch r.Mode {
	case plan.Enforce:
		return true
	case plan.Observe:
		return r.Until != "" && today <= r.Until
	default:
		return false
	}
}

// compiler makes the tables of one end.
type compiler struct {
	plan   *plan.Plan
	known  map[string]bool
	today  string
	tables map[string]*Table
	nodes  arena
	conditions
}

// all gives every name that can own a table one, and puts each rule in force
// into the table of its owner.
func (c *compiler) all(owns func(string) bool, ends func(*plan.Rule) (own, peer string)) error {
	for name := range c.known {
		if owns(name) {
			c.tables[name] = &Table{peers: map[string]PeerID{}, known: c.known}
		}
	}
	// Enforce rules go in first, so that entries stand in the order of search.try.
	for _, mode := range []plan.Mode{plan.Enforce, plan.Observe} {
		for i := range c.plan.Rules {
			r := &c.plan.Rules[i]
			if r.Mode != mode || !InForce(r, c.today) {
				continue
			}
			own, peer := ends(r)
			t := c.tables[own]
			if t == nil || !c.known[peer] {
				continue
			}
			if err := t.add(peer, int32(i), r, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// add puts a rule into the pair of t and peer.
func (t *Table) add(peer string, index int32, r *plan.Rule, c *compiler) error {
	e, err := newEntry(index, r)
	if err == nil {
		e.need, err = newNeed(r, &c.conditions)
	}
	if err != nil {
		return ruleError(index, r, err)
	}
	id, ok := t.peers[peer]
	if !ok {
		t.pairs = append(t.pairs, pair{})
		id = PeerID(len(t.pairs))
		t.peers[peer] = id
	}
	return t.pairs[id-1].put(e, r, &c.nodes)
}

func (p *pair) put(e entry, r *plan.Rule, nodes *arena) error {
	switch r.Grant.Kind {
	case model.GrantTCP:
		p.tcp = addEntry(p.tcp, e)
		return nil
	case model.GrantAny:
		p.all = addEntry(p.all, e)
		return nil
	}
	if p.root == nil {
		p.root = nodes.node()
	}
	if err := nodes.insert(p.root, r.Grant.Pattern, e); err != nil {
		return ruleError(e.rule, r, err)
	}
	return nil
}

func ruleError(index int32, r *plan.Rule, err error) error {
	return fmt.Errorf("compile rule %d (line %d): %w", index, r.Pos.Line, err)
}

var errNoPorts = errors.New("it opens no port")

func newEntry(index int32, r *plan.Rule) (entry, error) {
	if len(r.Ports) == 0 {
		return entry{}, errNoPorts
	}
	if !slices.IsSorted(r.Ports) || r.Ports[0] < 0 || r.Ports[len(r.Ports)-1] > 65535 {
		return entry{}, fmt.Errorf("ports %v aren't ascending ports", r.Ports)
	}
	e := entry{rule: index, port: int32(r.Ports[0]), observe: r.Mode == plan.Observe}
	m := more{ports: r.Ports[1:]}
	switch r.Grant.Kind {
	case model.GrantAny:
		e.kinds, e.methods = kindHTTP|kindWS|kindGRPC|kindTCP, anyMethod
	case model.GrantHTTP:
		e.kinds = kindHTTP
		for _, name := range r.Grant.Methods {
			switch bit := methodBit(name); {
			case name == "*":
				e.methods |= anyMethod
			case name == "GET":
				// RFC 9110 §9.3.2: HEAD is GET without the content.
				e.methods |= bit | methodBit("HEAD")
			case bit != 0:
				e.methods |= bit
			default:
				m.methods = append(m.methods, name)
			}
		}
	case model.GrantWS:
		e.kinds = kindWS
	case model.GrantGRPC:
		e.kinds = kindGRPC
	case model.GrantTCP:
		e.kinds = kindTCP
	default:
		return entry{}, fmt.Errorf("unknown kind of grant %v", r.Grant.Kind)
	}
	if len(m.ports)+len(m.methods) > 0 {
		e.more = &m
	}
	return e, nil
}
