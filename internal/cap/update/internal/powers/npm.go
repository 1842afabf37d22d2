package powers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"regexp"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"

	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// eachOfTarball reads a package of npm: everything is below one folder.
func eachOfTarball(archive []byte, limit int64, f file) error {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return fault.Wrap(fault.Invalid, "the package can't be read", err)
	}
	// Headers and what is skipped count too: a small archive may hold an endless one.
	r := tar.NewReader(&bounded{r: z, left: 2 * limit})
	b := &budget{left: limit}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(fault.Invalid, "the package can't be read", err)
		}
		if err := b.entry(); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			if h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeXGlobalHeader {
				f("", nil, false) // npm itself takes no links
			}
			continue
		}
		content, whole, err := b.read(r)
		if err != nil {
			return fault.Wrap(fault.Invalid, "the package can't be read", err)
		}
		f(local(h.Name), content, whole)
	}
}

// bounded ends with an error, where io.LimitReader would end as if nothing was missing.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fault.New(fault.Exhausted, "the archive unpacks to too much")
	}
	return n, err
}

// pattern is what a power looks like in JavaScript.
type pattern struct {
	power string
	re    *regexp.Regexp
}

// patterns are compiled for each look: no other process pays for them.
func patterns() []pattern {
	module := func(names string) *regexp.Regexp {
		return regexp.MustCompile("(?:require|import|from|getBuiltinModule)\\s*\\(?\\s*[\"'`](?:node:)?(?:" + names + ")(?:/[a-z]+)?[\"'`]")
	}
	return []pattern{
		{Network, module("net|http|https|http2|dgram|tls|dns|inspector")},
		{Network, regexp.MustCompile(`\bfetch\s*\(|\bXMLHttpRequest\b|\bWebSocket\b|\bsendBeacon\b|\bEventSource\b`)},
		{Exec, module("child_process|cluster|worker_threads")},
		{Files, module("fs|fs-extra|graceful-fs")},
		{Eval, regexp.MustCompile(`\beval\s*\(|\bnew\s+Function\b|\bFunction\s*\(\s*["'` + "`" + `]|\(0\s*,\s*eval\)|\bconstructor\s*\.\s*constructor\b`)},
		{Eval, module("vm|module|repl")},
		{Native, regexp.MustCompile(`\bprocess\s*\.\s*(?:binding|dlopen|_linkedBinding)\b|\bWebAssembly\b`)},
		{Computed, regexp.MustCompile("(?:\\brequire|\\bimport)\\s*\\(\\s*(?:[^\"'`)\\s]|[\"'`][^\"'`]*(?:\\\\|[\"'`]\\s*\\+|\\$\\{))|\\brequire\\s*\\[|\\bgetBuiltinModule\\s*\\(\\s*[^\"']")},
		{Secrets, regexp.MustCompile(`\bprocess\s*(?:\.\s*env\b|\[\s*["']env["'])`)},
	}
}

// How obscured code looks.
const (
	maxWidth   = 5000 // characters of a line that a person wrote
	maxEscapes = 100  // "\x41" and the like
)

func (c *collector) npmFile(name string, content []byte, whole bool) {
	c.files++
	ext := path.Ext(name)
	switch {
	case name == "":
		c.add(Unreadable, "")
		return
	case name == "package.json":
		c.manifest(content)
		return
	case ext == ".node", ext == ".wasm", ext == ".so", ext == ".dll", ext == ".dylib", ext == ".exe", name == "binding.gyp":
		c.add(Native, "")
		return
	}
	switch ext {
	case ".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx", "": // programs of "bin" often have no ending
	default:
		return
	}
	if strings.HasSuffix(name, ".d.ts") {
		return
	}
	if !whole {
		c.add(Unreadable, name)
	}
	for _, p := range c.patterns {
		if p.re.Match(content) {
			c.add(p.power, "")
		}
	}
	if obscured(content) {
		c.add(Obscure, name)
	}
}

// obscured tells whether a person could read it.
func obscured(content []byte) bool {
	escapes := 0
	for line := range bytes.Lines(content) {
		if len(line) > maxWidth {
			return true
		}
		escapes += bytes.Count(line, []byte(`\x`)) + bytes.Count(line, []byte(`\u00`)) + bytes.Count(line, []byte("_0x"))
	}
	return escapes > maxEscapes
}

func (c *collector) manifest(content []byte) {
	var scripts map[string]any
	var asks [3]map[string]any
	gyp := false
	if err := exact.Object(content, map[string]any{
		"scripts": &scripts, "gypfile": &gyp, "dependencies": &asks[0], "optionalDependencies": &asks[1], "peerDependencies": &asks[2],
	}); err != nil {
		c.add(Unreadable, "package.json")
		return
	}
	for _, s := range []string{"preinstall", "install", "postinstall"} {
		if scripts[s] != nil {
			text, _ := scripts[s].(string)
			c.add(Install, s+": "+text[:min(len(text), 80)]) // another text is another power
		}
	}
	if gyp {
		c.add(Install, "node-gyp")
	}
	for _, all := range asks {
		for name := range all {
			c.requires[name] = true
		}
	}
}
