package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// npmKit tries with npm.
type npmKit struct{ config Config }

// env is the whole environment. Variables overrule the project's own .npmrc.
func (n *npmKit) env(a *attempt) []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + inHome, "TMPDIR=" + inTmp, "LANG=C.UTF-8", "USER=job", "CI=1",
		"npm_config_cache=" + inNPM, "npm_config_userconfig=" + inHome + "/none", "npm_config_globalconfig=" + inHome + "/none-either",
		"npm_config_registry=" + n.config.NPM.Registry, "npm_config_audit=false", "npm_config_fund=false", "npm_config_update_notifier=false",
		"npm_config_ignore_scripts=" + strconv.FormatBool(a.net), "npm_config_logs_max=0", "npm_config_offline=" + strconv.FormatBool(!a.net),
	}
	for _, scope := range slices.Sorted(maps.Keys(n.config.NPM.Scopes)) {
		env = append(env, "npm_config_"+scope+":registry="+n.config.NPM.Scopes[scope])
	}
	if n.config.CA != "" {
		env = append(env, "npm_config_cafile="+n.config.CA, "NODE_EXTRA_CA_CERTS="+n.config.CA)
	}
	return env
}

func (n *npmKit) npm(ctx context.Context, a *attempt, argv ...string) error {
	return a.run(ctx, n.env(a), nil, append([]string{"npm"}, argv...)...)
}

// resolve writes the lock file anew. What it takes besides is as old as what is chosen.
func (n *npmKit) resolve(ctx context.Context, a *attempt, parts ...string) error {
	argv := []string{"install", "--package-lock-only", "--ignore-scripts"}
	if a.wait > 0 {
		argv = append(argv, "--before="+a.config.Now.Add(-a.wait).UTC().Format(time.RFC3339))
	}
	return n.npm(ctx, a, append(append(argv, "--"), parts...)...)
}

// set changes package.json, "key=value" each.
func (n *npmKit) set(ctx context.Context, a *attempt, what ...string) error {
	return n.npm(ctx, a, append([]string{"pkg", "set", "--"}, what...)...)
}

func (n *npmKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	dir := filepath.Join(a.dir, "tree", a.config.Dir)
	if _, err := os.Lstat(filepath.Join(dir, "package-lock.json")); err != nil {
		return fault.Wrap(fault.Unsupported, "only projects with a package-lock.json can be tried", err)
	}
	if err := a.settle(); err != nil {
		return err
	}
	var raise, lock, override []string
	for _, ch := range changes {
		switch ch.How {
		case choose.Lock:
			lock = append(lock, overrideOf(ch))
		case choose.Override:
			override = append(override, overrideOf(ch))
		default:
			raise = append(raise, ch.Name+"@"+ch.To)
		}
	}
	if len(raise) > 0 {
		if err := n.resolve(ctx, a, raise...); err != nil {
			return err
		}
	}
	if len(override)+len(lock) > 0 {
		if err := n.override(ctx, a, override, lock); err != nil {
			return err
		}
	}
	return n.npm(ctx, a, "ci", "--ignore-scripts")
}

// overrideOf is for those alone who ask for a range with the version in use: others may hold a newer one of the same part, which stays
// (https://docs.npmjs.com/cli/configuring-npm/package-json#overrides).
func overrideOf(ch choose.Change) string {
	return fmt.Sprintf("overrides[%s@%s]=%s", ch.Name, ch.From, ch.To)
}

// override sets overrides that stay, and others that only make the lock file hold exact versions which the ranges admit: npm has no word
// for that, but a lock file that was made by an override stays as it is when that goes.
func (n *npmKit) override(ctx context.Context, a *attempt, stay, pass []string) error {
	if len(stay) > 0 {
		if err := n.set(ctx, a, stay...); err != nil {
			return err
		}
	}
	if len(pass) == 0 {
		return n.resolve(ctx, a)
	}
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return fmt.Errorf("change lock file: %w", err)
	}
	defer root.Close()
	manifest := path.Join(a.config.Dir, "package.json")
	before, err := root.ReadFile(manifest)
	if err != nil {
		return fmt.Errorf("change lock file: %w", err)
	}
	if err := n.set(ctx, a, pass...); err != nil {
		return err
	}
	if err := n.resolve(ctx, a); err != nil {
		return err
	}
	if err := root.WriteFile(manifest, before, 0o644); err != nil {
		return fmt.Errorf("change lock file: %w", err)
	}
	return n.resolve(ctx, a)
}

func (n *npmKit) build(ctx context.Context, a *attempt) error {
	if n.config.Scripts {
		if err := n.npm(ctx, a, "rebuild"); err != nil {
			return err
		}
	}
	if !n.script(a, "build") {
		return nil
	}
	return n.npm(ctx, a, "run", "build")
}

// script tells whether the project has a script of a name.
func (n *npmKit) script(a *attempt, name string) bool {
	var scripts map[string]any
	err := exact.Object(a.before[path.Join(a.config.Dir, "package.json")], map[string]any{"scripts": &scripts})
	return err == nil && scripts[name] != nil
}

// test has one result: npm knows no more.
func (n *npmKit) test(ctx context.Context, a *attempt) (results, error) {
	const name = "npm test"
	r := results{passed: map[string]bool{}, failed: map[string]bool{}}
	if !n.script(a, "test") {
		return r, nil
	}
	err := n.npm(ctx, a, "run", "test")
	var failed *failure
	if errors.As(err, &failed) {
		r.failed[name], r.output, err = true, failed.output, nil
		return r, nil
	}
	r.passed[name] = err == nil
	return r, err
}
