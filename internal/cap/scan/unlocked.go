package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/inventory"
	"github.com/wardhq/ward/internal/finding"
)

// locks are for each manifest the lock files that fix what it asks for, beside it or in a folder above.
func locks() map[string][]string {
	python := []string{"poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "pylock.toml"}
	return map[string][]string{
		"package.json": {"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"}, "pyproject.toml": python, "Pipfile": python, "requirements.in": python, "setup.cfg": python,
		"Gemfile": {"Gemfile.lock"}, "Cargo.toml": {"Cargo.lock"}, "composer.json": {"composer.lock"}, "build.gradle": {"gradle.lockfile"}, "build.gradle.kts": {"gradle.lockfile"},
	}
}

// maxManifest bounds what is read of a manifest, in bytes.
const maxManifest = 1 << 20

// unlocked gives what manifests ask for whose versions nothing fixes, and notes them: what those parts bring along isn't known.
func (s *scanner) unlocked(ctx context.Context) (out []finding.Package, err error) {
	manifests, have := []string{}, map[string]bool{}
	known := locks()
	err = fs.WalkDir(s.tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil //nolint:nilerr // the inventory has told of it
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "vendor" || name != "." && s.skip(name)):
			return fs.SkipDir
		case known[d.Name()] != nil && !s.skip(name):
			manifests = append(manifests, name)
		}
		have[name] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		if !s.locked(m, known[path.Base(m)], have) {
			out = append(out, s.asked(m, strings.Join(known[path.Base(m)], ", "))...)
		}
	}
	return out, nil
}

// asked reads a manifest that no lock file stands beside.
func (s *scanner) asked(name, locks string) []finding.Package {
	b, err := readSmall(s.tree, name)
	var m inventory.Manifest
	if err == nil {
		m, err = inventory.ReadManifest(name, b)
	}
	switch {
	case errors.Is(err, inventory.ErrNoManifest) && !asks(name, b):
	case errors.Is(err, inventory.ErrNoManifest):
		s.note(name, fmt.Sprintf("it asks for parts, and no lock file fixes their versions (%s): nothing is known of them", locks))
	case err != nil:
		s.problem(name, "what it asks for can't be read, and no lock file says it: "+err.Error())
	case len(m.Packages) > 0:
		s.note(name, fmt.Sprintf("no lock file fixes the versions of what it asks for (%s): what those parts bring along isn't known", locks))
	}
	if m.Elsewhere > 0 {
		s.note(name, fmt.Sprintf("it asks for %d parts from repositories or addresses, of which nothing is known", m.Elsewhere))
	}
	return m.Packages
}

func readSmall(tree fs.FS, name string) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("larger than %d MiB", maxManifest>>20)
	}
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), err
}

func (s *scanner) locked(manifest string, names []string, have map[string]bool) bool {
	for dir := path.Dir(manifest); ; dir = path.Dir(dir) {
		if slices.ContainsFunc(names, func(n string) bool { return have[path.Join(dir, n)] }) {
			return true
		}
		if dir == "." || dir == "/" {
			return false
		}
	}
}

// asks tells whether a manifest of a kind that isn't read may ask for parts.
func asks(name string, b []byte) bool {
	if path.Base(name) == "setup.cfg" {
		return bytes.Contains(b, []byte("install_requires"))
	}
	return len(bytes.TrimSpace(b)) > 0
}
