package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

//go:embed static/*
var staticFiles embed.FS

type asset struct {
	content   []byte
	mediaType string
}

// assets are the files that pages load, each at an address that holds its content's hash.
type assets struct {
	byPath map[string]asset  // hashed path → file
	paths  map[string]string // plain name → hashed path
}

var moduleName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}\.js$`) })

func newAssets(prefix string, b brand, modules map[string][]byte) (*assets, error) {
	a := &assets{byPath: map[string]asset{}, paths: map[string]string{}}
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return nil, fmt.Errorf("read assets: %w", err)
	}
	for _, e := range entries {
		content, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read assets: %w", err)
		}
		a.add(prefix, e.Name(), content)
	}
	a.add(prefix, "brand.css", b.css)
	a.add(prefix, "icon.svg", b.icon)
	for name, content := range modules {
		if _, taken := a.paths[name]; taken || !moduleName().MatchString(name) {
			return nil, fmt.Errorf("serve module %q: the name is taken or isn't like pow.js", name)
		}
		a.add(prefix, name, content)
	}
	return a, nil
}

func (a *assets) add(prefix, name string, content []byte) {
	sum := sha256.Sum256(content)
	ext := path.Ext(name)
	hashed := prefix + strings.TrimSuffix(name, ext) + "." + base64.RawURLEncoding.EncodeToString(sum[:9]) + ext
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	a.byPath[hashed] = asset{content: content, mediaType: types[ext]}
	a.paths[name] = hashed
}

// ServeHTTP serves a file for good: another content has another address.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := a.byPath[r.URL.Path]
	if !ok {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	// An SVG opened by itself is a document: it may do nothing.
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", f.mediaType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}
