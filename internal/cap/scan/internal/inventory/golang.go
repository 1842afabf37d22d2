package inventory

import (
	"bytes"
	"fmt"
	"go/version"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/wardhq/ward/internal/finding"
)

const maxGoMod = 512 << 10 // modfile takes a second and more for a hostile megabyte

// goMod reads go.mod: what it requires, after its replacements, and the toolchain's standard library. The go directive is only a lower bound
// and names no version that anything is built with. Before Go 1.17 the indirect requirements stand in go.sum alone.
func goMod(f *file) error {
	if len(f.data) > maxGoMod {
		return tooLarge(maxGoMod)
	}
	m, err := modfile.ParseLax(f.path, f.data, nil)
	if err != nil {
		return fmt.Errorf("read go.mod: %w", err)
	}
	// Lax leaves out replacements; they matter, and a go.mod that only fails elsewhere still counts.
	full, err := modfile.Parse(f.path, f.data, nil)
	if err != nil {
		f.bad(0, "read go.mod whole, replacements left out: "+err.Error())
		full = m
	}
	named := map[string]bool{}
	for _, r := range m.Require {
		named[r.Mod.Path] = true
		mod, line := r.Mod, r.Syntax.Start.Line
		if to := replacement(full.Replace, mod); to != nil {
			if modfile.IsDirectoryPath(to.New.Path) {
				continue // its own go.mod speaks for it
			}
			mod, line = to.New, to.Syntax.Start.Line
		}
		f.add(line, finding.Package{Ecosystem: "Go", Name: mod.Path, Version: mod.Version, Direct: !r.Indirect})
	}
	if full.Toolchain != nil {
		name, _, _ := strings.Cut(full.Toolchain.Name, "-")
		if v, ok := strings.CutPrefix(name, "go"); ok && version.IsValid(name) {
			f.add(full.Toolchain.Syntax.Start.Line, finding.Package{Ecosystem: "Go", Name: "stdlib", Version: v, Direct: true})
		}
	}
	if m.Go != nil && version.Compare("go"+m.Go.Version, "go1.17") < 0 {
		return goSum(f, named)
	}
	return nil
}

// replacement is the replace directive that holds for a module; one for the very version goes first.
func replacement(all []*modfile.Replace, mod module.Version) *modfile.Replace {
	var found *modfile.Replace
	for _, r := range all {
		if r.Old == mod {
			return r
		}
		if r.Old.Path == mod.Path && r.Old.Version == "" {
			found = r
		}
	}
	return found
}

// goSum adds the modules of the go.sum beside f whose code was downloaded, except the named ones.
func goSum(f *file, named map[string]bool) error {
	name := path.Join(path.Dir(f.path), "go.sum")
	data, err := f.load(name, f.lim.text)
	if err != nil {
		return fmt.Errorf("before Go 1.17 the indirect requirements stand in go.sum: %s", plain(err))
	}
	f.out.Files = append(f.out.Files, name)
	for i, line := range bytes.Split(data, []byte("\n")) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			f.problem(name, i+1, "not a line of go.sum: module, version, hash")
			continue
		}
		if !named[fields[0]] && !strings.HasSuffix(fields[1], "/go.mod") {
			f.addAt(name, i+1, finding.Package{Ecosystem: "Go", Name: fields[0], Version: fields[1]}, nil)
		}
	}
	return nil
}

// goWork reads go.work: its replacements count for all modules that it uses, and stand there with their versions.
func goWork(f *file) error {
	if len(f.data) > maxGoMod {
		return tooLarge(maxGoMod)
	}
	m, err := modfile.ParseWork(f.path, f.data, nil)
	if err != nil {
		return fmt.Errorf("read go.work: %w", err)
	}
	for _, r := range m.Replace {
		if !modfile.IsDirectoryPath(r.New.Path) {
			f.add(r.Syntax.Start.Line, finding.Package{Ecosystem: "Go", Name: r.New.Path, Version: r.New.Version})
		}
	}
	if m.Toolchain != nil {
		name, _, _ := strings.Cut(m.Toolchain.Name, "-")
		if v, ok := strings.CutPrefix(name, "go"); ok && version.IsValid(name) {
			f.add(m.Toolchain.Syntax.Start.Line, finding.Package{Ecosystem: "Go", Name: "stdlib", Version: v, Direct: true})
		}
	}
	return nil
}

// sorted are the keys of a set.
func sorted[V any](set map[string]V) []string {
	if len(set) == 0 {
		return nil
	}
	keys := make([]string, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
