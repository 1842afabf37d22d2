package advisory

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wardhq/ward/internal/cap/scan/internal/advisory/internal/flat"
)

const maxKeyFile = 16 << 10 // bytes

// signingKey reads the key at path (PKCS #8 in PEM, Ed25519), or makes it. A key that others can read signs nothing.
func signingKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read %s (mode %04o): make it 0600, or remove it for a new one", path, fi.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil {
		if any, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := any.(ed25519.PrivateKey); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s holds no Ed25519 key in PKCS #8", path)
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// writePublic makes key the one that Open trusts for the index.
func writePublic(index string, key ed25519.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	return writeFile(index+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

// ParseKey reads a public key: an Ed25519 key in PEM, as an index's .pub file holds it.
func ParseKey(b []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(b); block != nil && len(b) <= maxKeyFile {
		if any, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := any.(ed25519.PublicKey); ok {
				return key, nil
			}
		}
	}
	return nil, errors.New("this is no public Ed25519 key in PEM")
}

func readPublic(index string) (ed25519.PublicKey, error) {
	f, err := os.Open(index + ".pub")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return ParseKey(b)
}

func writeFile(path string, b []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	if _, err = tmp.Write(b); err == nil {
		err = flat.Commit(tmp, path, mode)
	}
	if err != nil {
		tmp.Close()
		os.Remove(tmp.Name())
	}
	return err
}
