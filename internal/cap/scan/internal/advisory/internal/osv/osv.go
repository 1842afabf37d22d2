// Package osv reads advisories in the OSV format, schema 1.7 (https://ossf.github.io/osv-schema/), from files, folders, zips and mirrors.
//
// Guarantee: bounded bytes per entry, per source and in number; each entry that can't be read is told. Not guaranteed: that an entry is true.
package osv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// MaxEntry is the size of one advisory in bytes.
const MaxEntry = 16 << 20

// Entry is one advisory, as far as matching and reporting need it.
type Entry struct {
	ID        string     `json:"id"`
	Modified  time.Time  `json:"modified"`
	Withdrawn string     `json:"withdrawn"`
	Aliases   []string   `json:"aliases"`
	Upstream  []string   `json:"upstream"`
	Summary   string     `json:"summary"`
	Details   string     `json:"details"` // "" beside a summary
	Severity  []Severity `json:"severity"`
	Affected  []Affected `json:"affected"`
	Database  Database   `json:"database_specific"`
}

// Severity is a CVSS vector: Type is "CVSS_V2", "CVSS_V3" or "CVSS_V4".
type Severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// Affected is a package and which of its versions are affected.
type Affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges    []Range    `json:"ranges"`
	Versions  []string   `json:"versions"`
	Severity  []Severity `json:"severity"`
	Database  Database   `json:"database_specific"`
	Ecosystem Imports    `json:"ecosystem_specific"`
}

// Range is a list of events on one line of versions: "SEMVER", "ECOSYSTEM" or "GIT".
type Range struct {
	Type   string  `json:"type"`
	Events []Event `json:"events"`
}

// Event has exactly one of its fields.
type Event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// Database is what databases add as they like: a severity in words, and whether the package was made to do harm.
type Database struct {
	Severity  string
	Malicious bool
}

// UnmarshalJSON takes what it knows, and nothing of what it doesn't: the schema leaves this part to each database.
func (d *Database) UnmarshalJSON(b []byte) error {
	if !bytes.Contains(b, []byte(`"severity"`)) && !bytes.Contains(b, []byte(`"categories"`)) {
		return nil
	}
	var known struct {
		Severity   any `json:"severity"`
		Categories any `json:"categories"`
	}
	if json.Unmarshal(b, &known) != nil {
		return nil
	}
	d.Severity, _ = known.Severity.(string)
	list, _ := known.Categories.([]any)
	for _, c := range list {
		d.Malicious = d.Malicious || c == "malicious" // RustSec's word
	}
	return nil
}

// Imports are the affected functions as the Go vulnerability database names them: "net/http.Header.Write"; a package without functions is
// affected as a whole and stands alone.
type Imports struct{ Symbols []string }

// UnmarshalJSON takes Go's imports; other ecosystems' parts are left alone.
func (i *Imports) UnmarshalJSON(b []byte) error {
	if !bytes.Contains(b, []byte(`"imports"`)) {
		return nil
	}
	var known struct {
		Imports []struct {
			Path    string   `json:"path"`
			Symbols []string `json:"symbols"`
		} `json:"imports"`
	}
	if json.Unmarshal(b, &known) != nil {
		return nil
	}
	for _, im := range known.Imports {
		if len(im.Symbols) == 0 {
			i.Symbols = append(i.Symbols, im.Path)
		}
		for _, s := range im.Symbols {
			i.Symbols = append(i.Symbols, im.Path+"."+s)
		}
	}
	return nil
}

// Parse reads one advisory of at most MaxEntry bytes.
func Parse(b []byte) (*Entry, error) {
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxEntry>>20)
	}
	e := &Entry{}
	if !quick(b, e) {
		*e = Entry{}
		if err := json.Unmarshal(b, e); err != nil {
			return nil, err
		}
		if !e.wordless() {
			e.Details = ""
		}
	}
	if e.ID == "" || len(e.ID) > 128 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '\\' }) {
		return nil, errors.New("it has no id of an advisory")
	}
	return e, nil
}

// wordless tells whether the summary says nothing.
func (e *Entry) wordless() bool {
	return strings.TrimFunc(e.Summary, func(r rune) bool { return r == '#' || unicode.IsSpace(r) }) == ""
}

// Malicious says whether the advisory's package was published to do harm.
func (e *Entry) Malicious() bool {
	if strings.HasPrefix(e.ID, "MAL-") {
		return true
	}
	for _, a := range e.Affected {
		if a.Database.Malicious {
			return true
		}
	}
	return false
}
