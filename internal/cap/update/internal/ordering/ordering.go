// Package ordering orders versions as their ecosystem does, and tells how far apart two of them are.
//
// Guarantee: what isn't surely a version of its ecosystem isn't Valid, and comes before all that are. PEP 440, Composer's and RubyGems' versions are
// ordered by osv-scalibr's semantic, as findings are; all others by semantic versioning. Not guaranteed: that a publisher's numbers mean what they say.
package ordering

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/google/osv-scalibr/semantic"
	"golang.org/x/mod/semver"
)

// Ecosystems with rules of their own, by OSV's names.
const (
	PyPI      = "PyPI"
	Packagist = "Packagist"
	RubyGems  = "RubyGems"
)

const maxVersion = 128

// forms are the versions of an ecosystem: an epoch, numbers, and what makes a version a pre-release in groups of these names.
func form(ecosystem string) string {
	switch ecosystem {
	case PyPI: // https://peps.python.org/pep-0440/#appendix-b-parsing-version-strings-with-regular-expressions
		return `(?i)^v?(?:(?P<epoch>\d+)!)?(?P<numbers>\d+(?:\.\d+)*)(?P<pre>[-_.]?(?:alpha|a|beta|b|preview|pre|c|rc)[-_.]?\d*)?` +
			`(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?P<dev>[-_.]?dev[-_.]?\d*)?(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?$`
	case Packagist: // https://getcomposer.org/doc/04-schema.md#version
		return `(?i)^v?(?P<epoch>)(?P<numbers>\d+(?:\.\d+){0,3})(?:(?:[._-]?(?:stable|patch|pl|p)|(?P<pre>[._-]?(?:beta|b|rc|alpha|a)))(?:[.-]?\d+)*)?(?P<dev>[.-]?dev)?$`
	case RubyGems: // https://guides.rubygems.org/patterns/#prerelease-gems
		return `^(?P<epoch>)(?P<numbers>\d+(?:\.\d+)*)(?P<pre>(?:\.[0-9]*[A-Za-z][0-9A-Za-z]*)(?:\.[0-9A-Za-z]+)*)?(?P<dev>-[0-9A-Za-z]+(?:\.[0-9A-Za-z]+)*)?$`
	}
	return ""
}

// parsed is a version in the form of an ecosystem with rules of its own.
type parsed struct {
	epoch, numbers string
	pre            bool
}

func parse(ecosystem, v string) (p parsed, ok bool) {
	if len(v) > maxVersion {
		return p, false
	}
	re := regexp.MustCompile(form(ecosystem)) // constant, and once for each version that is listed
	m := re.FindStringSubmatch(v)
	if m == nil {
		return p, false
	}
	p.epoch, p.numbers = m[re.SubexpIndex("epoch")], m[re.SubexpIndex("numbers")]
	p.pre = m[re.SubexpIndex("pre")] != "" || m[re.SubexpIndex("dev")] != ""
	return p, true
}

// canonical is a semantic version with Go's "v".
func canonical(v string) string { return "v" + strings.TrimPrefix(v, "v") }

// Valid tells whether v can be ordered.
func Valid(ecosystem, v string) bool {
	if form(ecosystem) == "" {
		return semver.IsValid(canonical(v))
	}
	_, ok := parse(ecosystem, v)
	return ok
}

// Compare orders two versions, with or without a "v" in front; what can't be ordered comes first.
func Compare(ecosystem, a, b string) int {
	if form(ecosystem) == "" {
		return semver.Compare(canonical(a), canonical(b))
	}
	x, errX := semantic.Parse(a, ecosystem)
	y, errY := semantic.Parse(b, ecosystem)
	if errX != nil || errY != nil || len(a) > maxVersion || len(b) > maxVersion {
		return cmp.Compare(order(errX == nil && len(a) <= maxVersion), order(errY == nil && len(b) <= maxVersion))
	}
	n, err := x.Compare(y)
	if err != nil {
		return 0
	}
	return n
}

func order(known bool) int {
	if known {
		return 1
	}
	return 0
}

// Same tells whether two versions are one, written in two ways at most.
func Same(ecosystem, a, b string) bool {
	return a == b || form(ecosystem) == "" && canonical(a) == canonical(b) || form(ecosystem) != "" && Valid(ecosystem, a) && Valid(ecosystem, b) && Compare(ecosystem, a, b) == 0
}

// Pre tells whether v is a pre-release.
func Pre(ecosystem, v string) bool {
	if form(ecosystem) == "" {
		return semver.Prerelease(canonical(v)) != ""
	}
	p, _ := parse(ecosystem, v)
	return p.pre
}

// Major is what stands for a version's first number, MajorMinor for its first two: equal texts are equal numbers.
func Major(ecosystem, v string) string { return first(ecosystem, v, 1) }

// MajorMinor is described at Major.
func MajorMinor(ecosystem, v string) string { return first(ecosystem, v, 2) }

func first(ecosystem, v string, n int) string {
	if form(ecosystem) == "" {
		if n == 1 {
			return semver.Major(canonical(v))
		}
		return semver.MajorMinor(canonical(v))
	}
	p, ok := parse(ecosystem, v)
	if !ok {
		return ""
	}
	numbers := append(strings.Split(p.numbers, "."), "0")[:n]
	for i := range numbers {
		numbers[i] = cmp.Or(strings.TrimLeft(numbers[i], "0"), "0")
	}
	if p.epoch = strings.TrimLeft(p.epoch, "0"); p.epoch != "" {
		p.epoch += "!"
	}
	return "v" + p.epoch + strings.Join(numbers, ".")
}
