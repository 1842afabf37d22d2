package update

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
)

// affected are the packages of a Go project whose tests have a package of the changed modules in them. The go command only loads for it: no
// network, no C, no foreign toolchain. Empty where none is, or in other ecosystems: then everything is tested.
func (u *run) affected(ctx context.Context, p project, groups []choose.Group) ([]string, error) {
	if !u.Affected || p.ecosystem != choose.Go {
		return nil, nil
	}
	var modules []string
	for _, g := range groups {
		for i := range g.Changes {
			if projectOf(&g.Changes[i]) == p {
				modules = append(modules, g.Changes[i].Name)
			}
		}
	}
	c := exec.CommandContext(ctx, "go", "list", "-e", "-test", "-json=ImportPath,Deps", "./...")
	c.Dir = filepath.Join(u.root, filepath.FromSlash(p.dir))
	c.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOPROXY=off", "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0", "GOENV=off", "GOWORK=off", "GOPACKAGESDRIVER=off")
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("ask which packages use the changed modules: %w: %.300s", err, said.String())
	}
	var packages []string
	for dec := json.NewDecoder(&out); ; {
		var x struct {
			ImportPath string
			Deps       []string
		}
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("ask which packages use the changed modules: %w", err)
		}
		name, isTest := strings.CutSuffix(x.ImportPath, ".test")
		if isTest && slices.ContainsFunc(x.Deps, func(d string) bool {
			return slices.ContainsFunc(modules, func(m string) bool { return d == m || strings.HasPrefix(d, m+"/") })
		}) {
			packages = append(packages, name)
		}
	}
}
