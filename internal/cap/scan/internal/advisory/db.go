// Package advisory is the index of known vulnerabilities and malicious packages: built once from OSV data, signed, and read in place.
//
// Guarantee: a package that an advisory may name is told, with Unsure where it can't be decided; data that isn't there, is damaged, or was
// signed by nobody whom we trust is an error. The signature says that the index is what its builder made: it guards what lies on disk and
// what is imported, not against whoever holds the key, nor against the return of an older index, which its age shows (Fresh).
// Not guaranteed: that the advisories are right or complete.
package advisory

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/flat"
	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/order"
)

// Info is what an index says of itself.
type Info struct {
	Built      time.Time       `json:"built"`
	Sources    []SourceInfo    `json:"sources"`
	Advisories int             `json:"advisories"` // that can be looked up
	Packages   int             `json:"packages"`
	Ecosystems []EcosystemInfo `json:"ecosystems"`         // sorted by name
	Withdrawn  int             `json:"withdrawn"`          // left out: their databases took them back
	Unplaced   int             `json:"unplaced,omitempty"` // left out: they name no package, as those that only name commits
	Unreadable int             `json:"unreadable,omitempty"`
	Problems   []string        `json:"problems,omitempty"` // the first of the unreadable, with reasons
}

// SourceInfo is what was read of a source.
type SourceInfo struct {
	Location   string    `json:"location"` // without user and query
	Ecosystems []string  `json:"ecosystems,omitempty"`
	SHA256     string    `json:"sha256"`            // of the bytes that were read
	Advisories int       `json:"advisories"`        // with the withdrawn
	Withdrawn  int       `json:"withdrawn"`         //
	Modified   time.Time `json:"modified,omitzero"` // of its newest advisory; zero if none says it
	// Time is how old the data is: the download's time; of a file Modified, or without it when the file was last written.
	Time time.Time `json:"time"`
}

// EcosystemInfo counts an ecosystem's advisories. Distributions have one per release: "Debian:12".
type EcosystemInfo struct {
	Name       string `json:"name"`
	Advisories int    `json:"advisories"` // of vulnerabilities
	Malicious  int    `json:"malicious,omitempty"`
}

// Time is the age of the oldest source's data.
func (i Info) Time() time.Time {
	var oldest time.Time
	for _, s := range i.Sources {
		if oldest.IsZero() || s.Time.Before(oldest) {
			oldest = s.Time
		}
	}
	return oldest
}

// NoDataError says that the index holds no vulnerabilities of an ecosystem, so that nothing can be said of its packages.
type NoDataError struct{ Ecosystem string }

func (e NoDataError) Error() string { return "the index has no vulnerabilities of " + e.Ecosystem }

// DB is an open index. It may be used concurrently.
type DB struct {
	info  Info
	held  map[string]bool // ecosystems, by name and with each release, of which there are vulnerabilities
	keys  uint64          // how many packages
	state sync.RWMutex    // guards file against Close
	file  *flat.File      // nil when closed
}

const update = "`ward scan db update`"

// Open opens the index at path, which must be signed by one of the keys; without any, by the one in path + ".pub" that Build and Import leave.
// It takes less than a millisecond, and what is looked up later is checked when it is touched first.
func Open(path string, trusted ...ed25519.PublicKey) (*DB, error) {
	if len(trusted) == 0 {
		key, err := readPublic(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.Wrap(fault.NotFound, "there is no index of vulnerabilities here: "+update+" makes it", err)
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "the key of the index of vulnerabilities can't be read", err)
		}
		trusted = append(trusted, key)
	}
	f, err := flat.Open(path, trusted)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(fault.NotFound, "there is no index of vulnerabilities here: "+update+" makes it", err)
	case errors.Is(err, flat.ErrSignature):
		return nil, fault.Wrap(fault.Refused, "the index of vulnerabilities isn't signed by a key that is trusted here", err)
	case err != nil:
		return nil, damaged(err)
	}
	d := &DB{file: f, keys: f.Len(sectionKeys) / keySize, held: map[string]bool{}}
	b, err := f.Bytes(sectionInfo, 0, f.Len(sectionInfo))
	if err == nil {
		err = json.Unmarshal(b, &d.info)
	}
	if err == nil && d.keys == 0 {
		err = errors.New("it names no package")
	}
	if err != nil {
		return nil, errors.Join(damaged(err), f.Close())
	}
	for _, e := range d.info.Ecosystems {
		if e.Advisories == 0 {
			continue
		}
		name, release := order.Split(e.Name)
		d.held[name] = true
		for part := release; part != ""; part, _ = cutLast(part) {
			d.held[name+":"+part] = true
		}
	}
	return d, nil
}

