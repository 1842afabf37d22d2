// Package seal keeps an application's root key: 32 random bytes that everything else is sealed under, themselves sealed by what the
// operator has: a key file, a passphrase, a credential of systemd, or a key at AWS KMS. Another kind is one more Seal.
//
// Guarantee: the root is on disk only sealed; a change of seal, or of the recovery kit, is whole or not there, also after kill -9 or power
// loss; an opened root is the one that was sealed, or there is an error. Not guaranteed: any way back when both the seal's
// secret and the recovery kit are lost.
package seal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Kind names a seal in the file.
type Kind string

// The kinds. The zero Kind is none.
const (
	File       Kind = "file"
	Passphrase Kind = "passphrase"
	Systemd    Kind = "systemd"
	AWSKMS     Kind = "aws-kms"
)

// Seal wraps and unwraps a root key. Wrapped is self-contained: it holds whatever Unwrap needs but the secret itself.
type Seal interface {
	Kind() Kind
	Wrap(ctx context.Context, root secret.Bytes) (json.RawMessage, error)
	// Unwrap fails with fault.Refused if the secret isn't that which wrapped it.
	Unwrap(ctx context.Context, wrapped json.RawMessage) (secret.Bytes, error)
}

// State is what lies on disk.
type State struct {
	Version int             `json:"version"`
	Kind    Kind            `json:"seal"`
	Wrapped json.RawMessage `json:"wrapped"`
	Check   []byte          `json:"check"` // tells the root from any other, and nothing about it
	// Kit is the age recipient of the recovery kit, and Recovery the root encrypted for it; empty where there is none.
	// KitMAC is the root's word for Kit: who can write the file, but not open it, can't put in a recipient of their own.
	Kit      string `json:"kit,omitempty"`
	KitMAC   []byte `json:"kit_mac,omitempty"`
	Recovery []byte `json:"recovery,omitempty"`
}

const version = 1

// New makes a root key under a seal.
func New(ctx context.Context, s Seal) (secret.Bytes, *State, error) {
	b := make([]byte, secret.KeySize)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	root := secret.New(b)
	st, err := Adopt(ctx, s, root)
	return root, st, err
}

// Adopt puts a root key that exists under a seal.
func Adopt(ctx context.Context, s Seal, root secret.Bytes) (*State, error) {
	wrapped, err := s.Wrap(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("seal the root key: %w", err)
	}
	return &State{Version: version, Kind: s.Kind(), Wrapped: wrapped, Check: check(root)}, nil
}

func check(root secret.Bytes) []byte { return secret.Derive(root, "ward root check v1").Reveal()[:16] }

// Open returns the root key.
func (st *State) Open(ctx context.Context, s Seal) (secret.Bytes, error) {
	if s.Kind() != st.Kind {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("the root key is sealed by %s, not by %s", st.Kind, s.Kind()))
	}
	root, err := s.Unwrap(ctx, st.Wrapped)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open the root key: %w", err)
	}
	return root, st.verify(root)
}

func (st *State) verify(root secret.Bytes) error {
	if subtle.ConstantTimeCompare(check(root), st.Check) != 1 {
		return fault.New(fault.Refused, "what was opened isn't this application's root key")
	}
	if st.Kit == "" {
		return nil
	}
	return CheckKit(root, st.Kit, st.KitMAC)
}

// Under returns the state with the root under another seal; the recovery kit stays as it is.
func (st *State) Under(ctx context.Context, s Seal, root secret.Bytes) (*State, error) {
	if err := st.verify(root); err != nil {
		return nil, err
	}
	next, err := Adopt(ctx, s, root)
	if err != nil {
		return nil, err
	}
	// Never leave a seal for one that doesn't open.
	if again, err := next.Open(ctx, s); err != nil || subtle.ConstantTimeCompare(again.Reveal(), root.Reveal()) != 1 {
		return nil, fmt.Errorf("try the new seal: %w", errors.Join(err, errors.New("it doesn't open")))
	}
	next.Kit, next.KitMAC, next.Recovery = st.Kit, st.KitMAC, st.Recovery
	return next, nil
}

// maxState bounds the file, in bytes.
const maxState = 64 << 10

// Parse reads a state.
func Parse(b []byte) (*State, error) {
	st := &State{}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fault.Wrap(fault.Invalid, "the file of the root key is damaged; bring back a copy of it, or use the recovery kit", err)
	}
	if st.Version != version {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the file of the root key is of version %d, and this program knows version %d", st.Version, version))
	}
	if len(st.Check) != 16 || len(st.Wrapped) == 0 {
		return nil, fault.New(fault.Invalid, "the file of the root key is damaged; bring back a copy of it, or use the recovery kit")
	}
	return st, nil
}

// file is the state in its folder.
const file = "root.json"

// Load reads the state of a folder; nil where there is none.
func Load(dir string) (*State, error) {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the root key's file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("read the root key's file: %w", err)
	}
	if len(b) > maxState {
		return nil, fault.New(fault.Invalid, "the file of the root key is far too long; bring back a copy of it")
	}
	return Parse(b)
}

// Save replaces the state of a folder, and returns when it is durable.
func (st *State) Save(dir string) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("write the root key's file: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, file), append(b, '\n')); err != nil {
		return fmt.Errorf("write the root key's file: %w", err)
	}
	return nil
}

// replaceFile writes a file that only its owner reads, as a whole or not at all; it is durable on return.
func replaceFile(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
