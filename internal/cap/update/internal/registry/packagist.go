package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
)

// ComposerEnv is where Composer's packages come from, and what resolves them.
type ComposerEnv struct {
	Index    string // URL of a repository of type "composer", without a slash at its end
	Composer string // the program
	PHP      string // what runs it
	// Extensions are the files of PHP's that its user's configuration loads, in that order. The configuration itself may hold passwords.
	Extensions []string
}

const publicPackagist = "https://repo.packagist.org"

// ReadComposerEnv looks for composer, and asks how its user configured it.
func ReadComposerEnv(ctx context.Context) (ComposerEnv, error) {
	var e ComposerEnv
	for name, at := range map[string]*string{"composer": &e.Composer, "php": &e.PHP} {
		found, err := exec.LookPath(name)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		if err != nil {
			return ComposerEnv{}, fault.Wrap(fault.Unsupported, name+" isn't installed: install Composer, or update by hand", err)
		}
		if real, err := filepath.EvalSymlinks(found); err != nil || !strings.HasPrefix(real, "/usr/") || !strings.HasPrefix(found, "/usr/") && !strings.HasPrefix(found, "/bin/") {
			return ComposerEnv{}, fault.New(fault.Unsupported, found+" can't be shown to a sandbox yet: install "+name+" for all users")
		}
		*at = found
	}
	var loaded struct {
		Dir   string   `json:"dir"`
		Names []string `json:"names"`
	}
	if err := ask(ctx, &loaded, "/", e.PHP, "-r", `echo json_encode(["dir" => ini_get("extension_dir"), "names" => get_loaded_extensions()]);`); err != nil {
		return ComposerEnv{}, err
	}
	for _, name := range loaded.Names {
		at := filepath.Join(loaded.Dir, strings.ToLower(name)+".so")
		if st, err := os.Stat(at); err == nil && st.Mode().IsRegular() && filepath.IsAbs(at) && !strings.ContainsAny(at, "\"\n;") {
			e.Extensions = append(e.Extensions, at)
		}
	}
	repositories := map[string]any{}
	if err := ask(ctx, &repositories, "/", "composer", "config", "--global", "--no-plugins", "--no-interaction", "repositories"); err != nil {
		return ComposerEnv{}, err
	}
	public, _ := repositories["packagist.org"].(map[string]any)
	if address, _ := public["url"].(string); len(repositories) != 1 || strings.TrimRight(address, "/") != publicPackagist {
		return ComposerEnv{}, fault.New(fault.Unsupported, "your configuration of Composer has repositories of its own, which aren't asked yet")
	}
	e.Index = publicPackagist
	return e, nil
}

// Hosts are the places, as "host:port", that a fetch may have to reach. Packagist itself holds no archives: nearly all are GitHub's.
func (e ComposerEnv) Hosts() ([]string, error) {
	addresses := []string{e.Index}
	if e.Index == publicPackagist {
		addresses = append(addresses, "https://api.github.com", "https://codeload.github.com")
	}
	return hosts(addresses)
}

// maxLock bounds a lock file.
const maxLock = 64 << 20

// Elsewhere says why nobody is asked about a package of a composer.lock; "" if it comes from Packagist: whoever registers a private name there would be taken
// for the company. manifest is the composer.json beside it.
func (e ComposerEnv) Elsewhere(manifest, lock []byte, name string) string {
	if why := e.Foreign(manifest); why != "" {
		return why
	}
	var all [2][]json.RawMessage
	if len(lock) > maxLock || exact.Object(lock, map[string]any{"packages": &all[0], "packages-dev": &all[1]}) != nil {
		return "composer.lock can't be read"
	}
	why := "the lock file doesn't hold it"
	for _, raw := range slices.Concat(all[0], all[1]) {
		var is, notify string
		if err := exact.Object(raw, map[string]any{"name": &is, "notification-url": &notify}); err != nil {
			return "composer.lock can't be read"
		}
		if strings.EqualFold(is, name) {
			if notify != "https://packagist.org/downloads/" {
				return "the lock file takes it from elsewhere than Packagist, which isn't asked"
			}
			why = ""
		}
	}
	return why
}

