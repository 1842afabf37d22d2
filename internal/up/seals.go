package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/seal"
)

// SealState is the sealed root key of an application that has one.
func (p Paths) SealState() (*seal.State, error) {
	st, err := seal.Load(p.Seal)
	if err == nil && st == nil {
		err = fault.New(fault.NotFound, "nothing was ever sealed here; the first 'ward up' makes a root key")
	}
	return st, err
}

// KeyFile is where the key file is, or would be.
func (p Paths) KeyFile() (string, error) { return keyFile() }

// NewKit makes a recovery kit in the place of the one before, and returns it this once.
func (p Paths) NewKit(ctx context.Context, ask Ask) (secret.Bytes, error) {
	root, st, err := p.open(ctx, ask)
	if err != nil {
		return secret.Bytes{}, err
	}
	kit, err := st.NewKit(root)
	if err != nil {
		return secret.Bytes{}, err
	}
	return kit, st.Save(p.Seal)
}

func (p Paths) open(ctx context.Context, ask Ask) (secret.Bytes, *seal.State, error) {
	st, err := p.SealState()
	if err != nil {
		return secret.Bytes{}, nil, err
	}
	s, err := sealOf(st, ask)
	if err != nil {
		return secret.Bytes{}, nil, err
	}
	root, err := st.Open(ctx, s)
	return root, st, err
}

// Migrate puts the root key under another seal. What sealed it before is left as it is, but a key file that removeOld asks to remove: only
// after the new seal has been shown to open, and is on disk.
func (p Paths) Migrate(ctx context.Context, to seal.Seal, ask Ask, removeOld bool) error {
	root, st, err := p.open(ctx, ask)
	if err != nil {
		return err
	}
	if f, ok := to.(seal.KeyFile); ok {
		if err := f.Make(); err != nil {
			return err
		}
	}
	next, err := st.Under(ctx, to, root)
	if err != nil {
		return err
	}
	if err := next.Save(p.Seal); err != nil {
		return err
	}
	if !removeOld || st.Kind != seal.File || next.Kind == seal.File {
		return nil
	}
	path, err := keyFile()
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old key file: %w", err)
	}
	return nil
}

// Recover opens the root key by the recovery kit, and puts it under a key file of this machine.
func (p Paths) Recover(ctx context.Context, kit secret.Bytes) error {
	st, err := p.SealState()
	if err != nil {
		return err
	}
	root, err := st.Recover(kit)
	if err != nil {
		return err
	}
	path, err := keyFile()
	if err != nil {
		return err
	}
	file := seal.KeyFile{Path: path}
	if err := file.Make(); err != nil {
		return err
	}
	next, err := st.Under(ctx, file, root)
	if err != nil {
		return err
	}
	return next.Save(p.Seal)
}
