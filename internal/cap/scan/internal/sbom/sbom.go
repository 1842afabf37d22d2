// Package sbom writes and reads bills of materials: CycloneDX 1.6 and SPDX 2.3, both as JSON.
//
// Guarantee: what is written is valid against the standard's own schema, and the same document gives the same bytes; what is read is bounded
// in size, and a document of another kind is an error. Not guaranteed: that a bill written by others names everything; of one, only
// parts, their places, licences and edges are taken.
package sbom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/finding"
)

// Format is a standard.
type Format string

// The formats that can be written; of each, newer and older minor versions can be read.
const (
	CycloneDX Format = "cyclonedx" // 1.6
	SPDX      Format = "spdx"      // 2.3
)

// Document is a bill of materials.
type Document struct {
	Name, Version string // of what is described; Name may not be empty when written
	Tool          string // who wrote it: "ward 1.2.3"
	// Serial makes this document different from all others: a UUID (RFC 9562).
	Serial   string
	Created  time.Time // to the second
	Packages []finding.Package
	// Findings on Packages are written to CycloneDX as its vulnerabilities, suppressed ones with their analysis. They aren't read.
	Findings []finding.Finding
}

const maxDocument = 256 << 20

// Write writes a document. Parts that stand at several places are one component.
func Write(w io.Writer, format Format, d Document) error {
	if d.Name == "" || len(d.Serial) != 36 {
		return errors.New("write bill of materials: it needs a name and a UUID for a serial")
	}
	var tree any
	switch format {
	case CycloneDX:
		tree = cyclonedxOf(d)
	case SPDX:
		tree = spdxOf(d)
	default:
		return fmt.Errorf("write bill of materials: %q is neither cyclonedx nor spdx", format)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	return nil
}

// Read reads a document of at most 256 MiB. Parts that no package URL names have Ecosystem "", so nothing can be said of them.
func Read(r io.Reader) (Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return Document{}, fmt.Errorf("read bill of materials: %w", err)
	}
	if len(data) > maxDocument {
		return Document{}, fmt.Errorf("read bill of materials: larger than %d bytes", maxDocument)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var kind struct {
		BOMFormat   string `json:"bomFormat"`
		SpecVersion string `json:"specVersion"`
		SPDXVersion string `json:"spdxVersion"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return Document{}, fmt.Errorf("read bill of materials: %w", err)
	}
	var d Document
	switch {
	case kind.BOMFormat == "CycloneDX" && strings.HasPrefix(kind.SpecVersion, "1."):
		d, err = readCycloneDX(data)
	case strings.HasPrefix(kind.SPDXVersion, "SPDX-2."):
		d, err = readSPDX(data)
	default:
		err = errors.New("neither CycloneDX 1 nor SPDX 2, as JSON")
	}
	if err != nil {
		return Document{}, fmt.Errorf("read bill of materials: %w", err)
	}
	return d, nil
}

// component is a part with all the places where it stands.
type component struct {
	finding.Package
	ref    string
	places []finding.Location
}

// components joins parts that are the same, in the order of their references; edges go from reference to references. A name that a part
// requires means every version of it that the same file names: lock files keep more than one, and say which by their folders only.
func components(packages []finding.Package) (all []*component, edges map[string][]string) {
	byRef := map[string]*component{}
	named := map[[3]string][]string{}
	for _, p := range packages {
		ref := reference(p)
		c := byRef[ref]
		if c == nil {
			c = &component{Package: p, ref: ref}
			c.Requires = nil
			byRef[ref] = c
			all = append(all, c)
		}
		c.Direct, c.Dev = c.Direct || p.Direct, c.Dev && p.Dev
		c.places = append(c.places, p.Location)
		key := [3]string{p.Location.Path, p.Ecosystem, p.Name}
		if !slices.Contains(named[key], ref) {
			named[key] = append(named[key], ref)
		}
	}
	edges = map[string][]string{}
	for _, p := range packages {
		from := reference(p)
		for _, name := range p.Requires {
			for _, to := range named[[3]string{p.Location.Path, p.Ecosystem, name}] {
				if to != from {
					edges[from] = append(edges[from], to)
				}
			}
		}
	}
	for from, to := range edges {
		slices.Sort(to)
		edges[from] = slices.Compact(to)
	}
	slices.SortFunc(all, func(a, b *component) int { return cmp.Compare(a.ref, b.ref) })
	for _, c := range all {
		slices.SortFunc(c.places, func(a, b finding.Location) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
		})
		c.places = slices.Compact(c.places)
	}
	return all, edges
}

// reference names a part within a document.
func reference(p finding.Package) string {
	if p.PURL != "" {
		return p.PURL
	}
	return p.Ecosystem + ":" + p.Name + "@" + p.Version
}

// link sets Requires and Direct of parts that were read, from edges between references; root is what is described.
func link(packages []finding.Package, refs map[string]int, edges map[string][]string, root string) {
	for from, tos := range edges {
		for _, to := range tos {
			i, ok := refs[to]
			if !ok {
				continue
			}
			if from == root {
				packages[i].Direct = true
			} else if j, ok := refs[from]; ok && i != j {
				packages[j].Requires = append(packages[j].Requires, packages[i].Name)
			}
		}
	}
	for i := range packages {
		slices.Sort(packages[i].Requires)
		packages[i].Requires = slices.Compact(packages[i].Requires)
	}
}

// licenses sorts a part's licences into identifiers and expressions of SPDX's list, and other names. Only the identifiers that nearly every
// part has are known here; another one is a name, which says the same to people.
func licenses(all []string) (known, names []string) {
	for _, l := range all {
		switch {
		case l == "" || len(l) > 1000:
		case expression(l):
			known = append(known, l)
		default:
			names = append(names, l)
		}
	}
	return known, names
}

// expression says whether s is made of known identifiers only.
func expression(s string) bool {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '(' || r == ')' })
	for i, w := range words {
		if operator := w == "AND" || w == "OR" || w == "WITH"; operator != (i%2 == 1) || !operator && !knownLicense(w) {
			return false
		}
	}
	return len(words)%2 == 1 && strings.Count(s, "(") == strings.Count(s, ")")
}

func knownLicense(id string) bool {
	switch id {
	case "MIT", "ISC", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "Unlicense", "Zlib", "WTFPL", "BlueOak-1.0.0", "Python-2.0",
		"PSF-2.0", "MPL-1.1", "MPL-2.0", "EPL-1.0", "EPL-2.0", "CDDL-1.0", "BSL-1.0", "Artistic-2.0", "MIT-0", "Unicode-DFS-2016", "Unicode-3.0", "OpenSSL", "curl", "Ruby",
		"GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
		"AGPL-3.0-only", "AGPL-3.0-or-later", "LLVM-exception", "Classpath-exception-2.0":
		return true
	}
	return false
}
