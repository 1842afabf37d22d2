package registry

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// CargoEnv is where crates come from, and what builds with them.
type CargoEnv struct {
	Index string // URL of a sparse index, without a slash at its end; "" for crates.io
	Root  string // the toolchain's folder, "" for the system's own
	Cargo string // the program
}

const cratesIndex = "https://index.crates.io"

// ReadCargoEnv looks for cargo: the real one, where rustup stands in for it.
func ReadCargoEnv(ctx context.Context) (CargoEnv, error) {
	at, err := exec.LookPath("cargo")
	if err != nil {
		return CargoEnv{}, fault.Wrap(fault.Unsupported, "cargo isn't installed: install Rust, or update by hand", err)
	}
	if real, err := filepath.EvalSymlinks(at); err == nil && filepath.Base(real) == "rustup" {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		c := exec.CommandContext(ctx, real, "which", "cargo")
		c.Dir = "/" // no project's own choice of a toolchain
		b, err := c.Output()
		if err != nil {
			return CargoEnv{}, fault.Wrap(fault.Unavailable, "rustup doesn't tell where cargo is", err)
		}
		at = strings.TrimSpace(string(b))
	}
	e := CargoEnv{Cargo: at}
	if root := filepath.Dir(filepath.Dir(at)); root != "/usr" && root != "/" {
		e.Root = root
	}
	home := os.Getenv("CARGO_HOME")
	if own, err := os.UserHomeDir(); home == "" && err == nil {
		home = filepath.Join(own, ".cargo")
	}
	for _, name := range []string{"config.toml", "config"} {
		if b, err := os.ReadFile(filepath.Join(home, name)); err == nil && bytes.Contains(b, []byte("replace-with")) {
			return CargoEnv{}, fault.New(fault.Unsupported, "your configuration of cargo takes crates from a mirror, which isn't asked yet")
		}
	}
	return e, nil
}

// Hosts are the places, as "host:port", that a fetch may have to reach.
func (e CargoEnv) Hosts() ([]string, error) {
	if e.Index != "" {
		return hosts([]string{e.Index})
	}
	return hosts([]string{cratesIndex, "https://static.crates.io"})
}

// Elsewhere says why nobody is asked about a crate of a Cargo.lock; "" if it comes from crates.io: whoever registers a private name there would be taken for
// the company.
func (e CargoEnv) Elsewhere(lock []byte, name, version string) string {
	var is, v, source string
	why := "the lock file doesn't hold it"
	flush := func() {
		switch {
		case is != name || v != version:
		case source == "registry+https://github.com/rust-lang/crates.io-index" || source == "sparse+https://index.crates.io/":
			why = ""
		case source == "":
			why = "it is a part of the project itself"
		default:
			why = "the lock file takes it from " + where(source[strings.IndexByte(source, '+')+1:]) + ", which isn't asked"
		}
		is, v, source = "", "", ""
	}
	for line := range strings.SplitSeq(string(lock), "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		value = strings.Trim(value, `"`)
		switch key {
		case "[[package]]":
			flush()
		case "name":
			is = value
		case "version":
			v = value
		case "source":
			source = value
		}
	}
	flush()
	return why
}

// Crates lists crates of a sparse index (https://doc.rust-lang.org/cargo/reference/registry-index.html).
type Crates struct {
	web  web
	base string
}

// NewCrates returns a Crates; client may be nil.
func NewCrates(e CargoEnv, client *http.Client) *Crates {
	c := &Crates{newWeb(client), e.Index}
	if c.base == "" {
		c.base = cratesIndex
	}
	return c
}

// Releases are those of a crate. Times are the registry's own (pubtime).
func (c *Crates) Releases(ctx context.Context, name, from string) ([]Release, error) {
	if ok, _ := regexp.MatchString(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`, name); !ok { // the pattern is constant
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.80q is no name of a crate", name))
	}
	low := strings.ToLower(name)
	at := "3/" + low[:1] + "/" + low
	switch {
	case len(low) < 3:
		at = fmt.Sprintf("%d/%s", len(low), low)
	case len(low) > 3:
		at = low[:2] + "/" + low[2:4] + "/" + low
	}
	b, err := c.web.get(ctx, c.base+"/"+at, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", name, err)
	}
	var out []Release
	for line := range bytes.Lines(b) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var is, version, sum string
		var published time.Time
		var yanked bool
		if err := exact.Object(line, map[string]any{"name": &is, "vers": &version, "cksum": &sum, "yanked": &yanked, "pubtime": &published}); err != nil {
			return nil, fault.Wrap(fault.Invalid, "the registry's answer for "+name+" can't be read", err)
		}
		if is != name {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("the registry answers for %.80q when it is asked for %s", is, name))
		}
		if !semver.IsValid("v"+version) || from != "" && semver.Compare("v"+version, "v"+from) < 0 {
			continue
		}
		r := Release{Version: version, Published: published, Integrity: "sha256:" + sum}
		if yanked {
			r.Retracted = "yanked"
		}
		if out = append(out, r); len(out) > 5*maxReleases {
			return nil, fault.New(fault.Exhausted, fmt.Sprintf("%s has too many releases", name))
		}
	}
	slices.SortFunc(out, func(a, b Release) int { return semver.Compare("v"+a.Version, "v"+b.Version) })
	return out, nil
}

// Archive isn't told: what a crate can do isn't known yet.
func (c *Crates) Archive(context.Context, string, string) ([]byte, error) {
	return nil, fault.New(fault.Unsupported, "what crates can do isn't known yet")
}
