package npmlock

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// wanted are the ranges that a package.json asks for.
func wanted(manifest []byte) (map[string]string, error) {
	var all [4]map[string]string
	if err := exact.Object(manifest, map[string]any{"dependencies": &all[0], "devDependencies": &all[1], "optionalDependencies": &all[2], "peerDependencies": &all[3]}); err != nil {
		return nil, fmt.Errorf("read package.json: %w", err)
	}
	out := map[string]string{}
	for i := len(all) - 1; i >= 0; i-- {
		for name, rng := range all[i] {
			out[name] = rng
		}
	}
	return out, nil
}

// maxPNPM bounds a pnpm-lock.yaml: YAML's readers take many times its size.
const maxPNPM = 32 << 20

// ParsePNPM reads a pnpm-lock.yaml of version 9 (https://github.com/pnpm/spec/blob/master/lockfile/9.0.md). The ranges of those who ask are only
// known of the project's own requests.
func ParsePNPM(b []byte) (*Lock, error) {
	if len(b) > maxPNPM {
		return nil, fmt.Errorf("read pnpm-lock.yaml: it is larger than %d MB", maxPNPM>>20)
	}
	type wants map[string]struct{ Specifier, Version string }
	type requires struct {
		Dependencies         map[string]string `yaml:"dependencies"`
		OptionalDependencies map[string]string `yaml:"optionalDependencies"`
	}
	var lock struct {
		Version   string `yaml:"lockfileVersion"`
		Importers map[string]struct {
			Dependencies         wants `yaml:"dependencies"`
			DevDependencies      wants `yaml:"devDependencies"`
			OptionalDependencies wants `yaml:"optionalDependencies"`
		} `yaml:"importers"`
		Packages map[string]struct {
			Resolution struct {
				Tarball string `yaml:"tarball"`
				Repo    string `yaml:"repo"`
			} `yaml:"resolution"`
		} `yaml:"packages"`
		Snapshots map[string]requires `yaml:"snapshots"`
	}
	if err := yaml.Unmarshal(b, &lock); err != nil {
		return nil, fmt.Errorf("read pnpm-lock.yaml: %w", err)
	}
	if !strings.HasPrefix(lock.Version, "9.") {
		return nil, fmt.Errorf("read pnpm-lock.yaml: its version is %.20q, and only 9 says who asks", lock.Version)
	}
	if len(lock.Packages)+len(lock.Snapshots) > 2*maxPackages {
		return nil, fmt.Errorf("read pnpm-lock.yaml: more than %d parts", maxPackages)
	}
	out := newLock()
	for _, i := range lock.Importers {
		for _, all := range []wants{i.Dependencies, i.DevDependencies, i.OptionalDependencies} {
			for name, w := range all {
				out.ask(snapshot(name, w.Version), Ask{Range: w.Specifier})
			}
		}
	}
	for id, s := range lock.Snapshots {
		by := snapshot("", id)
		for _, all := range []map[string]string{s.Dependencies, s.OptionalDependencies} {
			for name, version := range all {
				out.ask(snapshot(name, version), Ask{Name: by.name, Version: by.version})
			}
		}
	}
	for id, p := range lock.Packages {
		k := snapshot("", id)
		out.source(k, p.Resolution.Tarball)
		out.source(k, p.Resolution.Repo)
	}
	return out.sort(), nil
}

// snapshot is a part as pnpm names it: "1.0.0(peer@1.0.0)" of a name, or "name@1.0.0(…)" whatever the name.
func snapshot(name, version string) copied {
	version, _, _ = strings.Cut(version, "(")
	if i := strings.LastIndexByte(version, '@'); i > 0 {
		return copied{version[:i], version[i+1:]}
	}
	return copied{name, version}
}
