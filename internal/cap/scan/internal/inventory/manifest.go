package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/inventory/internal/toml"
	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// Manifest is what a manifest asks for that no lock file fixes.
type Manifest struct {
	// Packages are those of registries. One that is asked for by a range has no version.
	Packages  []finding.Package
	Elsewhere int // that come from a repository or an address
}

// ErrNoManifest says that a file isn't of a kind that ReadManifest reads.
var ErrNoManifest = errors.New("what it asks for isn't read")

// ReadManifest reads what a project asks for itself, by the file's name: package.json, Cargo.toml, pyproject.toml, Pipfile, composer.json. Folders of
// the same tree aren't parts. It takes at most 100,000 parts.
func ReadManifest(name string, data []byte) (Manifest, error) {
	m := &manifest{name: name}
	var err error
	switch path.Base(name) {
	case "package.json":
		err = m.json(data, "npm", []string{"dependencies", "optionalDependencies"}, []string{"devDependencies"})
	case "composer.json":
		err = m.json(data, "Packagist", []string{"require"}, []string{"require-dev"})
	case "Cargo.toml":
		err = m.cargo(data)
	case "pyproject.toml", "Pipfile":
		err = m.python(data)
	default:
		return Manifest{}, ErrNoManifest
	}
	return m.Manifest, err
}

// maxAsked are the parts of one manifest.
const maxAsked = 100_000

type manifest struct {
	Manifest
	name string
}

func (m *manifest) add(line int, p finding.Package) error {
	if p.Name == "" || len(m.Packages) == maxAsked {
		return fmt.Errorf("line %d: a part without a name, or more than %d of them", line, maxAsked)
	}
	p.Location, p.Direct = finding.Location{Path: m.name, Line: line}, true
	if u, ok := purl.Of(p, nil); ok {
		p.PURL = u.String()
	}
	m.Packages = append(m.Packages, p)
	return nil
}

// json reads objects of names and versions.
func (m *manifest) json(data []byte, ecosystem string, kinds, dev []string) error {
	r := readJSON(data)
	return r.object(func(key string) error {
		if !slices.Contains(kinds, key) && !slices.Contains(dev, key) {
			return r.skip()
		}
		return r.object(func(name string) error {
			var wanted string
			if err := r.Decode(&wanted); err != nil {
				return fmt.Errorf("line %d: %w", r.Line(), err)
			}
			p := finding.Package{Ecosystem: ecosystem, Name: name, Dev: slices.Contains(dev, key)}
			if ecosystem == "npm" {
				if alias, ok := strings.CutPrefix(wanted, "npm:"); ok {
					at := max(strings.LastIndexByte(alias, '@'), 0)
					if at == 0 {
						at = len(alias)
					}
					p.Name, wanted = alias[:at], strings.TrimPrefix(alias[at:], "@")
				}
				for _, local := range []string{"file:", "link:", "workspace:", "portal:", "./", "../", "/"} {
					if strings.HasPrefix(wanted, local) {
						return nil
					}
				}
				if strings.ContainsAny(wanted, ":/") {
					m.Elsewhere++
					return nil
				}
			} else if !strings.Contains(name, "/") {
				return nil // PHP itself, and its extensions
			}
			p.Version = exact(strings.TrimPrefix(wanted, "="))
			return m.add(r.Line(), p)
		})
	})
}

// exact is a version of three numbers or more, which as a requirement admits nothing else; "" for all others.
func exact(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "v")
	number, _, _ := strings.Cut(s, "+")
	number, _, _ = strings.Cut(number, "-")
	parts := strings.Split(number, ".")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return ""
		}
	}
	if len(parts) < 3 || strings.ContainsAny(s, " |,<>^~*@") {
		return ""
	}
	return s
}

// maxKey bounds the names of tables and keys in bytes.
const maxKey = 1000

// lift makes a table of its own of each that stands within another one, by a key with dots or inline ("dependencies.a = …", "tool = {poetry = …}").
// wanted tells a table's name by which it is asked for.
func lift(tables []toml.Table, wanted func(name string) bool) (out []toml.Table, err error) {
	for _, t := range tables {
		if len(t.Name) > maxKey {
			err = fmt.Errorf("line %d: a table's name is longer than %d bytes", t.Line, maxKey)
			continue
		}
		if wanted(t.Name) {
			out = append(out, t)
			continue
		}
		if above, name, ok := cutLast(t.Name); ok && wanted(above) { // "[packages.a]"
			out = append(out, toml.Table{Name: above, Line: t.Line, Values: map[string]any{name: t.Values}})
			continue
		}
		rest := toml.Table{Name: t.Name, Line: t.Line, Values: map[string]any{}}
		for _, key := range sortedKeys(t.Values) {
			inner, ok := within(t, key, wanted)
			if !ok {
				rest.Values[key] = t.Values[key]
				continue
			}
			more, wrong := lift([]toml.Table{inner}, wanted)
			out, err = append(out, more...), cmp.Or(err, wrong)
		}
		out = append(out, rest)
	}
	return out, err
}

func cutLast(name string) (before, after string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:], i >= 0
}

