package policy

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/canon"
)

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
	methods methods // for kindHTTP
	more    *more   // nil for most
	need    *need   // nil for a right that asks for nobody
}

// more is what few rules have.
type more struct {
	ports   []int    // the ports after the first, ascending
	methods []string // methods without a bit
}

func (e *entry) hasPort(port int) bool {
	if int(e.port) == port {
		return true
	}
	if e.more == nil {
		return false
	}
	_, ok := slices.BinarySearch(e.more.ports, port)
	return ok
}

func (e *entry) hasMethod(bit methods, method string) bool {
	if e.methods&(bit|anyMethod) != 0 {
		return true
	}
	return bit == 0 && e.more != nil && slices.Contains(e.more.methods, method)
}

// says tells whether two entries differ in nothing but the rule.
func (e *entry) says(o *entry) bool {
	if e.need != nil || o.need != nil {
		return false
	}
	if e.observe != o.observe || e.kinds != o.kinds || e.methods != o.methods || e.port != o.port {
		return false
	}
	if e.more == nil || o.more == nil {
		return e.more == o.more
	}
	return slices.Equal(e.more.ports, o.more.ports) && slices.Equal(e.more.methods, o.more.methods)
}

// addEntry drops an entry that says no more than one before it, so that a rule
// written a thousand times costs no more than once.
func addEntry(entries []entry, e entry) []entry {
	for i := range entries {
		if entries[i].says(&e) {
			return entries
		}
	}
	return append(entries, e)
}

// node is one prefix of path patterns. A trie belongs to one pair, so the
// rules of a neighbour cost nothing and can't be hit by mistake.
type node struct {
	seg   string // the first literal child, if lit isn't nil
	lit   *node
	lits  *literals // the others
	param *node     // child for one non-empty segment
	leaf  *leaf
}

// leaf holds what ends at a node.
type leaf struct {
	end  []entry // the pattern ends here
	rest []entry // the pattern ends here with "**"
}

// literals are the literal children after the first.
type literals struct {
	few  []edge
	hash []edge // instead of few, when there are many: see slot
	used int    // entries of hash
}

type edge struct {
	seg string
	to  *node
}

// manyLiterals is where comparing one by one stops to be faster than hashing.
const manyLiterals = 8

func (n *node) literal(seg string) *node {
	if n.lit != nil && n.seg == seg {
		return n.lit
	}
	if n.lits == nil {
		return nil
	}
	if n.lits.hash != nil {
		return n.lits.hash[n.lits.slot(seg)].to
	}
	for i := range n.lits.few {
		if n.lits.few[i].seg == seg {
			return n.lits.few[i].to
		}
	}
	return nil
}

// arena hands out nodes in blocks.
type arena struct{ free []node }

func (a *arena) node() *node {
	if len(a.free) == 0 {
		a.free = make([]node, 128)
	}
	n := &a.free[0]
	a.free = a.free[1:]
	return n
}

// insert puts e at the place of pattern below root.
func (a *arena) insert(root *node, pattern string, e entry) error {
	if pattern == "" || pattern[0] != '/' {
		return fmt.Errorf("pattern %q doesn't start with a slash", pattern)
	}
	at, rest, more := root, pattern[1:], true
	for more {
		var seg string
		seg, rest, more = strings.Cut(rest, "/")
		switch {
		case seg == "**" && !more:
			l := at.ends()
			l.rest = addEntry(l.rest, e)
			return nil
		case isWildcard(seg):
			if at.param == nil {
				at.param = a.node()
			}
			at = at.param
		case strings.ContainsAny(seg, "*{}"):
			return fmt.Errorf("pattern %q: segment %q is neither a literal nor a wildcard", pattern, seg)
		case seg == "" && more:
			return fmt.Errorf("pattern %q has an empty segment", pattern)
		default:
			at = a.child(at, seg)
		}
	}
	l := at.ends()
	l.end = addEntry(l.end, e)
	return nil
}

func isWildcard(seg string) bool {
	return seg == "*" || len(seg) > 2 && seg[0] == '{' && strings.IndexByte(seg, '}') == len(seg)-1
}

func (n *node) ends() *leaf {
	if n.leaf == nil {
		n.leaf = &leaf{}
	}
	return n.leaf
}

// child returns the literal child of n, made if missing.
func (a *arena) child(n *node, seg string) *node {
	if to := n.literal(seg); to != nil {
		return to
	}
	to := a.node()
	switch {
	case n.lit == nil:
		n.seg, n.lit = seg, to
		return to
	case n.lits == nil:
		n.lits = &literals{}
	}
	l := n.lits
	if l.hash == nil && len(l.few) < manyLiterals {
		l.few = append(l.few, edge{seg, to})
		return to
	}
	if 2*l.used >= len(l.hash) {
		l.grow()
	}
	l.hash[l.slot(seg)] = edge{seg, to}
	l.used++
	return to
}

// grow moves the entries to a table of twice the length.
func (l *literals) grow() {
	old := append(l.hash, l.few...)
	l.few, l.hash = nil, make([]edge, max(8*manyLiterals, 2*len(l.hash)))
	l.used = 0
	for _, e := range old {
		if e.to != nil {
			l.hash[l.slot(e.seg)] = e
			l.used++
		}
	}
}

// slot is where seg stands, or the free place where it would: open addressing
// in a table of a power of two, at most half full. It isn't a map, because at
// 10,000 rules of one pair a decision takes 74 ns with it and took 110 to 160. Only the
// model puts entries in, so a hostile segment can at worst walk the longest run
// that the model's own names make.
func (l *literals) slot(seg string) int {
	mask := len(l.hash) - 1
	i := int(hash(seg)) & mask
	for l.hash[i].to != nil && l.hash[i].seg != seg {
		i = (i + 1) & mask
	}
	return i
}

// hash mixes eight bytes a step by a multiplication of 64 to 128 bits.
func hash(s string) uint64 {
	const k = 0x9e3779b97f4a7c15
	h := uint64(len(s)) ^ k
	for len(s) >= 8 {
		hi, lo := bits.Mul64(h^uint64(s[0])^uint64(s[1])<<8^uint64(s[2])<<16^uint64(s[3])<<24^
			uint64(s[4])<<32^uint64(s[5])<<40^uint64(s[6])<<48^uint64(s[7])<<56, k)
		h = hi ^ lo
		s = s[8:]
	}
	var tail uint64
	for i := range len(s) {
		tail = tail<<8 | uint64(s[i])
	}
	hi, lo := bits.Mul64(h^tail, k)
	return hi ^ lo
}
