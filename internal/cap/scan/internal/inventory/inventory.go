// Package inventory finds which parts are in a tree: what lock files and manifests name, and in a root file system what is installed.
//
// Guarantee: a file that names parts and can't be read whole is a Problem, never silence; nothing outside of the file system is opened, and
// the walk follows no link but a lock file or manifest that is one; time and memory are bounded by the limits below. Not guaranteed: parts that no such file names (copied source,
// a version chosen only at build time).
package inventory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/scan/internal/purl"
	"github.com/wardhq/ward/internal/finding"
)

// Options say how a tree is looked at.
type Options struct {
	// RootFS: the tree is a machine's or image's root file system, whose package databases and installed parts count. Otherwise it is source
	// code, and what is installed beside it (node_modules, virtual environments) is left to its lock files.
	RootFS bool
	// Skip tells of a file or folder whether it is left out, a folder as a whole; nil leaves out nothing.
	Skip func(name string) bool
}

// Inventory is what a tree holds, sorted by path, line and name.
type Inventory struct {
	Packages []finding.Package
	Files    []string          // that were read for parts, whether they named any or not
	Problems []finding.Problem // with their lines, where they have one: "go.mod:3"
}

// limits bound one run.
type limits struct {
	files    int   // entries of the tree
	depth    int   // folders in folders
	text     int64 // bytes of a lock file or manifest
	binary   int64 // bytes of an archive or database
	unpacked int64 // bytes of an archive's content, nested ones included
	packages int   // parts in all, of which each takes 1.5 KB
}

func standard() limits {
	return limits{files: 2_000_000, depth: 128, text: 64 << 20, binary: 512 << 20, unpacked: 2 << 30, packages: 500_000}
}

// Find walks the tree once. The error is the context's, or that the root can't be read; everything else is a Problem.
func Find(ctx context.Context, fsys fs.FS, o Options) (Inventory, error) {
	return find(ctx, fsys, o, standard())
}

func find(ctx context.Context, fsys fs.FS, o Options, lim limits) (Inventory, error) {
	w := &walk{ctx: ctx, fsys: fsys, o: o, lim: lim, seen: map[string]bool{}, faults: map[string]int{}}
	if o.RootFS {
		w.os = w.release()
	}
	if err := fs.WalkDir(fsys, ".", w.visit); err != nil {
		return Inventory{}, fmt.Errorf("look through the tree: %w", err)
	}
	w.maven()
	slices.SortStableFunc(w.out.Packages, func(a, b finding.Package) int {
		return cmp.Or(cmp.Compare(a.Location.Path, b.Location.Path), cmp.Compare(a.Location.Line, b.Location.Line), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Version, b.Version))
	})
	slices.Sort(w.out.Files)
	return w.out, ctx.Err()
}

// walk is one run of Find.
type walk struct {
	ctx     context.Context
	fsys    fs.FS
	o       Options
	lim     limits
	os      osRelease
	out     Inventory
	entries int
	full    bool // the limit of parts was met and said
	seen    map[string]bool
	faults  map[string]int // problems of each file
	poms    []*pom         // kept until the tree is known: a parent may stand anywhere
}

// maxProblems are those kept of one file.
const maxProblems = 20

func (w *walk) problem(name string, line int, why string) {
	at := name
	if line > 0 {
		at = fmt.Sprintf("%s:%d", name, line)
	}
	switch w.faults[name]++; {
	case w.faults[name] < maxProblems:
		w.out.Problems = append(w.out.Problems, finding.Problem{Path: at, Reason: why})
	case w.faults[name] == maxProblems:
		w.out.Problems = append(w.out.Problems, finding.Problem{Path: at, Reason: why + " (and more like this: no further one is listed)"})
	}
}

// visit is called for every entry of the tree.
func (w *walk) visit(name string, d fs.DirEntry, err error) error {
	if cerr := w.ctx.Err(); cerr != nil {
		return cerr
	}
	if err != nil {
		if name == "." {
			return err
		}
		w.problem(name, 0, plain(err))
		if d != nil && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if w.entries++; w.entries > w.lim.files {
		w.problem(name, 0, fmt.Sprintf("the tree has more than %d entries: nothing further was looked at", w.lim.files))
		return fs.SkipAll
	}
	if w.skip(name) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if d.IsDir() {
		switch {
		case d.Name() == ".git", !w.o.RootFS && slices.Contains([]string{"node_modules", "site-packages"}, d.Name()):
			return fs.SkipDir
		case w.o.RootFS && slices.Contains([]string{"proc", "sys", "dev"}, name):
			return fs.SkipDir
		case strings.Count(name, "/") >= w.lim.depth:
			w.problem(name, 0, fmt.Sprintf("folders are nested deeper than %d: this one wasn't looked at", w.lim.depth))
			return fs.SkipDir
		}
		return nil
	}
	switch {
	case d.Type().IsRegular():
		w.read(name, d)
	case w.o.RootFS || w.choose(name) == nil:
	case d.Type()&fs.ModeSymlink != 0: // tools follow it; where it leads out of the tree, that is a problem
		w.extract(name, w.choose(name))
	default:
		w.problem(name, 0, "not a regular file")
	}
	return nil
}

func (w *walk) skip(name string) bool { return w.o.Skip != nil && name != "." && w.o.Skip(name) }

// read hands a file to the extractor that knows it, if any does.
func (w *walk) read(name string, d fs.DirEntry) {
	if x := w.choose(name); x != nil {
		w.extract(name, x)
		return
	}
	if x := w.chooseBinary(name, d); x != nil {
		if err := x(w, name); err != nil {
			w.problem(name, 0, plain(err))
		}
	}
}

// extract reads a text file and gives it to x; a file that another one has named already isn't read again.
func (w *walk) extract(name string, x extractor) {
	if w.seen[name] {
		return
	}
	w.seen[name] = true
	w.out.Files = append(w.out.Files, name)
	data, err := w.load(name, w.lim.text)
	if err == nil {
		err = x(&file{walk: w, path: name, data: data})
	}
	if err != nil {
		w.problem(name, 0, plain(err))
	}
}

// load reads a whole file of at most limit bytes.
func (w *walk) load(name string, limit int64) ([]byte, error) {
	f, err := w.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	} else if info.Size() > limit {
		return nil, tooLarge(limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(limit)
	}
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), nil
}

