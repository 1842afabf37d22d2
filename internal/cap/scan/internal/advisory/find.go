package advisory

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/order"
	"github.com/wardhq/ward/internal/finding"
)

// Find is what the index knows of a package: a finding per weakness, with the advisories that are aliases of one another as one. What can't be
// decided, because a version isn't known or can't be ordered, is a finding that says so in Unsure. A NoDataError comes with whatever malicious
// packages are known all the same.
func (d *DB) Find(p finding.Package) ([]finding.Finding, error) {
	d.state.RLock()
	defer d.state.RUnlock()
	if d.file == nil {
		return nil, errClosed
	}
	ecosystem, release := order.Split(p.Ecosystem)
	q := query{ecosystem: ecosystem, release: release, name: p.Name, version: p.Version}
	if p.Source != "" && order.BySource(ecosystem) {
		q.name, q.version = p.Source, cmp.Or(p.SourceVersion, p.Version)
	}
	if ecosystem == "Go" && (p.Name == "stdlib" || p.Name == "toolchain") {
		q.version = order.GoVersion(p.Version)
	}
	matches, err := d.match(q)
	if err == nil && p.Source != "" && p.Source != q.name { // other distributions name the one or the other
		q.name, q.version = p.Source, cmp.Or(p.SourceVersion, p.Version)
		var more []match
		more, err = d.match(q)
		matches = append(matches, more...)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s %s: %w", p.Ecosystem, p.Name, damaged(err))
	}
	out := make([]finding.Finding, 0, len(matches))
	for _, group := range aliased(matches) {
		out = append(out, report(ecosystem, &p, group))
	}
	slices.SortFunc(out, func(a, b finding.Finding) int { return cmp.Compare(a.ID, b.ID) })
	if held := canonical(p.Ecosystem); !d.held[held] {
		return out, NoDataError{held}
	}
	return out, nil
}

type query struct{ ecosystem, release, name, version string }

// match is an advisory that affects a package, or may.
type match struct {
	record
	unsure  string
	fixed   []string
	symbols []string
	span    cursor // of the affected entry, from how its versions are given
}

var errBroken = errors.New("a record ends too early")

// firstOf is the number of the first key whose hash isn't below want. Hashes are spread evenly, so that it stands near where its share of all of them
// says: from there steps that double lead around it, and halves to it, in one or two blocks of the file instead of many.
func (d *DB) firstOf(want uint64) (uint64, error) {
	below := func(i uint64) (bool, error) {
		row, err := d.file.Bytes(sectionKeys, i*keySize, keySize)
		return err == nil && binary.BigEndian.Uint64(row) < want, err
	}
	at, _ := bits.Mul64(want, d.keys)
	low, high := uint64(0), d.keys
	for step := uint64(8); low < high; {
		less, err := below(at)
		switch {
		case err != nil:
			return 0, err
		case less:
			low = at + 1
		default:
			high = at
		}
		switch {
		case step == 0:
			at = low + (high-low)/2
		case less && high == d.keys && at+step < d.keys:
			at, step = at+step, 2*step
		case !less && low == 0 && at > step:
			at, step = at-step, 2*step
		default:
			at, step = low+(high-low)/2, 0
		}
	}
	return low, nil
}

// group is what the index holds of a package, without its key; nil if nothing.
func (d *DB) group(key []byte) ([]byte, error) {
	want := hashKey(key)
	low, err := d.firstOf(want)
	if err != nil {
		return nil, err
	}
	for ; low < d.keys; low++ {
		row, err := d.file.Bytes(sectionKeys, low*keySize, keySize)
		if err != nil || binary.BigEndian.Uint64(row) != want {
			return nil, err
		}
		off := uint64(binary.BigEndian.Uint32(row[8:]))
		head, err := d.file.Bytes(sectionGroups, off, 4)
		if err != nil {
			return nil, err
		}
		body, err := d.file.Bytes(sectionGroups, off+4, uint64(binary.BigEndian.Uint32(head)))
		if err != nil {
			return nil, err
		}
		c := cursor{b: body}
		if bytes.Equal(c.bytes(), key) {
			return c.b, nil
		}
	}
	return nil, nil
}

