package trial

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
	"github.com/wardhq/ward/internal/cap/update/internal/npmlock"
)

// newJSKit is npm, yarn or pnpm: whoever wrote the lock file.
func newJSKit(c Config) (kit, error) {
	if c.NPM.Registry == "" {
		return nil, fault.New(fault.Unsupported, "npm isn't installed")
	}
	for scope := range c.NPM.Foreign {
		return nil, fault.New(fault.Refused, c.NPM.Elsewhere(path.Join(scope, "x"), nil))
	}
	switch c.Lock {
	case "", "package-lock.json":
		return &npmKit{c}, nil
	case "yarn.lock":
		p, err := foreignProgram("yarn", "yarnpkg")
		return &yarnKit{foreignKit{npmKit{c}, p}}, err
	case "pnpm-lock.yaml":
		p, err := foreignProgram("pnpm")
		return &pnpmKit{foreignKit{npmKit{c}, p}}, err
	}
	return nil, fault.New(fault.Unsupported, "projects with a "+c.Lock+" can't be tried yet")
}

// tool is a package manager that was installed as a package of npm.
type tool struct {
	argv  []string // how it is started
	root  string   // its folder
	major string   // of its version
}

// foreignProgram finds an installed package manager by one of its names.
func foreignProgram(names ...string) (tool, error) {
	for _, name := range names {
		at, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if at, err = filepath.Abs(at); err == nil {
			at, err = filepath.EvalSymlinks(at)
		}
		if err != nil {
			return tool{}, fmt.Errorf("find %s: %w", name, err)
		}
		for root := filepath.Dir(at); root != "/"; root = filepath.Dir(root) {
			b, err := os.ReadFile(filepath.Join(root, "package.json"))
			var is, version string
			if errors.Is(err, fs.ErrNotExist) || err == nil && exact.Object(b, map[string]any{"name": &is, "version": &version}) == nil && is == "" {
				continue
			}
			if is != names[0] {
				return tool{}, fault.New(fault.Unsupported, fmt.Sprintf("%s here is a stand-in of %q, which fetches another program: npm install -g %s", name, is, names[0]))
			}
			major, _, _ := strings.Cut(version, ".")
			return tool{[]string{"node", at}, root, major}, nil
		}
	}
	return tool{}, fault.New(fault.Unsupported, names[0]+" isn't installed: npm install -g "+names[0]+", or update by hand")
}

// foreignKit is what yarn and pnpm have in common: npm edits the manifest, and they do the rest.
type foreignKit struct {
	npmKit
	tool tool
}

func (k *foreignKit) program() string { return k.tool.root }

// open is the tree, with the manifest's place in it.
func (k *foreignKit) open(a *attempt, file string) (*os.Root, string, error) {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return nil, "", fmt.Errorf("change %s: %w", file, err)
	}
	return root, path.Join(a.config.Dir, file), nil
}

func (k *foreignKit) read(a *attempt, file string) ([]byte, error) {
	root, p, err := k.open(a, file)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := root.ReadFile(p)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return b, nil
}

func (k *foreignKit) write(a *attempt, file string, b []byte) error {
	root, p, err := k.open(a, file)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.WriteFile(p, b, 0o644); err != nil {
		return fmt.Errorf("change %s: %w", file, err)
	}
	return nil
}

// refuse says which projects can't be tried: those that run code of their own to resolve, and those of several parts.
func (k *foreignKit) refuse(a *attempt, more ...string) error {
	if err := a.without(more...); err != nil {
		return err
	}
	b, err := k.read(a, "package.json")
	if err != nil {
		return err
	}
	var workspaces any
	if err := exact.Object(b, map[string]any{"workspaces": &workspaces}); err != nil {
		return fault.Wrap(fault.Invalid, "package.json can't be read", err)
	}
	if workspaces != nil {
		return fault.New(fault.Unsupported, "workspaces of "+filepath.Base(k.tool.root)+" can't be tried yet")
	}
	return nil
}

// raised are the settings of package.json that make it ask for new versions, as freely as it did.
func (k *foreignKit) raised(a *attempt, changes []choose.Change) ([]string, error) {
	b, err := k.read(a, "package.json")
	if err != nil {
		return nil, err
	}
	sections := map[string]*map[string]string{"dependencies": {}, "devDependencies": {}, "optionalDependencies": {}}
	into := map[string]any{}
	for name, s := range sections {
		into[name] = s
	}
	if err := exact.Object(b, into); err != nil {
		return nil, fault.Wrap(fault.Invalid, "package.json can't be read", err)
	}
	var out []string
	for _, ch := range changes {
		if ch.How != choose.Raise {
			continue
		}
		found := false
		for _, name := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
			old, ok := (*sections[name])[ch.Name]
			if !ok {
				continue
			}
			found = true
			if r, err := choose.ParseRange(old); err == nil && r.Admits(ch.To) && !strings.HasPrefix(old, "^") && !strings.HasPrefix(old, "~") {
				continue
			}
			prefix := "^"
			if strings.HasPrefix(old, "~") || old == ch.From {
				prefix = strings.TrimSuffix(old[:1], ch.From[:1])
			}
			out = append(out, fmt.Sprintf("%s[%s]=%s%s", name, ch.Name, prefix, ch.To))
		}
		if !found {
			return nil, &failure{"package.json doesn't ask for " + ch.Name, ""}
		}
	}
	return out, nil
}

