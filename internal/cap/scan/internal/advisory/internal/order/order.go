// Package order names packages as their ecosystem's advisories do, and orders their versions by osv-scalibr's semantic.
//
// Guarantee: what isn't surely a version of its ecosystem is an error, where semantic itself would order it somehow ("latest" as 0.0.0).
// Not guaranteed: that a version was ever released.
package order

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/semantic"
)

// maxVersion is the length of a version in bytes; longer ones are no versions, and their numbers would cost quadratic time.
const maxVersion = 256

// Split parts OSV's ecosystem into its name and the release behind the colon, in the form that Match compares: "Debian:12.5" is "Debian" and
// "12", "Ubuntu:22.04:LTS" is "Ubuntu" and "22.04", "Alpine:v3.20.3" is "Alpine" and "v3.20".
func Split(ecosystem string) (name, release string) {
	name, release, _ = strings.Cut(ecosystem, ":")
	switch name {
	case "Debian", "Rocky Linux", "AlmaLinux":
		release, _, _ = strings.Cut(release, ".")
	case "Ubuntu":
		release = strings.TrimSuffix(release, ":LTS")
	case "Alpine", "Alpaquita", "BellSoft Hardened Containers":
		if parts := strings.SplitN(release, ".", 3); len(parts) == 3 {
			release = parts[0] + "." + parts[1]
		}
		if release != "" && release[0] >= '0' && release[0] <= '9' && name == "Alpine" {
			release = "v" + release
		}
	}
	return name, release
}

// Covers says whether an advisory for one release holds for another, both from Split: an advisory without one holds for all, and a longer one
// ("enterprise_linux:9::appstream") for each of its beginnings.
func Covers(advisory, release string) bool {
	return advisory == "" || advisory == release || release != "" && strings.HasPrefix(advisory, release+":")
}

// Name is the name as the index keeps it: PEP 503 for PyPI, lower case where the registry doesn't tell cases apart.
func Name(ecosystem, name string) string {
	switch ecosystem {
	case "PyPI":
		name = strings.ToLower(name)
		if !strings.ContainsAny(name, "_.-") {
			return name
		}
		return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), "-")
	case "NuGet", "Packagist", "GitHub Actions", "Hex", "Pub":
		return strings.ToLower(name)
	}
	return name
}

// BySource says whether an ecosystem's advisories name source packages.
func BySource(ecosystem string) bool {
	switch ecosystem {
	case "Debian", "Ubuntu", "Alpine", "Alpaquita", "BellSoft Hardened Containers", "Chainguard", "Wolfi", "MinimOS":
		return true
	}
	return false
}

// Version is a version that can be ordered among those of its ecosystem.
type Version struct {
	full            semantic.Version // nil if it is plain
	numbers         plain
	ecosystem, text string // of a plain one, for company that isn't
}

// plain are the numbers of "a", "a.b" or "a.b.c", which most versions are: semantic's big numbers cost microseconds.
type plain [3]uint64

func plainOf[T string | []byte](s T) (p plain, ok bool) {
	i := 0
	if len(s) > 0 && s[0] == 'v' {
		i = 1
	}
	for part := range p {
		start := i
		for ; i < len(s) && isDigit(s[i]); i++ {
			p[part] = p[part]*10 + uint64(s[i]-'0')
		}
		if i == start || i-start > 18 {
			return p, false
		}
		if i == len(s) {
			return p, true
		}
		if s[i] != '.' {
			return p, false
		}
		i++
	}
	return p, false
}

func (p plain) compare(q plain) int {
	return cmp.Or(cmp.Compare(p[0], q[0]), cmp.Compare(p[1], q[1]), cmp.Compare(p[2], q[2]))
}

// asNumbers says whether plain versions are ordered by their numbers, with zeros for those that aren't there ("1.0" is "1.0.0").
func asNumbers(ecosystem string) bool {
	switch ecosystem {
	case "Go", "npm", "crates.io", "Hex", "NuGet", "Pub", "SwiftURL", "Julia", "ConanCenter", "Bitnami", "Bioconductor", "PyPI":
		return true
	}
	return false
}

// Parse reads a version of an ecosystem (Split's first part). Its error says in half a sentence why it can't be ordered.
func Parse(ecosystem, version string) (Version, error) {
	if version == "" {
		return Version{}, errors.New("the version isn't known")
	}
	if asNumbers(ecosystem) {
		if p, ok := plainOf(version); ok {
			return Version{numbers: p, ecosystem: ecosystem, text: version}, nil
		}
	}
	if len(version) > maxVersion || strings.ContainsAny(version, " \t\r\n*<>=|,;$(){}[]\"'\\/@") || !wellFormed(ecosystem, version) {
		return Version{}, fmt.Errorf("the version %.60q can't be ordered", version)
	}
	if ecosystem == "GitHub Actions" {
		ecosystem = "npm"
	}
	v, err := semantic.Parse(version, ecosystem)
	if err != nil {
		return Version{}, fmt.Errorf("the version %.60q can't be ordered", version)
	}
	return Version{full: v}, nil
}