// record reads an advisory. The length stands before it; no record is so short that its length and what follows aren't there.
func (d *DB) record(off uint64) (record, error) {
	head, err := d.file.Bytes(sectionAdvisories, off, min(binary.MaxVarintLen64, d.file.Len(sectionAdvisories)-min(off, d.file.Len(sectionAdvisories))))
	if err != nil {
		return record{}, err
	}
	n, size := binary.Uvarint(head)
	if size <= 0 {
		return record{}, errBroken
	}
	b, err := d.file.Bytes(sectionAdvisories, off+uint64(size), n)
	if err != nil {
		return record{}, err
	}
	r, ok := decodeRecord(b)
	if !ok {
		return record{}, errBroken
	}
	return r, nil
}

func (d *DB) match(q query) ([]match, error) {
	var key [128]byte
	body, err := d.group(appendKey(key[:0], q.ecosystem, q.name))
	if body == nil || err != nil {
		return nil, err
	}
	t := target{ecosystem: q.ecosystem, text: q.version}
	t.version, t.err = order.Parse(q.ecosystem, q.version)
	c := cursor{b: body}
	var out []match
	for n := c.count(); n > 0 && !c.bad; n-- {
		off, release := c.uint(), c.bytes()
		covers := order.Covers(string(release), q.release)
		span := c
		v := t.judge(&c)
		symbols := c
		c.skipStrings()
		if q.release == "" && len(release) > 0 {
			covers = true
			if v.affected && v.unsure == "" {
				v.unsure = fmt.Sprintf("the advisory is for %s, and the package's release isn't known", release)
			}
		}
		if !covers || !v.affected {
			continue
		}
		r, err := d.record(off)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make([]match, 0, min(n, 8))
		}
		out = append(out, match{record: r, unsure: v.unsure, fixed: v.fixed, symbols: symbols.strings(), span: span})
	}
	if c.bad {
		return nil, errBroken
	}
	return out, nil
}

// target is the version that is judged.
type target struct {
	ecosystem, text string
	version         order.Version
	err             error // why it can't be ordered
}

// verdict says whether a version is affected, with unsure where that is only possible.
type verdict struct {
	affected bool
	unsure   string
	fixed    []string // above the version, as the events name them
	doubt    string   // why a range couldn't be judged
}

// judge reads an affected entry's versions, and leaves the cursor behind them (https://ossf.github.io/osv-schema/#evaluation).
func (t *target) judge(c *cursor) (v verdict) {
	how := c.byte()
	ranges := c.count()
	for range ranges {
		t.judgeRange(c, &v)
	}
	listed := c.count()
	exact := false
	for range listed {
		s := c.bytes()
		exact = exact || string(s) == t.text
		if ranges == 0 && !exact && t.err == nil { // "1.0" may be listed as "1.0.0"
			n, err := t.version.CompareText(s)
			exact = err == nil && n == 0
		}
	}
	switch {
	case exact:
		v.affected = true
	case v.affected:
	case t.err != nil:
		v.affected, v.unsure = true, t.err.Error()
	case v.doubt != "":
		v.affected, v.unsure = true, v.doubt
	case how == unordered:
		v.affected, v.unsure = true, "the advisory has a version that can't be ordered"
	case how == byCommit:
		v.affected, v.unsure = true, "the advisory names commits, not versions"
	case how == nowhere:
		v.affected, v.unsure = true, "the advisory names no versions"
	}
	return v
}

func (t *target) judgeRange(c *cursor, v *verdict) {
	inside := false
	for n := c.count(); n > 0; n-- {
		kind, at := c.byte(), c.bytes()
		after := 1 // where the version stands, seen from the event
		switch {
		case t.err != nil:
			after = -1
		case kind == introduced && string(at) == "0":
		default:
			var err error
			if after, err = t.version.CompareText(at); err != nil {
				v.doubt, after = fmt.Sprintf("the version %.60q can't be ordered beside %.60q", t.text, at), -1
			}
		}
		switch kind {
		case introduced:
			inside = inside || after >= 0
		case fixed:
			if after < 0 {
				v.fixed = append(v.fixed, string(at))
			}
			inside = inside && after < 0
		case limit:
			inside = inside && after < 0
		case lastAffected:
			inside = inside && after <= 0
		}
	}
	v.affected = v.affected || inside && t.err == nil
}

func (c *cursor) skipStrings() {
	for n := c.count(); n > 0; n-- {
		c.bytes()
	}
}

