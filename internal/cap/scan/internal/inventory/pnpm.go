package inventory

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// pnpmLock reads pnpm-lock.yaml, lockfileVersion 5 to 9.
func pnpmLock(f *file) error {
	l := &pnpm{file: f, entries: map[string]*pnpmEntry{}, asked: map[string]bool{}}
	err := indented(f.data, l.line)
	if err == nil && l.version == 0 && len(l.order) > 0 {
		err = errors.New("no lockfileVersion")
	}
	l.finish()
	if err != nil {
		return fmt.Errorf("read pnpm-lock.yaml: %w", err)
	}
	return nil
}

type pnpm struct {
	*file
	version float64
	path    [5]string // the keys that stand above the line, by depth
	entries map[string]*pnpmEntry
	order   []string
	asked   map[string]bool // by the project and its workspaces: key, dev or not
}

// pnpmEntry is one of "packages", joined with its "snapshots".
type pnpmEntry struct {
	line          int
	name, version string // only where the key doesn't say them
	dev           bool
	requires      []string // keys
}

func (l *pnpm) line(line, spaces int, text string) error {
	if rest, ok := strings.CutPrefix(text, "? "); ok {
		text = rest + ":" // a key longer than YAML allows before its colon
	} else if text[0] == ':' {
		text, spaces = strings.TrimSpace(text[1:]), spaces+2
	}
	depth := spaces / 2
	if text == "" || depth >= len(l.path) || strings.HasPrefix(text, "- ") {
		return nil
	}
	key, value := pair(text)
	if spaces == 0 && !strings.Contains(text, ":") {
		return fmt.Errorf("line %d: not a key and its value", line)
	}
	l.path[depth] = key
	clear(l.path[depth+1:])
	section := l.path[0]
	switch {
	case depth == 0 && key == "lockfileVersion":
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || v < 5 || v >= 10 {
			return fmt.Errorf("lockfileVersion %.20q isn't one from 5 to 9", value)
		}
		l.version = v
	case section == "packages" || section == "snapshots":
		l.entryLine(line, depth, key, value)
	case section == "importers" && depth >= 3 && isDependencies(l.path[2]):
		l.ask(l.path[3], depth-3, key, value)
	case isDependencies(section) && depth >= 1:
		l.ask(l.path[1], depth-1, key, value)
	}
	return nil
}

func isDependencies(key string) bool {
	return key == "dependencies" || key == "devDependencies" || key == "optionalDependencies"
}

// ask notes what a project asks for: "name: version" before version 6, and "version:" below the name since.
func (l *pnpm) ask(name string, below int, key, value string) {
	if value != "" && (below == 0 || below == 1 && key == "version") {
		l.asked[l.key(name, value)] = true
	}
}

// entryLine reads a line below "packages" or "snapshots".
func (l *pnpm) entryLine(line, depth int, key, value string) {
	id := l.path[1]
	if l.path[0] == "snapshots" {
		id = withoutPeers(id)
	}
	e := l.entries[id]
	if e == nil && depth == 1 && l.path[0] == "packages" {
		e = &pnpmEntry{line: line}
		l.entries[id] = e
		l.order = append(l.order, id)
	}
	switch {
	case e == nil:
	case depth == 2 && key == "dev":
		e.dev = value == "true"
	case depth == 2 && key == "name":
		e.name = value
	case depth == 2 && key == "version":
		e.version = value
	case depth == 3 && isDependencies(l.path[2]):
		e.requires = append(e.requires, l.key(key, value))
	}
}

// key is the key among "packages" that a name and what stands behind it lead to.
func (l *pnpm) key(name, value string) string {
	switch {
	case l.version >= 9:
		value = withoutPeers(value)
		if at := strings.LastIndexByte(value, '@'); at > 0 && !strings.Contains(value, ":") {
			return value // an alias
		}
		return name + "@" + value
	case strings.HasPrefix(value, "/") || strings.Contains(value, ":"):
		return value
	case l.version >= 6:
		return "/" + name + "@" + value
	}
	return "/" + name + "/" + value
}

func withoutPeers(s string) string {
	s, _, _ = strings.Cut(s, "(")
	return s
}

// split takes name and version from a key; both are empty if it's a path or URL that doesn't say them.
func (l *pnpm) split(key string) (name, version string) {
	key = withoutPeers(key)
	if strings.HasPrefix(key, "file:") || strings.HasPrefix(key, "link:") {
		return "", ""
	}
	if l.version >= 9 {
		name, version = npmDescriptor(key)
		return name, strings.TrimPrefix(version, "npm:")
	}
	slash := strings.IndexByte(key, '/') // before it stands the registry's host, if any
	rest := key[slash+1:]
	if l.version >= 6 {
		name, version = npmDescriptor(rest)
	} else if at := strings.LastIndexByte(rest, '/'); at >= 0 {
		name, version = rest[:at], rest[at+1:]
		version, _, _ = strings.Cut(version, "_")
	}
	if slash < 0 || version == "" || version[0] < '0' || version[0] > '9' || strings.Count(name, "/") > 1 || strings.Contains(name, "/") && name[0] != '@' {
		return "", ""
	}
	return name, version
}

func (l *pnpm) finish() {
	parts := newMerged()
	for _, id := range l.order {
		e := l.entries[id]
		p := finding.Package{Ecosystem: "npm", Dev: e.dev, Direct: l.asked[id]}
		p.Name, p.Version = l.split(id)
		if e.name != "" {
			p.Name = e.name
		}
		if e.version != "" {
			p.Version = e.version
		} else if strings.ContainsAny(p.Version, ":/") {
			p.Version = ""
		}
		if p.Name == "" {
			if !strings.HasPrefix(id, "file:") && !strings.HasPrefix(id, "link:") {
				l.bad(e.line, "a key that says no name: "+clip(id))
			}
			continue
		}
		for _, r := range e.requires {
			if name, _ := l.split(r); name != "" {
				p.Requires = append(p.Requires, name)
			}
		}
		parts.take(e.line, p)
	}
	parts.addTo(l.file)
}
