package trial

import (
	"context"
	"errors"
	"fmt"
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
	// They name programs (wrappers of the compiler, helpers for credentials) and other registries.
	if err := a.without(".cargo/config.toml", ".cargo/config"); err != nil {
		return err
	}
	for _, ch := range changes {
		if err := k.cargo(ctx, a, "update", "--package", ch.Name+"@"+ch.From, "--precise", strings.TrimPrefix(ch.To, "v")); err != nil {
			return err
		}
	}
	return k.cargo(ctx, a, "fetch", "--locked")
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