// aliased groups matches that speak of the same weakness.
func aliased(matches []match) [][]match {
	if len(matches) < 2 {
		if len(matches) == 0 {
			return nil
		}
		return [][]match{matches}
	}
	parent := make([]int, len(matches))
	var root func(int) int
	root = func(i int) int {
		if parent[i] != i {
			parent[i] = root(parent[i])
		}
		return parent[i]
	}
	first := map[string]int{}
	for i, m := range matches {
		parent[i] = i
		for _, id := range append([]string{m.id}, m.aliases...) {
			if j, ok := first[id]; ok {
				parent[root(i)] = root(j)
			} else {
				first[id] = i
			}
		}
	}
	at := map[int]int{}
	var out [][]match
	for i, m := range matches {
		r := root(i)
		if _, ok := at[r]; !ok {
			at[r] = len(out)
			out = append(out, nil)
		}
		out[at[r]] = append(out[at[r]], m)
	}
	return out
}

// rank orders the names of one weakness: what says most of it first, CVE numbers after the databases' own.
func rank(id string) int {
	for i, prefix := range [...]string{"MAL-", "GO-", "RUSTSEC-", "GHSA-", "PYSEC-"} {
		if strings.HasPrefix(id, prefix) {
			return i
		}
	}
	if strings.HasPrefix(id, "CVE-") {
		return 20
	}
	return 10
}

// report makes one finding of the advisories of one weakness. It is unsure only if none of them is sure.
func report(ecosystem string, p *finding.Package, group []match) finding.Finding {
	slices.SortStableFunc(group, func(a, b match) int { return cmp.Or(rank(a.id)-rank(b.id), cmp.Compare(a.id, b.id)) })
	best := &group[0]
	f := finding.Finding{
		ID: best.id, Kind: finding.Dependency, Tool: "ward", Title: best.title, URL: page(best.id), Package: p, Location: p.Location, Unsure: best.unsure,
	}
	aliases, fixes := best.aliases, best.fixed
	f.Symbols = best.symbols
	for i := range group {
		m := &group[i]
		if i > 0 {
			aliases = append(append(aliases, m.id), m.aliases...)
			fixes = append(fixes, m.fixed...)
			f.Symbols = append(f.Symbols, m.symbols...)
		}
		f.Title = cmp.Or(f.Title, m.title)
		f.Severity = max(f.Severity, m.severity)
		if m.score > f.Score {
			f.Score, f.Vector = m.score, m.vector
		}
		f.EPSS = max(f.EPSS, m.epss)
		f.KEV = f.KEV || m.exploited
		if m.malicious {
			f.Kind = finding.Malicious
		}
		if m.unsure == "" {
			f.Unsure = ""
		}
	}
	f.Title = cmp.Or(f.Title, f.ID)
	f.Aliases = distinct(aliases, f.ID)
	f.Symbols = distinct(f.Symbols, "")
	f.Fixed = mends(ecosystem, fixes, group)
	return f
}

func distinct(list []string, without string) []string {
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	list = slices.DeleteFunc(slices.Compact(list), func(s string) bool { return s == without })
	if len(list) == 0 {
		return nil
	}
	return slices.Clip(list)
}

// mends are those of the candidates that no advisory of the group affects, lowest first.
func mends(ecosystem string, candidates []string, group []match) []string {
	if len(candidates) == 0 {
		return nil
	}
	candidates = order.Sort(ecosystem, candidates)
	out := candidates[:0]
	for _, s := range candidates {
		t := target{ecosystem: ecosystem, text: s}
		t.version, t.err = order.Parse(ecosystem, s)
		affected := false
		for i := range group {
			span := group[i].span
			v := t.judge(&span)
			affected = affected || v.affected && v.unsure == ""
		}
		if !affected {
			out = append(out, s)
		}
	}
	return out
}

// page is where people read an advisory.
func page(id string) string {
	switch {
	case strings.HasPrefix(id, "GO-"):
		return "https://pkg.go.dev/vuln/" + id
	case strings.HasPrefix(id, "GHSA-"):
		return "https://github.com/advisories/" + id
	}
	return "https://osv.dev/vulnerability/" + id
}

// Clean returns the lowest of the versions that mend any of the findings on p, and in which none is left; "" if there is none. It asks Find
// for each, so that versions of several branches are judged as they are.
func (d *DB) Clean(p finding.Package, found []finding.Finding) (string, error) {
	name, _ := order.Split(p.Ecosystem)
	var all []string
	for i := range found {
		all = append(all, found[i].Fixed...)
	}
	slices.Sort(all)
	for _, v := range order.Sort(name, slices.Compact(all)) {
		next := p
		next.Version = v
		if order.BySource(name) {
			next.SourceVersion = v
		}
		left, err := d.Find(next)
		if err != nil {
			return "", err
		}
		if len(left) == 0 {
			return v, nil
		}
	}
	return "", nil
}
