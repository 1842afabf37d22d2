package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// cargoKit tries with cargo: the lock file alone, within what manifests ask for.
type cargoKit struct{ config Config }

func newCargoKit(c Config) (*cargoKit, error) {
	if c.Cargo.Cargo == "" {
		return nil, fault.New(fault.Unsupported, "cargo isn't installed")
	}
	return &cargoKit{c}, nil
}

func (k *cargoKit) env(a *attempt) []string {
	return []string{
		"PATH=" + filepath.Dir(k.config.Cargo.Cargo) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + inHome, "TMPDIR=" + inTmp, "LANG=C.UTF-8", "USER=job", "CI=1",
		"CARGO_HOME=" + inNPM + "/cargo", "CARGO_TARGET_DIR=" + inBuild + "/target", fmt.Sprintf("CARGO_NET_OFFLINE=%t", !a.net), "CARGO_TERM_COLOR=never",
	}
}

func (k *cargoKit) cargo(ctx context.Context, a *attempt, argv ...string) error {
	words := []string{"cargo"}
	if i := k.config.Cargo.Index; i != "" {
		words = append(words, "--config", `source.crates-io.replace-with="ward"`, "--config", fmt.Sprintf(`source.ward.registry="sparse+%s/"`, i))
	}
	return a.run(ctx, k.env(a), nil, append(words, argv...)...)
}

func (k *cargoKit) update(ctx context.Context, a *attempt, changes []choose.Change) error {
	if err := withoutCargoSettings(a); err != nil {
		return err
	}
	for _, ch := range changes {
		if err := k.cargo(ctx, a, "update", "--package", ch.Name+"@"+ch.From, "--precise", strings.TrimPrefix(ch.To, "v")); err != nil {
			return err
		}
	}
	return k.cargo(ctx, a, "fetch", "--locked")
}

// withoutCargoSettings refuses a project's own settings: they name programs (wrappers of the compiler, helpers for credentials) and other registries. A link
// that leads out of the tree, which is in another place inside, is no absence.
func withoutCargoSettings(a *attempt) error {
	root, err := os.OpenRoot(filepath.Join(a.dir, "tree"))
	if err != nil {
		return fmt.Errorf("look at settings: %w", err)
	}
	defer root.Close()
	for dir := a.config.Dir; ; dir = path.Dir(dir) {
		for _, name := range []string{".cargo/config.toml", ".cargo/config"} {
			if _, err := root.Lstat(path.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
				return fault.New(fault.Unsupported, "projects with a "+name+" can't be tried yet")
			}
		}
		if dir == "." {
			return nil
		}
	}
}

func (k *cargoKit) build(ctx context.Context, a *attempt) error {
	return k.cargo(ctx, a, "build", "--offline", "--locked", "--workspace")
}

// test has one result: what cargo prints of each test is no format.
func (k *cargoKit) test(ctx context.Context, a *attempt) (results, error) {
	const name = "cargo test"
	r := results{passed: map[string]bool{}, failed: map[string]bool{}}
	err := k.cargo(ctx, a, "test", "--offline", "--locked", "--workspace")
	var failed *failure
	if errors.As(err, &failed) {
		r.failed[name], r.output = true, failed.output
		return r, nil
	}
	r.passed[name] = err == nil
	return r, err
}
