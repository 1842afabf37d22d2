package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/npmlock"
	"github.com/wardhq/ward/internal/cap/update/internal/ordering"
	"github.com/wardhq/ward/internal/cap/update/internal/pins"
	"github.com/wardhq/ward/internal/cap/update/internal/powers"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/seen"
	"github.com/wardhq/ward/internal/cap/update/internal/trial"
	"github.com/wardhq/ward/internal/finding"
)

// sources are where releases come from.
type sources struct {
	goEnv    registry.GoEnv
	npmEnv   registry.NPMEnv
	cargo    registry.CargoEnv
	pypi     registry.PyPIEnv
	composer registry.ComposerEnv
	ca       string
	set      bool
	// pinners are who tells what tags stand for, nil for the real ones.
	pinners map[pins.Kind]registry.Pinner
}

// env is where a project's releases come from: what its own tools are configured for.
func (u *run) env(ctx context.Context, p project) (sources, error) {
	if u.sources.set {
		return u.sources, nil
	}
	u.envLock.Lock()
	defer u.envLock.Unlock()
	s, known := u.envs[p]
	if known {
		return s, nil
	}
	var err error
	switch p.ecosystem {
	case choose.Go:
		s.goEnv, err = registry.ReadGoEnv(ctx)
	case choose.Crates:
		s.cargo, err = registry.ReadCargoEnv(ctx)
	case choose.PyPI:
		s.pypi, err = registry.ReadPyPIEnv(ctx)
	case choose.Packagist:
		s.composer, err = registry.ReadComposerEnv(ctx)
	default:
		s.npmEnv, err = registry.ReadNPMEnv(ctx, u.root, p.dir)
	}
	if err == nil {
		if u.envs == nil {
			u.envs = map[project]sources{}
		}
		u.envs[p] = s
	}
	return s, err
}

func (u *run) registry(ctx context.Context, p project) (registry.Registry, error) {
	s, err := u.env(ctx, p)
	if err != nil {
		return nil, err
	}
	switch p.ecosystem {
	case choose.Go:
		return registry.NewGo(s.goEnv, nil)
	case choose.Crates:
		return registry.NewCrates(s.cargo, nil), nil
	case choose.PyPI:
		return registry.NewPyPI(s.pypi, nil), nil
	case choose.Packagist:
		return registry.NewPackagist(s.composer, nil), nil
	}
	return registry.NewNPM(s.npmEnv, nil), nil
}

// atOnce is how many questions to registries are under way.
const atOnce = 8

// gather makes of the parts that matter what the choice needs: those with findings, those that the project asks for itself where everything is wanted,
// and the direct ones of npm projects with findings, which may have to be raised for others' sake.
func (u *run) gather(ctx context.Context, dir string, parts []finding.Package, found []finding.Finding) ([]choose.Part, error) {
	type key struct{ ecosystem, name, version, path string }
	of := func(p *finding.Package) key { return key{p.Ecosystem, p.Name, p.Version, p.Location.Path} }
	weak, troubled := map[key][]finding.Finding{}, map[string]bool{}
	for _, f := range found {
		if f.Package != nil && f.Suppressed == nil {
			weak[of(f.Package)] = append(weak[of(f.Package)], f)
			troubled[f.Package.Location.Path] = true
		}
	}
	at := map[key]int{}
	var matter []int
	for i := range parts {
		p := &parts[i]
		at[of(p)] = i
		if len(weak[of(p)]) > 0 || u.All && p.Direct || p.Direct && p.Ecosystem == choose.NPM && troubled[p.Location.Path] {
			matter = append(matter, i)
		}
	}
	var out []choose.Part
	locks, unread, taken := map[string]*npmlock.Lock{}, map[string]string{}, map[int]bool{}
	for n := 0; n < len(matter); n++ {
		p := &parts[matter[n]]
		if taken[matter[n]] {
			continue
		}
		taken[matter[n]] = true
		part := choose.Part{Package: *p, Findings: weak[of(p)]}
		if p.Ecosystem == choose.NPM {
			var err error
			file := p.Location.Path
			if locks[file] == nil {
				if locks[file], err = readLock(dir, file); err != nil {
					unread[file], locks[file] = err.Error(), new(npmlock.Lock)
				}
			}
			if part.Closed = unread[file]; part.Closed == "" {
				if err := u.asked(ctx, &part, locks[file]); err != nil {
					return nil, err
				}
			}
			// Who asks for a weak part may have to be changed instead, and who asks for that.
			for _, a := range part.Asks {
				i, ok := at[key{p.Ecosystem, a.Name, a.Version, file}]
				if ok && (!p.Direct || len(part.Findings) > 0) && len(matter) < maxMatter {
					matter = append(matter, i)
				}
			}
		}
		if part.Closed == "" {
			var err error
			if part.Closed, err = u.elsewhere(ctx, dir, p); err != nil {
				return nil, err
			}
		}
		out = append(out, part)
	}
	return out, u.releases(ctx, out)
}

// maxMatter bounds how many parts registries are asked about for others' sake.
const maxMatter = 2000

// readLock reads who asks for what in a lock file of npm's parts.
func readLock(dir, name string) (*npmlock.Lock, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read who asks for what: %w", err)
	}
	defer root.Close()
	b, err := root.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read who asks for what: %w", err)
	}
	var lock *npmlock.Lock
	switch path.Base(name) {
	case "package-lock.json":
		lock, err = npmlock.Parse(b)
	case "pnpm-lock.yaml":
		lock, err = npmlock.ParsePNPM(b)
	case "yarn.lock":
		var manifest []byte
		if manifest, err = root.ReadFile(path.Join(path.Dir(name), "package.json")); err == nil {
			lock, err = npmlock.ParseYarn(b, manifest)
		}
	default:
		return new(npmlock.Lock), nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, name, err)
	}
	return lock, nil
}