func tooLarge(limit int64) error { return fmt.Errorf("larger than %d bytes", limit) }

// plain is an error's text without the path, which a Problem has already.
func plain(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return "can't be read: " + pe.Err.Error()
	}
	return err.Error()
}

// file is one text file on its way through an extractor.
type file struct {
	*walk
	path string
	data []byte
}

// extractor reads one kind of file and adds what it names. Its error says why the file, or the rest of it, can't be read.
type extractor func(*file) error

// add takes a part that stands at a line (0 for the whole file).
func (f *file) add(line int, p finding.Package) { f.addAt(f.path, line, p, nil) }

// addAt completes a part with its place and package URL.
func (w *walk) addAt(name string, line int, p finding.Package, qualifiers map[string]string) {
	if len(w.out.Packages) >= w.lim.packages {
		if !w.full {
			w.full = true
			w.problem(name, line, fmt.Sprintf("the tree names more than %d parts: no further one was taken", w.lim.packages))
		}
		return
	}
	if p.Name == "" {
		w.problem(name, line, "a part without a name")
		return
	}
	p.Location = finding.Location{Path: name, Line: line}
	if p.PURL == "" {
		if u, ok := purl.Of(p, qualifiers); ok {
			p.PURL = u.String()
		}
	}
	w.out.Packages = append(w.out.Packages, p)
}

// bad is a Problem of a single line of the file; the rest still counts.
func (f *file) bad(line int, why string) { f.problem(f.path, line, why) }

// choose finds the extractor of a text file by its name.
func (w *walk) choose(name string) extractor {
	base := path.Base(name)
	if x := byName(base); x != nil && !w.installed(name) {
		return x
	}
	switch {
	case strings.HasSuffix(base, ".deps.json"):
		return depsJSON
	case strings.HasSuffix(base, ".txt") && (strings.Contains(base, "requirements") || path.Base(path.Dir(name)) == "requirements") && !w.installed(name):
		return requirements
	}
	if !w.o.RootFS {
		return nil
	}
	switch {
	case name == "var/lib/dpkg/status":
		return dpkgStatus
	case strings.HasPrefix(name, "var/lib/dpkg/status.d/") && path.Ext(name) != ".md5sums":
		return dpkgDistroless
	case name == "lib/apk/db/installed" || name == "usr/lib/apk/db/installed":
		return apkInstalled
	case base == "package.json" && inNodeModules(name):
		return installedNPM
	case base == "METADATA" && strings.HasSuffix(path.Dir(name), ".dist-info"), base == "PKG-INFO" && strings.HasSuffix(path.Dir(name), ".egg-info"),
		strings.HasSuffix(base, ".egg-info"):
		return pythonMetadata
	}
	return nil
}

// installed says whether a file came with an installed part: what its lock file asks for served its own authors, and needn't be here.
func (w *walk) installed(name string) bool {
	for _, dir := range []string{"/node_modules/", "/site-packages/", "/dist-packages/", "/pkg/mod/"} {
		if w.o.RootFS && strings.Contains("/"+name, dir) {
			return true
		}
	}
	return false
}

func byName(base string) extractor {
	switch base {
	case "go.mod":
		return goMod
	case "pom.xml":
		return pomXML
	case "go.work":
		return goWork
	case "package-lock.json", "npm-shrinkwrap.json":
		return packageLock
	case "yarn.lock":
		return yarnLock
	case "pnpm-lock.yaml":
		return pnpmLock
	case "bun.lock":
		return bunLock
	case "poetry.lock":
		return poetryLock
	case "uv.lock":
		return uvLock
	case "pdm.lock":
		return pdmLock
	case "Pipfile.lock":
		return pipfileLock
	case "Cargo.lock":
		return cargoLock
	case "Gemfile.lock", "gems.locked":
		return gemfileLock
	case "composer.lock":
		return composerLock
	case "packages.lock.json":
		return nugetLock
	case "gradle.lockfile", "buildscript-gradle.lockfile":
		return gradleLock
	case "bun.lockb", "deno.lock", "pylock.toml", "packages.config", "paket.lock", "pubspec.lock", "mix.lock", "Package.resolved", "conan.lock", "renv.lock", "stack.yaml.lock",
		"cabal.project.freeze":
		return unread
	}
	return nil
}

// unread is for lock files whose ecosystem has advisories, and which nothing here reads yet.
func unread(*file) error {
	return errors.New("it names parts in a form that isn't read yet; bring them in as a bill of materials (--sbom), and name this file under scan: skip")
}
