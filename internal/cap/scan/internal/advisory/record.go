package advisory

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/order"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/osv"
	"github.com/wardhq/ward/internal/finding"
)

// The index's sections.
const (
	sectionInfo       = iota // Info as JSON
	sectionKeys              // per package 12 bytes, sorted: hash of its key, offset of its group
	sectionGroups            // per package: length, key, and per affected entry what affectedRecord holds
	sectionAdvisories        // what record holds
	sectionGo                // per Go entry: id, length, its original JSON compressed
)

const keySize = 8 + 4

// appendKey appends what names a package in the index.
func appendKey(b []byte, ecosystem, name string) []byte {
	return append(append(append(b, ecosystem...), 0), order.Name(ecosystem, name)...)
}

// hashKey is 64-bit FNV-1a with the finaliser of MurmurHash3, so that keys spread evenly. Equal hashes only cost time: groups hold the key itself.
func hashKey[T string | []byte](key T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// record is an advisory, without what it affects.
type record struct {
	id        string
	aliases   []string
	title     string
	severity  finding.Severity
	score     float64
	vector    string
	epss      float64
	exploited bool
	malicious bool
}

func (r *record) encode() []byte {
	var flags byte
	if r.exploited {
		flags |= 1
	}
	if r.malicious {
		flags |= 2
	}
	b := append(make([]byte, 0, 256), flags, byte(r.severity), byte(math.Round(r.score*10)))
	b = binary.BigEndian.AppendUint32(b, math.Float32bits(float32(r.epss)))
	b = appendString(b, r.id)
	b = appendStrings(b, r.aliases)
	b = appendString(b, r.title)
	return appendString(b, r.vector)
}

func decodeRecord(b []byte) (record, bool) {
	c := cursor{b: b, text: string(b)}
	flags := c.byte()
	r := record{exploited: flags&1 != 0, malicious: flags&2 != 0, severity: finding.Severity(c.byte()), score: float64(c.byte()) / 10}
	if e := c.take(4); e != nil {
		r.epss = math.Round(float64(math.Float32frombits(binary.BigEndian.Uint32(e)))*1e5) / 1e5 // as FIRST prints it
	}
	r.id, r.aliases, r.title, r.vector = c.string(), c.strings(), c.string(), c.string()
	return r, !c.bad && len(c.b) == 0
}

// How the versions of an affected entry are given.
const (
	plainly   = iota
	unordered // a range has a bound that can't be ordered
	byCommit  // only commits are named
	nowhere   // nothing is named
)

// The kinds of events.
const (
	lastAffected = iota
	fixed
	limit
	introduced
)

type event struct {
	kind    byte
	version string
}

// appendAffected is what the index holds of an affected entry, behind its advisory's offset: release, how versions are given, ranges with
// sorted events, versions, symbols.
func appendAffected(b []byte, a *osv.Affected) []byte {
	ecosystem, release := order.Split(a.Package.Ecosystem)
	how, commits := byte(plainly), false
	var ranges [][]event
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			commits = true
			continue
		}
		events, ok := sortEvents(ecosystem, r.Events)
		if !ok {
			how = unordered
			continue
		}
		ranges = append(ranges, events)
	}
	if how == plainly && len(ranges) == 0 && len(a.Versions) == 0 {
		if how = nowhere; commits {
			how = byCommit
		}
	}
	b = append(appendString(b, release), how)
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	for _, events := range ranges {
		b = binary.AppendUvarint(b, uint64(len(events)))
		for _, e := range events {
			b = appendString(append(b, e.kind), e.version)
		}
	}
	b = appendStrings(b, a.Versions)
	return appendStrings(b, a.Ecosystem.Symbols)
}

// sortEvents brings a range's events into the order in which versions pass them; false if that can't be told.
func sortEvents(ecosystem string, events []osv.Event) ([]event, bool) {
	type placed struct {
		event
		v      order.Version
		lowest bool
	}
	var all []placed
	for _, e := range events {
		for kind, version := range [...]string{lastAffected: e.LastAffected, fixed: e.Fixed, limit: e.Limit, introduced: e.Introduced} {
			if version == "" || kind == limit && version == "*" {
				continue
			}
			p := placed{event: event{byte(kind), version}, lowest: kind == introduced && version == "0"}
			if !p.lowest {
				v, err := order.Parse(ecosystem, version)
				if err != nil {
					return nil, false
				}
				p.v = v
			}
			all = append(all, p)
		}
	}
	ok := len(all) > 0
	slices.SortStableFunc(all, func(a, b placed) int {
		switch {
		case a.lowest || b.lowest:
			if a.lowest && b.lowest {
				return 0
			} else if a.lowest {
				return -1
			}
			return 1
		}
		c, err := a.v.Compare(b.v)
		ok = ok && err == nil
		return c // events at one version stay as the advisory has them: what is introduced and fixed there was never
	})
	out := make([]event, len(all))
	for i, p := range all {
		out[i] = p.event
	}
	return out, ok
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// cursor reads what the functions above wrote. Past a mistake it gives zeros, and bad is set.
type cursor struct {
	b    []byte
	text string // a copy of all bytes of which strings are parts; without it each is a copy of its own
	bad  bool
}

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint() uint64 {
	n, size := binary.Uvarint(c.b)
	if c.bad || size <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[size:]
	return n
}

// count is the number of things that follow, of at least one byte each.
func (c *cursor) count() int {
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return 0
	}
	return int(n)
}

func (c *cursor) bytes() []byte { return c.take(c.uint()) }

func (c *cursor) string() string {
	b := c.bytes()
	if c.text == "" || c.bad {
		return string(b)
	}
	end := len(c.text) - len(c.b)
	return c.text[end-len(b) : end]
}

func (c *cursor) strings() []string {
	n := c.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = c.string()
	}
	return out
}

// title is one line that says what an advisory is about.
func title(e *osv.Entry) string {
	for _, text := range [...]string{e.Summary, e.Details} {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#"))
			if line == "" {
				continue
			}
			if cut := []rune(line); len(cut) > 160 {
				line = string(cut[:159]) + "…"
			}
			return line
		}
	}
	return ""
}
