package callgraph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

const (
	maxText  = 8 << 20 // bytes of one file; larger ones leave everything unknown
	maxFiles = 500_000
	maxLock  = 64 << 20
)

// Unused are the direct npm dependencies that nothing in the tree names.
type Unused struct {
	locks map[string]map[string]bool // by package-lock.json: names
}

// Imports looks for direct dependencies of package-lock.json files (version 2 or 3) that nothing uses: no file of the tree names them or their commands, whether in
// an import, a script or a setting, no other package asks for them, and nothing runs when they are installed. Code that loads what a variable names leaves
// everything unknown. Nothing is said of other ecosystems: Python's distributions import under other names than their own, and load each other unnamed.
func Imports(ctx context.Context, fsys fs.FS, locks []string) (Unused, error) {
	candidates := map[string]map[string][]string{} // by lock file and name: the words that would be a use
	words := map[string]bool{}                     // and whether each was found
	for _, l := range locks {
		direct, err := readLock(fsys, l)
		if err != nil {
			continue // the inventory tells of it; here it means unknown
		}
		candidates[l] = direct
		for _, uses := range direct {
			for _, u := range uses {
				words[u] = false
			}
		}
	}
	if len(words) == 0 {
		return Unused{}, nil
	}
	whole, err := mentions(ctx, fsys, words)
	if err != nil {
		return Unused{}, fmt.Errorf("look for imports: %w", err)
	}
	out := Unused{locks: map[string]map[string]bool{}}
	if !whole {
		return out, nil
	}
	for l, direct := range candidates {
		out.locks[l] = map[string]bool{}
		for name, uses := range direct {
			out.locks[l][name] = !slices.ContainsFunc(uses, func(u string) bool { return words[u] })
		}
	}
	return out, nil
}

// Mark says of findings about unused packages that they aren't called, and leaves the others as they are.
func (u Unused) Mark(findings []finding.Finding) {
	for i := range findings {
		f := &findings[i]
		if f.Kind == finding.Dependency && f.Package != nil && f.Package.Ecosystem == "npm" && f.Package.Direct && u.locks[f.Location.Path][f.Package.Name] {
			f.Called = finding.NotCalled
		}
	}
}

// lockEntry is one package of a lock file (https://docs.npmjs.com/cli/configuring-npm/package-lock-json).
type lockEntry struct {
	Dependencies         map[string]string `json:"dependencies"`
	DevDependencies      map[string]string `json:"devDependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	PeerDependencies     map[string]string `json:"peerDependencies"`
	Bin                  json.RawMessage   `json:"bin"`
	Script               bool              `json:"hasInstallScript"`
}

// readLock are the direct dependencies that no other package asks for, and the words that would be a use of each.
func readLock(fsys fs.FS, name string) (map[string][]string, error) {
	b, err := readFile(fsys, name, maxLock)
	if err != nil {
		return nil, err
	}
	var lock struct {
		Packages map[string]lockEntry `json:"packages"`
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for at, e := range lock.Packages {
		if strings.Contains(at, "node_modules/") {
			continue // the project itself and its workspaces ask directly
		}
		for _, set := range []map[string]string{e.Dependencies, e.DevDependencies, e.OptionalDependencies, e.PeerDependencies} {
			for n := range set {
				out[n] = []string{n}
			}
		}
	}
	for at, e := range lock.Packages {
		i := strings.LastIndex(at, "node_modules/")
		if i < 0 {
			continue
		}
		name := at[i+len("node_modules/"):]
		if slices.Contains([]string{"load-grunt-tasks", "gulp-load-plugins", "matchdep", "jit-grunt", "prettier"}, name) {
			return nil, errors.New("a package loads others by a pattern of names")
		}
		for _, set := range []map[string]string{e.Dependencies, e.OptionalDependencies, e.PeerDependencies} {
			for n := range set {
				delete(out, n)
			}
		}
		if e.Script {
			delete(out, name)
		}
		if uses, ok := out[name]; ok && len(e.Bin) > 0 {
			var commands map[string]string
			if json.Unmarshal(e.Bin, &commands) != nil {
				commands = map[string]string{path.Base(name): ""}
			}
			for c := range commands {
				uses = append(uses, c)
			}
			out[name] = uses
		}
	}
	return out, nil
}

// word is what names of packages and commands are made of.
func word(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@._/-~", r)
}

// mentions notes which words stand in the tree's files, lock files and installed packages aside. whole is false if some can't be read, load
// what a variable names, or lie elsewhere: behind a link that leads out, or all of them.
func mentions(ctx context.Context, fsys fs.FS, words map[string]bool) (whole bool, err error) {
	whole = true
	code := false
	variable := regexp.MustCompile(`\b(?:require|import|requireActual|resolve)\s*\(\s*[^'"\s)]`)
	files := 0
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if files++; err != nil || files > maxFiles {
			whole = false
			return fs.SkipAll
		}
		base := path.Base(name)
		if d.IsDir() {
			if base == "node_modules" || base == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if _, err := fs.Stat(fsys, name); err != nil { // code that lies outside of the tree
				whole = false
				return fs.SkipAll
			}
		}
		if !d.Type().IsRegular() || slices.Contains([]string{"package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"}, base) {
			return nil
		}
		b, err := readFile(fsys, name, maxText)
		if err != nil {
			whole = false
			return fs.SkipAll
		}
		text := string(b)
		if base == "package.json" {
			if text, err = manifest(b); err != nil {
				whole = false
				return fs.SkipAll
			}
		}
		if slices.Contains([]string{".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx", ".vue", ".svelte"}, path.Ext(base)) {
			code = true
			if variable.MatchString(text) {
				whole = false
				return fs.SkipAll
			}
		}
		note(text, words)
		return nil
	})
	return whole && code, err
}

// note marks the words of a text: "./node_modules/lodash/fp" and "lodash@4" name lodash.
func note(text string, words map[string]bool) {
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool { return !word(r) }) {
		parts := strings.Split(strings.Trim(w, ".~-"), "/")
		for i, p := range parts {
			p = unversioned(p)
			mark(words, p)
			if i > 0 {
				mark(words, parts[i-1]+"/"+p)
			}
		}
	}
}

func mark(words map[string]bool, w string) {
	if _, ok := words[w]; ok {
		words[w] = true
	}
}

// unversioned cuts "@4" off; a scope begins with "@".
func unversioned(name string) string {
	if i := strings.LastIndexByte(name, '@'); i > 0 {
		return name[:i]
	}
	return name
}

// manifest is a package.json without its lists of dependencies.
func manifest(b []byte) (string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return "", err
	}
	for _, key := range []string{"dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta"} {
		delete(all, key)
	}
	out, err := json.Marshal(all)
	return string(out), err
}

func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return b, err
}
