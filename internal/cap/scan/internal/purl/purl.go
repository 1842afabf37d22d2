// Package purl writes and reads package URLs (purl-spec 1.0, ECMA-427) for the parts that OSV's ecosystems know.
//
// Guarantee: Parse(p.String()) is p for what Of makes; whatever Parse refuses isn't a package URL. Not guaranteed: the spec's rules for
// types of which this package makes none; those keep their names as they stand.
package purl

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// URL is a package URL in its parts, each without percent-encoding.
type URL struct {
	Type, Namespace, Name, Version, Subpath string
	Qualifiers                              map[string]string
}

const maxURL = 4096

// Parse reads a package URL of at most 4 KiB.
func Parse(s string) (URL, error) {
	refuse := func(why string) (URL, error) {
		return URL{}, fmt.Errorf("read package URL %.80q: %s", s, why)
	}
	if len(s) > maxURL {
		return refuse("longer than 4 KiB")
	}
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok {
		return refuse("no pkg: in front")
	}
	rest = strings.TrimLeft(rest, "/")
	u := URL{}
	rest, subpath, _ := strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	kind, rest, ok := strings.Cut(rest, "/")
	rest = strings.Trim(rest, "/")
	if !ok || kind == "" || rest == "" {
		return refuse("it needs a type and a name")
	}
	u.Type = strings.ToLower(kind)
	// The version stands behind the last @; one at the start is an npm scope that wasn't encoded.
	version := ""
	if at := strings.LastIndexByte(rest, '@'); at > 0 && !strings.Contains(rest[at:], "/") {
		rest, version = rest[:at], rest[at+1:]
	}
	namespace, name := "", rest
	if slash := strings.LastIndexByte(rest, '/'); slash >= 0 {
		namespace, name = rest[:slash], rest[slash+1:]
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&u.Namespace, namespace}, {&u.Name, name}, {&u.Version, version}, {&u.Subpath, subpath}} {
		plain, err := url.PathUnescape(f.from)
		if err != nil || strings.ContainsRune(plain, 0) {
			return refuse("a part isn't percent-encoded as it must be")
		}
		*f.to = plain
	}
	if u.Name == "" {
		return refuse("it needs a name")
	}
	if query != "" {
		u.Qualifiers = map[string]string{}
		for pair := range strings.SplitSeq(query, "&") {
			key, value, _ := strings.Cut(pair, "=")
			plain, err := url.PathUnescape(value)
			if err != nil || key == "" {
				return refuse("a qualifier isn't key=value")
			}
			if plain != "" {
				u.Qualifiers[strings.ToLower(key)] = plain
			}
		}
	}
	u.normalise()
	return u, nil
}

// normalise applies the rules of single types.
func (u *URL) normalise() {
	switch u.Type {
	case "pypi":
		u.Name = PythonName(u.Name)
	case "deb", "apk", "rpm":
		u.Namespace = strings.ToLower(u.Namespace)
	case "composer":
		u.Namespace, u.Name = strings.ToLower(u.Namespace), strings.ToLower(u.Name)
	}
}

// String writes the canonical form.
func (u URL) String() string {
	b := []byte("pkg:" + u.Type + "/")
	if u.Namespace != "" {
		b = append(encode(b, u.Namespace, true), '/')
	}
	b = encode(b, u.Name, false)
	if u.Version != "" {
		b = encode(append(b, '@'), u.Version, false)
	}
	keys := make([]string, 0, len(u.Qualifiers))
	for k := range u.Qualifiers {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		b = append(append(append(b, "?&"[min(i, 1)]), k...), '=')
		b = encode(b, u.Qualifiers[k], true)
	}
	if u.Subpath != "" {
		b = encode(append(b, '#'), u.Subpath, true)
	}
	return string(b)
}

// encode appends s with everything percent-encoded but what the spec leaves alone: letters, digits, ".-_~:", and "/" where it parts segments.
func encode(b []byte, s string, slash bool) []byte {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_~:", c) >= 0, slash && c == '/':
			b = append(b, c)
		default:
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return b
}

// types are OSV's ecosystems and the purl types that they go by.
var types = [...]struct{ ecosystem, kind, namespace string }{
	{"Go", "golang", ""},
	{"npm", "npm", ""},
	{"PyPI", "pypi", ""},
	{"Maven", "maven", ""},
	{"crates.io", "cargo", ""},
	{"RubyGems", "gem", ""},
	{"Packagist", "composer", ""},
	{"NuGet", "nuget", ""},
	{"Hex", "hex", ""},
	{"Pub", "pub", ""},
	{"SwiftURL", "swift", ""},
	{"GitHub Actions", "githubactions", ""},
	{"Debian", "deb", "debian"},
	{"Ubuntu", "deb", "ubuntu"},
	{"Alpine", "apk", "alpine"},
	{"Wolfi", "apk", "wolfi"},
	{"Chainguard", "apk", "chainguard"},
	{"Red Hat", "rpm", "redhat"},
	{"Rocky Linux", "rpm", "rocky"},
	{"AlmaLinux", "rpm", "almalinux"},
	{"openSUSE", "rpm", "opensuse"},
	{"SUSE", "rpm", "suse"},
	{"Mageia", "rpm", "mageia"},
	{"openEuler", "rpm", "openeuler"},
	{"Azure Linux", "rpm", "azurelinux"},
}

