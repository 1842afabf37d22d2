package inventory

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/inventory/internal/toml"
	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// requirements reads pip's requirements files and follows their -r and -c. Only "==" and "===" pin a version.
func requirements(f *file) error {
	var text strings.Builder // a logical line, which backslashes continue
	n, start := 0, 0
	flush := func() {
		requirement(f, start, strings.TrimSpace(text.String()))
		text.Reset()
	}
	for line := range strings.Lines(string(f.data)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if text.Len() == 0 {
			start = n
		}
		if i := strings.Index(line, "#"); i == 0 || i > 0 && (line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
		}
		part, more := strings.CutSuffix(line, `\`)
		text.WriteString(part + " ")
		if !more {
			flush()
		}
	}
	flush()
	return nil
}

// requirement reads one logical line.
func requirement(f *file, line int, text string) {
	if text == "" {
		return
	}
	for _, flag := range []string{"--requirement", "--constraint", "-r", "-c"} {
		if rest, ok := strings.CutPrefix(text, flag); ok && (rest == "" || strings.ContainsAny(rest[:1], " =\t") || len(flag) == 2) {
			include(f, line, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "=")))
			return
		}
	}
	if rest, ok := strings.CutPrefix(text, "-e "); ok {
		text = strings.TrimSpace(rest)
	} else if rest, ok := strings.CutPrefix(text, "--editable"); ok {
		text = strings.Trim(rest, " =")
	}
	if strings.HasPrefix(text, "-") {
		return // other options choose indexes and formats
	}
	text, _, _ = strings.Cut(text, " --")
	if _, egg, ok := strings.Cut(text, "#egg="); ok && strings.Contains(text, "://") {
		name, _, _ := strings.Cut(egg, "&")
		text = name
	}
	text, _, _ = strings.Cut(text, ";")
	name, rest := pythonName(text)
	if name == "" || strings.HasPrefix(rest, "://") || strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "+") || name == text && strings.HasSuffix(name, ".whl") {
		if !strings.HasPrefix(text, ".") && !strings.HasPrefix(text, "/") {
			f.bad(line, "a requirement that names no package: "+clip(text))
		}
		return
	}
	f.add(line, finding.Package{Ecosystem: "PyPI", Name: purl.PythonName(name), Version: pinned(rest), Direct: true})
}

// include reads another requirements file, once.
func include(f *file, line int, name string) {
	name = path.Join(path.Dir(f.path), name)
	if strings.HasPrefix(name, "../") || name == ".." || strings.Contains(name, "://") || f.seen[name] || f.skip(name) {
		if !f.seen[name] && !f.skip(name) {
			f.bad(line, "names a requirements file outside of the tree")
		}
		return
	}
	f.extract(name, requirements)
}

// pythonName cuts a project's name (PEP 508) and its extras from the front of a requirement.
func pythonName(text string) (name, rest string) {
	end := 0
	for end < len(text) && (isAlnum(text[end]) || strings.IndexByte("-_.", text[end]) >= 0) {
		end++
	}
	name, rest = text[:end], strings.TrimSpace(text[end:])
	if strings.HasPrefix(rest, "[") {
		if _, after, ok := strings.Cut(rest, "]"); ok {
			rest = strings.TrimSpace(after)
		}
	}
	return name, strings.Trim(rest, "() ")
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// pinned is the one version that a specifier (PEP 440) admits, or "".
func pinned(specifier string) string {
	version, ok := strings.CutPrefix(specifier, "==")
	version = strings.TrimSpace(strings.TrimPrefix(version, "="))
	if !ok || strings.ContainsAny(version, "*, <>!~=@$") {
		return ""
	}
	return version
}

func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// poetryLock reads poetry.lock, which calls the groups of a part "category" (version 1) or "groups" (2.1).
func poetryLock(f *file) error {
	return tomlParts(f, "PyPI", func(t toml.Table, p *finding.Package) {
		p.Name = purl.PythonName(p.Name)
		groups := t.List("groups")
		p.Dev = t.Text("category") == "dev" || len(groups) > 0 && !slices.Contains(groups, "main")
	})
}

// pdmLock reads pdm.lock.
func pdmLock(f *file) error {
	return tomlParts(f, "PyPI", func(t toml.Table, p *finding.Package) {
		p.Name = purl.PythonName(p.Name)
		groups := t.List("groups")
		p.Dev = len(groups) > 0 && !slices.Contains(groups, "default")
		for _, d := range t.List("dependencies") {
			name, _ := pythonName(d)
			p.Requires = append(p.Requires, purl.PythonName(name))
		}
	})
}

// uvLock reads uv.lock. The project itself stands in it, and names what it asks for.
func uvLock(f *file) error {
	direct := map[string]bool{}
	err := tomlParts(f, "PyPI", func(t toml.Table, p *finding.Package) {
		p.Name = purl.PythonName(p.Name)
		for _, list := range []string{"dependencies"} {
			items, _ := t.Values[list].([]any)
			for _, i := range items {
				if m, ok := i.(map[string]any); ok {
					name, _ := m["name"].(string)
					p.Requires = append(p.Requires, purl.PythonName(name))
				}
			}
		}
		source, _ := t.Values["source"].(map[string]any)
		for _, own := range []string{"virtual", "editable"} {
			if _, ok := source[own]; ok {
				for _, r := range p.Requires {
					direct[r] = true
				}
				p.Name = "" // the project
			}
		}
	})
	for i := range f.out.Packages {
		if p := &f.out.Packages[i]; p.Location.Path == f.path {
			p.Direct = direct[p.Name]
		}
	}
	return err
}

// tomlParts reads a lock file of [[package]] tables with name and version. complete may say more of a part, and leaves it out by
// taking its name away.
func tomlParts(f *file, ecosystem string, complete func(toml.Table, *finding.Package)) error {
	tables, err := toml.Read(f.data)
	var p finding.Package
	line := 0
	flush := func() {
		if line > 0 && p.Name != "" {
			f.add(line, p)
		}
		line = 0
	}
	for _, t := range tables {
		switch t.Name {
		case "package":
			flush()
			p, line = finding.Package{Ecosystem: ecosystem, Name: t.Text("name"), Version: t.Text("version")}, t.Line
			if p.Name == "" || p.Version == "" {
				f.bad(line, "a package without a name or version")
			}
			complete(t, &p)
		case "package.dependencies": // poetry
			names := sorted(t.Values)
			for _, n := range names {
				p.Requires = append(p.Requires, purl.PythonName(n))
			}
		}
	}
	flush()
	if err != nil {
		return fmt.Errorf("read TOML: %w", err)
	}
	return nil
}

// pipfileLock reads Pipfile.lock.
func pipfileLock(f *file) error {
	r := readJSON(f.data)
	parts := newMerged()
	err := r.object(func(section string) error {
		if section != "default" && section != "develop" {
			return r.skip()
		}
		return r.object(func(name string) error {
			line := r.Line()
			var e struct{ Version string }
			if err := r.Decode(&e); err != nil {
				return err
			}
			parts.take(line, finding.Package{Ecosystem: "PyPI", Name: purl.PythonName(name), Version: pinned(e.Version), Dev: section == "develop"})
			return nil
		})
	})
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read Pipfile.lock: %w", err)
	}
	return nil
}

// pythonMetadata reads METADATA or PKG-INFO of an installed distribution (the core metadata of PyPA).
func pythonMetadata(f *file) error {
	p := finding.Package{Ecosystem: "PyPI"}
	for line := range strings.Lines(string(f.data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break // the description follows
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key = strings.ToLower(key); {
		case key == "name" && p.Name == "":
			p.Name = purl.PythonName(value)
		case key == "version" && p.Version == "":
			p.Version = value
		case key == "license-expression":
			p.Licenses = []string{value}
		case key == "requires-dist":
			name, _ := pythonName(value)
			if n := purl.PythonName(name); !slices.Contains(p.Requires, n) && !strings.Contains(value, "extra ==") {
				p.Requires = append(p.Requires, n)
			}
		}
	}
	if p.Name == "" || p.Version == "" {
		return errors.New("its metadata has no name or version")
	}
	f.add(0, p)
	return nil
}
