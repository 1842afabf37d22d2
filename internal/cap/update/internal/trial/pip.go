package trial

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/requirements"
)

// pipKit tries requirements files: Ward changes them itself, pip fetches wheels alone, and an environment of its own is made of them without network.
type pipKit struct {
	config Config
	index  *registry.PyPI
}

func newPipKit(c Config) (*pipKit, error) {
	if c.PyPI.Python == "" {
		return nil, fault.New(fault.Unsupported, "Python isn't installed")
	}
	if !filepath.IsLocal(c.Lock) {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.80q is no name of a requirements file", c.Lock))
	}
	return &pipKit{c, registry.NewPyPI(c.PyPI, nil)}, nil
}

const inVenv = inHome + "/venv"

func (k *pipKit) env(path string, more ...string) []string {
	return append([]string{
		"PATH=" + path + filepath.Dir(k.config.PyPI.Python) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + inHome, "TMPDIR=" + inTmp, "LANG=C.UTF-8", "USER=job", "CI=1",
		"PIP_CONFIG_FILE=/dev/null", "PYTHONDONTWRITEBYTECODE=1",
	}, more...)
}

// python runs isolated (-I): else a file of the tree with a module's name would run in its stead, while the registry is in reach.
func (k *pipKit) python(ctx context.Context, a *attempt, argv ...string) error {
	return a.run(ctx, k.env(""), nil, append([]string{filepath.Base(k.config.PyPI.Python), "-I"}, argv...)...)
}

func (k *pipKit) pip(ctx context.Context, a *attempt, command string, argv ...string) error {
	words := []string{"-m", "pip", "--isolated", "--no-input", "--disable-pip-version-check", "--no-color", "--cache-dir", inNPM + "/pip"}
	if command == "install" {
		words = append(words, "--python", inVenv+"/bin/python")
	}
	return k.python(ctx, a, append(append(words, command, "--quiet", "--only-binary", ":all:"), argv...)...)
}

// wheels is the folder of what one attempt fetched; what runs later can't write there.
func (k *pipKit) wheels(a *attempt) string { return inNPM + "/" + filepath.Base(a.dir) }

func (k *pipKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return fmt.Errorf("change requirements: %w", err)
	}
	defer root.Close()
	for _, ch := range changes {
		if err := k.change(ctx, root, ch); err != nil {
			return err
		}
	}
	wanted, err := requirements.Load(root, path.Join(a.config.Dir, k.config.Lock))
	if err != nil {
		return err
	}
	// What a file wants with hashes, pip takes with all of their hashes or not at all: those for tests come apart.
	tests, err := k.beside(root)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	var plain, hashed, limits []string
	for _, p := range wanted.Pins {
		known[p.Name] = true
		plain, hashed = append(plain, p.String()), append(hashed, p.Hashed())
	}
	for _, p := range wanted.Constraints {
		limits = append(limits, p.String())
	}
	more := tests.Loose
	for _, p := range tests.Pins {
		if !known[p.Name] {
			more = append(more, p.String())
		}
	}
	for _, all := range []*requirements.Project{wanted, tests} {
		if why := k.config.PyPI.Elsewhere(all.Indexes); why != "" {
			return fault.New(fault.Refused, why)
		}
	}
	loose := wanted.Loose
	for name, lines := range map[string][]string{
		"wanted.txt": append(hashed, loose...), "limits.txt": limits, "known.txt": append(slices.Clone(plain), limits...), "tests.txt": more, "all.txt": slices.Concat(plain, loose, more),
	} {
		if err := os.WriteFile(filepath.Join(a.dir, "tmp", name), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return fmt.Errorf("write requirements: %w", err)
		}
	}
	fetch := []string{"--index-url", k.config.PyPI.Index, "--dest", k.wheels(a)}
	if err := k.pip(ctx, a, "download", append(fetch, "-r", inTmp+"/wanted.txt", "-c", inTmp+"/limits.txt")...); err != nil || len(more) == 0 {
		return err
	}
	return k.pip(ctx, a, "download", append(fetch, "-r", inTmp+"/tests.txt", "-c", inTmp+"/known.txt")...)
}

// change writes one into the requirements file, with the hashes that the index tells.
func (k *pipKit) change(ctx context.Context, root *os.Root, ch choose.Change) error {
	name := path.Join(k.config.Dir, k.config.Lock)
	b, err := root.ReadFile(name)
	if err != nil {
		return fmt.Errorf("change %s: %w", name, err)
	}
	f, err := requirements.Parse(b)
	if err != nil {
		return fmt.Errorf("change %s: %w", name, err)
	}
	var hashes []string
	if slices.ContainsFunc(f.Pins, func(p requirements.Pin) bool { return p.Name == requirements.Name(ch.Name) && len(p.Hashes) > 0 }) {
		if hashes, err = k.index.Hashes(ctx, ch.Name, ch.To); err != nil {
			return err
		}
	}
	if b, err = f.Set(ch.Name, ch.From, ch.To, hashes); err != nil {
		return &failure{fmt.Sprintf("%s: %v", name, err), ""}
	}
	if err := root.WriteFile(name, b, 0o644); err != nil {
		return fmt.Errorf("change %s: %w", name, err)
	}
	return nil
}

