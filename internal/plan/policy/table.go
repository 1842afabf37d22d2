package policy

import "github.com/wardhq/ward/internal/base/canon"

// PeerID stands for the other end of a connection in one Table. The zero PeerID
// is nobody and is denied; an ID of one table means nothing in another.
type PeerID int32

// withoutRules is a peer that the plan knows, and that no rule of this table names.
const withoutRules PeerID = -1

// Table holds the rights of one service at one end: what it may call
// (Outbound), or who may call it and how (Inbound). The nil *Table denies all.
// It is immutable: use it from any number of goroutines.
type Table struct {
	peers map[string]PeerID
	known map[string]bool // every name of the plan; shared by all tables of a Set
	pairs []pair          // PeerID is the index plus 1
}

// Peer resolves a name, once per connection: a target for an outbound table, a
// caller (or plan.Outside) for an inbound one. Unknown names give the zero PeerID.
func (t *Table) Peer(name string) PeerID {
	if t == nil {
		return 0
	}
	if id, ok := t.peers[name]; ok {
		return id
	}
	if t.known[name] {
		return withoutRules
	}
	return 0
}

// Decide answers whether the pair of t and peer may do r at the target's port.
// It never allocates, and its work is bounded by the rules of this one pair,
// whatever the path: of every trie node at most one visit, no node below the
// deepest pattern.
//
// A request is allowed if any rule allows it. Of several, the decision names an
// enforce rule before an observe rule (observe is for what nothing else allows),
// then the most specific pattern (segment by segment: literal, one segment, the
// rest; "any" last), then the lowest index.
//
// A rule that asks for a person (Need) governs its place: where the most specific pattern that has this
// method and protocol asks for somebody else, no less specific one lets the request pass.
func (t *Table) Decide(peer PeerID, port int, r *canon.Request, c *Context) Decision {
	if t == nil || peer == 0 || int(peer) > len(t.pairs) || r == nil {
		return Decision{Reason: UnknownPeer, Rule: -1}
	}
	if peer < 0 {
		return Decision{Reason: NoRule, Rule: -1}
	}
	s := search{port: port, kind: kindOf(r.Protocol), observe: -1, enforce: -1, request: r, context: c}
	p := &t.pairs[peer-1]
	if s.kind != 0 {
		s.run(p, r)
	}
	return s.decision(p)
}

// pair holds the rights of one caller at one target.
type pair struct {
	root     *node // of the trie; nil: no rule of this pair has a path
	tcp, all []entry
}

// search is one decision under way. It lives on the stack.
type search struct {
	path    string
	method  string
	bit     methods
	kind    kind
	port    int
	enforce int32 // the best enforce rule so far, or -1: then the search ends
	observe int32 // the best observe rule so far, or -1
	// What was found instead, for the reason of a denial.
	otherMethod, otherProtocol bool
	unmet                      Reason // of the rule that governs, and asks for somebody else
	governs                    int32  // that rule
	request                    *canon.Request
	context                    *Context
}

func (s *search) run(p *pair, r *canon.Request) {
	s.method, s.bit = r.Method, methodBit(r.Method)
	switch {
	case s.kind == kindTCP:
		if s.try(p.tcp) {
			return
		}
	case p.root != nil && len(r.Path) > 0 && r.Path[0] == '/':
		s.path = r.Path
		if s.walk(p.root, 0) {
			return
		}
	}
	s.try(p.all)
}

// walk matches s.path from at, which is on a slash or at the end, below n.
// Children come in the order of specificity, so the first enforce rule ends the
// search: then walk returns true. A trie has one way to each node, so no node is
// visited twice however its wildcards overlap.
func (s *search) walk(n *node, at int) bool {
	if at >= len(s.path) {
		return n.leaf != nil && (s.try(n.leaf.end) || s.try(n.leaf.rest))
	}
	end := at + 1
	for end < len(s.path) && s.path[end] != '/' {
		end++
	}
	seg := s.path[at+1 : end]
	if to := n.literal(seg); to != nil && s.walk(to, end) {
		return true
	}
	if n.param != nil && seg != "" && s.walk(n.param, end) {
		return true
	}
	return n.leaf != nil && s.try(n.leaf.rest)
}

// try looks for the request among the entries of one place, which stand with
// enforce first and then by index. It reports whether the search is over.
func (s *search) try(entries []entry) bool {
	for i := range entries {
		e := &entries[i]
		switch {
		case e.kinds&s.kind == 0 || !e.hasPort(s.port):
			s.otherProtocol = true
		case s.kind == kindHTTP && !e.hasMethod(s.bit, s.method):
			s.otherMethod = true
		case e.observe:
			if s.observe < 0 {
				s.observe = e.rule
			}
		case e.need != nil && s.lacks(e):
		default:
			s.enforce = e.rule
			return true
		}
	}
	return s.unmet != ReasonNone
}

// lacks tells whether the person isn't the one that e asks for, and notes what a denial should say: what
// the person can mend, before what it can't.
func (s *search) lacks(e *entry) bool {
	why := e.need.unmet(s.request, s.context)
	if why == ReasonNone {
		return false
	}
	if s.unmet == ReasonNone || why < s.unmet {
		s.unmet, s.governs = why, e.rule
	}
	return true
}

func (s *search) decision(p *pair) Decision {
	switch {
	case s.enforce >= 0:
		return Decision{Allow: true, Reason: Allowed, Rule: s.enforce}
	case s.observe >= 0:
		return Decision{Allow: true, Reason: AllowedByObserve, Rule: s.observe}
	case s.unmet != ReasonNone:
		return Decision{Reason: s.unmet, Rule: s.governs}
	case s.otherMethod:
		return Decision{Reason: NoMethod, Rule: -1}
	case s.otherProtocol, s.kind == 0, s.kind == kindTCP, p.root == nil:
		return Decision{Reason: WrongProtocol, Rule: -1}
	default:
		return Decision{Reason: NoRoute, Rule: -1}
	}
}
