package policy

import (
	"slices"

	"github.com/wardhq/ward/internal/base/canon"
)

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
	nodes []node          // the tries of all pairs
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
func (t *Table) Decide(peer PeerID, port int, r *canon.Request) Decision {
	if t == nil || peer == 0 || int(peer) > len(t.pairs) || r == nil {
		return Decision{Reason: UnknownPeer, Rule: -1}
	}
	if peer < 0 {
		return Decision{Reason: NoRule, Rule: -1}
	}
	s := search{nodes: t.nodes, port: port, kind: kindOf(r.Protocol), observe: -1, enforce: -1}
	p := &t.pairs[peer-1]
	if s.kind != 0 {
		s.run(p, r)
	}
	return s.decision(p)
}

// kind is a set of request protocols.
type kind uint8

const (
	kindHTTP kind = 1 << iota
	kindWS
	kindGRPC
	kindTCP
)

func kindOf(p canon.Protocol) kind {
	switch p {
	case canon.HTTP:
		return kindHTTP
	case canon.WebSocket:
		return kindWS
	case canon.GRPC:
		return kindGRPC
	case canon.TCP:
		return kindTCP
	default:
		return 0
	}
}

// methods is a set of HTTP methods; the bit anyMethod stands for all.
type methods uint16

const anyMethod methods = 1 << 15

// methodBit is 0 for a method that has no bit of its own.
func methodBit(m string) methods {
	switch m {
	case "GET":
		return 1 << 0
	case "HEAD":
		return 1 << 1
	case "POST":
		return 1 << 2
	case "PUT":
		return 1 << 3
	case "PATCH":
		return 1 << 4
	case "DELETE":
		return 1 << 5
	case "OPTIONS":
		return 1 << 6
	case "CONNECT":
		return 1 << 7
	case "TRACE":
		return 1 << 8
	default:
		return 0
	}
}

// entry is what one rule says at its place in a pair.
type entry struct {
	rule    int32
	port    int32 // the first port
	kinds   kind
	observe bool
	methods methods  // for kindHTTP
	custom  []string // methods without a bit
	ports   []int    // the ports after the first, ascending
}

func (e *entry) hasPort(port int) bool {
	if int(e.port) == port {
		return true
	}
	if len(e.ports) == 0 {
		return false
	}
	_, ok := slices.BinarySearch(e.ports, port)
	return ok
}

func (e *entry) hasMethod(bit methods, method string) bool {
	if e.methods&(bit|anyMethod) != 0 {
		return true
	}
	return bit == 0 && slices.Contains(e.custom, method)
}

// pair holds the rights of one caller at one target.
type pair struct {
	root     int32 // of the trie; -1: no rule of this pair has a path
	tcp, all []entry
}

// node is one prefix of path patterns. A trie belongs to one pair, so the
// rules of a neighbour cost nothing and can't be hit by mistake.
type node struct {
	lits  []edge           // literal children, up to indexAt
	index map[string]int32 // all literal children, when there are more
	param int32            // child for one non-empty segment, or -1
	end   []entry          // the pattern ends here
	tail  []entry          // the pattern ends here with "**"
}

type edge struct {
	seg string
	to  int32
}

// indexAt is where comparing one by one stops to be faster than a map.
const indexAt = 8

func (n *node) literal(seg string) int32 {
	if n.index != nil {
		if to, ok := n.index[seg]; ok {
			return to
		}
		return -1
	}
	for i := range n.lits {
		if n.lits[i].seg == seg {
			return n.lits[i].to
		}
	}
	return -1
}

// search is one decision under way. It lives on the stack.
type search struct {
	nodes   []node
	path    string
	method  string
	bit     methods
	kind    kind
	port    int
	enforce int32 // the best enforce rule so far, or -1: then the search ends
	observe int32 // the best observe rule so far, or -1
	// What was found instead, for the reason of a denial.
	otherMethod, otherProtocol bool
}

func (s *search) run(p *pair, r *canon.Request) {
	s.method, s.bit = r.Method, methodBit(r.Method)
	switch {
	case s.kind == kindTCP:
		if s.try(p.tcp) {
			return
		}
	case p.root >= 0 && len(r.Path) > 0 && r.Path[0] == '/':
		s.path = r.Path
		if s.walk(p.root, 0) {
			return
		}
	}
	s.try(p.all)
}

// walk matches s.path from at, which is on a slash or at the end, below the node
// n. Children come in the order of specificity, so the first enforce rule ends
// the search: then walk returns true. A trie has one way to each node, so no
// node is visited twice however its wildcards overlap.
func (s *search) walk(n int32, at int) bool {
	x := &s.nodes[n]
	if at >= len(s.path) {
		return s.try(x.end) || s.try(x.tail)
	}
	end := at + 1
	for end < len(s.path) && s.path[end] != '/' {
		end++
	}
	seg := s.path[at+1 : end]
	if to := x.literal(seg); to >= 0 && s.walk(to, end) {
		return true
	}
	if x.param >= 0 && seg != "" && s.walk(x.param, end) {
		return true
	}
	return s.try(x.tail)
}

// try looks for the request among the entries of one place, which stand with
// enforce first and then by index.
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
		default:
			s.enforce = e.rule
			return true
		}
	}
	return false
}

func (s *search) decision(p *pair) Decision {
	switch {
	case s.enforce >= 0:
		return Decision{Allow: true, Reason: Allowed, Rule: s.enforce}
	case s.observe >= 0:
		return Decision{Allow: true, Reason: AllowedByObserve, Rule: s.observe}
	case s.otherMethod:
		return Decision{Reason: NoMethod, Rule: -1}
	case s.otherProtocol, s.kind == 0, s.kind == kindTCP, p.root < 0:
		return Decision{Reason: WrongProtocol, Rule: -1}
	default:
		return Decision{Reason: NoRoute, Rule: -1}
	}
}
