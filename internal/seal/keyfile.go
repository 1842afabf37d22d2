package seal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

const rootContext = "ward root key v1"

// blob is a root sealed under a 32-byte key.
type blob struct {
	Sealed []byte `json:"sealed"`
}

func wrapUnder(key, root secret.Bytes, kind Kind) (json.RawMessage, error) {
	sealed, err := secret.Seal(key, root.Reveal(), rootContext+" "+string(kind))
	if err != nil {
		return nil, err
	}
	return json.Marshal(blob{sealed})
}

// unwrapUnder opens it; wrong says what to do when it doesn't open.
func unwrapUnder(key secret.Bytes, wrapped json.RawMessage, kind Kind, wrong string) (secret.Bytes, error) {
	var b blob
	if err := json.Unmarshal(wrapped, &b); err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Invalid, "the file of the root key is damaged", err)
	}
	root, err := secret.Open(key, b.Sealed, rootContext+" "+string(kind))
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Refused, wrong, err)
	}
	return secret.New(root), nil
}

// KeyFile seals with 32 bytes in a file that only its owner may read. Whoever reads that file and the state reads everything.
type KeyFile struct{ Path string }

// Kind is File.
func (KeyFile) Kind() Kind { return File }

// Make makes the file if it isn't there. Several may do so at once, as a user's applications do: one's key counts, and is never replaced.
func (k KeyFile) Make() error {
	if _, err := os.Lstat(k.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b := make([]byte, secret.KeySize)
	_, _ = rand.Read(b) // never returns an error (crypto/rand)
	if err := os.MkdirAll(filepath.Dir(k.Path), 0o700); err != nil {
		return fmt.Errorf("make key file: %w", err)
	}
	own := k.Path + "." + rand.Text()
	if err := replaceFile(own, b); err != nil {
		return fmt.Errorf("make key file: %w", err)
	}
	err := os.Link(own, k.Path) // unlike a rename, replaces nothing
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err := errors.Join(err, os.Remove(own), syncDir(filepath.Dir(k.Path))); err != nil {
		return fmt.Errorf("make key file: %w", err)
	}
	return nil
}

// Read returns the file's key. A file that others may read is refused.
func (k KeyFile) Read() (secret.Bytes, error) {
	f, err := os.Open(k.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return secret.Bytes{}, fault.New(fault.NotFound, fmt.Sprintf("there is no key file %s; bring it back, name another in WARD_KEY_FILE, or use the recovery kit: 'ward seal recover'", k.Path))
	}
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return secret.Bytes{}, fault.New(fault.Refused, fmt.Sprintf("%s can be read by others; run 'chmod 600 %s', and think of it as known to them", k.Path, k.Path))
	}
	b, err := io.ReadAll(io.LimitReader(f, secret.KeySize+1))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read key file: %w", err)
	}
	if len(b) != secret.KeySize {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("%s is not a key of Ward's (32 bytes)", k.Path))
	}
	return secret.New(b), nil
}

func (k KeyFile) key() (secret.Bytes, error) {
	b, err := k.Read()
	if err != nil {
		return b, err
	}
	return secret.Derive(b, "ward seal by file v1"), nil
}

// Wrap implements Seal.
func (k KeyFile) Wrap(_ context.Context, root secret.Bytes) (json.RawMessage, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	return wrapUnder(key, root, File)
}

// Unwrap implements Seal.
func (k KeyFile) Unwrap(_ context.Context, wrapped json.RawMessage) (secret.Bytes, error) {
	key, err := k.key()
	if err != nil {
		return secret.Bytes{}, err
	}
	return unwrapUnder(key, wrapped, File, fmt.Sprintf("%s isn't the key file that the root key was sealed with; bring back the right one, or use the recovery kit: 'ward seal recover'", k.Path))
}

// Credential seals with a credential that systemd hands over (LoadCredentialEncrypted=, systemd.exec(5)): at least 32 bytes.
type Credential struct{ Path string }

// CredentialName is the credential's name; systemd puts it below $CREDENTIALS_DIRECTORY.
const CredentialName = "ward-root-key"

// Kind is Systemd.
func (Credential) Kind() Kind { return Systemd }

const maxCredential = 1 << 20 // bytes, as in systemd

func (c Credential) key() (secret.Bytes, error) {
	f, err := os.Open(c.Path)
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.NotFound, "systemd handed over no credential "+CredentialName+"; the unit needs LoadCredentialEncrypted="+CredentialName, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCredential))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("read credential: %w", err)
	}
	if len(b) < secret.KeySize {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("the credential %s has %d bytes; it needs at least %d random ones", CredentialName, len(b), secret.KeySize))
	}
	return secret.Derive(secret.New(b), "ward seal by systemd v1"), nil
}

// Wrap implements Seal.
func (c Credential) Wrap(_ context.Context, root secret.Bytes) (json.RawMessage, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	return wrapUnder(key, root, Systemd)
}

// Unwrap implements Seal.
func (c Credential) Unwrap(_ context.Context, wrapped json.RawMessage) (secret.Bytes, error) {
	key, err := c.key()
	if err != nil {
		return secret.Bytes{}, err
	}
	return unwrapUnder(key, wrapped, Systemd, "the credential "+CredentialName+" isn't the one that the root key was sealed with")
}
