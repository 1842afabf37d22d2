package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
)

// The public registry, and the name that yarn has for it.
const (
	publicNPM  = "https://registry.npmjs.org"
	publicYarn = "https://registry.yarnpkg.com"
)

func public(registry string) bool {
	r := strings.TrimRight(registry, "/")
	return r == publicNPM || r == publicYarn
}

// maxSettings bounds a file of settings.
const maxSettings = 1 << 20

// look reads which registries a project's own files name that its user doesn't: those of its folder, and of all above it in its tree, for yarn reads them all, and
// npm and pnpm those of a workspace.
func (e *NPMEnv) look(tree, dir string) error {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return fmt.Errorf("read the project's settings: %w", err)
	}
	defer root.Close()
	e.Foreign = map[string]string{}
	for dir = path.Clean(dir); ; dir = path.Dir(dir) {
		for _, name := range []string{".npmrc", ".yarnrc", "pnpm-workspace.yaml"} {
			b, err := settings(root, path.Join(dir, name))
			if err != nil {
				return fault.Wrap(fault.Invalid, "the project's "+name+" can't be read", err)
			}
			e.names(string(b))
		}
		if dir == "." {
			return nil
		}
	}
}

// settings is a file's text, "" if it isn't there.
func settings(root *os.Root, name string) ([]byte, error) {
	st, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxSettings) {
		err = errors.New("it isn't an ordinary file of bearable size")
	}
	if err != nil {
		return nil, err
	}
	return root.ReadFile(name)
}

// names notes the registries of lines such as "@scope:registry=URL", in the words of npm, yarn or pnpm. What speaks of registries otherwise counts for
// all parts.
func (e *NPMEnv) names(text string) {
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' }) { // both end a line, to npm
		line = strings.TrimSpace(line)
		if line == "" || strings.ContainsAny(line[:1], "#;") {
			continue
		}
		unquote := func(s string) string { return strings.Trim(strings.TrimSpace(s), `"'`) }
		key, value := unquote(line), ""
		if i := strings.IndexAny(line, "= \t"); i >= 0 {
			key, value = unquote(line[:i]), unquote(strings.TrimLeft(line[i:], "= \t"))
		}
		if !strings.Contains(strings.ToLower(key), "registr") || key == "replace-registry-host" || strings.HasPrefix(key, "//") {
			continue
		}
		scope, ok := strings.CutSuffix(key, ":registry")
		if !ok || !strings.HasPrefix(scope, "@") {
			scope = ""
		}
		own := e.Registry
		if s := e.Scopes[scope]; s != "" {
			own = s
		}
		if key != "registry" && scope == "" || strings.TrimRight(value, "/") != strings.TrimRight(own, "/") && !public(value) {
			e.Foreign[scope] = value
		}
	}
}

// Elsewhere says why nobody is asked about a part: the project takes it from a registry that only its own files or its lock file name. from are the
// lock file's URLs for it, if it has any.
func (e NPMEnv) Elsewhere(name string, from []string) string {
	scope, _, ok := strings.Cut(name, "/")
	if !ok {
		scope = ""
	}
	const unasked = ", which isn't asked: only your own configuration of npm says whom to ask (npm config set)"
	for _, s := range []string{scope, ""} {
		if r, ok := e.Foreign[s]; ok && (s != "" || e.Scopes[scope] == "") {
			return "the project takes it from " + where(r) + unasked
		}
	}
	for _, f := range from {
		u, err := url.Parse(f)
		home, err2 := url.Parse(e.base(name))
		if err != nil || err2 != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host != home.Host && !public("https://"+u.Host) {
			return "the lock file takes it from " + where(f) + unasked
		}
	}
	return ""
}

// where is an address without what may be secret in it.
func where(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return fmt.Sprintf("%.40q", address)
	}
	return u.Scheme + "://" + u.Host
}

// base is the registry of a package, without a slash at its end.
func (e NPMEnv) base(name string) string {
	if scope, _, ok := strings.Cut(name, "/"); ok {
		if r := e.Scopes[scope]; r != "" {
			return strings.TrimRight(r, "/")
		}
	}
	return strings.TrimRight(e.Registry, "/")
}
