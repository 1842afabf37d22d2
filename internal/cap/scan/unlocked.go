package scan

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// locks are for each manifest the lock files that fix what it asks for, beside it or in a folder above.
func locks() map[string][]string {
	python := []string{"poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "pylock.toml"}
	return map[string][]string{
		"package.json": {"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"}, "pyproject.toml": python, "Pipfile": python, "requirements.in": python, "setup.cfg": python,
		"Gemfile": {"Gemfile.lock"}, "Cargo.toml": {"Cargo.lock"}, "composer.json": {"composer.lock"}, "build.gradle": {"gradle.lockfile"}, "build.gradle.kts": {"gradle.lockfile"},
	}
}

// maxManifest bounds what is read of a manifest to see whether it asks for anything, in bytes.
const maxManifest = 1 << 20

// unlocked notes the manifests that ask for parts whose versions nothing fixes: nothing can be known of those.
func (s *scanner) unlocked(ctx context.Context) error {
	manifests, have := []string{}, map[string]bool{}
	known := locks()
	err := fs.WalkDir(s.tree, ".", func(name string, d fs.DirEntry, err error) error {
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
		return err
	}
	for _, m := range manifests {
		if s.locked(m, known[path.Base(m)], have) || !s.asks(m) {
			continue
		}
		s.note(m, fmt.Sprintf("it asks for parts, and no lock file fixes their versions (%s): nothing is known of them", strings.Join(known[path.Base(m)], ", ")))
	}
	return nil
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

// asks tells whether a manifest may ask for parts; one that can't be read may.
func (s *scanner) asks(manifest string) bool {
	b, err := fs.ReadFile(s.tree, manifest)
	if err != nil || len(b) > maxManifest {
		return true
	}
	switch path.Base(manifest) {
	case "package.json", "pyproject.toml", "Cargo.toml":
		return bytes.Contains(b, []byte("ependencies"))
	case "composer.json":
		return bytes.Contains(b, []byte(`"require`))
	case "setup.cfg":
		return bytes.Contains(b, []byte("install_requires"))
	}
	return len(bytes.TrimSpace(b)) > 0
}
