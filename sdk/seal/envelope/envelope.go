// Package envelope is the format of everything that Ward encrypts for services, version 1, as docs/FORMAT.md has it byte for
// byte: messages and streams under data keys, deterministic lookups, blind indexes, MACs.
//
// Guarantee: what opens was sealed under the same key, for the same Context, and not changed; a ciphertext
// commits to its data key; nobody chooses a nonce or an algorithm; keys print as [secret]; ErrDecrypt doesn't tell why.
// Not guaranteed: budgets (2^32 messages a data key at the most: the callers count), freshness (an old ciphertext of the same
// context opens), hidden lengths. Equal lookups are seen to be equal. No I/O but the streams'; safe for concurrent use.
package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/wardhq/ward/sdk/seal/chunked"
)

const version = 1

// Kind of a sealed thing, its second byte.
type Kind byte

// The kinds. Zero is none.
const (
	Message Kind = 1
	Lookup  Kind = 2
	Stream  Kind = 3
	MAC     Kind = 4
)

// Suites, the third byte.
const (
	suiteGCM    = 1 // AES-256-GCM under a committed data key
	suiteSIV    = 2 // HMAC-SHA-256 as synthetic IV of AES-256-CTR
	suiteHMAC   = 3 // HMAC-SHA-256
	byVersion   = 1 // the data key is wrapped by the key version
	byOwner     = 2 // by an owner's key under it
	idAt        = 4
	idEnd       = idAt + 8
	maxName     = 1024
	secretShown = "[secret]"
)

// ErrDecrypt says that something can't be decrypted or verified, and never why. It is chunked.ErrDecrypt.
var ErrDecrypt = chunked.ErrDecrypt

// KeyID names one version of a managed key: random, unique, no secret.
type KeyID [8]byte

// NewKeyID draws one.
func NewKeyID() (id KeyID) {
	_, _ = rand.Read(id[:]) // never returns an error (crypto/rand)
	return id
}

// String is the ID in hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKeyID reads what String writes.
func ParseKeyID(s string) (KeyID, error) {
	var id KeyID
	if len(s) != hex.EncodedLen(len(id)) {
		return KeyID{}, errors.New("a key ID has 16 hex digits")
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id.String() != s {
		return KeyID{}, errors.New("a key ID has 16 lower-case hex digits")
	}
	return id, nil
}

// MarshalText is String, for JSON.
func (id KeyID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseKeyID.
func (id *KeyID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseKeyID(string(text))
	return err
}

// hidden keeps what embeds it from being printed. In a field that isn't exported fmt doesn't ask it; therefore Key's bytes are behind two
// pointers: through one fmt looks.
type hidden struct{}

// String hides.
func (hidden) String() string { return secretShown }

// GoString hides.
func (hidden) GoString() string { return secretShown }

// Format hides from every verb.
func (hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secretShown)) }

// MarshalText hides, from JSON too.
func (hidden) MarshalText() ([]byte, error) { return []byte(secretShown), nil }

// LogValue hides.
func (hidden) LogValue() slog.Value { return slog.StringValue(secretShown) }

// KeySize of every key in bytes.
const KeySize = 32

// Key is 32 secret bytes: a key version, an owner's key, a lookup key. The zero Key is refused everywhere.
type Key struct {
	hidden
	p **[KeySize]byte
}

func keyOf(b *[KeySize]byte) Key { return Key{p: &b} }

// NewKey draws one.
func NewKey() Key {
	k := keyOf(new([KeySize]byte))
	_, _ = rand.Read(k.Reveal()) // never returns an error (crypto/rand)
	return k
}

// KeyFrom copies 32 uniformly random bytes.
func KeyFrom(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("a key has %d bytes, not %d", KeySize, len(b))
	}
	p := [KeySize]byte(b)
	return keyOf(&p), nil
}

// Reveal returns the bytes themselves, no copy; nil for the zero Key.
func (k Key) Reveal() []byte {
	if k.p == nil {
		return nil
	}
	return (*k.p)[:]
}

// Erase overwrites the key, for all copies of k.
func (k Key) Erase() { clear(k.Reveal()) }

// derive is HKDF-SHA256 (RFC 5869) without salt.
func (k Key) derive(info string) (Key, error) {
	if k.p == nil {
		return Key{}, errors.New("derive key: there is none")
	}
	b, err := hkdf.Key(sha256.New, k.Reveal(), nil, info, KeySize)
	if err != nil {
		return Key{}, fmt.Errorf("derive key: %w", err)
	}
	return keyOf((*[KeySize]byte)(b)), nil
}

// gcm makes AES-256-GCM that draws its nonces itself and keeps each before its ciphertext.
func (k Key) gcm(info string) (cipher.AEAD, error) {
	derived, err := k.derive(info)
	if err != nil {
		return nil, err
	}
	defer derived.Erase()
	block, err := aes.NewCipher(derived.Reveal())
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return aead, nil
}

// Info is what a sealed thing says about itself; nothing of it is authentic before the thing is opened.
type Info struct {
	Kind  Kind
	Key   KeyID
	Owned bool // the data key is under an owner's key
}

// Inspect reads the beginning of a message, lookup, stream or MAC. What it refuses can't be opened either.
func Inspect(b []byte) (Info, error) {
	if len(b) < idEnd || b[0] != version {
		return Info{}, ErrDecrypt
	}
	in := Info{Kind: Kind(b[1]), Key: KeyID(b[idAt:idEnd]), Owned: b[3] == byOwner}
	var ok bool
	switch in.Kind {
	case Message:
		ok = len(b) >= HeaderSize && b[2] == suiteGCM && (b[3] == byVersion || b[3] == byOwner)
	case Stream:
		ok = len(b) >= HeaderSize && b[2] == suiteGCM && (b[3] == byVersion || b[3] == byOwner)
	case Lookup:
		ok = len(b) >= lookupOverhead && b[2] == suiteSIV && b[3] == 0
	case MAC:
		ok = len(b) == macSize && b[2] == suiteHMAC && b[3] == 0
	}
	if !ok {
		return Info{}, ErrDecrypt
	}
	return in, nil
}

// start makes the first twelve bytes of a lookup or MAC.
func start(kind Kind, suite byte, id KeyID) [idEnd]byte {
	b := [idEnd]byte{version, byte(kind), suite, 0}
	copy(b[idAt:], id[:])
	return b
}
