// Package npmlock reads from a package-lock.json who asks for which part, in which range.
//
// Guarantee: each request is attributed to the very copy that Node would load for it; what nobody asks for has no requests. Not guaranteed:
// anything about lock files of version 1, which don't say who asks: they have none.
package npmlock

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Ask is one part that asks for another. Its fields are in the order of the choice's own.
type Ask struct {
	Name, Version string // "" for the project itself
	Range         string
}

// Asks are all requests of a lock file.
type Asks map[copied][]Ask

type copied struct{ name, version string }

// Of are the requests for a part in a version.
func (a Asks) Of(name, version string) []Ask { return a[copied{name, version}] }

const maxPackages = 500_000

// InstallScripts are the parts that run code when they are installed, "name version" each, sorted.
func InstallScripts(b []byte) ([]string, error) {
	var lock struct {
		Packages map[string]struct {
			entry
			Scripts bool `json:"hasInstallScript"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	var out []string
	for folder, e := range lock.Packages {
		if name := nameOf(folder, e.entry); e.Scripts && folder != "" {
			out = append(out, name+" "+e.Version)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// entry is one of "packages", by its folder.
type entry struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Link         bool              `json:"link"`
	Dependencies map[string]string `json:"dependencies"`
	Optional     map[string]string `json:"optionalDependencies"`
	Dev          map[string]string `json:"devDependencies"`
	Peer         map[string]string `json:"peerDependencies"`
}

// Parse reads a lock file of version 2 or 3.
func Parse(b []byte) (Asks, error) {
	var lock struct {
		Packages map[string]entry `json:"packages"`
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("read lock file: %w", err)
	}
	if len(lock.Packages) > maxPackages {
		return nil, fmt.Errorf("read lock file: more than %d parts", maxPackages)
	}
	out := Asks{}
	for folder, e := range lock.Packages {
		by := Ask{Name: nameOf(folder, e), Version: e.Version}
		if !strings.Contains(folder, "node_modules/") {
			by = Ask{} // the project, or a workspace of it
		}
		for _, wants := range []map[string]string{e.Dependencies, e.Optional, e.Dev, e.Peer} {
			for name, rng := range wants {
				if at, ok := resolve(lock.Packages, folder, name); ok {
					k := copied{nameOf(at, lock.Packages[at]), lock.Packages[at].Version}
					by.Range = rng
					if !slices.Contains(out[k], by) {
						out[k] = append(out[k], by)
					}
				}
			}
		}
	}
	for _, all := range out {
		slices.SortFunc(all, func(a, b Ask) int {
			return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.Range, b.Name+"\x00"+b.Version+"\x00"+b.Range)
		})
	}
	return out, nil
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
