package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
	"github.com/wardhq/ward/internal/cap/update/internal/requirements"
)

// PyPIEnv is where Python's projects come from, and what runs them.
type PyPIEnv struct {
	Index  string // URL of a simple index, without a slash at its end
	Python string // the program
	Root   string // its folder, "" for the system's own
}

const publicPyPI = "https://pypi.org/simple"

// ReadPyPIEnv looks for Python, and asks pip how its user configured it.
func ReadPyPIEnv(ctx context.Context) (PyPIEnv, error) {
	at, err := exec.LookPath("python3")
	if err != nil {
		return PyPIEnv{}, fault.Wrap(fault.Unsupported, "Python isn't installed: install python3 and pip, or update by hand", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	run := func(argv ...string) (string, error) {
		c := exec.CommandContext(ctx, at, append([]string{"-I"}, argv...)...)
		c.Dir = "/" // no project's own choice of a Python
		c.WaitDelay = time.Second
		b, err := c.Output()
		return string(b), err
	}
	is, err := run("-c", "import sys; print(sys.executable); print(sys.base_prefix)")
	words := strings.Split(strings.TrimSpace(is), "\n")
	if err != nil || len(words) != 2 || !filepath.IsAbs(words[0]) {
		return PyPIEnv{}, fault.Wrap(fault.Unavailable, "Python doesn't tell where it is", err)
	}
	e := PyPIEnv{Python: words[0]}
	if words[1] != "/usr" && words[1] != "/" {
		e.Root = words[1]
	}
	settings, err := run("-m", "pip", "config", "list")
	if err != nil {
		return PyPIEnv{}, fault.Wrap(fault.Unsupported, "pip isn't installed, or doesn't tell its configuration", err)
	}
	return e, e.settle(settings)
}

// settle takes what "pip config list" prints: those of the environment outdo all others, and those of a command the global ones.
func (e *PyPIEnv) settle(settings string) error {
	rank := 0
	for line := range strings.Lines(settings) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `'"`)
		section, name, _ := strings.Cut(key, ".")
		if section == ":env:" {
			section, name = key[:len(":env:")], strings.TrimPrefix(key[len(":env:"):], ".")
		}
		high := map[string]int{"global": 1, "download": 2, "install": 2, ":env:": 3}[section]
		switch {
		case high == 0 || value == "":
		case name == "index-url" && high >= rank:
			e.Index, rank = strings.TrimRight(value, "/"), high
		case name == "extra-index-url", name == "no-index" && value != "0" && value != "false":
			return fault.New(fault.Unsupported, "your configuration of pip has "+name+", which isn't asked yet: whose part a name is can't be told")
		}
	}
	e.Index = cmp.Or(e.Index, publicPyPI)
	if u, err := url.Parse(e.Index); err != nil || u.User != nil {
		return fault.New(fault.Unsupported, "your configuration of pip has an index with credentials, which isn't asked yet")
	}
	return nil
}

// Hosts are the places, as "host:port", that a fetch may have to reach.
func (e PyPIEnv) Hosts() ([]string, error) {
	addresses := []string{e.Index}
	if e.Index == publicPyPI {
		addresses = append(addresses, "https://files.pythonhosted.org")
	}
	return hosts(addresses)
}

// Elsewhere says why nobody is asked about parts of requirements that name indexes of their own; "" if they name none but the user's or the public one.
func (e PyPIEnv) Elsewhere(indexes []string) string {
	for _, i := range indexes {
		if i = strings.TrimRight(i, "/"); i != e.Index && i != publicPyPI {
			return "the project takes parts from " + where(i) + ", which isn't asked: only your own configuration of pip says whom to ask (pip config set)"
		}
	}
	return ""
}

// PyPI lists projects of a simple index (https://packaging.python.org/en/latest/specifications/simple-repository-api/).
type PyPI struct {
	web web
	env PyPIEnv
}

// NewPyPI returns a PyPI that asks where e says; client may be nil.
func NewPyPI(e PyPIEnv, client *http.Client) *PyPI { return &PyPI{newWeb(client), e} }

// distribution is a file of a release.
type distribution struct {
	name, version, sum string
	yanked             string // why; "" if it isn't
	uploaded           time.Time
	wheel              bool
}

// UnmarshalJSON reads by exact names.
func (d *distribution) UnmarshalJSON(b []byte) error {
	hashes, yanked := map[string]string{}, any(nil)
	if err := exact.Object(b, map[string]any{"filename": &d.name, "hashes": &hashes, "yanked": &yanked, "upload-time": &d.uploaded}); err != nil {
		return err
	}
	d.sum = hashes["sha256"]
	switch y := yanked.(type) {
	case bool:
		if y {
			d.yanked = "yanked"
		}
	case string:
		d.yanked = "yanked: " + firstLine(y, "its publisher doesn't say why")
	}
	return nil
}

