package registry

import (
	"context"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// NPM lists packages of npm registries (https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md).
type NPM struct {
	web web
	env NPMEnv
}

// NewNPM returns an NPM that asks where e says; client may be nil.
func NewNPM(e NPMEnv, client *http.Client) *NPM { return &NPM{web: newWeb(client), env: e} }

// document is the full metadata of a package: the short form has no times.
type document struct {
	Name     string
	Time     map[string]time.Time
	Versions map[string]manifest
}

// UnmarshalJSON reads by exact names: most of it is what publishers wrote.
func (d *document) UnmarshalJSON(b []byte) error {
	return exact.Object(b, map[string]any{"name": &d.Name, "time": &d.Time, "versions": &d.Versions})
}

// manifest is a version's package.json, with what the registry adds.
type manifest struct {
	Deprecated         any // a sentence; some registries say false
	Scripts            map[string]any
	Gypfile            bool
	Dependencies, Some map[string]string // Some are the optional ones
	Publisher          string
	Integrity, Tarball string
}

func (m *manifest) UnmarshalJSON(b []byte) error {
	var user, dist json.RawMessage
	err := exact.Object(b, map[string]any{
		"deprecated": &m.Deprecated, "scripts": &m.Scripts, "gypfile": &m.Gypfile, "dependencies": &m.Dependencies, "optionalDependencies": &m.Some,
		"_npmUser": &user, "dist": &dist,
	})
	if err == nil && user != nil {
		err = exact.Object(user, map[string]any{"name": &m.Publisher})
	}
	if err == nil && dist != nil {
		err = exact.Object(dist, map[string]any{"integrity": &m.Integrity, "tarball": &m.Tarball})
	}
	return err
}

// npmName is a package's name (https://docs.npmjs.com/cli/configuring-npm/package-json#name), with the capitals of old ones.
func npmName(name string) bool {
	ok, _ := regexp.MatchString(`^(@[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9_~-][A-Za-z0-9._~-]*$`, name) // the pattern is constant
	return ok && len(name) <= 214
}

func (n *NPM) document(ctx context.Context, name string) (*document, error) {
	if !npmName(name) {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("%.80q is no name of an npm package", name))
	}
	if why := n.env.Elsewhere(name, nil); why != "" {
		return nil, fault.New(fault.Refused, why)
	}
	b, err := n.web.get(ctx, n.env.base(name)+"/"+strings.Replace(name, "/", "%2f", 1), maxAnswer, "Accept", "application/json")
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", name, err)
	}
	d := new(document)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fault.Wrap(fault.Invalid, "the registry's answer for "+name+" can't be read", err)
	}
	if d.Name != name {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the registry answers for %.80q when it is asked for %s", d.Name, name))
	}
	return d, nil
}

// Releases are those of a package. Times are the registry's own.
func (n *NPM) Releases(ctx context.Context, name, from string) ([]Release, error) {
	d, err := n.document(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []Release
	for v, x := range d.Versions {
		if !semver.IsValid("v" + v) {
			continue // before npm's first rules; nothing can depend on it by a range
		}
		if from != "" && semver.Compare("v"+v, "v"+from) < 0 {
			continue
		}
		r := Release{Version: v, Published: d.Time[v], Publisher: x.Publisher, Integrity: x.Integrity, Requires: map[string]string{}}
		if s, ok := x.Deprecated.(string); ok && s != "" {
			r.Deprecated = firstLine(s, "deprecated")
		}
		r.Scripts = x.Gypfile && x.Scripts["install"] == nil
		for _, s := range []string{"preinstall", "install", "postinstall"} {
			r.Scripts = r.Scripts || x.Scripts[s] != nil
		}
		for _, all := range []map[string]string{x.Dependencies, x.Some} {
			for k, v := range all {
				r.Requires[k] = v
			}
		}
		out = append(out, r)
	}
	if len(out) > 5*maxReleases {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("%s has %d releases", name, len(out)))
	}
	slices.SortFunc(out, func(a, b Release) int { return semver.Compare("v"+a.Version, "v"+b.Version) })
	return out, nil
}

// Archive is the tarball, which must be at the registry's own host and have the integrity that the registry tells.
func (n *NPM) Archive(ctx context.Context, name, version string) ([]byte, error) {
	d, err := n.document(ctx, name)
	if err != nil {
		return nil, err
	}
	v, ok := d.Versions[version]
	if !ok {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("the registry doesn't have %s %s", name, version))
	}
	at, err := url.Parse(v.Tarball)
	home, err2 := url.Parse(n.env.base(name))
	if err != nil || err2 != nil || at.Host != home.Host || at.Scheme != home.Scheme && at.Scheme != "https" {
		return nil, fault.New(fault.Refused, fmt.Sprintf("the tarball of %s %s isn't at the registry's own host", name, version))
	}
	b, err := n.web.get(ctx, at.String(), maxArchive)
	if err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w", name, version, err)
	}
	if !intact(b, v.Integrity) {
		return nil, fault.New(fault.Refused, fmt.Sprintf("the tarball of %s %s isn't what the registry says it is", name, version))
	}
	return b, nil
}

// intact checks one sha512 of a Subresource Integrity value; a release without one can't be checked, and isn't taken.
func intact(b []byte, integrity string) bool {
	sum := sha512.Sum512(b)
	for word := range strings.FieldsSeq(integrity) {
		if said, ok := strings.CutPrefix(word, "sha512-"); ok {
			want, err := base64.StdEncoding.DecodeString(said)
			return err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1
		}
	}
	return false
}
