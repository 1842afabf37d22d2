// Package npmlock reads from the lock files of npm, yarn (classic) and pnpm who asks for which part, in which range, and where it comes from.
//
// Guarantee: each request is attributed to the very copy that Node would load for it; what nobody asks for has no requests. Members of JSON that
// differ in their capitals are others, as they are for npm. Not guaranteed: anything about package-lock.json of version 1, which doesn't say who
// asks: it has no requests; the ranges of pnpm's parts, which its lock file doesn't hold: they are "".
package npmlock

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// Ask is one part that asks for another. Its fields are in the order of the choice's own.
type Ask struct {
	Name, Version string // "" for the project itself
	Range         string
}

// Lock is what a lock file says.
type Lock struct {
	asks map[copied][]Ask
	from map[copied][]string
}

type copied struct{ name, version string }

// Of are the requests for a part in a version.
func (l *Lock) Of(name, version string) []Ask { return l.asks[copied{name, version}] }

// From are the URLs that a part in a version is taken from, where the lock file says any.
func (l *Lock) From(name, version string) []string { return l.from[copied{name, version}] }

func newLock() *Lock { return &Lock{map[copied][]Ask{}, map[copied][]string{}} }

func (l *Lock) ask(k copied, by Ask) {
	if !slices.Contains(l.asks[k], by) {
		l.asks[k] = append(l.asks[k], by)
	}
}

func (l *Lock) source(k copied, url string) {
	if url != "" && !slices.Contains(l.from[k], url) {
		l.from[k] = append(l.from[k], url)
	}
}

func (l *Lock) sort() *Lock {
	for _, all := range l.asks {
		slices.SortFunc(all, func(a, b Ask) int {
			return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.Range, b.Name+"\x00"+b.Version+"\x00"+b.Range)
		})
	}
	for _, all := range l.from {
		slices.Sort(all)
	}
	return l
}

const maxPackages = 500_000

// InstallScripts are the parts that run code when they are installed, "name version" each, sorted.
func InstallScripts(b []byte) ([]string, error) {
	all, err := packages(b)
	if err != nil {
		return nil, err
	}
	var out []string
	for folder, e := range all {
		if name := nameOf(folder, e); e.Scripts && folder != "" {
			out = append(out, name+" "+e.Version)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// entry is one of "packages", by its folder.
type entry struct {
	Name, Version, Resolved       string
	Link, Scripts                 bool
	Dependencies, Dev, Peer, Some map[string]string // Some are the optional ones
}

// UnmarshalJSON reads an entry by exact names.
func (e *entry) UnmarshalJSON(b []byte) error {
	return exact.Object(b, map[string]any{
		"name": &e.Name, "version": &e.Version, "resolved": &e.Resolved, "link": &e.Link, "hasInstallScript": &e.Scripts, "dependencies": &e.Dependencies,
		"optionalDependencies": &e.Some, "devDependencies": &e.Dev, "peerDependencies": &e.Peer,
	})
}

func packages(b []byte) (map[string]entry, error) {
	var all map[string]entry
	if err := exact.Object(b, map[string]any{"packages": &all}); err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	if len(all) > maxPackages {
		return nil, fmt.Errorf("read lock file: more than %d parts", maxPackages)
	}
	return all, nil
}

// Parse reads a package-lock.json of version 2 or 3.
func Parse(b []byte) (*Lock, error) {
	all, err := packages(b)
	if err != nil {
		return nil, err
	}
	out := newLock()
	for folder, e := range all {
		by := Ask{Name: nameOf(folder, e), Version: e.Version}
		if !strings.Contains(folder, "node_modules/") {
			by = Ask{} // the project, or a workspace of it
		} else if !e.Link {
			out.source(copied{by.Name, by.Version}, e.Resolved)
		}
		for _, wants := range []map[string]string{e.Dependencies, e.Some, e.Dev, e.Peer} {
			for name, rng := range wants {
				if at, ok := resolve(all, folder, name); ok {
					by.Range = rng
					out.ask(copied{nameOf(at, all[at]), all[at].Version}, by)
				}
			}
		}
	}
	return out.sort(), nil
}

// nameOf is the name that a copy was published under: an alias has another one than its folder.
func nameOf(folder string, e entry) string {
	if e.Name != "" {
		return e.Name
	}
	if i := strings.LastIndex(folder, "node_modules/"); i >= 0 {
		return folder[i+len("node_modules/"):]
	}
	return ""
}

// resolve finds the copy that Node would load for a name asked for in a folder: the nearest node_modules above.
func resolve(all map[string]entry, folder, name string) (string, bool) {
	for {
		at := strings.TrimPrefix(folder+"/node_modules/"+name, "/")
		if e, ok := all[at]; ok {
			return at, !e.Link
		}
		if folder == "" {
			return "", false
		}
		i := strings.LastIndexByte(folder, '/')
		if i < 0 {
			folder = ""
			continue
		}
		folder = strings.TrimSuffix(folder[:i], "/node_modules")
		if folder == "node_modules" {
			folder = ""
		}
	}
}
