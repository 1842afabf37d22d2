package inventory

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/inventory/internal/toml"
	"github.com/wardhq/ward/internal/finding"
)

// cargoLock reads Cargo.lock. What a package without a source (a member of the workspace) asks for is direct.
func cargoLock(f *file) error {
	direct := map[string]bool{}
	err := tomlParts(f, "crates.io", func(t toml.Table, p *finding.Package) {
		for _, d := range t.List("dependencies") {
			name, _, _ := strings.Cut(d, " ")
			p.Requires = append(p.Requires, name)
			if t.Text("source") == "" {
				direct[name] = true
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

// gemfileLock reads Gemfile.lock: sections with specs, and below DEPENDENCIES what the project asks for.
func gemfileLock(f *file) error {
	parts, direct := newMerged(), map[string]bool{}
	section := ""
	err := indented(f.data, func(line, spaces int, text string) error {
		name, rest, _ := strings.Cut(text, " ")
		specs := section == "GEM" || section == "GIT" || section == "PATH" || section == "PLUGIN SOURCE"
		switch {
		case spaces == 0:
			section = text
			if strings.ToUpper(text) != text {
				return fmt.Errorf("line %d: not the name of a section", line)
			}
		case section == "DEPENDENCIES" && spaces == 2:
			direct[strings.TrimSuffix(name, "!")] = true
		case specs && spaces == 4:
			version, ok := strings.CutSuffix(strings.TrimPrefix(rest, "("), ")")
			if !ok || strings.Contains(version, "(") {
				f.bad(line, "a gem without a version: "+clip(text))
				version = ""
			}
			version, _, _ = strings.Cut(version, "-") // what follows is the platform
			parts.take(line, finding.Package{Ecosystem: "RubyGems", Name: name, Version: version})
		case specs && spaces == 6 && len(parts.parts) > 0:
			last := &parts.parts[len(parts.parts)-1]
			last.Requires = append(last.Requires, strings.TrimSuffix(name, "!"))
		}
		return nil
	})
	for i := range parts.parts {
		parts.parts[i].Direct = direct[parts.parts[i].Name]
	}
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read Gemfile.lock: %w", err)
	}
	return nil
}

// composerLock reads composer.lock; composer.json beside it says what is direct.
func composerLock(f *file) error {
	direct := map[string]bool{}
	if data, err := f.load(path.Join(path.Dir(f.path), "composer.json"), f.lim.text); err == nil {
		var asks struct {
			Require    npmNames `json:"require"`
			RequireDev npmNames `json:"require-dev"`
		}
		if err := json.Unmarshal(data, &asks); err != nil {
			f.bad(0, "read composer.json: "+err.Error())
		}
		for _, n := range append(asks.Require, asks.RequireDev...) {
			direct[strings.ToLower(n)] = true
		}
	}
	r := readJSON(f.data)
	err := r.object(func(section string) error {
		if section != "packages" && section != "packages-dev" {
			return r.skip()
		}
		return r.array(func() error {
			line := r.NextLine()
			var e struct {
				Name, Version string
				License       []string
				Require       npmNames
			}
			if err := r.Decode(&e); err != nil {
				return err
			}
			p := finding.Package{Ecosystem: "Packagist", Name: strings.ToLower(e.Name), Version: e.Version, Licenses: e.License, Dev: section == "packages-dev"}
			p.Direct = direct[p.Name]
			for _, n := range e.Require {
				if strings.Contains(n, "/") { // the others are PHP and its extensions
					p.Requires = append(p.Requires, n)
				}
			}
			if p.Name == "" || p.Version == "" {
				f.bad(line, "a package without a name or version")
				return nil
			}
			f.add(line, p)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read composer.lock: %w", err)
	}
	return nil
}

// nugetLock reads NuGet's packages.lock.json.
func nugetLock(f *file) error {
	r := readJSON(f.data)
	parts := newMerged()
	err := r.object(func(key string) error {
		if key != "dependencies" {
			return r.skip()
		}
		return r.object(func(string) error { // by target framework
			return r.object(func(name string) error {
				line := r.Line()
				var e struct {
					Type, Resolved string
					Dependencies   npmNames
				}
				if err := r.Decode(&e); err != nil {
					return err
				}
				if e.Type == "Project" {
					return nil
				}
				parts.take(line, finding.Package{Ecosystem: "NuGet", Name: name, Version: e.Resolved, Direct: e.Type == "Direct", Requires: e.Dependencies})
				return nil
			})
		})
	})
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read packages.lock.json: %w", err)
	}
	return nil
}

// depsJSON reads *.deps.json, which the .NET host reads beside a program.
func depsJSON(f *file) error {
	r := readJSON(f.data)
	parts := newMerged()
	err := r.object(func(key string) error {
		if key != "libraries" {
			return r.skip()
		}
		return r.object(func(id string) error {
			line := r.Line()
			var e struct{ Type string }
			if err := r.Decode(&e); err != nil {
				return err
			}
			if !strings.EqualFold(e.Type, "package") && !strings.HasPrefix(e.Type, "runtimepack") {
				return nil
			}
			name, version, ok := strings.Cut(id, "/")
			if !ok || name == "" || version == "" {
				f.bad(line, "a library without a name or version: "+clip(id))
				return nil
			}
			parts.take(line, finding.Package{Ecosystem: "NuGet", Name: strings.TrimPrefix(name, "runtimepack."), Version: version})
			return nil
		})
	})
	parts.addTo(f)
	if err != nil {
		return fmt.Errorf("read deps.json: %w", err)
	}
	return nil
}

// gradleLock reads gradle.lockfile: "group:artifact:version=configuration,…".
func gradleLock(f *file) error {
	n := 0
	for line := range strings.Lines(string(f.data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "empty=") {
			continue
		}
		id, configurations, _ := strings.Cut(line, "=")
		parts := strings.Split(id, ":")
		if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
			f.bad(n, "not group:artifact:version: "+clip(line))
			continue
		}
		dev := configurations != ""
		for c := range strings.SplitSeq(configurations, ",") {
			dev = dev && strings.HasPrefix(c, "test")
		}
		f.add(n, finding.Package{Ecosystem: "Maven", Name: parts[0] + ":" + parts[1], Version: parts[2], Dev: dev})
	}
	return nil
}
