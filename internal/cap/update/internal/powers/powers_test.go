package powers

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func module(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create("example.com/m@v1.0.0/" + name)
		if err == nil {
			_, err = w.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarball(t testing.TB, files map[string]string, more ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range more {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// grown compares a harmless version with one that has a file more, or another one.
func grown(t *testing.T, ecosystem string, pack func(testing.TB, map[string]string) []byte, base, change map[string]string) []string {
	t.Helper()
	before, err := Of(ecosystem, pack(t, base))
	if err != nil {
		t.Fatal(err)
	}
	next := maps.Clone(base)
	maps.Copy(next, change)
	after, err := Of(ecosystem, pack(t, next))
	if err != nil {
		t.Fatal(err)
	}
	return Grown(before, after)
}

func TestNewPowersOfAGoModuleAreTold(t *testing.T) {
	base := map[string]string{"go.mod": "module example.com/m\n\nrequire example.com/a v1.0.0\n", "m.go": "package m\n\nimport \"strings\"\n\nvar X = strings.ToLower(\"A\")\n"}
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"nothing":            {"x.go", "package m\n\nimport \"net/url\"\n\nvar U url.URL\n", nil},
		"network":            {"x.go", "package m\n\nimport _ \"net/http\"\n", []string{"opens network connections in ."}},
		"exec, deeper":       {"a/x.go", "package a\n\nimport _ \"os/exec\"\n", []string{"starts programs in a"}},
		"files":              {"x.go", "package m\n\nimport _ \"os\"\n", []string{"reads or writes files in ."}},
		"unsafe":             {"x.go", "package m\n\nimport _ \"unsafe\"\n\n//go:linkname a b\n", []string{"passes by the type system (unsafe) in .", "reaches into other packages (go:linkname) in ."}},
		"syscall":            {"x.go", "package m\n\nimport _ \"golang.org/x/sys/unix\"\n", []string{"makes system calls in ."}},
		"cgo":                {"x.go", "package m\n\nimport \"C\"\n", []string{"holds native code in ."}},
		"assembly":           {"x_amd64.s", "TEXT", []string{"holds native code in ."}},
		"plugin":             {"x.go", "package m\n\nimport _ \"plugin\"\n", []string{"loads code while it runs in ."}},
		"init that calls":    {"x.go", "package m\n\nfunc init() { f() }\n\nfunc f() {}\n", []string{"runs code when it is loaded in ."}},
		"init that sets":     {"x.go", "package m\n\nvar a int\n\nfunc init() { a = 1 }\n", nil},
		"a method init":      {"x.go", "package m\n\ntype T int\n\nfunc (T) init() { f() }\n\nfunc f() {}\n", nil},
		"a test":             {"x_test.go", "package m\n\nimport _ \"net/http\"\n", nil},
		"what doesn't parse": {"x.go", "package m\n\nfunc {", []string{"holds what can't be read in x.go"}},
		"a new part":         {"go.mod", "module example.com/m\n\nrequire example.com/b v1.0.0\n", []string{"asks for example.com/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, grown(t, Go, module, base, map[string]string{c.file: c.text})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNewPowersOfAPackageAreTold(t *testing.T) {
	base := map[string]string{"package.json": `{"dependencies":{"a":"1"},"scripts":{"test":"x"}}`, "index.js": "const a = require('./a'); module.exports = a\n"}
	pack := func(t testing.TB, files map[string]string) []byte { return tarball(t, files) }
	for name, c := range map[string]struct {
		file, text string
		want       []string
	}{
		"nothing":               {"x.js", "import b from './b.js'; export const net = b\n", nil},
		"exec":                  {"x.js", "require('child_process').exec('x')", []string{Exec}},
		"exec by node:":         {"x.mjs", "import { exec } from \"node:child_process\"", []string{Exec}},
		"network":               {"x.js", "require(`https`)", []string{Network}},
		"fetch":                 {"x.js", "await fetch(u)", []string{Network}},
		"files":                 {"x.cjs", "const p = require('fs/promises')", []string{Files}},
		"eval":                  {"x.js", "new Function('return 1')", []string{Eval}},
		"eval in disguise":      {"x.js", "[].constructor.constructor('x')()", []string{Eval}},
		"native":                {"build/x.node", "\x7fELF", []string{Native}},
		"computed name":         {"x.js", "require('child_' + 'process')", []string{Computed}},
		"escaped name":          {"x.js", `require("\x63hild_process")`, []string{Computed}},
		"a variable":            {"x.js", "const r = n => require(n)", []string{Computed}},
		"environment":           {"x.js", "send(process.env.TOKEN)", []string{Secrets}},
		"obscured":              {"x.js", strings.Repeat(`"\x41",`, 200), []string{Obscure + " in x.js"}},
		"minified":              {"lib/x.js", "a(" + strings.Repeat("b,", 5000) + "c)", []string{Obscure + " in lib/x.js"}},
		"install script":        {"package.json", `{"dependencies":{"a":"1"},"scripts":{"postinstall":"node x"}}`, []string{Install + " in postinstall: node x"}},
		"a new part":            {"package.json", `{"dependencies":{"a":"1"},"optionalDependencies":{"b":"1"}}`, []string{"asks for b"}},
		"a manifest of rubbish": {"package.json", `{`, []string{Unreadable + " in package.json"}},
		"a program of bin":      {"bin/run", "#!/usr/bin/env node\nrequire('net')", []string{Network}},
		"a path that leads out": {"../../x.js", "", []string{Unreadable}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, grown(t, NPM, pack, base, map[string]string{c.file: c.text})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAnotherPublisherIsTold(t *testing.T) {
	if d := cmp.Diff([]string{`was published by "eve" instead of "ann"`}, Grown(&Powers{Publisher: "ann"}, &Powers{Publisher: "eve"})); d != "" {
		t.Error(d)
	}
}

func TestHostileArchives(t *testing.T) {
	const limit = 1 << 20
	zeros := strings.Repeat("\x00", limit/2+1)
	// What is skipped counts too.
	skipped := tarball(t, nil, tar.Header{Name: "package/x", Typeflag: 'Z', Size: 5 * limit})
	whole := module(t, map[string]string{"m.go": "package m"})
	for name, c := range map[string]struct {
		ecosystem string
		archive   []byte
	}{
		"no zip":                  {Go, []byte("PK rubbish")},
		"half a zip":              {Go, whole[:len(whole)/2]},
		"no gzip":                 {NPM, []byte("rubbish")},
		"half a tarball":          {NPM, tarball(t, map[string]string{"x.js": strings.Repeat("abc", 1000)})[:60]},
		"nothing":                 {NPM, tarball(t, nil)},
		"a zip of too much":       {Go, module(t, map[string]string{"a.bin": zeros, "b.bin": zeros})},
		"a tarball of too much":   {NPM, tarball(t, map[string]string{"a.bin": zeros, "b.bin": zeros})},
		"one file of too much":    {NPM, skipped},
		"another ecosystem's":     {"PyPI", whole},
		"a zip that is no module": {Go, tarball(t, nil)},
	} {
		if p, err := of(c.ecosystem, c.archive, limit); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	p, err := Of(NPM, tarball(t, map[string]string{"x.js": ""}, tar.Header{Name: "package/l", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}))
	if err != nil || len(p.Can[Unreadable]) != 1 {
		t.Errorf("a link: %+v %v", p, err)
	}
}

func FuzzOf(f *testing.F) {
	f.Add(Go, module(f, map[string]string{"go.mod": "module m", "m.go": "package m"}))
	f.Add(NPM, tarball(f, map[string]string{"package.json": "{}", "x.js": "eval(1)"}))
	f.Fuzz(func(t *testing.T, ecosystem string, b []byte) {
		p, err := Of(ecosystem, b)
		if err == nil && len(Grown(p, p)) > 0 {
			t.Error("it has grown beyond itself")
		}
	})
}