// beside are the requirements of the project's tests, which stand in a file of their own.
func (k *pipKit) beside(root *os.Root) (*requirements.Project, error) {
	all := &requirements.Project{}
	for _, name := range []string{"test", "tests", "dev"} {
		for _, file := range []string{"requirements-" + name + ".txt", "requirements_" + name + ".txt", name + "-requirements.txt", "requirements/" + name + ".txt"} {
			file = path.Join(k.config.Dir, file)
			if _, err := root.Stat(file); errors.Is(err, os.ErrNotExist) || file == path.Join(k.config.Dir, k.config.Lock) {
				continue
			}
			p, err := requirements.Load(root, file)
			if err != nil {
				return nil, err
			}
			all.Pins, all.Loose, all.Indexes = append(all.Pins, p.Pins...), append(all.Loose, p.Loose...), append(all.Indexes, p.Indexes...)
		}
	}
	return all, nil
}

// build makes the environment.
func (k *pipKit) build(ctx context.Context, a *attempt) error {
	if err := k.python(ctx, a, "-m", "venv", "--without-pip", inVenv); err != nil {
		return err
	}
	return k.pip(ctx, a, "install", "--no-index", "--no-compile", "--find-links", k.wheels(a), "-r", inTmp+"/all.txt", "-c", inTmp+"/limits.txt")
}

// test runs pytest where the project asks for it, else what unittest finds.
func (k *pipKit) test(ctx context.Context, a *attempt) (results, error) {
	r := results{passed: map[string]bool{}, failed: map[string]bool{}}
	env := k.env(inVenv+"/bin:", "VIRTUAL_ENV="+inVenv, "PYTHONPATH="+path.Join(inTree, a.config.Dir)+":"+path.Join(inTree, a.config.Dir, "src"))
	var read func(end string) error
	argv := []string{"env", "python", "-m", "unittest", "-v"}
	var out limited
	if _, err := os.Lstat(filepath.Join(a.dir, "home/venv/bin/pytest")); err == nil {
		const name = "ward-junit.xml"
		argv = []string{"env", "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=" + inTmp + "/" + name}
		if err := os.RemoveAll(filepath.Join(a.dir, "tmp", name)); err != nil {
			return r, fmt.Errorf("run tests: %w", err)
		}
		read = func(string) error { return r.readJUnit(filepath.Join(a.dir, "tmp"), name) }
	} else {
		read = func(end string) error { r.readUnittest(end); return nil }
	}
	err := a.run(ctx, env, &out, argv...)
	var failed *failure
	if errors.As(err, &failed) {
		r.output, err = failed.output, nil
	}
	if err != nil {
		return r, err
	}
	whole := strings.Join(argv[2:4], " ")
	if err := read(out.String()); err != nil {
		r.failed[whole] = true
		r.output += "\n" + err.Error()
	}
	if failed != nil && len(r.failed) == 0 {
		r.failed[whole] = true
	}
	return r, nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), max(0, maxManifest-l.Len()))])
	return len(p), nil
}

func (r *results) note(name string, passed bool) {
	if len(r.passed)+len(r.failed) >= maxTests {
		return
	}
	if !passed {
		delete(r.passed, name)
		r.failed[name] = true
	} else if !r.failed[name] {
		r.passed[name] = true
	}
}

// readUnittest reads the lines of "unittest -v": "test_x (module.Class.test_x) ... ok". A test's own words may stand between.
func (r *results) readUnittest(text string) {
	begins := regexp.MustCompile(`^(\w+ \([\w.]+\))(?: \.\.\. |$)`) // constant
	now := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := begins.FindStringSubmatch(line); m != nil {
			now = m[1]
		}
		_, end, ok := strings.Cut(line, " ... ")
		if !ok {
			end = line
		}
		switch {
		case now == "":
		case end == "ok" || end == "expected failure":
			r.note(now, true)
			now = ""
		case end == "FAIL" || end == "ERROR" || end == "unexpected success":
			r.note(now, false)
			now = ""
		}
	}
}

// readJUnit reads a report that code of the project could write, too.
func (r *results) readJUnit(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	defer root.Close()
	st, err := root.Lstat(name)
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxManifest) {
		err = errors.New("they aren't an ordinary file of bearable size")
	}
	var b []byte
	if err == nil {
		b, err = root.ReadFile(name)
	}
	if err != nil {
		return fmt.Errorf("read results: %w", err)
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	var test string
	passed := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read results: %w", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "testcase":
				of := map[string]string{}
				for _, a := range e.Attr {
					of[a.Name.Local] = a.Value
				}
				test, passed = strings.TrimSpace(of["classname"]+" "+of["name"]), true
			case "failure", "error", "skipped":
				passed = false
				if e.Name.Local != "skipped" {
					r.note(test, false)
				}
			}
		case xml.EndElement:
			if e.Name.Local == "testcase" && passed {
				r.note(test, true)
			}
		}
	}
}
