package keys

import (
	"context"
	"fmt"

	"github.com/wardhq/ward/internal/wire"
)

// Prove opens every version of every key that isn't destroyed, and returns how many versions there are: what a restored state has to
// stand. Nothing is used or counted.
func (r *Ring) Prove(ctx context.Context) (versions int, err error) {
	for after := ""; ; {
		page, err := r.List(ctx, after)
		if err != nil {
			return versions, err
		}
		if len(page) == 0 {
			return versions, nil
		}
		after = page[len(page)-1].Name
		for i := range page {
			if page[i].State == wire.KeyDestroyed {
				continue
			}
			k, err := r.fetch(ctx, page[i].Name)
			if err != nil {
				return versions, err
			}
			for _, v := range k.versions {
				if _, err := v.material(); err != nil {
					return versions, fmt.Errorf("prove keys: %w", err)
				}
				versions++
			}
		}
	}
}
