package trial

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// harmless are settings of .npmrc that decide what is resolved, and name nothing that is run or asked
// (https://docs.npmjs.com/cli/using-npm/config, https://pnpm.io/settings).
func harmless(key string) bool {
	return slices.Contains([]string{
		"legacy-peer-deps", "strict-peer-deps", "engine-strict", "install-strategy", "prefer-dedupe", "lockfile-version", "save-exact", "save-prefix", "install-links",
		"auto-install-peers", "strict-peer-dependencies", "hoist", "shamefully-hoist", "node-linker", "resolution-mode", "dedupe-peer-dependents",
		"resolve-peers-from-workspace-root", "link-workspace-packages", "save-workspace-protocol", "prefer-workspace-packages", "public-hoist-pattern[]", "hoist-pattern[]",
	}, key)
}

// settle leaves in the .npmrc of the project, and of the folders above it in its tree, only what is harmless: fetching has a way out, and a repository could name
// programs to run there, other files of settings, or whom to trust.
func (a *attempt) settle() error {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return fmt.Errorf("look at settings: %w", err)
	}
	defer root.Close()
	for dir := a.config.Dir; ; dir = path.Dir(dir) {
		if err := settleFile(root, path.Join(dir, ".npmrc")); err != nil {
			return fmt.Errorf("look at settings: %w", err)
		}
		if dir == "." {
			return nil
		}
	}
}

// without refuses projects with files of these names, which tools look for in the project's folder and in all above it. A link that leads out of the tree, which
// is in another place inside, is no absence.
func (a *attempt) without(names ...string) error {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return fmt.Errorf("look at settings: %w", err)
	}
	defer root.Close()
	for dir := a.config.Dir; ; dir = path.Dir(dir) {
		for _, name := range names {
			if _, err := root.Lstat(path.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				return fault.New(fault.Unsupported, "projects with a "+name+" can't be tried yet")
			}
		}
		if dir == "." {
			return nil
		}
	}
}

func settleFile(root *os.Root, name string) error {
	st, err := root.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept strings.Builder
	if st.Mode().IsRegular() && st.Size() <= maxManifest {
		b, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.FieldsFuncSeq(string(b), func(r rune) bool { return r == '\r' || r == '\n' }) { // both end a line, to npm
			key, value, _ := strings.Cut(line, "=")
			if key, value = strings.TrimSpace(key), strings.TrimSpace(value); harmless(key) && !strings.Contains(value, "$") {
				kept.WriteString(key + "=" + value + "\n")
			}
		}
	}
	if err := root.RemoveAll(name); err != nil {
		return err
	}
	return root.WriteFile(name, []byte(kept.String()), 0o644)
}