func wellFormed(ecosystem, version string) bool {
	switch ecosystem {
	case "Go", "npm", "crates.io", "Hex", "NuGet", "Pub", "SwiftURL", "Julia", "ConanCenter", "Bitnami", "Bioconductor":
		return isSemverLike(version)
	case "GitHub Actions": // a tag of fewer parts moves, and a commit isn't a version
		return isSemverLike(version) && strings.Count(version, ".") >= 2
	case "PyPI":
		return isPEP440(version)
	case "Packagist", "RubyGems":
		return startsWithDigit(version) && !strings.Contains(version, ".x")
	case "Maven", "Red Hat", "Rocky Linux", "AlmaLinux", "SUSE", "openSUSE", "openEuler", "Mageia":
		return strings.ContainsAny(version, "0123456789")
	}
	return startsWithDigit(version)
}

// Compare orders two versions of one ecosystem.
func (v Version) Compare(w Version) (int, error) {
	if v.full == nil && w.full == nil {
		return v.numbers.compare(w.numbers), nil
	}
	a, err := v.semantic()
	if err != nil {
		return 0, err
	}
	b, err := w.semantic()
	if err != nil {
		return 0, err
	}
	return a.Compare(b)
}

// CompareText is Compare with a version that Parse took before.
func (v Version) CompareText(s []byte) (int, error) {
	if v.full == nil {
		if p, ok := plainOf(s); ok {
			return v.numbers.compare(p), nil
		}
	}
	a, err := v.semantic()
	if err != nil {
		return 0, err
	}
	return a.CompareStr(string(s))
}

func (v Version) semantic() (semantic.Version, error) {
	if v.full != nil {
		return v.full, nil
	}
	if v.text == "" {
		return nil, errors.New("there is no version")
	}
	return semantic.Parse(v.text, v.ecosystem)
}

// Sort orders versions of an ecosystem, lowest first, each once; those that can't be ordered stand at the end, as text.
func Sort(ecosystem string, versions []string) []string {
	if len(versions) < 2 {
		return versions
	}
	type parsed struct {
		text string
		v    Version
		err  error
	}
	all := make([]parsed, len(versions))
	for i, s := range versions {
		v, err := Parse(ecosystem, s)
		all[i] = parsed{s, v, err}
	}
	slices.SortStableFunc(all, func(a, b parsed) int {
		if a.err == nil && b.err == nil {
			if c, err := a.v.Compare(b.v); err == nil && c != 0 {
				return c
			}
		} else if (a.err == nil) != (b.err == nil) {
			if a.err == nil {
				return -1
			}
			return 1
		}
		return strings.Compare(a.text, b.text)
	})
	out := versions[:0:0]
	for _, p := range all {
		out = append(out, p.text)
	}
	return slices.Compact(out)
}

// GoVersion is the SemVer form of a version of Go's standard library or toolchain: "go1.22rc1" is "1.22.0-rc.1".
func GoVersion(version string) string {
	version = strings.TrimPrefix(strings.TrimPrefix(version, "v"), "go")
	version, _, _ = strings.Cut(version, " ") // "go1.22.1 X:boringcrypto"
	for _, pre := range [...]string{"rc", "beta"} {
		if release, n, ok := strings.Cut(version, pre); ok && n != "" && !strings.Contains(version, "-") {
			for strings.Count(release, ".") < 2 {
				release += ".0"
			}
			return release + "-" + pre + "." + n
		}
	}
	return version
}

func startsWithDigit(s string) bool {
	s = strings.TrimPrefix(s, "v")
	return s != "" && isDigit(s[0])
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isSemverLike says whether s is digits with dots between them, and then nothing or something that begins with no dot and no digit.
func isSemverLike(s string) bool {
	s = strings.TrimPrefix(s, "v")
	digits := 0
	for i := 0; i < len(s); i++ {
		switch {
		case isDigit(s[i]):
			digits++
		case digits == 0:
			return false
		case s[i] == '.':
			digits = 0
		default:
			return s[i] == '-' || s[i] == '+' || s[i] >= 'a' && s[i] <= 'z' && s[i] != 'x' || s[i] >= 'A' && s[i] <= 'Z' && s[i] != 'X'
		}
	}
	return digits > 0
}

// isPEP440 says whether s consists of PEP 440's parts; their order is not looked at.
func isPEP440(s string) bool {
	s, _, _ = strings.Cut(strings.ToLower(s), "+")
	if !startsWithDigit(s) {
		return false
	}
	s = strings.TrimPrefix(s, "v")
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
		switch {
		case n == 0:
			if !isDigit(s[0]) && !strings.ContainsRune("._-!", rune(s[0])) {
				return false
			}
			s = s[1:]
			continue
		case n < 0:
			n = len(s)
		}
		switch s[:n] {
		case "a", "b", "c", "rc", "alpha", "beta", "pre", "preview", "post", "rev", "r", "dev":
		default:
			return false
		}
		s = s[n:]
	}
	return true
}