// cutLast takes the last part off a release, as Covers allows for.
func cutLast(release string) (string, bool) {
	i := strings.LastIndexByte(release, ':')
	return release[:max(i, 0)], i > 0
}

func damaged(err error) error {
	return fault.Wrap(fault.Invalid, "the index of vulnerabilities is damaged: "+update+" makes it anew", err)
}

// Import puts an index that somebody else built, and signed with key, at dst, and makes key the one that is trusted there. The whole file is
// checked before. An index that is older than the one at dst is refused. Without a key the one in from + ".pub" is taken, which shows only that
// the index arrived whole.
func Import(ctx context.Context, dst, from string, key ed25519.PublicKey) (Info, error) {
	if key == nil {
		var err error
		if key, err = readPublic(from); err != nil {
			return Info{}, fault.Wrap(fault.Invalid, "the public key of this index isn't given, and can't be read beside it", err)
		}
	}
	d, err := Open(from, key)
	if err != nil {
		return Info{}, err
	}
	defer d.Close()
	if old, err := Open(dst); err == nil {
		built := old.info.Built
		old.Close()
		if d.info.Built.Before(built) {
			return Info{}, fault.New(fault.Conflict, fmt.Sprintf("this index was built at %s, before the one in place (%s)", d.info.Built.Format(time.RFC3339), built.Format(time.RFC3339)))
		}
	}
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	if err := d.file.CopyTo(dst); err != nil {
		if errors.Is(err, flat.ErrDamaged) {
			return Info{}, damaged(err)
		}
		return Info{}, fmt.Errorf("import index: %w", err)
	}
	if err := writePublic(dst, key); err != nil {
		return Info{}, fmt.Errorf("import key: %w", err)
	}
	return d.Info(), nil
}

// Info is what the index says of itself.
func (d *DB) Info() Info { return d.info }

// Ecosystems are those of which the index holds vulnerabilities, sorted.
func (d *DB) Ecosystems() []string {
	var out []string
	for _, e := range d.info.Ecosystems {
		if e.Advisories > 0 {
			out = append(out, e.Name)
		}
	}
	return out
}

// Fresh is an error if the data of any source is older than limit, or its age isn't known. One of tomorrow isn't fresh either: its clock or
// ours is wrong.
func (d *DB) Fresh(now time.Time, limit time.Duration) error {
	if len(d.info.Sources) == 0 {
		return fault.New(fault.Refused, "the index of vulnerabilities doesn't say how old it is: "+update+" makes it anew")
	}
	i := slices.IndexFunc(d.info.Sources, func(s SourceInfo) bool {
		age := now.Sub(s.Time)
		return s.Time.IsZero() || age > limit || age < -24*time.Hour
	})
	if i < 0 {
		return nil
	}
	s := d.info.Sources[i]
	age := now.Sub(s.Time)
	if age < 0 {
		return fault.New(fault.Refused, fmt.Sprintf("the vulnerabilities of %s are dated %s, which is in the future: set the clock", s.Location, s.Time.Format(time.DateOnly)))
	}
	return fault.New(fault.Refused, fmt.Sprintf("the vulnerabilities of %s are of %s, %s old, and the limit is %s: run %s", s.Location, s.Time.Format(time.DateOnly), days(age), days(limit), update))
}

func days(d time.Duration) string {
	if n := int(d / (24 * time.Hour)); n != 1 && d >= 24*time.Hour {
		return fmt.Sprintf("%d days", n)
	} else if n == 1 {
		return "1 day"
	}
	return d.Round(time.Minute).String()
}

// Close ends the use of the index. Find and WriteGoVulnDB fail afterwards.
func (d *DB) Close() error {
	d.state.Lock()
	defer d.state.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}

var errClosed = errors.New("the index of vulnerabilities is closed")
