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
			if err := t.add(peer, int32(i), r); err != nil {
				return err
			}
		}
	}
	return nil
}

// add puts a rule into the pair of t and peer.
func (t *Table) add(peer string, index int32, r *plan.Rule) error {
	e, err := newEntry(index, r)
	if err != nil {
		return fmt.Errorf("compile rule %d (line %d): %w", index, r.Pos.Line, err)
	}
	return t.put(peer, e, r)
}

func (t *Table) put(peer string, e entry, r *plan.Rule) error {
	id, ok := t.peers[peer]
	if !ok {
		t.pairs = append(t.pairs, pair{root: -1})
		id = PeerID(len(t.pairs))
		t.peers[peer] = id
	}
	p := &t.pairs[id-1]
	switch r.Grant.Kind {
	case model.GrantTCP:
		p.tcp = addEntry(p.tcp, e)
		return nil
	case model.GrantAny:
		p.all = addEntry(p.all, e)
		return nil
	}
	if p.root < 0 {
		t.nodes = append(t.nodes, node{param: -1})
		p.root = int32(len(t.nodes) - 1)
	}
	var err error
	t.nodes, err = insert(t.nodes, p.root, r.Grant.Pattern, e)
	if err != nil {
		return fmt.Errorf("compile rule %d (line %d): %w", e.rule, r.Pos.Line, err)
	}
	return nil
}

var errNoPorts = errors.New("it opens no port")

func newEntry(index int32, r *plan.Rule) (entry, error) {
	if len(r.Ports) == 0 {
		return entry{}, errNoPorts
	}
	if !slices.IsSorted(r.Ports) || r.Ports[0] < 0 || r.Ports[len(r.Ports)-1] > 65535 {
		return entry{}, fmt.Errorf("ports %v aren't ascending ports", r.Ports)
	}
	e := entry{rule: index, port: int32(r.Ports[0]), ports: r.Ports[1:], observe: r.Mode == plan.Observe}
	switch r.Grant.Kind {
	case model.GrantAny:
		e.kinds, e.methods = kindHTTP|kindWS|kindGRPC|kindTCP, anyMethod
	case model.GrantHTTP:
		e.kinds = kindHTTP
		for _, m := range r.Grant.Methods {
			switch bit := methodBit(m); {
			case m == "*":
				e.methods |= anyMethod
			case m == "GET":
				// RFC 9110 §9.3.2: HEAD is GET without the content.
				e.methods |= bit | methodBit("HEAD")
			case bit != 0:
				e.methods |= bit
			default:
				e.custom = append(e.custom, m)
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
	return e, nil
}

// insert puts e at the place of pattern below root.
func insert(nodes []node, root int32, pattern string, e entry) ([]node, error) {
	if pattern == "" || pattern[0] != '/' {
		return nodes, fmt.Errorf("pattern %q doesn't start with a slash", pattern)
	}
	at, rest := root, pattern[1:]
	for {
		seg, tail, more := strings.Cut(rest, "/")
		var next int32
		switch {
		case seg == "**" && !more:
			nodes[at].tail = addEntry(nodes[at].tail, e)
			return nodes, nil
		case seg == "*" || len(seg) > 2 && seg[0] == '{' && strings.IndexByte(seg, '}') == len(seg)-1:
			next = nodes[at].param
			if next < 0 {
				nodes, next = grow(nodes)
				nodes[at].param = next
			}
		case strings.ContainsAny(seg, "*{}"):
			return nodes, fmt.Errorf("pattern %q: segment %q is neither a literal nor a wildcard", pattern, seg)
		case seg == "" && more:
			return nodes, fmt.Errorf("pattern %q has an empty segment", pattern)
		default:
			next = nodes[at].literal(seg)
			if next < 0 {
				nodes, next = grow(nodes)
				nodes[at].addLiteral(seg, next)
			}
		}
		at, rest = next, tail
		if !more {
			nodes[at].end = addEntry(nodes[at].end, e)
			return nodes, nil
		}
	}
}

func grow(nodes []node) ([]node, int32) {
	return append(nodes, node{param: -1}), int32(len(nodes))
}

func (n *node) addLiteral(seg string, to int32) {
	if n.index != nil {
		n.index[seg] = to
		return
	}
	n.lits = append(n.lits, edge{seg, to})
	if len(n.lits) > indexAt {
		n.index = make(map[string]int32, 2*len(n.lits))
		for _, l := range n.lits {
			n.index[l.seg] = l.to
		}
		n.lits = nil
	}
}

// addEntry drops an entry that says no more than one before it, so that a rule
// written a thousand times costs no more than once.
func addEntry(entries []entry, e entry) []entry {
	for i := range entries {
		x := &entries[i]
		if x.observe == e.observe && x.kinds == e.kinds && x.methods == e.methods && x.port == e.port &&
			slices.Equal(x.custom, e.custom) && slices.Equal(x.ports, e.ports) {
			return entries
		}
	}
	return append(entries, e)
}
