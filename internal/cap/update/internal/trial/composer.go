package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/exact"
)

// composerKit tries with Composer: the lock file alone, within what composer.json asks for.
type composerKit struct{ config Config }

func newComposerKit(c Config) (*composerKit, error) {
	if c.Composer.Composer == "" {
		return nil, fault.New(fault.Unsupported, "Composer isn't installed")
	}
	return &composerKit{c}, nil
}

func (k *composerKit) env(a *attempt) []string {
	offline := "0"
	if !a.net {
		offline = "1"
	}
	return []string{
		"PATH=" + filepath.Dir(k.config.Composer.Composer) + ":" + filepath.Dir(k.config.Composer.PHP) + ":/usr/local/bin:/usr/bin:/bin",
		"HOME=" + inHome, "TMPDIR=" + inTmp, "LANG=C.UTF-8", "USER=job", "CI=1",
		"COMPOSER_HOME=" + inNPM + "/composer", "COMPOSER_CACHE_DIR=" + inNPM + "/composer/cache", "COMPOSER_ALLOW_SUPERUSER=1", "COMPOSER_NO_AUDIT=1",
		"PHP_INI_SCAN_DIR=" + inNPM + "/composer/php",
		"COMPOSER_DISABLE_NETWORK=" + offline, "COMPOSER_CACHE_READ_ONLY=" + offline,
	}
}

// composer runs neither a project's scripts nor its plugins, which are code of its parts.
func (k *composerKit) composer(ctx context.Context, a *attempt, argv ...string) error {
	return a.run(ctx, k.env(a), nil, append([]string{"composer", "--no-interaction", "--no-ansi", "--no-plugins", "--no-scripts"}, argv...)...)
}

// manifest is the project's composer.json.
func (k *composerKit) manifest(a *attempt) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return nil, fmt.Errorf("read composer.json: %w", err)
	}
	defer root.Close()
	b, err := root.ReadFile(path.Join(a.config.Dir, "composer.json"))
	if err != nil {
		return nil, fmt.Errorf("read composer.json: %w", err)
	}
	return b, nil
}

// settle makes the configuration that stands for the user's: where packages come from. A project's own is refused where it says otherwise.
func (k *composerKit) settle(a *attempt) error {
	b, err := k.manifest(a)
	if err != nil {
		return err
	}
	if why := k.config.Composer.Foreign(b); why != "" {
		return fault.New(fault.Refused, why)
	}
	index := k.config.Composer.Index
	b, err = json.Marshal(map[string]any{
		"repositories": []any{map[string]any{"type": "composer", "url": index}, map[string]bool{"packagist.org": false}},
		"config":       map[string]bool{"secure-http": !strings.HasPrefix(index, "http://")},
	})
	if err != nil {
		return fmt.Errorf("configure Composer: %w", err)
	}
	ini := "memory_limit=-1\n"
	for _, e := range k.config.Composer.Extensions {
		ini += "extension=" + e + "\n"
	}
	dir := filepath.Join(a.home, "npm", "composer")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "php"), 0o755), os.WriteFile(filepath.Join(dir, "php", "ward.ini"), []byte(ini), 0o644), os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644),
	} {
		if err != nil {
			return fmt.Errorf("configure Composer: %w", err)
		}
	}
	return nil
}

func (k *composerKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	if err := k.settle(a); err != nil {
		return err
	}
	if len(changes) > 0 {
		argv := []string{"update", "--no-install"}
		for _, ch := range changes {
			argv = append(argv, "--with", ch.Name+":"+strings.TrimPrefix(ch.To, "v"))
		}
		for _, ch := range changes {
			argv = append(argv, ch.Name)
		}
		if err := k.composer(ctx, a, argv...); err != nil {
			return err
		}
	}
	return k.composer(ctx, a, "install", "--prefer-dist", "--download-only", "--no-autoloader")
}

func (k *composerKit) build(ctx context.Context, a *attempt) error {
	return k.composer(ctx, a, "install", "--prefer-dist")
}

// test runs PHPUnit where the project has it, else the script that it calls its test.
func (k *composerKit) test(ctx context.Context, a *attempt) (results, error) {
	r := results{passed: map[string]bool{}, failed: map[string]bool{}}
	const report, unit, script = "ward-junit.xml", "phpunit", "composer test"
	whole, argv := script, []string{"composer", "--no-interaction", "--no-ansi", "--no-plugins", "run-script", "test"}
	if _, err := os.Lstat(filepath.Join(a.dir, "tree", a.config.Dir, "vendor/bin/phpunit")); err == nil {
		whole, argv = unit, []string{"php", "vendor/bin/phpunit", "--log-junit", inTmp + "/" + report}
		if err := os.RemoveAll(filepath.Join(a.dir, "tmp", report)); err != nil {
			return r, fmt.Errorf("run tests: %w", err)
		}
	} else if named, err := k.scripts(a); err != nil || !slices.Contains(named, "test") {
		return r, err
	}
	err := a.run(ctx, k.env(a), nil, argv...)
	var failed *failure
	if errors.As(err, &failed) {
		r.output = failed.output
	} else if err != nil {
		return r, err
	}
	if whole == script {
		r.note(script, failed == nil)
		return r, nil
	}
	if err := r.readJUnit(filepath.Join(a.dir, "tmp"), report); err != nil || failed != nil && len(r.failed) == 0 {
		r.failed[unit] = true
	}
	return r, nil
}

// scripts are the names of the project's own.
func (k *composerKit) scripts(a *attempt) ([]string, error) {
	b, err := k.manifest(a)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := exact.Object(b, map[string]any{"scripts": &all}); err != nil {
		return nil, fault.Wrap(fault.Invalid, "composer.json can't be read", err)
	}
	var out []string
	for name := range all {
		out = append(out, name)
	}
	return out, nil
}
