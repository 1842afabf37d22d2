package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/wardhq/ward/internal/base/fault"
)

// Go lists modules by the GOPROXY protocol (https://go.dev/ref/mod#goproxy-protocol).
type Go struct {
	web     web
	proxies []proxy
	private string
}

// proxy is one entry of GOPROXY; the next one is asked when this has nothing, or fails in any way (behind "|").
type proxy struct {
	base   string // or "direct", "off"
	anyhow bool
}

// parallel is how many versions are asked for at once.
const parallel = 8

// NewGo returns a Go that asks where e says; client may be nil.
func NewGo(e GoEnv, client *http.Client) (*Go, error) {
	g := &Go{web: newWeb(client), private: e.NoProxy}
	for rest := e.Proxy; rest != ""; {
		i := strings.IndexAny(rest, ",|")
		p := proxy{base: rest}
		if i >= 0 {
			p.base, p.anyhow = rest[:i], rest[i] == '|'
			rest = rest[i+1:]
		} else {
			rest = ""
		}
		if p.base = strings.TrimRight(strings.TrimSpace(p.base), "/"); p.base != "" {
			g.proxies = append(g.proxies, p)
		}
	}
	if len(g.proxies) == 0 {
		return nil, fault.New(fault.Invalid, "GOPROXY names no proxy")
	}
	return g, nil
}

// fetch asks the proxies in their order, as the go command does.
func (g *Go) fetch(ctx context.Context, name, what string, limit int64) ([]byte, error) {
	if module.MatchPrefixPatterns(g.private, name) {
		return nil, fault.New(fault.Unsupported, name+" is private (GONOPROXY): the go command fetches it from its repository, which Ward doesn't")
	}
	escaped, err := module.EscapePath(name)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Sprintf("%q is no module path", name), err)
	}
	var last error
	for _, p := range g.proxies {
		switch p.base {
		case "off":
			return nil, errors.Join(last, fault.New(fault.Refused, "GOPROXY=off: modules may not be fetched"))
		case "direct":
			return nil, errors.Join(last, fault.New(fault.Unsupported, "no proxy has "+name+", and Ward doesn't fetch from repositories directly (GOPROXY=direct)"))
		}
		var b []byte
		b, last = g.web.get(ctx, p.base+"/"+escaped+"/"+what, limit)
		if last == nil || !p.anyhow && !errors.Is(last, errAbsent) || ctx.Err() != nil {
			return b, last
		}
	}
	return nil, last
}

func (g *Go) fetchVersion(ctx context.Context, name, version, ext string) ([]byte, error) {
	escaped, err := module.EscapeVersion(version)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Sprintf("%q is no version", version), err)
	}
	limit := int64(maxSmall)
	if ext == "zip" {
		limit = maxArchive
	}
	return g.fetch(ctx, name, "@v/"+escaped+"."+ext, limit)
}

// Releases are those of a module path; another major version is another module. Pre-releases are listed too.
func (g *Go) Releases(ctx context.Context, name, from string) ([]Release, error) {
	b, err := g.fetch(ctx, name, "@v/list", maxSmall)
	if err != nil {
		return nil, fmt.Errorf("list versions of %s: %w", name, err)
	}
	all := strings.Fields(string(b))
	for _, v := range all {
		if !semver.IsValid(v) {
			return nil, fault.New(fault.Invalid, fmt.Sprintf("the proxy lists %.60q as a version of %s", v, name))
		}
	}
	if from != "" && !slices.Contains(all, from) && semver.IsValid(from) {
		all = append(all, from) // a pseudo-version is in no list
	}
	slices.SortFunc(all, semver.Compare)
	all = slices.Compact(all)
	retracted, err := g.retractions(ctx, name, all)
	if err != nil {
		return nil, fmt.Errorf("read what was retracted of %s: %w", name, err)
	}
	if from != "" {
		all = slices.DeleteFunc(all, func(v string) bool { return semver.Compare(v, from) < 0 })
	}
	if len(all) > maxReleases {
		return nil, fault.New(fault.Exhausted, fmt.Sprintf("%s has %d releases from %s on, more than %d", name, len(all), from, maxReleases))
	}
	out, err := g.infos(ctx, name, from, all)
	if err != nil {
		return nil, err
	}
	for i := range out {
		retracted(&out[i])
	}
	return out, nil
}

// infos asks for the time of each version. What isn't there for from alone is left out: it may be a replaced module's.
func (g *Go) infos(ctx context.Context, name, from string, versions []string) ([]Release, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, errs := make([]Release, len(versions)), make([]error, len(versions))
	var wait sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, v := range versions {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if out[i], errs[i] = g.info(ctx, name, v); errs[i] != nil && (v != from || !errors.Is(errs[i], errAbsent)) {
				cancel()
			}
		})
	}
	wait.Wait()
	var kept []Release
	var failed error
	for i, v := range versions {
		switch {
		case errs[i] == nil:
			kept = append(kept, out[i])
		case v == from && errors.Is(errs[i], errAbsent):
		case failed == nil || errors.Is(failed, context.Canceled): // the others were stopped because of one
			failed = fmt.Errorf("ask for %s %s: %w", name, v, errs[i])
		}
	}
	return kept, failed
}

func (g *Go) info(ctx context.Context, name, version string) (Release, error) {
	if t, err := module.PseudoVersionTime(version); err == nil {
		return Release{Version: version, Published: t, Claimed: true}, nil
	}
	b, err := g.fetchVersion(ctx, name, version, "info")
	if err != nil {
		return Release{}, err
	}
	var info struct{ Time time.Time }
	if err := json.Unmarshal(b, &info); err != nil {
		return Release{}, fault.Wrap(fault.Invalid, "the proxy's answer isn't JSON", err)
	}
	return Release{Version: version, Published: info.Time, Claimed: true}, nil
}

// retractions reads them from the go.mod of the highest release, where they count from (https://go.dev/ref/mod#go-mod-file-retract).
func (g *Go) retractions(ctx context.Context, name string, sorted []string) (func(*Release), error) {
	latest := ""
	for _, v := range slices.Backward(sorted) {
		if latest == "" || semver.Prerelease(v) == "" {
			latest = v
		}
		if semver.Prerelease(v) == "" {
			break
		}
	}
	if latest == "" {
		return func(*Release) {}, nil
	}
	b, err := g.fetchVersion(ctx, name, latest, "mod")
	if err != nil {
		return nil, err
	}
	f, err := modfile.ParseLax("go.mod", b, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "the go.mod of "+name+" "+latest+" can't be read", err)
	}
	return func(r *Release) {
		if f.Module != nil {
			r.Deprecated = firstLine(f.Module.Deprecated, "")
		}
		for _, x := range f.Retract {
			if semver.Compare(r.Version, x.Low) >= 0 && semver.Compare(r.Version, x.High) <= 0 {
				r.Retracted = firstLine(x.Rationale, "its author retracted it")
			}
		}
	}, nil
}

// firstLine bounds what a publisher says.
func firstLine(s, otherwise string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if s == "" {
		return otherwise
	}
	return strings.ToValidUTF8(s[:min(len(s), 300)], "")
}

// Archive is the module zip. The go command checks it against go.sum and the checksum database when it is used.
func (g *Go) Archive(ctx context.Context, name, version string) ([]byte, error) {
	b, err := g.fetchVersion(ctx, name, version, "zip")
	if err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w", name, version, err)
	}
	if !bytes.HasPrefix(b, []byte("PK")) {
		return nil, fault.New(fault.Invalid, "the proxy's answer for "+name+" "+version+" isn't a zip")
	}
	return b, nil
}