// Of is the package URL of a part, with qualifiers that its ecosystem wants (arch, distro, …); ok is false if its ecosystem has none.
func Of(p finding.Package, qualifiers map[string]string) (u URL, ok bool) {
	ecosystem, _, _ := strings.Cut(p.Ecosystem, ":")
	for _, t := range types {
		if t.ecosystem != ecosystem {
			continue
		}
		u = URL{Type: t.kind, Namespace: t.namespace, Name: p.Name, Version: p.Version, Qualifiers: maps.Clone(qualifiers)}
		if t.namespace == "" {
			cut := strings.LastIndexByte(p.Name, '/')
			if t.kind == "maven" {
				cut = strings.IndexByte(p.Name, ':')
			}
			if cut > 0 {
				u.Namespace, u.Name = p.Name[:cut], p.Name[cut+1:]
			}
		} else {
			u.distribute(p)
		}
		u.normalise()
		return u, u.Name != ""
	}
	return URL{}, false
}

// distribute moves what packages of distributions have besides into qualifiers: rpm's epoch, and the source package as Syft writes it.
func (u *URL) distribute(p finding.Package) {
	set := func(key, value string) {
		if u.Qualifiers == nil {
			u.Qualifiers = map[string]string{}
		}
		u.Qualifiers[key] = value
	}
	if epoch, version, ok := strings.Cut(u.Version, ":"); ok && u.Type == "rpm" {
		u.Version = version
		set("epoch", epoch)
	}
	switch {
	case p.Source == "" || p.Source == p.Name && p.SourceVersion == p.Version:
	case u.Type == "rpm":
		set("upstream", p.Source+"-"+p.SourceVersion+".src.rpm")
	case p.SourceVersion == p.Version || p.SourceVersion == "":
		set("upstream", p.Source)
	default:
		set("upstream", p.Source+"@"+p.SourceVersion)
	}
}

// collect is distribute's way back.
func (u URL) collect(p *finding.Package) {
	if epoch := u.Qualifiers["epoch"]; u.Type == "rpm" && epoch != "" && epoch != "0" {
		p.Version = epoch + ":" + p.Version
	}
	p.Source, p.SourceVersion = p.Name, p.Version
	upstream := u.Qualifiers["upstream"]
	if upstream == "" {
		return
	}
	if source, ok := strings.CutSuffix(upstream, ".src.rpm"); ok {
		if parts := strings.Split(source, "-"); len(parts) > 2 {
			n := len(parts) - 2
			p.Source, p.SourceVersion = strings.Join(parts[:n], "-"), strings.Join(parts[n:], "-")
		}
		return
	}
	name, version, ok := strings.Cut(upstream, "@")
	if p.Source = name; ok {
		p.SourceVersion = version
	}
}

// Package is the part that a package URL names, as advisories write it; Ecosystem is "" for a type that OSV doesn't know.
// A distribution's release is taken from the qualifier distro ("debian-12", "alpine-3.20"), where it says a number.
func (u URL) Package() finding.Package {
	p := finding.Package{Name: u.Name, Version: u.Version, PURL: u.String()}
	for _, t := range types {
		if t.kind != u.Type || t.namespace != "" && t.namespace != u.Namespace {
			continue
		}
		p.Ecosystem = t.ecosystem
		if t.namespace != "" {
			p.Ecosystem += release(t.ecosystem, u.Qualifiers["distro"])
			u.collect(&p)
			return p
		}
		break
	}
	switch {
	case u.Namespace == "":
	case u.Type == "maven":
		p.Name = u.Namespace + ":" + u.Name
	default:
		p.Name = u.Namespace + "/" + u.Name
	}
	return p
}

// release is OSV's suffix for a distribution.
func release(ecosystem, distro string) string {
	if dash := strings.LastIndexByte(distro, '-'); dash >= 0 {
		distro = distro[dash+1:]
	}
	if distro == "" || distro[0] < '0' || distro[0] > '9' {
		return ""
	}
	return Release(ecosystem, distro)
}

// Release is OSV's suffix, with its colon, for the VERSION_ID of a distribution's os-release: ":12" for Debian, ":v3.20" for Alpine,
// ":22.04:LTS" for Ubuntu; "" where its advisories have none.
func Release(ecosystem, version string) string {
	parts := strings.SplitN(version, ".", 3)
	if version == "" {
		return ""
	}
	switch ecosystem {
	case "Debian", "AlmaLinux", "Rocky Linux":
		return ":" + parts[0]
	case "Alpine":
		if len(parts) < 2 {
			return ""
		}
		return ":v" + parts[0] + "." + parts[1]
	case "Ubuntu":
		// Every second April's release has long-term support.
		if len(parts) == 2 && parts[1] == "04" && len(parts[0]) == 2 && parts[0][1]%2 == 0 {
			return ":" + version + ":LTS"
		}
		return ":" + version
	case "openSUSE":
		return ":Leap " + version
	case "SUSE", "Mageia", "openEuler", "Azure Linux":
		return ":" + version
	}
	return ""
}

// PythonName is a Python project's name as PEP 503 normalises it: lower case, and each run of "-", "_" and "." one dash.
func PythonName(name string) string {
	b := make([]byte, 0, len(name))
	for _, c := range []byte(strings.ToLower(name)) {
		if c == '_' || c == '.' || c == '-' {
			if len(b) > 0 && b[len(b)-1] == '-' {
				continue
			}
			c = '-'
		}
		b = append(b, c)
	}
	return string(b)
}