func (k *foreignKit) run(ctx context.Context, a *attempt, env []string, argv ...string) error {
	return a.run(ctx, append(k.env(a), env...), nil, append(slices.Clone(k.tool.argv), argv...)...)
}

// scripts is how both run one of the project's own; a failure is in the results, and returned.
func (k *foreignKit) scripts(ctx context.Context, a *attempt, run func(context.Context, *attempt, string) error, name string) (results, error) {
	r := results{passed: map[string]bool{}, failed: map[string]bool{}}
	if !k.script(a, name) {
		return r, nil
	}
	err := run(ctx, a, name)
	var failed *failure
	if errors.As(err, &failed) {
		r.failed["npm "+name], r.output = true, failed.output
		return r, err
	}
	r.passed["npm "+name] = err == nil
	return r, err
}

// yarnKit tries with yarn 1.
type yarnKit struct{ foreignKit }

// yarn runs it without the project's own settings, which may name another program to run in its stead.
func (y *yarnKit) yarn(ctx context.Context, a *attempt, argv ...string) error {
	env := []string{"YARN_CACHE_FOLDER=" + inNPM + "/yarn", "YARN_IGNORE_PATH=1", "YARN_REGISTRY=" + y.config.NPM.Registry, "SKIP_YARN_COREPACK_CHECK=1"}
	return y.run(ctx, a, env, append([]string{"--no-default-rc", "--non-interactive"}, argv...)...)
}

func (y *yarnKit) install(ctx context.Context, a *attempt, more ...string) error {
	return y.yarn(ctx, a, append([]string{"install", "--ignore-scripts", "--ignore-engines"}, more...)...)
}

func (y *yarnKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	if y.tool.major != "1" {
		return fault.New(fault.Unsupported, "only yarn 1 can be tried yet, and here is "+y.tool.major)
	}
	if err := errors.Join(a.settle(), y.refuse(a, ".yarnrc.yml", ".pnp.cjs", ".pnp.js")); err != nil {
		return err
	}
	if len(changes) == 0 {
		return y.install(ctx, a, "--frozen-lockfile")
	}
	set, err := y.raised(a, changes)
	if err != nil {
		return err
	}
	over, err := y.resolutions(a, changes)
	if err != nil {
		return err
	}
	if set = append(set, over...); len(set) > 0 {
		if err := y.set(ctx, a, set...); err != nil {
			return err
		}
	}
	manifest, err := y.read(a, "package.json")
	if err != nil {
		return err
	}
	var swaps []npmlock.Swap
	var aliases []string
	for i, ch := range changes {
		if ch.How != choose.Override {
			s := npmlock.Swap{Name: ch.Name, From: ch.From, To: ch.To, Alias: fmt.Sprintf("ward-%d", i)}
			swaps, aliases = append(swaps, s), append(aliases, fmt.Sprintf("devDependencies[%s]=npm:%s@%s", s.Alias, s.Name, s.To))
		}
	}
	if len(swaps) > 0 {
		if err := y.set(ctx, a, aliases...); err != nil {
			return err
		}
		if err := y.install(ctx, a); err != nil {
			return err
		}
		lock, err := y.read(a, "yarn.lock")
		if err != nil {
			return err
		}
		if lock, err = npmlock.SwapYarn(lock, swaps, admits); err != nil {
			return &failure{err.Error(), ""}
		}
		if err := errors.Join(y.write(a, "yarn.lock", lock), y.write(a, "package.json", manifest)); err != nil {
			return err
		}
	}
	return y.install(ctx, a)
}

func admits(rng, version string) bool {
	r, err := choose.ParseRange(rng)
	return err == nil && r.Admits(version)
}

// resolutions go against what parents ask for, one for each of those who ask for the version in use
// (https://classic.yarnpkg.com/lang/en/docs/selective-version-resolutions/).
func (y *yarnKit) resolutions(a *attempt, changes []choose.Change) ([]string, error) {
	lock, err := npmlock.ParseYarn(a.before[path.Join(a.config.Dir, "yarn.lock")], a.before[path.Join(a.config.Dir, "package.json")])
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "yarn.lock can't be read", err)
	}
	var out []string
	for _, ch := range changes {
		if ch.How != choose.Override {
			continue
		}
		for _, by := range lock.Of(ch.Name, ch.From) {
			if by.Name != "" {
				out = append(out, fmt.Sprintf("resolutions[**/%s/%s]=%s", by.Name, ch.Name, ch.To))
			}
		}
	}
	return slices.Compact(out), nil
}

func (y *yarnKit) build(ctx context.Context, a *attempt) error {
	_, err := y.scripts(ctx, a, y.own, "build")
	return err
}

func (y *yarnKit) own(ctx context.Context, a *attempt, name string) error {
	return y.yarn(ctx, a, "run", name)
}

func (y *yarnKit) test(ctx context.Context, a *attempt) (results, error) {
	r, err := y.scripts(ctx, a, y.own, "test")
	var failed *failure
	if errors.As(err, &failed) {
		err = nil
	}
	return r, err
}
