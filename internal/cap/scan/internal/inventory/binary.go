package inventory

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime/debug"
	"strings"

	"github.com/wardhq/ward/internal/finding"
)

// chooseBinary finds what reads a file that isn't text, by its name, or for programs by their permission to run.
func (w *walk) chooseBinary(name string, d fs.DirEntry) func(*walk, string) error {
	base := path.Base(name)
	switch path.Ext(base) {
	case ".jar", ".war", ".ear", ".hpi", ".jpi":
		return archiveFile
	case ".exe":
		return goProgram
	}
	if w.o.RootFS {
		switch path.Dir(name) {
		case "var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm":
			if base == "Packages" || base == "Packages.db" || base == "rpmdb.sqlite" {
				return rpmDatabase
			}
		}
	}
	if info, err := d.Info(); err == nil && info.Mode()&0o111 != 0 && info.Size() > 64 {
		return goProgram
	}
	return nil
}

// sized is a file that can be read anywhere, and how long it is.
func (w *walk) sized(name string) (r io.ReaderAt, size int64, end func(), err error) {
	f, err := w.fsys.Open(name)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	switch at, ok := f.(io.ReaderAt); {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a regular file")
	case ok:
		return at, info.Size(), func() { f.Close() }, nil
	default:
		f.Close()
		data, err := w.load(name, w.lim.binary)
		return bytes.NewReader(data), int64(len(data)), func() {}, err
	}
	f.Close()
	return nil, 0, nil, err
}

// goProgram reads the build information of a Go program: its modules and the version of the standard library. Other programs are nothing.
func goProgram(w *walk, name string) error {
	r, _, end, err := w.sized(name)
	if err != nil {
		return err
	}
	defer end()
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || !executable(magic) {
		return nil
	}
	info, err := readBuildInfo(r)
	if err != nil {
		if s := err.Error(); strings.Contains(s, "not a Go executable") || strings.Contains(s, "unrecognized file format") {
			return nil
		}
		return fmt.Errorf("look for Go's build information: %w", err)
	}
	w.out.Files = append(w.out.Files, name)
	version, ok := strings.CutPrefix(info.GoVersion, "go")
	if !ok {
		version = "" // built by an unreleased Go
	}
	version, _, _ = strings.Cut(version, " ") // experiments follow
	version, _, _ = strings.Cut(version, "-") // a vendor's suffix
	w.addAt(name, 0, finding.Package{Ecosystem: "Go", Name: "stdlib", Version: version, Direct: true}, nil)
	modules := info.Deps
	if info.Main.Path != "" {
		modules = append([]*debug.Module{&info.Main}, modules...)
	}
	for _, m := range modules {
		p := finding.Package{Ecosystem: "Go", Name: m.Path, Version: m.Version}
		if m.Replace != nil && m.Replace.Version != "" {
			p.Name, p.Version = m.Replace.Path, m.Replace.Version
		} else if m.Replace != nil || m.Version == "(devel)" {
			p.Version = "" // built from a folder
		}
		w.addAt(name, 0, p, nil)
	}
	return nil
}

func executable(magic [4]byte) bool {
	switch string(magic[:]) {
	case "\x7fELF", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe", "\x01\xdf\x00\x00", "\x01\xf7\x00\x00":
		return true
	}
	return string(magic[:2]) == "MZ"
}

// readBuildInfo turns a panic over a hostile file into an error.
func readBuildInfo(r io.ReaderAt) (info *buildinfo.BuildInfo, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the reader gave up: %v", p)
		}
	}()
	return buildinfo.Read(r)
}

// installedNPM reads a package.json below node_modules, where npm and others put what is installed.
func installedNPM(f *file) error {
	var e npmEntry
	if err := json.Unmarshal(f.data, &e); err != nil {
		return fmt.Errorf("read package.json: %w", err)
	}
	if e.Name == "" || e.Version == "" {
		return nil // only says how a folder is to be loaded
	}
	f.add(0, finding.Package{
		Ecosystem: "npm", Name: e.Name, Version: e.Version, Licenses: e.License,
		Requires: append(append([]string(nil), e.Dependencies...), e.OptionalDependencies...),
	})
	return nil
}

// inNodeModules says whether a package.json is that of an installed package.
func inNodeModules(name string) bool {
	dir := path.Dir(path.Dir(name))
	if strings.HasPrefix(path.Base(dir), "@") {
		dir = path.Dir(dir)
	}
	return path.Base(dir) == "node_modules"
}
