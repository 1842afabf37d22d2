// Package finding is the vocabulary of scanning and updating: what is in a tree, what is weak there, and how sure of it anybody is.
// Scanners fill it, reports print it, the update mends by it.
//
// Guarantee: the zero value of each scale is its "unknown", never its harmless end. Not guaranteed: that a finding is true;
// Tool says who found it.
package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Kind says what is weak.
type Kind string

// The kinds.
const (
	Dependency Kind = "dependency" // a part with a known vulnerability
	Malicious  Kind = "malicious"  // a part that was published to do harm
	Code       Kind = "code"       // source code
	Secret     Kind = "secret"     // a credential where none belongs
	Config     Kind = "config"     // Dockerfile, Compose, Kubernetes, pipelines
	Model      Kind = "model"      // ward.yaml itself
)

// Severity is how bad a finding is by itself, whatever stands around it.
type Severity uint8

// The severities; CVSS v3 and v4 scores map to them as FIRST's rating scale says.
const (
	SeverityUnknown Severity = iota
	SeverityNone
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"unknown", "none", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severityNames[min(int(s), len(severityNames)-1)] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote; other words are SeverityUnknown.
func (s *Severity) UnmarshalText(b []byte) error {
	*s = SeverityOf(string(b))
	return nil
}

// SeverityOf is the severity with a name, whatever its case; "moderate" is GitHub's word for medium. Other words are SeverityUnknown.
func SeverityOf(name string) Severity {
	name = strings.ToLower(name)
	if name == "moderate" {
		return Medium
	}
	for i, n := range severityNames {
		if n == name {
			return Severity(i)
		}
	}
	return SeverityUnknown
}

// SeverityOfScore is the severity of a CVSS base score, 0 to 10.
func SeverityOfScore(score float64) Severity {
	switch {
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return SeverityNone
}

// Reach says whether the weak code can run.
type Reach uint8

// Three values, because most advisories don't say which functions are affected.
const (
	ReachUnknown Reach = iota
	NotCalled
	Called
)

func (r Reach) String() string { return [...]string{"unknown", "not called", "called"}[min(r, 2)] }

// MarshalText writes the words.
func (r Reach) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote; other words are ReachUnknown.
func (r *Reach) UnmarshalText(b []byte) error {
	*r = map[string]Reach{"called": Called, "not called": NotCalled}[string(b)]
	return nil
}

// Package is one part of an application, at one place.
type Package struct {
	Ecosystem string `json:"ecosystem"` // OSV's name, with its suffix: "Go", "npm", "PyPI", "Debian:12"
	Name      string `json:"name"`      // as the advisories of the ecosystem write it
	Version   string `json:"version"`   // "" if the tree doesn't pin one
	PURL      string `json:"purl"`
	// Source is the source package of a distribution, whose name and version its advisories use.
	Source        string   `json:"source,omitempty"`
	SourceVersion string   `json:"source_version,omitempty"`
	Location      Location `json:"location"`         // the lock file, binary or database that names it
	Direct        bool     `json:"direct,omitempty"` // the project itself asks for it
	Dev           bool     `json:"dev,omitempty"`    // only for building and testing
	Layer         string   `json:"layer,omitempty"`  // digest of the image layer that brought it
	Licenses      []string `json:"licenses,omitempty"`
	// Requires are the names of the parts that it asks for itself, where the tree says so: the edges of the graph.
	Requires []string `json:"requires,omitempty"`
}

// Location is a place in the scanned tree.
type Location struct {
	Path   string `json:"path"`             // slash-separated, from the root of the scan
	Line   int    `json:"line,omitempty"`   // from 1; 0 for the whole file
	Column int    `json:"column,omitempty"` // in characters, from 1
	Commit string `json:"commit,omitempty"` // in history, not in the tree
}

// Finding is one weakness at one place.
type Finding struct {
	ID       string   `json:"id"` // of the advisory or rule: "GO-2024-2687", "docker-user-root"
	Aliases  []string `json:"aliases,omitempty"`
	Kind     Kind     `json:"kind"`
	Tool     string   `json:"tool"`             // "ward", or the analyser whose word this is
	Title    string   `json:"title"`            // one line
	Detail   string   `json:"detail,omitempty"` // plain text or Markdown
	URL      string   `json:"url,omitempty"`    // where to read more
	Severity Severity `json:"severity"`
	Score    float64  `json:"score,omitempty"` // CVSS base score; 0 if there is none
	Vector   string   `json:"vector,omitempty"`
	EPSS     float64  `json:"epss,omitempty"`      // probability of exploitation in the next 30 days; 0 if not known
	KEV      bool     `json:"exploited,omitempty"` // in a catalogue of vulnerabilities that are exploited in the wild
	Package  *Package `json:"package,omitempty"`
	// Fixed are the versions that mend it, lowest first; empty if there is none.
	Fixed []string `json:"fixed,omitempty"`
	// Clean is the lowest version of those that any advisory on the part names as mended, and that none of them affects: the same for all
	// findings on a part; "" if there is none.
	Clean    string   `json:"clean,omitempty"`
	Location Location `json:"location"`
	// Unsure says why it can't be told whether this holds at all ("the version can't be ordered"); "" where it can.
	Unsure  string   `json:"unsure,omitempty"`
	Symbols []string `json:"symbols,omitempty"` // the affected functions, where the advisory names them
	Called  Reach    `json:"called"`
	Trace   []string `json:"trace,omitempty"` // from the application's code to the weak function

	// What this system makes of it; filled by the ranking.
	Service  string `json:"service,omitempty"`
	Priority int    `json:"priority"` // 0 to 100
	Why      string `json:"why,omitempty"`
	Fix      string `json:"fix,omitempty"` // what to do, one sentence

	// Suppressed tells why this doesn't count; nil if it does. Suppressed findings stay in every report.
	Suppressed *Suppression `json:"suppressed,omitempty"`

	// Mark tells findings of one rule in one file apart where their titles can't: of a credential, 16 bits of a hash of its value.
	Mark string `json:"mark,omitempty"`
}

// Suppression is the reason why a finding doesn't count.
type Suppression struct {
	By     string    `json:"by"`     // "ward.yaml", "vex", "baseline"
	Reason string    `json:"reason"` // for people
	VEX    string    `json:"vex,omitempty"`
	Until  time.Time `json:"until,omitzero"` // the end of it; zero for none
}

// Fingerprint names the same weakness across runs, although lines move and other findings come and go: 16 bytes in hex over kind,
// rule, part and file.
func (f *Finding) Fingerprint() string {
	parts := []string{string(f.Kind), f.Tool, f.ID, f.Location.Path, f.Location.Commit}
	switch {
	case f.Package != nil:
		parts = append(parts, f.Package.Ecosystem, f.Package.Name, f.Package.Version)
	case f.Mark != "":
		parts = append(parts, f.Mark)
	default:
		parts = append(parts, f.Title)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Problem is something that couldn't be looked at, so that nobody knows what is in it.
type Problem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}