// versionOf cuts the version out of a file's name, "" if it is none of the project's
// (https://packaging.python.org/en/latest/specifications/binary-distribution-format/, …/source-distribution-format/).
func versionOf(file, project string) (version string, wheel bool) {
	if stem, ok := strings.CutSuffix(file, ".whl"); ok {
		parts := strings.Split(stem, "-")
		if (len(parts) == 5 || len(parts) == 6) && requirements.Name(parts[0]) == project {
			return parts[1], true
		}
		return "", true
	}
	for _, end := range []string{".tar.gz", ".zip", ".tar.bz2"} {
		stem, ok := strings.CutSuffix(file, end)
		i := strings.LastIndexByte(stem, '-')
		if ok && i > 0 && requirements.Name(stem[:i]) == project {
			return stem[i+1:], false
		}
	}
	return "", false
}

// files are those of a project, by version; what isn't named like a distribution of it is left out, as pip does.
func (p *PyPI) files(ctx context.Context, name string) (map[string][]distribution, error) {
	if ok, _ := regexp.MatchString(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`, name); !ok { // the pattern is constant
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.80q is no name of a Python project", name))
	}
	name = requirements.Name(name)
	b, err := p.web.get(ctx, p.env.Index+"/"+name+"/", maxAnswer, "Accept", "application/vnd.pypi.simple.v1+json")
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", name, err)
	}
	var is string
	var raw json.RawMessage
	var all []distribution
	if err = exact.Object(b, map[string]any{"name": &is, "files": &raw}); err == nil && raw != nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || raw == nil {
		return nil, fault.Wrap(fault.Invalid, "the index's answer for "+name+" can't be read: it must speak JSON (PEP 691)", err)
	}
	if requirements.Name(is) != name {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the index answers for %.80q when it is asked for %s", is, name))
	}
	out := map[string][]distribution{}
	for _, d := range all {
		if d.version, d.wheel = versionOf(d.name, name); ordering.Valid(ordering.PyPI, d.version) {
			out[d.version] = append(out[d.version], d)
		}
	}
	if len(out) > 5*maxReleases {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("%s has %d releases", name, len(out)))
	}
	return out, nil
}

// Releases are those of a project. Times are the index's own: of the version that is asked from its first file's, of others their last's, because files can be
// added to a release. One without wheels would have to run its publisher's code to be installed.
func (p *PyPI) Releases(ctx context.Context, name, from string) ([]Release, error) {
	all, err := p.files(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []Release
	for version, files := range all {
		if from != "" && ordering.Compare(ordering.PyPI, version, from) < 0 {
			continue
		}
		r := Release{Version: version, Scripts: true}
		slices.SortFunc(files, func(a, b distribution) int { return a.uploaded.Compare(b.uploaded) })
		// A file without a time would be older than all others.
		if r.Published = files[0].uploaded; !r.Published.IsZero() && !ordering.Same(ordering.PyPI, version, from) {
			r.Published = files[len(files)-1].uploaded
		}
		var sums []string
		for _, f := range files {
			sums = append(sums, f.name+" "+f.sum)
			r.Scripts = r.Scripts && !f.wheel
			r.Retracted = cmp.Or(r.Retracted, f.yanked)
		}
		slices.Sort(sums)
		sum := sha256.Sum256([]byte(strings.Join(sums, "\n")))
		r.Integrity = "sha256:" + hex.EncodeToString(sum[:])
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Release) int {
		return cmp.Or(ordering.Compare(ordering.PyPI, a.Version, b.Version), strings.Compare(a.Version, b.Version))
	})
	return out, nil
}

// Hashes are the SHA-256 sums of a release's files, in hexadecimal and sorted.
func (p *PyPI) Hashes(ctx context.Context, name, version string) ([]string, error) {
	all, err := p.files(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range all[version] {
		if b, err := hex.DecodeString(f.sum); err != nil || len(b) != sha256.Size {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("the index tells no hash of %.80q", f.name))
		}
		out = append(out, strings.ToLower(f.sum))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Archive isn't told: what a wheel can do isn't known yet.
func (p *PyPI) Archive(context.Context, string, string) ([]byte, error) {
	return nil, fault.New(fault.Unsupported, "what Python's parts can do isn't known yet")
}