// Foreign says what a composer.json decides of whom is asked or trusted; "" for nothing (https://getcomposer.org/doc/06-config.md).
func (e ComposerEnv) Foreign(manifest []byte) string {
	var named, config json.RawMessage
	if len(manifest) > maxLock || exact.Object(manifest, map[string]any{"repositories": &named, "config": &config}) != nil {
		return "composer.json can't be read"
	}
	var settings map[string]json.RawMessage
	if text := string(bytes.TrimSpace(config)); text != "" && text != "[]" && json.Unmarshal(config, &settings) != nil {
		return "composer.json can't be read"
	}
	for _, key := range []string{"disable-tls", "secure-http", "cafile", "capath"} {
		if _, ok := settings[key]; ok {
			return "composer.json says by " + key + " whom to trust, which is for its user to say"
		}
	}
	if text := string(bytes.TrimSpace(named)); text != "" && text != "[]" && text != "{}" && text != "null" {
		return "composer.json names repositories of its own, which aren't asked"
	}
	return ""
}

// Packagist lists packages of a Composer repository (https://getcomposer.org/doc/05-repositories.md#metadata-url-available-packages-and-available-package-patterns).
type Packagist struct {
	web  web
	base string
}

// NewPackagist returns a Packagist; client may be nil.
func NewPackagist(e ComposerEnv, client *http.Client) *Packagist {
	return &Packagist{newWeb(client), e.Index}
}

// packageVersion is one version of the answer, in which each says only how it differs from the one before.
type packageVersion struct {
	version, reference string
	published          time.Time
	abandoned          any
}

func (v *packageVersion) read(raw json.RawMessage) error {
	var dist json.RawMessage
	next := *v
	var published, abandoned json.RawMessage
	if err := exact.Object(raw, map[string]any{"version": &next.version, "time": &published, "dist": &dist, "abandoned": &abandoned}); err != nil {
		return err
	}
	const unset = `"__unset"`
	if published != nil {
		next.published = time.Time{}
		if string(published) != unset {
			if err := json.Unmarshal(published, &next.published); err != nil {
				return err
			}
		}
	}
	if abandoned != nil {
		next.abandoned = nil
		if string(abandoned) != unset {
			if err := json.Unmarshal(abandoned, &next.abandoned); err != nil {
				return err
			}
		}
	}
	if dist != nil {
		next.reference = ""
		if string(dist) != unset && string(dist) != "null" {
			if err := exact.Object(dist, map[string]any{"reference": &next.reference}); err != nil {
				return err
			}
		}
	}
	*v = next
	return nil
}

// Releases are those of a package. Times are those of commits, which whoever publishes writes.
func (p *Packagist) Releases(ctx context.Context, name, from string) ([]Release, error) {
	name = strings.ToLower(name)
	if ok, _ := regexp.MatchString(`^[a-z0-9]([_.-]?[a-z0-9]+)*/[a-z0-9](([_.]|-{1,2})?[a-z0-9]+)*$`, name); !ok || len(name) > 200 { // the pattern is constant
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.80q is no name of a Composer package", name))
	}
	vendor, short, _ := strings.Cut(name, "/")
	b, err := p.web.get(ctx, p.base+"/p2/"+url.PathEscape(vendor)+"/"+url.PathEscape(short)+".json", maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", name, err)
	}
	var packages map[string][]json.RawMessage
	var minified string
	if err := exact.Object(b, map[string]any{"packages": &packages, "minified": &minified}); err != nil {
		return nil, fault.Wrap(fault.Invalid, "the registry's answer for "+name+" can't be read", err)
	}
	all, ok := packages[name]
	if !ok || len(packages) != 1 {
		return nil, fault.New(fault.Invalid, "the registry answers for another package when it is asked for "+name)
	}
	if len(all) > 5*maxReleases {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("%s has %d releases", name, len(all)))
	}
	var out []Release
	var v packageVersion
	for _, raw := range all {
		if minified == "" {
			v = packageVersion{}
		}
		if err := v.read(raw); err != nil {
			return nil, fault.Wrap(fault.Invalid, "the registry's answer for "+name+" can't be read", err)
		}
		if !ordering.Valid(ordering.Packagist, v.version) || from != "" && ordering.Compare(ordering.Packagist, v.version, from) < 0 {
			continue
		}
		r := Release{Version: v.version, Published: v.published, Claimed: true, Integrity: v.reference}
		if instead, ok := v.abandoned.(string); ok && instead != "" {
			r.Deprecated = "abandoned, in favour of " + firstLine(instead, "another")
		} else if gone, _ := v.abandoned.(bool); gone {
			r.Deprecated = "abandoned"
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Release) int {
		return cmp.Or(ordering.Compare(ordering.Packagist, a.Version, b.Version), strings.Compare(a.Version, b.Version))
	})
	return out, nil
}

// Archive isn't told: what a package can do isn't known yet.
func (p *Packagist) Archive(context.Context, string, string) ([]byte, error) {
	return nil, fault.New(fault.Unsupported, "what Composer's packages can do isn't known yet")
}
