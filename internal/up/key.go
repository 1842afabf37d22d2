package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/seal"
	"github.com/wardhq/ward/internal/seal/kms"
)

// Ask returns a passphrase; again asks for one to be set.
type Ask func(again bool) (secret.Bytes, error)

// keyFile is where the key file is: WARD_KEY_FILE, or the user's configuration folder. It lies outside the state, so that a copy of
// the state alone is of no use.
func keyFile() (string, error) {
	if f := os.Getenv("WARD_KEY_FILE"); f != "" {
		return filepath.Abs(f) // it is hidden from services by its whole path
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the key file (set WARD_KEY_FILE): %w", err)
	}
	return filepath.Join(dir, "ward", "key"), nil
}

// SealOf is the seal of a kind, as this machine and user have it.
func SealOf(kind seal.Kind, ask Ask) (seal.Seal, error) {
	switch kind {
	case seal.File:
		path, err := keyFile()
		return seal.KeyFile{Path: path}, err
	case seal.Passphrase:
		return seal.Words{Ask: ask}, nil
	case seal.Systemd:
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if !filepath.IsAbs(dir) { // a cloned repository could bring a credential that somebody knows
			return nil, fault.New(fault.NotFound, "systemd handed over no credentials; the unit needs LoadCredentialEncrypted="+seal.CredentialName)
		}
		return seal.Credential{Path: filepath.Join(dir, seal.CredentialName)}, nil
	}
	return nil, fault.New(fault.Invalid, fmt.Sprintf("this program knows no seal %q", kind))
}

// KMS is the seal by a key at AWS, with credentials from the environment. WARD_AWS_ENDPOINT leads it elsewhere, as for tests.
func KMS(arn, app string) *kms.Key {
	return &kms.Key{ARN: arn, App: app, Credentials: kms.Environment, Endpoint: os.Getenv("WARD_AWS_ENDPOINT")}
}

// sealOf is the seal of a state that lies on disk.
func sealOf(st *seal.State, ask Ask) (seal.Seal, error) {
	if st.Kind == seal.AWSKMS {
		return KMS("", "").Named(st.Wrapped)
	}
	return SealOf(st.Kind, ask)
}

// hasState tells whether anything was ever sealed under the application's root key.
func (p Paths) hasState() bool {
	for _, name := range []string{"ledger", "ward.db"} {
		if _, err := os.Lstat(filepath.Join(p.Control, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// OpenRoot opens the application's root key, and makes one, under a key file, where there is no state yet; made tells so. Without what
// seals it there is an error, and never another key.
func (p Paths) OpenRoot(ctx context.Context, ask Ask) (root secret.Bytes, made bool, err error) {
	st, err := seal.Load(p.Seal)
	if err != nil {
		return secret.Bytes{}, false, err
	}
	if st != nil {
		s, err := sealOf(st, ask)
		if err != nil {
			return secret.Bytes{}, false, err
		}
		root, err = st.Open(ctx, s)
		return root, false, err
	}
	path, err := keyFile()
	if err != nil {
		return secret.Bytes{}, false, err
	}
	file := seal.KeyFile{Path: path}
	if p.hasState() {
		// A state from before there were seals: the key file itself is the root key.
		if root, err = file.Read(); err != nil {
			return secret.Bytes{}, false, err
		}
		st, err = seal.Adopt(ctx, file, root)
	} else {
		made = true
		if err := file.Make(); err != nil {
			return secret.Bytes{}, false, err
		}
		root, st, err = seal.New(ctx, file)
	}
	if err != nil {
		return secret.Bytes{}, false, err
	}
	return root, made, st.Save(p.Seal)
}

// keyInMemory is a file that is nowhere but in memory, to hand a key over in.
func keyInMemory(key secret.Bytes) (*os.File, error) {
	fd, err := unix.MemfdCreate("key", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("hand the key over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "key")
	if _, err := f.WriteAt(key.Reveal(), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("hand the key over: %w", err)
	}
	return f, nil
}
