package sbom

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// The parts of CycloneDX 1.6 that are written or read (ECMA-424).
type (
	cdxDocument struct {
		Schema          string             `json:"$schema,omitempty"`
		BOMFormat       string             `json:"bomFormat"`
		SpecVersion     string             `json:"specVersion"`
		SerialNumber    string             `json:"serialNumber,omitempty"`
		Version         json.Number        `json:"version,omitempty"`
		Metadata        cdxMetadata        `json:"metadata"`
		Components      []cdxComponent     `json:"components"`
		Dependencies    []cdxDependency    `json:"dependencies,omitempty"`
		Vulnerabilities []cdxVulnerability `json:"vulnerabilities,omitempty"`
	}
	cdxMetadata struct {
		Timestamp string        `json:"timestamp,omitempty"`
		Tools     any           `json:"tools,omitempty"` // a list until 1.4, an object since 1.5
		Component *cdxComponent `json:"component,omitempty"`
	}
	cdxTools struct {
		Components []cdxComponent `json:"components"`
	}
	cdxComponent struct {
		Type       string         `json:"type"`
		Ref        string         `json:"bom-ref,omitempty"`
		Group      string         `json:"group,omitempty"`
		Name       string         `json:"name"`
		Version    string         `json:"version,omitempty"`
		Scope      string         `json:"scope,omitempty"`
		Licenses   []cdxLicense   `json:"licenses,omitempty"`
		PURL       string         `json:"purl,omitempty"`
		Properties []cdxProperty  `json:"properties,omitempty"`
		Components []cdxComponent `json:"components,omitempty"`
		Evidence   *cdxEvidence   `json:"evidence,omitempty"`
	}
	cdxLicense struct {
		License    *cdxNamed `json:"license,omitempty"`
		Expression string    `json:"expression,omitempty"`
	}
	cdxNamed struct {
		ID   string `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
	cdxProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	cdxEvidence struct {
		Occurrences []cdxOccurrence `json:"occurrences,omitempty"`
	}
	cdxOccurrence struct {
		Location string `json:"location"`
		Line     int    `json:"line,omitempty"`
	}
	cdxDependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
	cdxVulnerability struct {
		ID             string         `json:"id"`
		Source         *cdxSource     `json:"source,omitempty"`
		References     []cdxReference `json:"references,omitempty"`
		Ratings        []cdxRating    `json:"ratings,omitempty"`
		Description    string         `json:"description,omitempty"`
		Detail         string         `json:"detail,omitempty"`
		Recommendation string         `json:"recommendation,omitempty"`
		Analysis       *cdxAnalysis   `json:"analysis,omitempty"`
		Affects        []cdxAffected  `json:"affects"`
	}
	cdxSource struct {
		Name string `json:"name,omitempty"`
		URL  string `json:"url,omitempty"`
	}
	cdxReference struct {
		ID     string    `json:"id"`
		Source cdxSource `json:"source"`
	}
	cdxRating struct {
		Score    float64 `json:"score,omitempty"`
		Severity string  `json:"severity"`
		Method   string  `json:"method,omitempty"`
		Vector   string  `json:"vector,omitempty"`
	}
	cdxAnalysis struct {
		State         string `json:"state"`
		Justification string `json:"justification,omitempty"`
		Detail        string `json:"detail,omitempty"`
	}
	cdxAffected struct {
		Ref string `json:"ref"`
	}
)

const (
	rootRef       = "ward:root"
	layerProperty = "ward:layer"
)

func cyclonedxOf(d Document) cdxDocument {
	tool, version, _ := strings.Cut(d.Tool, " ")
	doc := cdxDocument{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", BOMFormat: "CycloneDX", SpecVersion: "1.6", SerialNumber: "urn:uuid:" + strings.ToLower(d.Serial), Version: "1",
		Metadata: cdxMetadata{
			Timestamp: d.Created.UTC().Format(time.RFC3339), Component: &cdxComponent{Type: "application", Ref: rootRef, Name: d.Name, Version: d.Version},
		},
		Components: []cdxComponent{},
	}
	if tool != "" {
		doc.Metadata.Tools = cdxTools{[]cdxComponent{{Type: "application", Name: tool, Version: version}}}
	}
	all, edges := components(d.Packages)
	root := cdxDependency{Ref: rootRef}
	for _, c := range all {
		doc.Components = append(doc.Components, c.cyclonedx())
		if c.Direct {
			root.DependsOn = append(root.DependsOn, c.ref)
		}
	}
	doc.Dependencies = append(doc.Dependencies, root)
	for _, c := range all {
		doc.Dependencies = append(doc.Dependencies, cdxDependency{c.ref, edges[c.ref]})
	}
	doc.Vulnerabilities = vulnerabilities(d.Findings, all)
	return doc
}

func (c *component) cyclonedx() cdxComponent {
	out := cdxComponent{Type: "library", Ref: c.ref, Name: c.Name, Version: c.Version, PURL: c.PURL, Evidence: &cdxEvidence{}}
	if u, err := purl.Parse(c.PURL); err == nil && (u.Type == "npm" || u.Type == "maven" || u.Type == "composer") {
		out.Group, out.Name = u.Namespace, u.Name
	}
	if c.Dev {
		out.Scope = "excluded" // "not distributed", in the standard's words
	}
	known, names := licenses(c.Licenses)
	if len(names) == 0 && len(known) == 1 && strings.Contains(known[0], " ") {
		out.Licenses = []cdxLicense{{Expression: known[0]}} // alone or not at all
		known = nil
	}
	for _, k := range known {
		if strings.Contains(k, " ") {
			names = append(names, k)
		} else {
			out.Licenses = append(out.Licenses, cdxLicense{License: &cdxNamed{ID: k}})
		}
	}
	for _, n := range names {
		out.Licenses = append(out.Licenses, cdxLicense{License: &cdxNamed{Name: n}})
	}
	for _, p := range c.places {
		if p.Path != "" {
			out.Evidence.Occurrences = append(out.Evidence.Occurrences, cdxOccurrence{p.Path, p.Line})
		}
	}
	if out.Evidence.Occurrences == nil {
		out.Evidence = nil
	}
	if c.Layer != "" {
		out.Properties = []cdxProperty{{layerProperty, c.Layer}}
	}
	return out
}

// vulnerabilities are the findings on components, one for each advisory and part.
func vulnerabilities(findings []finding.Finding, all []*component) []cdxVulnerability {
	refs := map[string]bool{}
	for _, c := range all {
		refs[c.ref] = true
	}
	taken := map[string]bool{}
	var out []cdxVulnerability
	for _, f := range findings {
		if f.Package == nil || f.Kind != finding.Dependency && f.Kind != finding.Malicious {
			continue
		}
		ref := reference(*f.Package)
		if key := f.ID + "\x00" + ref; !refs[ref] || taken[key] {
			continue
		} else {
			taken[key] = true
		}
		v := cdxVulnerability{ID: f.ID, Description: f.Title, Detail: f.Detail, Recommendation: f.Fix, Affects: []cdxAffected{{ref}}}
		if f.URL != "" {
			v.Source = &cdxSource{URL: f.URL}
		}
		for _, a := range f.Aliases {
			authority, _, _ := strings.Cut(a, "-")
			v.References = append(v.References, cdxReference{a, cdxSource{Name: authority}})
		}
		v.Ratings = []cdxRating{{f.Score, f.Severity.String(), method(f.Vector), f.Vector}}
		if s := f.Suppressed; s != nil {
			v.Analysis = &cdxAnalysis{State: "not_affected", Justification: justification(s.VEX), Detail: s.By + ": " + s.Reason}
			switch {
			case s.VEX == "fixed":
				v.Analysis.State = "resolved"
			case s.VEX == "" && s.By != "vex": // borne, not disproved
				v.Analysis.State = "exploitable"
			}
		}
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b cdxVulnerability) int {
		return strings.Compare(a.ID+"\x00"+a.Affects[0].Ref, b.ID+"\x00"+b.Affects[0].Ref)
	})
	return out
}

// method is the standard's name for the scoring that a vector belongs to.
func method(vector string) string {
	for prefix, name := range map[string]string{"CVSS:3.0/": "CVSSv3", "CVSS:3.1/": "CVSSv31", "CVSS:4.0/": "CVSSv4", "AV:": "CVSSv2"} {
		if strings.HasPrefix(vector, prefix) {
			return name
		}
	}
	if vector != "" {
		return "other"
	}
	return ""
}

// justification is CycloneDX's word for OpenVEX's.
func justification(vex string) string {
	switch vex {
	case "component_not_present", "vulnerable_code_not_present":
		return "code_not_present"
	case "vulnerable_code_not_in_execute_path":
		return "code_not_reachable"
	case "vulnerable_code_cannot_be_controlled_by_adversary":
		return "protected_at_perimeter"
	case "inline_mitigations_already_exist":
		return "protected_by_mitigating_control"
	}
	return ""
}

func readCycloneDX(data []byte) (Document, error) {
	var doc cdxDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return Document{}, err
	}
	d := Document{Serial: strings.TrimPrefix(doc.SerialNumber, "urn:uuid:")}
	d.Created, _ = time.Parse(time.RFC3339, doc.Metadata.Timestamp)
	root := ""
	if c := doc.Metadata.Component; c != nil {
		d.Name, d.Version, root = c.fullName(), c.Version, c.Ref
		if u, err := purl.Parse(c.PURL); err == nil {
			d.Name = u.Package().Name // npm calls the component after its folder
		}
	}
	refs := map[string]int{}
	if err := d.take(doc.Components, refs, 0); err != nil {
		return Document{}, err
	}
	edges := map[string][]string{}
	for _, e := range doc.Dependencies {
		edges[e.Ref] = append(edges[e.Ref], e.DependsOn...)
	}
	link(d.Packages, refs, edges, root)
	return d, nil
}

func (c *cdxComponent) fullName() string {
	if c.Group != "" {
		return c.Group + "/" + c.Name
	}
	return c.Name
}

// take adds components and those within them.
func (d *Document) take(components []cdxComponent, refs map[string]int, depth int) error {
	if depth > 64 {
		return errors.New("components are nested deeper than 64")
	}
	for i := range components {
		c := &components[i]
		if err := d.take(c.Components, refs, depth+1); err != nil {
			return err
		}
		if c.PURL == "" && slices.Contains([]string{"file", "operating-system", "device", "firmware", "data", "platform"}, c.Type) {
			continue
		}
		p := finding.Package{Name: c.fullName(), Version: c.Version, PURL: c.PURL}
		if u, err := purl.Parse(c.PURL); err == nil {
			p = u.Package()
			p.PURL = c.PURL
		}
		if c.Scope == "excluded" {
			p.Dev = true
		}
		for _, l := range c.Licenses {
			if l.License != nil && l.License.ID+l.License.Name != "" {
				p.Licenses = append(p.Licenses, l.License.ID+l.License.Name)
			} else if l.Expression != "" {
				p.Licenses = append(p.Licenses, l.Expression)
			}
		}
		for _, prop := range c.Properties {
			switch prop.Name {
			case layerProperty, "syft:location:0:layerID", "aquasecurity:trivy:LayerDigest":
				p.Layer = prop.Value
			case "syft:location:0:path", "aquasecurity:trivy:FilePath", "SrcFile", "cdx:npm:package:path":
				p.Location.Path = strings.TrimPrefix(prop.Value, "/")
			case "cdx:npm:package:development":
				p.Dev = prop.Value == "true"
			case "aquasecurity:trivy:SrcName":
				p.Source = prop.Value
			}
		}
		if c.Evidence != nil && len(c.Evidence.Occurrences) > 0 {
			at := c.Evidence.Occurrences[0]
			p.Location = finding.Location{Path: at.Location, Line: at.Line}
		}
		if c.Ref != "" {
			refs[c.Ref] = len(d.Packages)
		}
		d.Packages = append(d.Packages, p)
	}
	return nil
}
