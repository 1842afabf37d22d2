package update

import (
	"context"
	"fmt"
	"os"
	"path"

	"github.com/wardhq/ward/internal/cap/update/internal/choose"
	"github.com/wardhq/ward/internal/cap/update/internal/registry"
	"github.com/wardhq/ward/internal/cap/update/internal/requirements"
	"github.com/wardhq/ward/internal/finding"
)

// elsewhere says why nobody is asked about a part that isn't npm's: its project takes it from another place than the one that is asked, or isn't understood; "" for
// none. Nobody is asked in that place's stead: a private name would get out, and whoever registers it in public would be taken for its owner.
func (u *run) elsewhere(ctx context.Context, dir string, p *finding.Package) (why string, err error) {
	file := p.Location.Path
	if !choose.Updated(p.Ecosystem, file) || p.Ecosystem != choose.Crates && p.Ecosystem != choose.PyPI && p.Ecosystem != choose.Packagist {
		return "", nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("read where parts come from: %w", err)
	}
	defer root.Close()
	if p.Ecosystem == choose.PyPI {
		all, err := requirements.Load(root, file)
		if err != nil {
			return err.Error(), nil
		}
		s, err := u.env(ctx, projectAt(p.Ecosystem, file))
		if err != nil {
			return err.Error(), ctx.Err()
		}
		return s.pypi.Elsewhere(all.Indexes), nil
	}
	lock, err := root.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read where parts come from: %w", err)
	}
	if p.Ecosystem == choose.Crates {
		return registry.CargoEnv{}.Elsewhere(lock, p.Name, p.Version), nil
	}
	manifest, err := root.ReadFile(path.Join(path.Dir(file), "composer.json"))
	if err != nil {
		return fmt.Sprintf("read where parts come from: %v", err), nil
	}
	return registry.ComposerEnv{}.Elsewhere(manifest, lock, p.Name), nil
}
