// Package powers tells what a published version can do, from its source, and what a newer one can do besides.
//
// Guarantee: nothing of an archive is run or written to disk; bytes, entries and sizes are bounded; what can't be read is a power of its own, so
// that it shows as grown. Not guaranteed: that a power is used, and that one which is hidden well is seen: a version that grew needs a
// person, one that didn't isn't thereby harmless.
package powers

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// Powers are what a version can do.
type Powers struct {
	// Can maps each power, in words, to where it shows: packages of Go, files or "" for npm. Sorted.
	Can map[string][]string `json:"can"`
	// Requires are the parts that it asks for. Sorted.
	Requires []string `json:"requires,omitempty"`
	// Publisher is who uploaded it; set by the caller, where the registry says so.
	Publisher string `json:"publisher,omitempty"`
}

// The powers.
const (
	Network    = "opens network connections"
	Exec       = "starts programs"
	Files      = "reads or writes files"
	Syscalls   = "makes system calls"
	Unsafe     = "passes by the type system (unsafe)"
	Native     = "holds native code"
	Linkname   = "reaches into other packages (go:linkname)"
	Plugin     = "loads code while it runs"
	Init       = "runs code when it is loaded"
	Install    = "runs scripts when it is installed"
	Eval       = "makes code of text"
	Computed   = "loads modules by computed names"
	Secrets    = "reads the environment"
	Obscure    = "holds minified or obscured code"
	Unreadable = "holds what can't be read"
)

// Limits of an archive.
const (
	maxEntries = 50_000
	maxTotal   = 512 << 20
	maxSource  = 16 << 20 // of one file that is read
)

// Ecosystems that can be looked into.
const (
	Go  = "Go"
	NPM = "npm"
)

// Of looks into what registry.Archive returned.
func Of(ecosystem string, archive []byte) (*Powers, error) { return of(ecosystem, archive, maxTotal) }

func of(ecosystem string, archive []byte, limit int64) (*Powers, error) {
	c := &collector{can: map[string]map[string]bool{}, requires: map[string]bool{}}
	var err error
	switch ecosystem {
	case Go:
		err = eachOfZip(archive, limit, c.goFile)
	case NPM:
		c.patterns = patterns()
		err = eachOfTarball(archive, limit, c.npmFile)
	default:
		err = fault.New(fault.Unsupported, "what parts of "+ecosystem+" can do isn't known yet")
	}
	if err != nil {
		return nil, fmt.Errorf("look into archive: %w", err)
	}
	if c.files == 0 {
		return nil, fault.New(fault.Invalid, "the archive is empty")
	}
	p := &Powers{Can: map[string][]string{}, Requires: slices.Sorted(maps.Keys(c.requires))}
	for power, places := range c.can {
		p.Can[power] = slices.Sorted(maps.Keys(places))
	}
	return p, nil
}

// Grown says in words what the newer version can do that the older one can't; empty for nothing.
func Grown(before, after *Powers) []string {
	var out []string
	for _, power := range slices.Sorted(maps.Keys(after.Can)) {
		var fresh []string
		for _, place := range after.Can[power] {
			if !slices.Contains(before.Can[power], place) {
				fresh = append(fresh, place)
			}
		}
		if len(fresh) == 0 {
			continue
		}
		said := strings.Join(fresh[:min(len(fresh), 3)], ", ")
		if len(fresh) > 3 {
			said += fmt.Sprintf(" and %d more", len(fresh)-3)
		}
		if said != "" {
			power += " in " + said
		}
		out = append(out, power)
	}
	for _, r := range after.Requires {
		if !slices.Contains(before.Requires, r) {
			out = append(out, "asks for "+r)
		}
	}
	if before.Publisher != after.Publisher {
		out = append(out, fmt.Sprintf("was published by %q instead of %q", after.Publisher, before.Publisher))
	}
	return out
}

// collector gathers powers file by file.
type collector struct {
	can      map[string]map[string]bool
	requires map[string]bool
	files    int
	patterns []pattern // npm
}

func (c *collector) add(power, place string) {
	if c.can[power] == nil {
		c.can[power] = map[string]bool{}
	}
	c.can[power][place] = true
}

// budget bounds what is unpacked.
type budget struct {
	entries int
	left    int64 // bytes
}

func (b *budget) entry() error {
	if b.entries++; b.entries > maxEntries {
		return fault.New(fault.Exhausted, fmt.Sprintf("the archive has more than %d entries", maxEntries))
	}
	return nil
}

// read takes a file whole, or its first bytes if it is too large to be source.
func (b *budget) read(r io.Reader) (content []byte, whole bool, err error) {
	content, err = io.ReadAll(io.LimitReader(r, maxSource+1))
	if b.left -= int64(len(content)); b.left < 0 {
		return nil, false, fault.New(fault.Exhausted, "the archive unpacks to too much")
	}
	return content, len(content) <= maxSource, err
}

// local is a path inside an archive without its first folder; "" for one that leads elsewhere.
func local(name string) string {
	if strings.Contains(name, "\\") || path.Clean("/"+name) != "/"+name {
		return ""
	}
	_, rest, _ := strings.Cut(name, "/")
	return rest
}