// asked fills in who asks for a part of npm, and whether it comes from where Ward asks.
func (u *run) asked(ctx context.Context, p *choose.Part, lock *npmlock.Lock) error {
	s, err := u.env(ctx, projectAt(p.Ecosystem, p.Location.Path))
	if err != nil {
		return err
	}
	p.Closed = s.npmEnv.Elsewhere(p.Name, lock.From(p.Name, p.Version))
	for _, a := range lock.Of(p.Name, p.Version) {
		ask := choose.Ask(a)
		if a.Name != "" && a.Range == "" && path.Base(p.Location.Path) == "pnpm-lock.yaml" && p.Closed == "" {
			// pnpm's lock file doesn't say in which range: the registry does.
			if ask.Range, err = u.rangeOf(ctx, p, a, s.npmEnv.Elsewhere(a.Name, lock.From(a.Name, a.Version))); err != nil {
				if ctx.Err() != nil {
					return err
				}
				p.Closed = err.Error()
			}
		}
		p.Asks = append(p.Asks, ask)
	}
	return nil
}

// rangeOf is the range in which one published part asks for another.
func (u *run) rangeOf(ctx context.Context, p *choose.Part, by npmlock.Ask, elsewhere string) (string, error) {
	unknown := fmt.Sprintf("it isn't known which versions %s %s asks for: ", by.Name, by.Version)
	if elsewhere != "" {
		return "", fault.New(fault.Refused, unknown+elsewhere)
	}
	reg, err := u.registry(ctx, projectAt(p.Ecosystem, p.Location.Path))
	if err != nil {
		return "", err
	}
	all, err := reg.Releases(ctx, by.Name, by.Version)
	if err != nil {
		return "", fmt.Errorf("%s%w", unknown, err)
	}
	for _, r := range all {
		if rng, ok := r.Requires[p.Name]; r.Version == by.Version && ok {
			return rng, nil
		}
	}
	return "", fault.New(fault.NotFound, unknown+"its registry doesn't say")
}

// releases fills in what registries list, and since when each of it counts. A registry that doesn't answer about one part keeps that one back, by
// having no release to choose.
func (u *run) releases(ctx context.Context, parts []choose.Part) error {
	log := seen.Open(u.SeenLog, u.Clock)
	// Of a part in several versions all releases from the lowest on are noted at once: what is listed later would be taken for new.
	type name struct{ ecosystem, name string }
	lowest := map[name]string{}
	for i := range parts {
		p := &parts[i]
		k := name{p.Ecosystem, p.Name}
		if low, ok := lowest[k]; !ok || ordering.Compare(p.Ecosystem, p.Version, low) < 0 {
			lowest[k] = p.Version
		}
	}
	var mu sync.Mutex // guards registries and failed
	registries, failed := map[project]registry.Registry{}, []error{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range parts {
		p := &parts[i]
		if p.Closed != "" || !choose.Updated(p.Ecosystem, p.Location.Path) {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			where := projectAt(p.Ecosystem, p.Location.Path)
			mu.Lock()
			reg := registries[where]
			var err error
			if reg == nil {
				if reg, err = u.registry(ctx, where); err == nil {
					registries[where] = reg
				}
			}
			mu.Unlock()
			if err == nil {
				if p.Releases, err = reg.Releases(ctx, p.Name, lowest[name{p.Ecosystem, p.Name}]); err == nil {
					p.Since, err = log.Note(p.Ecosystem, p.Name, p.Releases)
				}
			}
			if err != nil {
				mu.Lock()
				failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
				p.Closed = "its registry tells nothing: " + err.Error()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 && (len(failed) == len(parts) || ctx.Err() != nil) {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		u.say(err.Error())
	}
	return nil
}

// grown tells what a version can do that another can't, by what was published of both.
func (u *run) grown(ctx context.Context) func(ecosystem, name, from, to string) ([]string, error) {
	return func(ecosystem, name, from, to string) ([]string, error) {
		reg, err := u.registry(ctx, project{ecosystem: ecosystem, dir: "."})
		if err != nil {
			return nil, err
		}
		var both [2]*powers.Powers
		for i, version := range []string{from, to} {
			b, err := reg.Archive(ctx, name, version)
			if err != nil {
				return nil, err
			}
			if both[i], err = powers.Of(ecosystem, b); err != nil {
				return nil, err
			}
		}
		return powers.Grown(both[0], both[1]), nil
	}
}

// overlay is a folder with the manifests and lock files of the commit, exchanged by others.
func (u *run) overlay(ctx context.Context, files map[string][]byte) (dir string, remove func(), err error) {
	if dir, err = os.MkdirTemp(u.Scratch, "look-"); err != nil {
		return "", nil, fmt.Errorf("look at the changed manifests: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) } // our own scratch folder
	err = trial.Checkout(ctx, u.root, u.base, dir)
	var root *os.Root
	if err == nil {
		if root, err = os.OpenRoot(dir); err == nil {
			defer root.Close()
		}
	}
	for name, b := range files {
		if err == nil {
			if err = root.MkdirAll(path.Dir(name), 0o755); err == nil || errors.Is(err, fs.ErrExist) {
				err = root.WriteFile(name, b, 0o644)
			}
		}
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("look at the changed manifests: %w", err)
	}
	return dir, remove, nil
}
