package inventory

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// pom is what matters of a pom.xml (Maven's POM 4.0.0).
type pom struct {
	path     string
	Group    string       `xml:"groupId"`
	Artifact string       `xml:"artifactId"`
	Version  string       `xml:"version"`
	Parent   *pomParent   `xml:"parent"`
	Props    pomProps     `xml:"properties"`
	Deps     []pomDep     `xml:"dependencies>dependency"`
	Managed  []pomDep     `xml:"dependencyManagement>dependencies>dependency"`
	Profiles []pomProfile `xml:"profiles>profile"`
}

type pomParent struct {
	Group        string  `xml:"groupId"`
	Artifact     string  `xml:"artifactId"`
	Version      string  `xml:"version"`
	RelativePath *string `xml:"relativePath"`
}

type pomProfile struct {
	Props   pomProps `xml:"properties"`
	Deps    []pomDep `xml:"dependencies>dependency"`
	Managed []pomDep `xml:"dependencyManagement>dependencies>dependency"`
}

type pomDep struct {
	line                                    int
	Group, Artifact, Version, Scope, Format string
}

// UnmarshalXML notes the line too.
func (d *pomDep) UnmarshalXML(dec *xml.Decoder, start xml.StartElement) error {
	var v struct {
		Group    string `xml:"groupId"`
		Artifact string `xml:"artifactId"`
		Version  string `xml:"version"`
		Scope    string `xml:"scope"`
		Format   string `xml:"type"`
	}
	line, _ := dec.InputPos()
	err := dec.DecodeElement(&v, &start)
	trim := strings.TrimSpace
	*d = pomDep{line, trim(v.Group), trim(v.Artifact), trim(v.Version), trim(v.Scope), trim(v.Format)}
	return err
}

// pomProps are <properties>, whose elements have any name.
type pomProps map[string]string

// UnmarshalXML reads them all.
func (p *pomProps) UnmarshalXML(dec *xml.Decoder, start xml.StartElement) error {
	if *p == nil {
		*p = pomProps{}
	}
	for {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			var value string
			if err := dec.DecodeElement(&value, &t); err != nil {
				return err
			}
			(*p)[t.Name.Local] = strings.TrimSpace(value)
		case xml.EndElement:
			if t.Name == start.Name {
				return nil
			}
		}
	}
}

// pomXML keeps a pom.xml until all of them are known: parents and siblings stand elsewhere in the tree.
func pomXML(f *file) error {
	dec := xml.NewDecoder(bytes.NewReader(f.data))
	dec.CharsetReader = oneByteCharset
	p := &pom{path: f.path}
	if err := dec.Decode(p); err != nil {
		return fmt.Errorf("read pom.xml: %w", err)
	}
	f.poms = append(f.poms, p)
	return nil
}

// oneByteCharset reads the one encoding beside UTF-8 that poms are written in.
func oneByteCharset(charset string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "latin1", "windows-1252", "us-ascii", "ascii":
		data, err := io.ReadAll(r)
		var b strings.Builder
		for _, c := range data {
			b.WriteRune(rune(c))
		}
		return strings.NewReader(b.String()), err
	}
	return nil, fmt.Errorf("the encoding %.20q isn't known", charset)
}

const (
	maxParents       = 32
	maxInterpolation = 100  // replacements in one value
	maxValue         = 4096 // bytes of one value
)

// maven adds what all poms ask for: versions come from the pom itself, its parents in the tree and their dependencyManagement. What is
// managed elsewhere has no version here.
func (w *walk) maven() {
	t := pomTree{byPath: map[string]*pom{}, byName: map[string]*pom{}}
	for _, p := range w.poms {
		t.byPath[p.path] = p
		if g := p.group(); g != "" {
			t.byName[g+":"+strings.TrimSpace(p.Artifact)] = p
		}
	}
	for _, p := range w.poms {
		chain := t.chain(p)
		props := properties(chain)
		managed := map[string]string{}
		t.manage(chain, props, managed, 0)
		deps := p.Deps
		for _, profile := range p.Profiles {
			deps = append(deps, profile.Deps...)
		}
		for _, parent := range chain[1:] {
			deps = append(deps, parent.Deps...) // inherited
		}
		taken := map[string]bool{}
		for _, d := range deps {
			group, artifact := expand(d.Group, props), expand(d.Artifact, props)
			name := group + ":" + artifact
			if group == "" || artifact == "" {
				w.problem(p.path, d.line, "a dependency without a group or artifact")
				continue
			}
			version := expand(d.Version, props)
			if version == "" {
				version = managed[name]
			}
			version = mavenVersion(version)
			if taken[name+":"+version] || t.byName[name] != nil {
				continue // a module of the tree itself stands there with its own pom
			}
			taken[name+":"+version] = true
			w.addAt(p.path, d.line, finding.Package{Ecosystem: "Maven", Name: name, Version: version, Direct: true, Dev: d.Scope == "test"}, nil)
		}
	}
}

