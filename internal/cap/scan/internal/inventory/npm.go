package inventory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const maxNesting = 64

// npmEntry is one entry of "packages" (lockfileVersion 2 and 3) or "dependencies" (1) in a package-lock.json.
type npmEntry struct {
	Name                 string     `json:"name"`
	Version              string     `json:"version"`
	Resolved             string     `json:"resolved"`
	License              npmLicense `json:"license"`
	Link                 bool       `json:"link"`
	Dev                  bool       `json:"dev"`
	DevOptional          bool       `json:"devOptional"`
	Dependencies         npmNames   `json:"dependencies"`
	OptionalDependencies npmNames   `json:"optionalDependencies"`
	DevDependencies      npmNames   `json:"devDependencies"`
	PeerDependencies     npmNames   `json:"peerDependencies"`
}

// npmNames are the names that an object has for keys, whatever its values are; old manifests have lists and other things there.
type npmNames []string

func (n *npmNames) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '{' {
		return nil
	}
	r := readJSON(data)
	return r.object(func(key string) error {
		*n = append(*n, key)
		return r.skip()
	})
}

// npmLicense is a licence as npm writes it: "MIT", {"type": "MIT"}, or a list of such objects.
type npmLicense []string

func (l *npmLicense) UnmarshalJSON(data []byte) error {
	var one string
	type object struct{ Type string }
	var typed object
	var many []object
	switch {
	case json.Unmarshal(data, &one) == nil:
		*l = append(*l, one)
	case json.Unmarshal(data, &typed) == nil:
		*l = append(*l, typed.Type)
	case json.Unmarshal(data, &many) == nil:
		for _, m := range many {
			*l = append(*l, m.Type)
		}
	}
	return nil
}

// packageLock reads package-lock.json and npm-shrinkwrap.json, lockfileVersion 1 to 3.
func packageLock(f *file) error {
	if path.Base(f.path) == "package-lock.json" {
		other := path.Join(path.Dir(f.path), "npm-shrinkwrap.json")
		if info, err := fs.Stat(f.fsys, other); err == nil && info.Mode().IsRegular() && !f.skip(other) {
			return nil // npm reads that one alone
		}
	}
	r := readJSON(f.data)
	l := &npmLock{reader: r, direct: map[string]bool{}, parts: newMerged()}
	hasPackages := false
	err := r.object(func(key string) error {
		switch key {
		case "packages":
			hasPackages = true
			l.parts = newMerged() // "dependencies" of version 2 says the same once more, and less of it
			return r.object(l.entry)
		case "dependencies":
			if hasPackages {
				return r.skip()
			}
			return r.object(func(name string) error { return l.nested(name, 0) })
		}
		return r.skip()
	})
	if err != nil {
		err = fmt.Errorf("read npm's lock file: %w", err)
	}
	l.parts.addTo(f) // what was read before the fault still counts
	return err
}

type npmLock struct {
	reader *jsonReader
	direct map[string]bool // places that the project and its workspaces ask for: "node_modules/a"
	parts  *merged
}

// entry reads one of "packages", whose keys are folders.
func (l *npmLock) entry(place string) error {
	line := l.reader.Line()
	var e npmEntry
	if err := l.reader.Decode(&e); err != nil {
		return err
	}
	cut := strings.LastIndex(place, "node_modules/")
	if cut < 0 {
		// The project itself, or a workspace: no part from outside, but it says what is asked for.
		for _, names := range [][]string{e.Dependencies, e.DevDependencies, e.OptionalDependencies, e.PeerDependencies} {
			for _, n := range names {
				l.direct[path.Join(place, "node_modules", n)] = true
				l.direct["node_modules/"+n] = true
			}
		}
		return nil
	}
	if e.Link {
		return nil
	}
	name := place[cut+len("node_modules/"):]
	if e.Name != "" {
		name = e.Name // an alias: installed under another name
	}
	l.parts.take(line, finding.Package{
		Ecosystem: "npm", Name: name, Version: e.Version, Licenses: e.License, Dev: e.Dev || e.DevOptional, Direct: l.direct[place],
		Requires: append(append([]string(nil), e.Dependencies...), e.OptionalDependencies...),
	})
	return nil
}

// nested reads one of "dependencies" of lockfileVersion 1, which nest as the folders do.
func (l *npmLock) nested(name string, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("dependencies are nested deeper than %d", maxNesting)
	}
	p := finding.Package{Ecosystem: "npm", Name: name}
	line := l.reader.Line()
	var optional bool
	err := l.reader.object(func(key string) error {
		switch key {
		case "version":
			return l.reader.Decode(&p.Version)
		case "dev":
			return l.reader.Decode(&p.Dev)
		case "optional":
			return l.reader.Decode(&optional)
		case "requires":
			var names npmNames
			err := l.reader.Decode(&names)
			p.Requires = names
			return err
		case "dependencies":
			return l.reader.object(func(name string) error { return l.nested(name, depth+1) })
		}
		return l.reader.skip()
	})
	if err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(p.Version, "npm:"):
		at := strings.LastIndexByte(p.Version, '@')
		if at <= len("npm:") {
			return errors.New("an alias without a version: " + p.Version)
		}
		p.Name, p.Version = p.Version[len("npm:"):at], p.Version[at+1:]
	case strings.HasPrefix(p.Version, "file:"):
		return nil
	case strings.ContainsAny(p.Version, ":/#"):
		p.Version = "" // a URL or a commit, no version
	}
	l.parts.take(line, p)
	return nil
}

// merged are the parts of one lock file, where the same name and version may stand many times.
type merged struct {
	index map[[2]string]int
	parts []finding.Package
	lines []int
}

func newMerged() *merged { return &merged{index: map[[2]string]int{}} }

// take keeps the first place; a part is for development only if it is so everywhere.
func (m *merged) take(line int, p finding.Package) {
	key := [2]string{p.Name, p.Version}
	i, ok := m.index[key]
	if !ok {
		m.index[key] = len(m.parts)
		m.parts, m.lines = append(m.parts, p), append(m.lines, line)
		return
	}
	m.parts[i].Dev = m.parts[i].Dev && p.Dev
	m.parts[i].Direct = m.parts[i].Direct || p.Direct
}

func (m *merged) addTo(f *file) {
	for i, p := range m.parts {
		f.add(m.lines[i], p)
	}
}
