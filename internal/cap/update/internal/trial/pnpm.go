package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// pnpmKit tries with pnpm 9 or later.
type pnpmKit struct{ foreignKit }

// pnpm runs it: not another version of itself, whatever the project asks for. From version 11 on its variables have a name of their own.
func (p *pnpmKit) pnpm(ctx context.Context, a *attempt, argv ...string) error {
	settings := []string{
		"store_dir=" + inNPM + "/pnpm", "package_import_method=copy", "manage_package_manager_versions=false", "pm_on_fail=ignore", "verify_deps_before_run=false",
		"registry=" + p.config.NPM.Registry, "ignore_scripts=" + strconv.FormatBool(a.net), "ignore_pnpmfile=true", "offline=" + strconv.FormatBool(!a.net), "update_notifier=false",
	}
	if a.net && a.wait > 0 {
		settings = append(settings, fmt.Sprintf("minimum_release_age=%d", int(a.wait.Minutes())))
	}
	var env []string
	for _, s := range settings {
		env = append(env, "npm_config_"+s, "pnpm_config_"+s)
	}
	return p.run(ctx, a, env, argv...)
}

func (p *pnpmKit) resolve(ctx context.Context, a *attempt) error {
	return p.pnpm(ctx, a, "install", "--lockfile-only", "--no-frozen-lockfile", "--ignore-scripts", "--ignore-pnpmfile")
}

func (p *pnpmKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	major, err := strconv.Atoi(p.tool.major)
	if err != nil || major < 9 || major > 10 {
		return fault.New(fault.Unsupported, "only pnpm 9 and 10 can be tried yet, and here is "+p.tool.major)
	}
	if err := errors.Join(a.settle(), p.refuse(a, ".pnpmfile.cjs", "pnpm-workspace.yaml")); err != nil {
		return err
	}
	if len(changes) > 0 {
		if err := p.change(ctx, a, changes); err != nil {
			return err
		}
	}
	return p.pnpm(ctx, a, "install", "--frozen-lockfile", "--ignore-scripts", "--ignore-pnpmfile")
}

// change sets overrides that stay, and others that only make the lock file hold exact versions: it stays as it is when they go.
func (p *pnpmKit) change(ctx context.Context, a *attempt, changes []choose.Change) error {
	stay, err := p.raised(a, changes)
	if err != nil {
		return err
	}
	var pass []string
	for _, ch := range changes {
		// https://pnpm.io/settings#overrides: for whoever asks for a range with this version.
		switch ch.How {
		case choose.Override:
			stay = append(stay, override(ch, ch.From))
		case choose.Lock:
			pass = append(pass, override(ch, ch.From))
		default:
			pass = append(pass, override(ch, ch.To), override(ch, ch.From))
		}
	}
	slices.Sort(stay)
	if len(stay) > 0 {
		if err := p.set(ctx, a, stay...); err != nil {
			return err
		}
	}
	if len(pass) > 0 {
		manifest, err := p.read(a, "package.json")
		if err != nil {
			return err
		}
		if err := p.set(ctx, a, pass...); err != nil {
			return err
		}
		if err := p.resolve(ctx, a); err != nil {
			return err
		}
		if err := p.write(a, "package.json", manifest); err != nil {
			return err
		}
	}
	return p.resolve(ctx, a)
}

func override(ch choose.Change, selects string) string {
	return fmt.Sprintf("pnpm.overrides[%s@%s]=%s", ch.Name, selects, ch.To)
}

func (p *pnpmKit) own(ctx context.Context, a *attempt, name string) error {
	return p.pnpm(ctx, a, "run", name)
}

func (p *pnpmKit) build(ctx context.Context, a *attempt) error {
	_, err := p.scripts(ctx, a, p.own, "build")
	return err
}

func (p *pnpmKit) test(ctx context.Context, a *attempt) (results, error) {
	r, err := p.scripts(ctx, a, p.own, "test")
	var failed *failure
	if errors.As(err, &failed) {
		err = nil
	}
	return r, err
}
