// Package distro finds the security updates that a Debian or Ubuntu system lacks, in the distribution's own signed archive.
//
// Guarantee: nothing of a mirror is believed before its signature by a key of the keyring, its dates and its hashes are checked, so that a mirror can neither
// invent, hide nor replace an update, nor go back to an older state than was seen before. Versions that can't be ordered are unsure, never safe.
// Not guaranteed: that holes without an update are found; they aren't in the archive.
package distro

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/osv-scalibr/semantic"

	"github.com/wardhq/ward/internal/base/clock"
	"github.com/wardhq/ward/internal/finding"
)

// Options say which archive.
type Options struct {
	Mirror     string   // base URL: "https://deb.example/debian-security"
	Suite      string   // "bookworm-security"
	Components []string // "main"
	Arch       string   // "amd64"
	Keyring    string   // file of OpenPGP keys; "" for Debian's own of this machine
	Cache      string   // folder that keeps what was checked; it is made
	Client     *http.Client
	Clock      clock.Clock // nil for the system's
	// Changelogs: fetch the updates themselves too, and read in their changelogs which CVEs they mend.
	Changelogs bool
}

// Archive is one state of an archive, for many at once.
type Archive struct {
	Date     time.Time // of its signature
	options  Options
	binaries map[string]build

	mu   sync.Mutex         // guards logs
	logs map[string][]entry // changelogs, by file
}

// build is one binary package of the archive.
type build struct {
	version, source, sourceVersion string
	file, hash                     string
	size                           int64
}

// Find tells whether the archive has a newer version of an installed package, and which CVEs it mends. Packages that it doesn't have bring nothing.
func (a *Archive) Find(ctx context.Context, p finding.Package) ([]finding.Finding, error) {
	b, ok := a.binaries[p.Name]
	if !ok {
		return nil, nil
	}
	f := finding.Finding{
		ID: "security-update", Kind: finding.Dependency, Tool: "ward", Title: "A security update of " + b.source + " is available",
		Package: &p, Location: p.Location, Fixed: []string{b.version}, Fix: fmt.Sprintf("Update %s to %s.", p.Name, b.version),
	}
	older, err := compare(p.Version, b.version)
	if err != nil {
		f.Unsure = fmt.Sprintf("the version %q can't be ordered", p.Version)
		return []finding.Finding{f}, nil
	}
	if older >= 0 {
		return nil, nil
	}
	if a.options.Changelogs {
		log, err := a.changelog(ctx, b)
		if err != nil {
			return nil, fmt.Errorf("read the changelog of %s %s: %w", p.Name, b.version, err)
		}
		f.Aliases = mended(log, cmp.Or(p.SourceVersion, p.Version))
		f.Detail = "It mends " + strings.Join(f.Aliases, ", ") + "."
		if len(f.Aliases) == 0 {
			f.Detail = "Its changelog names no CVE."
		}
	}
	return []finding.Finding{f}, nil
}

// compare orders versions as Debian Policy 5.6.12 says.
func compare(a, b string) (int, error) {
	if err := errors.Join(valid(a), valid(b)); err != nil {
		return 0, err
	}
	v, err := semantic.Parse(a, "Debian")
	if err != nil {
		return 0, err
	}
	return v.CompareStr(b)
}

// valid refuses what dpkg wouldn't take for a version, and what would take long.
func valid(v string) error {
	epoch, rest, ok := strings.Cut(v, ":")
	if !ok {
		epoch, rest = "0", v
	}
	foreign := strings.ContainsFunc(rest, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(".+-~:", r))
	})
	if len(v) > 256 || rest == "" || strings.HasSuffix(rest, "-") || rest[0] < '0' || rest[0] > '9' || foreign || epoch == "" || len(epoch) > 9 || strings.Trim(epoch, "0123456789") != "" {
		return fmt.Errorf("%.300q is no version of Debian", v)
	}
	return nil
}

// mended are the CVEs in the entries that are newer than the installed version.
func mended(log []entry, installed string) []string {
	var out []string
	for _, e := range log {
		if newer, err := compare(e.version, installed); err == nil && newer <= 0 {
			break
		}
		out = append(out, e.cves...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *Archive) changelog(ctx context.Context, b build) ([]entry, error) {
	a.mu.Lock()
	log, ok := a.logs[b.file]
	a.mu.Unlock()
	if ok {
		return log, nil
	}
	deb, err := a.options.get(ctx, b.file, b.size)
	if err != nil {
		return nil, err
	}
	if err := check(deb, b.size, b.hash); err != nil {
		return nil, err
	}
	if log, err = readDeb(deb); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logs[b.file] = log
	return log, nil
}
