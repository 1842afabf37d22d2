package sbom

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// The parts of SPDX 2.3 that are written or read (ISO/IEC 5962's successor; spdx.github.io/spdx-spec/v2.3).
type (
	spdxDocument struct {
		SPDXVersion   string             `json:"spdxVersion"`
		DataLicense   string             `json:"dataLicense"`
		SPDXID        string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		CreationInfo  spdxCreation       `json:"creationInfo"`
		Describes     []string           `json:"documentDescribes,omitempty"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		SPDXID           string            `json:"SPDXID"`
		Name             string            `json:"name"`
		Version          string            `json:"versionInfo,omitempty"`
		Purpose          string            `json:"primaryPackagePurpose,omitempty"`
		DownloadLocation string            `json:"downloadLocation"`
		FilesAnalyzed    bool              `json:"filesAnalyzed"`
		LicenseConcluded string            `json:"licenseConcluded,omitempty"`
		LicenseDeclared  string            `json:"licenseDeclared,omitempty"`
		LicenseComments  string            `json:"licenseComments,omitempty"`
		Copyright        string            `json:"copyrightText,omitempty"`
		SourceInfo       string            `json:"sourceInfo,omitempty"`
		ExternalRefs     []spdxExternalRef `json:"externalRefs,omitempty"`
	}
	spdxExternalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

const (
	spdxRoot     = "SPDXRef-DOCUMENT"
	noAssertion  = "NOASSERTION"
	foundIn      = "found in "
	otherLicense = "declared as: "
)

func spdxOf(d Document) spdxDocument {
	creator := d.Tool
	if creator == "" {
		creator = "ward"
	}
	doc := spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: spdxRoot, Name: d.Name, Namespace: "urn:uuid:" + strings.ToLower(d.Serial),
		CreationInfo: spdxCreation{d.Created.UTC().Format("2006-01-02T15:04:05Z"), []string{"Tool: " + strings.Replace(creator, " ", "-", 1)}},
	}
	const top = "SPDXRef-Root"
	doc.Packages = []spdxPackage{{
		SPDXID: top, Name: d.Name, Version: d.Version, Purpose: "APPLICATION", DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
	}}
	doc.Relationships = []spdxRelationship{{spdxRoot, "DESCRIBES", top}}
	all, edges := components(d.Packages)
	ids := map[string]string{}
	for i, c := range all {
		ids[c.ref] = "SPDXRef-Package-" + strconv.Itoa(i+1)
		doc.Packages = append(doc.Packages, c.spdx(ids[c.ref]))
	}
	relate := func(from, to string, dev bool) {
		r := spdxRelationship{from, "DEPENDS_ON", to}
		if dev {
			r = spdxRelationship{to, "DEV_DEPENDENCY_OF", from}
		}
		doc.Relationships = append(doc.Relationships, r)
	}
	dev := map[string]bool{}
	for _, c := range all {
		dev[c.ref] = c.Dev
	}
	for _, c := range all {
		if c.Direct {
			relate(top, ids[c.ref], c.Dev)
		} else {
			doc.Relationships = append(doc.Relationships, spdxRelationship{top, "CONTAINS", ids[c.ref]})
		}
		for _, to := range edges[c.ref] {
			relate(ids[c.ref], ids[to], dev[to])
		}
	}
	return doc
}

func (c *component) spdx(id string) spdxPackage {
	p := spdxPackage{
		SPDXID: id, Name: c.Name, Version: c.Version, Purpose: "LIBRARY", DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, Copyright: noAssertion,
	}
	known, names := licenses(c.Licenses)
	if len(names) > 0 {
		p.LicenseComments = otherLicense + strings.Join(c.Licenses, "; ")
	} else if len(known) == 1 {
		p.LicenseDeclared = known[0]
	} else if len(known) > 1 {
		p.LicenseDeclared = "(" + strings.Join(known, ") AND (") + ")"
	}
	if c.PURL != "" {
		p.ExternalRefs = []spdxExternalRef{{"PACKAGE-MANAGER", "purl", c.PURL}}
	}
	var places []string
	for _, at := range c.places {
		if at.Path != "" {
			places = append(places, fmt.Sprintf("%s:%d", at.Path, at.Line))
		}
	}
	if len(places) > 0 {
		p.SourceInfo = foundIn + strings.Join(places, ", ")
	}
	return p
}

func readSPDX(data []byte) (Document, error) {
	var doc spdxDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return Document{}, err
	}
	d := Document{Name: doc.Name, Serial: strings.TrimPrefix(doc.Namespace, "urn:uuid:")}
	d.Created, _ = time.Parse(time.RFC3339, doc.CreationInfo.Created)
	top := map[string]bool{}
	for _, id := range doc.Describes {
		top[id] = true
	}
	dev, edges := map[string]bool{}, map[string][]string{}
	for _, r := range doc.Relationships {
		switch r.Type {
		case "DESCRIBES":
			top[r.To] = true
		case "DESCRIBED_BY":
			top[r.From] = true
		case "DEPENDS_ON":
			edges[r.From] = append(edges[r.From], r.To)
		case "DEV_DEPENDENCY_OF", "TEST_DEPENDENCY_OF", "BUILD_DEPENDENCY_OF":
			dev[r.From] = true
			edges[r.To] = append(edges[r.To], r.From)
		case "DEPENDENCY_OF", "OPTIONAL_DEPENDENCY_OF", "PROVIDED_DEPENDENCY_OF":
			edges[r.To] = append(edges[r.To], r.From)
		}
	}
	refs, root := map[string]int{}, ""
	for _, sp := range doc.Packages {
		// What is described is the root if it is one thing; a document may describe every single part too.
		if len(top) == 1 && top[sp.SPDXID] && len(doc.Packages) > 1 {
			d.Name, d.Version, root = sp.Name, sp.Version, sp.SPDXID
			continue
		}
		if sp.Purpose == "OPERATING-SYSTEM" || sp.Purpose == "OPERATING_SYSTEM" {
			continue
		}
		p := sp.read()
		p.Dev = dev[sp.SPDXID]
		refs[sp.SPDXID] = len(d.Packages)
		d.Packages = append(d.Packages, p)
	}
	link(d.Packages, refs, edges, root)
	return d, nil
}

func (sp *spdxPackage) read() finding.Package {
	p := finding.Package{Name: sp.Name, Version: sp.Version}
	for _, r := range sp.ExternalRefs {
		if u, err := purl.Parse(r.Locator); r.Type == "purl" && err == nil {
			p = u.Package()
			p.PURL = r.Locator
			break
		}
	}
	for _, l := range []string{sp.LicenseDeclared, sp.LicenseConcluded} {
		if l != "" && l != noAssertion && l != "NONE" && len(p.Licenses) == 0 {
			p.Licenses = []string{l}
		}
	}
	if names, ok := strings.CutPrefix(sp.LicenseComments, otherLicense); ok && len(p.Licenses) == 0 {
		p.Licenses = strings.Split(names, "; ")
	}
	if place, ok := strings.CutPrefix(sp.SourceInfo, foundIn); ok {
		place, _, _ = strings.Cut(place, ", ")
		if colon := strings.LastIndexByte(place, ':'); colon > 0 {
			p.Location.Path = place[:colon]
			p.Location.Line, _ = strconv.Atoi(place[colon+1:])
		}
	}
	return p
}
