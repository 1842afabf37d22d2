package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/wardhq/ward/sdk/seal/envelope"
)

const maxKeyset = 1 << 20

// A Keyset is a Provider without a server: keys from a file. Nothing counts or rotates them, nobody sees who uses them.
type Keyset struct {
	service  string
	wrappers map[wrapperName][]*envelope.Wrapper // the current version first
	lookups  map[string][]*envelope.LookupKey
}

type wrapperName struct{ key, owner string }

type keysetFile struct {
	Service string        `json:"service"`
	Keys    []keysetEntry `json:"keys"`
}

type keysetEntry struct {
	Name  string         `json:"name"`
	Owner string         `json:"owner,omitempty"` // set: it is that owner's key under the version key_id
	KeyID envelope.KeyID `json:"key_id"`
	Key   []byte         `json:"key"`
}

// OpenKeyset reads a file that nobody but its owner may read: {"service": "orders", "keys": [{"name": "addresses",
// "key_id": 16 hex digits, "key": 32 bytes in base64}]}, of each name the current version first. An entry with an "owner" is that owner's
// key; without the entry all that was sealed For the owner is lost. The name of a lookup key ends in ".lookup".
func OpenKeyset(path string) (*Keyset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open keyset: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open keyset: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("open keyset: %s has to be a file that its owner alone may read; chmod 600 it", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyset+1))
	if err != nil {
		return nil, fmt.Errorf("open keyset: %w", err)
	}
	defer clear(b)
	return ParseKeyset(b)
}

// ParseKeyset reads the content of a keyset's file.
func ParseKeyset(b []byte) (*Keyset, error) {
	if len(b) > maxKeyset {
		return nil, errors.New("read keyset: it is longer than 1 MiB")
	}
	var file keysetFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := errors.Join(d.Decode(&file), ended(d)); err != nil {
		return nil, errors.New("read keyset: it isn't JSON as expected") // the decoder's error may quote a key
	}
	if file.Service == "" || len(file.Keys) == 0 {
		return nil, errors.New("read keyset: the service or its keys are missing")
	}
	k := &Keyset{service: file.Service, wrappers: map[wrapperName][]*envelope.Wrapper{}, lookups: map[string][]*envelope.LookupKey{}}
	for i, e := range file.Keys {
		if err := k.add(e); err != nil {
			return nil, fmt.Errorf("read keyset: key %d: %w", i+1, err)
		}
	}
	return k, nil
}

// ended says whether something follows.
func ended(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows")
	}
	return nil
}

func (k *Keyset) add(e keysetEntry) error {
	m, err := envelope.KeyFrom(e.Key)
	clear(e.Key)
	if err != nil {
		return err
	}
	defer m.Erase()
	w, err := envelope.NewWrapper(e.KeyID, e.Name, e.Owner, m)
	if err != nil {
		return err
	}
	name := wrapperName{e.Name, e.Owner}
	k.wrappers[name] = append(k.wrappers[name], w)
	if e.Owner != "" {
		return nil
	}
	secret, err := envelope.DeriveLookupKey(m)
	if err != nil {
		return err
	}
	l, err := envelope.NewLookupKey(e.KeyID, secret)
	k.lookups[e.Name] = append(k.lookups[e.Name], l)
	return err
}

// Service implements Provider.
func (k *Keyset) Service(context.Context) (string, error) { return k.service, nil }

// NewDataKey implements Provider.
func (k *Keyset) NewDataKey(_ context.Context, key, owner string) (Grant, error) {
	all := k.wrappers[wrapperName{key, owner}]
	if len(all) == 0 {
		return Grant{}, fmt.Errorf("make data key of %s: %w: the keyset has no such key for this owner", key, ErrRefused)
	}
	d, err := all[0].New()
	return Grant{Key: d}, err
}

// OpenDataKey implements Provider.
func (k *Keyset) OpenDataKey(_ context.Context, key, owner string, header []byte) (Grant, error) {
	for _, w := range k.wrappers[wrapperName{key, owner}] {
		if d, err := w.Open(header); err == nil {
			return Grant{Key: d}, nil
		}
	}
	return Grant{}, ErrDecrypt
}

// LookupKeys implements Provider.
func (k *Keyset) LookupKeys(_ context.Context, key string) ([]*envelope.LookupKey, error) {
	all := k.lookups[key]
	if len(all) == 0 {
		return nil, fmt.Errorf("get lookup keys of %s: %w: the keyset has no such key", key, ErrRefused)
	}
	return all, nil
}