func (p *pom) group() string {
	if p.Group == "" && p.Parent != nil {
		return strings.TrimSpace(p.Parent.Group)
	}
	return strings.TrimSpace(p.Group)
}

func (p *pom) version() string {
	if p.Version == "" && p.Parent != nil {
		return strings.TrimSpace(p.Parent.Version)
	}
	return strings.TrimSpace(p.Version)
}

type pomTree struct{ byPath, byName map[string]*pom }

// chain is a pom with its parents, nearest first, as far as the tree has them.
func (t pomTree) chain(p *pom) []*pom {
	chain := []*pom{p}
	for p.Parent != nil && len(chain) < maxParents {
		at := "../pom.xml"
		if p.Parent.RelativePath != nil {
			at = strings.TrimSpace(*p.Parent.RelativePath)
		}
		if !strings.HasSuffix(at, ".xml") {
			at = path.Join(at, "pom.xml")
		}
		name := strings.TrimSpace(p.Parent.Group) + ":" + strings.TrimSpace(p.Parent.Artifact)
		next := t.byPath[path.Join(path.Dir(p.path), at)]
		if next == nil || next.group()+":"+strings.TrimSpace(next.Artifact) != name {
			next = t.byName[name]
		}
		if next == nil || next == p {
			break
		}
		p = next
		chain = append(chain, p)
	}
	return chain
}

// properties are those of a chain, where the nearest wins, and Maven's own.
func properties(chain []*pom) pomProps {
	all := pomProps{}
	for i := len(chain) - 1; i >= 0; i-- {
		for k, v := range chain[i].Props {
			all[k] = v
		}
		for _, profile := range chain[i].Profiles {
			for k, v := range profile.Props {
				all[k] = v
			}
		}
	}
	own := chain[0]
	for _, prefix := range []string{"project.", "pom.", ""} {
		for k, v := range map[string]string{"groupId": own.group(), "artifactId": strings.TrimSpace(own.Artifact), "version": own.version()} {
			if _, ok := all[prefix+k]; !ok {
				all[prefix+k] = v
			}
		}
		if own.Parent != nil {
			all[prefix+"parent.version"], all[prefix+"parent.groupId"] = strings.TrimSpace(own.Parent.Version), strings.TrimSpace(own.Parent.Group)
		}
	}
	return all
}

// manage collects the versions of dependencyManagement; the nearest wins. Imported ones count if the tree has them.
func (t pomTree) manage(chain []*pom, props pomProps, managed map[string]string, depth int) {
	for _, p := range chain {
		all := p.Managed
		for _, profile := range p.Profiles {
			all = append(all, profile.Managed...)
		}
		for _, d := range all {
			name := expand(d.Group, props) + ":" + expand(d.Artifact, props)
			if d.Scope == "import" && depth < maxParents {
				if bom := t.byName[name]; bom != nil && bom != chain[0] {
					chain := t.chain(bom)
					t.manage(chain, properties(chain), managed, depth+8)
				}
				continue
			}
			if _, ok := managed[name]; !ok {
				managed[name] = expand(d.Version, props)
			}
		}
	}
}

// expand replaces ${property}; what can't be, or grows too long, is "".
func expand(s string, props pomProps) string {
	for range maxInterpolation {
		start := strings.Index(s, "${")
		if start < 0 {
			return s
		}
		end := strings.IndexByte(s[start:], '}')
		if end < 0 {
			return ""
		}
		value, ok := props[s[start+2:start+end]]
		if s = s[:start] + value + s[start+end+1:]; !ok || len(s) > maxValue {
			return ""
		}
	}
	return ""
}

// mavenVersion is the version that a requirement pins: "1.0" or "[1.0]", no range and no metaversion.
func mavenVersion(s string) string {
	if exact, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(exact, "]")
	}
	if strings.ContainsAny(s, "[](),$ ") || s == "LATEST" || s == "RELEASE" {
		return ""
	}
	return s
}
