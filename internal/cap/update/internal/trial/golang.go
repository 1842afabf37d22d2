package trial

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// goKit tries with the go command.
type goKit struct {
	config Config
	vets   bool // the baseline passes go vet
}

func newGoKit(c Config) (*goKit, error) {
	if c.Go.Root == "" {
		return nil, fault.New(fault.Unsupported, "Go isn't installed")
	}
	return &goKit{config: c}, nil
}

// env is the whole environment. Without network the go command may not even try to fetch.
func (g *goKit) env(a *attempt) []string {
	e := g.config.Go
	env := []string{
		"PATH=" + filepath.Join(e.Root, "bin") + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + inHome, "LANG=C.UTF-8", "USER=job", "CI=1",
		"TMPDIR=" + inTmp, "GOTMPDIR=" + inTmp, "GOROOT=" + e.Root, "GOPATH=" + inHome + "/go", "GOMODCACHE=" + inMod, "GOCACHE=" + inBuild,
		"GOENV=off", "GOTELEMETRY=off", "GOTOOLCHAIN=local", "GOWORK=off",
	}
	if !a.net {
		return append(env, "GOPROXY=off", "GOFLAGS=-mod=readonly -buildvcs=false", "GONOSUMDB=*", "GONOSUMCHECK=1")
	}
	proxy := e.Proxy
	if st, err := os.Stat(filepath.Join(e.ModCache, "cache", "download")); err == nil && st.IsDir() {
		proxy = "file://" + inWarm + "," + proxy
	}
	return append(env, "GOPROXY="+proxy, "GONOPROXY="+e.NoProxy, "GOSUMDB="+e.SumDB, "GONOSUMDB="+e.NoSumDB, "GOFLAGS=-mod=mod -modcacherw -buildvcs=false", "GOVCS=*:off")
}

func (g *goKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	dir := filepath.Join(a.dir, "tree", a.config.Dir)
	if _, err := os.Lstat(filepath.Join(dir, "vendor", "modules.txt")); err == nil {
		return fault.New(fault.Unsupported, "the project holds copies of its modules (vendor), which aren't updated yet")
	}
	if len(changes) > 0 {
		// Not "go get": it takes versions for exact, and fails where one of the changes asks for a newer version of another.
		edit := []string{"go", "mod", "edit"}
		for _, ch := range changes {
			edit = append(edit, "-require="+ch.Name+"@v"+strings.TrimPrefix(ch.To, "v"))
		}
		if err := a.run(ctx, g.env(a), nil, edit...); err != nil {
			return err
		}
		if err := a.run(ctx, g.env(a), nil, "go", "mod", "tidy"); err != nil {
			return err
		}
	}
	// Everything that building and testing needs, while there is a network.
	return a.run(ctx, g.env(a), nil, "go", "list", "-deps", "-test", "-f", `{{""}}`, "./...")
}

func (g *goKit) build(ctx context.Context, a *attempt) error {
	if err := a.run(ctx, g.env(a), nil, "go", "build", "./..."); err != nil {
		return err
	}
	err := a.run(ctx, g.env(a), nil, "go", "vet", "./...")
	var failed *failure
	if errors.As(err, &failed) && (a.first || !g.vets) {
		return nil // what was wrong before doesn't speak against a change
	}
	if a.first {
		g.vets = err == nil
	}
	return err
}

func (g *goKit) test(ctx context.Context, a *attempt) (results, error) {
	e := newEvents()
	argv := []string{"go", "test", "-json", "-count=1", "-vet=off"}
	if len(g.config.Tests) == 0 {
		argv = append(argv, "./...")
	}
	err := a.run(ctx, g.env(a), e, append(argv, g.config.Tests...)...)
	e.output = e.text.String()
	var failed *failure
	if errors.As(err, &failed) {
		err = nil // each test tells for itself
	}
	return e.results, err
}