// within is the table that a key of another one opens.
func within(t toml.Table, key string, wanted func(name string) bool) (toml.Table, bool) {
	for i, c := range key[:min(len(key), maxKey)] {
		if c != '.' {
			continue
		}
		if above := strings.TrimPrefix(t.Name+"."+key[:i], "."); wanted(above) {
			return toml.Table{Name: above, Line: t.Line, Values: map[string]any{key[i+1:]: t.Values[key]}}, true
		}
	}
	inner, ok := t.Values[key].(map[string]any)
	if !ok && len(key) > maxKey { // its name is refused
		inner, ok = map[string]any{}, true
	}
	return toml.Table{Name: strings.TrimPrefix(t.Name+"."+key, "."), Line: t.Line, Values: inner}, ok
}

// crateKind is of which kind the dependencies of a table of Cargo.toml are, "" if it holds none, and the one whose table it is, if it is that.
func crateKind(table string) (kind, single string) {
	for _, k := range []string{"dependencies", "dev-dependencies", "build-dependencies"} {
		before, name, ok := strings.Cut("."+table, "."+k+".")
		switch {
		case ok && (before == "" || strings.HasPrefix(before, ".target.") || before == ".workspace"):
			return k, name
		case table == k || table == "workspace."+k || strings.HasPrefix(table, "target.") && strings.HasSuffix(table, "."+k):
			return k, ""
		}
	}
	return "", ""
}

// cargo reads Cargo.toml, where only "=1.2.3" is a version (https://doc.rust-lang.org/cargo/reference/specifying-dependencies.html).
func (m *manifest) cargo(data []byte) error {
	tables, err := toml.Read(data)
	tables, wrong := lift(tables, func(name string) bool { kind, _ := crateKind(name); return kind != "" })
	err = cmp.Or(err, wrong)
	for _, t := range tables {
		kind, single := crateKind(t.Name)
		if kind == "" {
			continue
		}
		asked := t.Values
		if single != "" {
			asked = map[string]any{single: t.Values}
		}
		err = cmp.Or(err, m.crates(t.Line, asked, kind != "dependencies"))
	}
	return err
}

func (m *manifest) crates(line int, asked map[string]any, dev bool) error {
	for _, name := range sortedKeys(asked) {
		p := finding.Package{Ecosystem: "crates.io", Name: name, Dev: dev}
		wanted, _ := asked[name].(string)
		if t, ok := asked[name].(map[string]any); ok {
			text := func(key string) string { s, _ := t[key].(string); return s }
			switch wanted = text("version"); {
			case text("git") != "":
				m.Elsewhere++
				continue
			case text("path") != "":
				continue
			}
			p.Name = cmp.Or(text("package"), name)
		} else if key, ok := strings.CutSuffix(name, ".version"); ok {
			p.Name = key
		} else if strings.Contains(name, ".") {
			if key, ok := strings.CutSuffix(name, ".workspace"); !ok {
				continue // "a.features": a.version stands beside it
			} else {
				p.Name = key
			}
		}
		if v, ok := strings.CutPrefix(strings.TrimSpace(wanted), "="); ok {
			p.Version = exact(v)
		}
		if err := m.add(line, p); err != nil {
			return err
		}
	}
	return nil
}

// python reads pyproject.toml, as PEP 621 and 735 and Poetry have it, and Pipfile.
func (m *manifest) python(data []byte) error {
	tables, err := toml.Read(data)
	tables, wrong := lift(tables, pythonTable)
	err = cmp.Or(err, wrong)
	for _, t := range tables {
		for _, key := range sortedKeys(t.Values) {
			dev := t.Name == "dependency-groups"
			if (t.Name == "project" && key == "dependencies" || t.Name == "" && key == "project.dependencies") || t.Name == "project.optional-dependencies" || dev {
				for _, text := range t.List(key) {
					text, _, _ = strings.Cut(text, ";")
					name, rest := pythonName(strings.TrimSpace(text))
					if strings.HasPrefix(rest, "@") {
						m.Elsewhere++
						continue
					}
					err = cmp.Or(err, m.add(t.Line, finding.Package{Ecosystem: "PyPI", Name: purl.PythonName(name), Version: pinned(rest), Dev: dev}))
				}
				continue
			}
			poetry := ofPoetry(t.Name)
			if !poetry && t.Name != "packages" && t.Name != "dev-packages" || key == "python" {
				continue
			}
			wanted, _ := t.Values[key].(string)
			name, _ := strings.CutSuffix(key, ".version")
			if inline, ok := t.Values[key].(map[string]any); ok {
				if inline["path"] != nil || inline["git"] != nil || inline["url"] != nil || inline["file"] != nil {
					if inline["path"] == nil {
						m.Elsewhere++
					}
					continue
				}
				wanted, _ = inline["version"].(string)
			}
			p := finding.Package{Ecosystem: "PyPI", Name: purl.PythonName(name), Version: pinned(wanted), Dev: t.Name != "tool.poetry.dependencies" && t.Name != "packages"}
			if poetry {
				p.Version = cmp.Or(p.Version, exact(wanted))
			}
			err = cmp.Or(err, m.add(t.Line, p))
		}
	}
	return err
}

// pythonTable tells a table whose keys, but for their lists, are names.
func pythonTable(name string) bool {
	return ofPoetry(name) || slices.Contains([]string{"project.optional-dependencies", "dependency-groups", "packages", "dev-packages"}, name)
}

func ofPoetry(table string) bool {
	return table == "tool.poetry.dependencies" || table == "tool.poetry.dev-dependencies" || strings.HasPrefix(table, "tool.poetry.group.") && strings.HasSuffix(table, ".dependencies")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
