package vex

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// fixedLabel stands in Suppression.VEX where a statement says "fixed", which has no justification.
const fixedLabel = string(Fixed)

// skew is how far others' clocks may be ahead of ours.
const skew = 5 * time.Minute

// Apply sets Suppressed on the findings that the latest statement about them calls not_affected or fixed. A statement is about a finding if it
// names its ID or an alias, and its part: as the product itself, or as a part of one of products, which are the identifiers (package
// URLs or other IRIs) of what was scanned; a statement on one of products without parts is about all of it. What somebody else suppressed
// stays as it is. What is dated after now doesn't count: it would win over everything that is still to be said. The result is how many statements of each
// document that are.
func Apply(docs []Document, products []string, now time.Time, findings []finding.Finding) (early []int) {
	early = make([]int, len(docs))
	type dated struct {
		*Statement
		at     time.Time
		author string
	}
	byName := map[string][]dated{}
	for d := range docs {
		for i := range docs[d].Statements {
			s := &docs[d].Statements[i]
			at := s.Timestamp
			if at.IsZero() {
				at = docs[d].Timestamp
			}
			if at.After(now.Add(skew)) {
				early[d]++
				continue
			}
			for _, name := range s.Vulnerability.names() {
				byName[name] = append(byName[name], dated{s, at, docs[d].Author})
			}
		}
	}
	for i := range findings {
		f := &findings[i]
		if f.Package == nil {
			continue
		}
		var all []dated
		for _, name := range append([]string{f.ID}, f.Aliases...) {
			for _, s := range byName[strings.ToUpper(name)] {
				if s.about(f.Package, products) {
					all = append(all, s)
				}
			}
		}
		if len(all) == 0 || f.Suppressed != nil && f.Suppressed.By != "vex" {
			continue
		}
		// Of statements of the same time the one that lets the finding count wins.
		slices.SortStableFunc(all, func(a, b dated) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.counts(), b.counts())) })
		last := all[len(all)-1]
		f.Suppressed = last.suppression(last.author)
	}
	return early
}

// names are the vulnerability's identifiers, in capitals.
func (v *Vulnerability) names() []string {
	names := []string{strings.ToUpper(v.Name)}
	for _, a := range slices.Concat(v.Aliases, []string{v.ID[strings.LastIndexByte(v.ID, '/')+1:]}) {
		if a = strings.ToUpper(a); a != "" && !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	return names
}

func (s *Statement) counts() int {
	if s.Status == Affected || s.Status == UnderInvestigation {
		return 1
	}
	return 0
}

func (s *Statement) suppression(author string) *finding.Suppression {
	reason := cmp.Or(s.ImpactStatement, s.StatusNotes, strings.ReplaceAll(s.Justification, "_", " "))
	switch s.Status {
	case NotAffected:
		return &finding.Suppression{By: "vex", Reason: author + ": " + reason, VEX: s.Justification}
	case Fixed:
		return &finding.Suppression{By: "vex", Reason: strings.TrimSuffix(author+": fixed: "+reason, ": "), VEX: fixedLabel}
	}
	return nil
}

// about says whether a statement's products hold a part.
func (s *Statement) about(p *finding.Package, products []string) bool {
	for _, product := range s.Products {
		if len(product.Subcomponents) == 0 && product.is(p.PURL) {
			return true
		}
		if !slices.ContainsFunc(products, product.is) {
			continue
		}
		if len(product.Subcomponents) == 0 {
			return true
		}
		for _, c := range product.Subcomponents {
			if c.is(p.PURL) {
				return true
			}
		}
	}
	return false
}

// is says whether a component means what an identifier names. A package URL may leave out version and qualifiers, and then means any.
func (c *Component) is(name string) bool {
	if name == "" {
		return false
	}
	for _, id := range []string{c.ID, c.Identifiers["purl"]} {
		if id == name {
			return true
		}
		want, err := purl.Parse(id)
		if err != nil {
			continue
		}
		if got, err := purl.Parse(name); err == nil && covers(want, got) {
			return true
		}
	}
	return false
}

func covers(want, got purl.URL) bool {
	if want.Type != got.Type || want.Namespace != got.Namespace || want.Name != got.Name || want.Version != "" && want.Version != got.Version ||
		want.Subpath != "" && want.Subpath != got.Subpath {
		return false
	}
	for k, v := range want.Qualifiers {
		if got.Qualifiers[k] != v {
			return false
		}
	}
	return true
}

// From says what is known of findings on parts, for others to read: not_affected where a VEX reason suppresses one or its weak code isn't called,
// and affected, with why that is borne, where one is suppressed without such a reason. product is the identifier of what was scanned;
// without one each part speaks for itself. Findings that count and may be called aren't mentioned.
func From(findings []finding.Finding, product, author string, now time.Time) Document {
	d := Document{Context: contextURL, Author: author, Timestamp: now.UTC().Truncate(time.Second), Version: 1, Tooling: "ward", Statements: []Statement{}}
	for i := range findings {
		f := &findings[i]
		if f.Package == nil || f.Package.PURL == "" || f.ID == "" {
			continue
		}
		s := Statement{Vulnerability: Vulnerability{Name: f.ID, Aliases: f.Aliases}, Products: []Product{{Component: Component{ID: f.Package.PURL}}}}
		if product != "" {
			s.Products = []Product{{Component{ID: product}, []Component{{ID: f.Package.PURL}}}}
		}
		switch sup := f.Suppressed; {
		case sup == nil && f.Called == finding.NotCalled:
			s.Status, s.Justification, s.ImpactStatement = NotAffected, NotInExecutePath, "no call leads from the program to the affected functions"
		case sup == nil:
			continue
		case sup.VEX == fixedLabel:
			s.Status, s.StatusNotes = Fixed, sup.Reason
		case sup.VEX != "" || sup.By == "vex":
			s.Status, s.Justification, s.ImpactStatement = NotAffected, sup.VEX, sup.Reason
		default:
			s.Status, s.ActionStatement = Affected, fmt.Sprintf("accepted (%s): %s", sup.By, sup.Reason)
			if !sup.Until.IsZero() {
				s.ActionStatement += ", until " + sup.Until.UTC().Format(time.DateOnly)
			}
		}
		if s.check() == nil { // a label from elsewhere may be none of OpenVEX's
			d.Statements = append(d.Statements, s)
		}
	}
	key := func(s Statement) string {
		b, _ := json.Marshal(s)
		return s.Vulnerability.Name + "\x00" + string(b)
	}
	slices.SortFunc(d.Statements, func(a, b Statement) int { return cmp.Compare(key(a), key(b)) })
	d.Statements = slices.CompactFunc(d.Statements, func(a, b Statement) bool { return key(a) == key(b) })
	b, _ := json.Marshal(d)
	sum := sha256.Sum256(b)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // version 8 of RFC 9562: a digest
	d.ID = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	return d
}
