// Package secret keeps bytes that must not be seen: a type that never prints, and
// sealing for the disk.
//
// Guarantee: a Bytes shows as [secret] in every format, log and JSON; Seal's output
// can't be read or changed without the key, nor moved to another context unnoticed.
// Not guaranteed: that the bytes leave memory when they are dropped.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
)

const shown = "[secret]"

// Bytes is a secret. Reveal is the only way to its content.
type Bytes struct {
	// A pointer to a pointer: package fmt can't call Format on an unexported field, and follows one pointer for some verbs.
	b **[]byte
}

// New takes over b.
func New(b []byte) Bytes {
	p := &b
	return Bytes{&p}
}

// Reveal returns the content; it isn't a copy.
func (s Bytes) Reveal() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// String hides the content.
func (Bytes) String() string { return shown }

// GoString hides the content.
func (Bytes) GoString() string { return shown }

// Format hides the content from every verb.
func (Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(shown)) }

// MarshalText hides the content.
func (Bytes) MarshalText() ([]byte, error) { return []byte(shown), nil }

// LogValue hides the content.
func (Bytes) LogValue() slog.Value { return slog.StringValue(shown) }

// KeySize is the size of a sealing key in bytes.
const KeySize = 32

// Derive makes the key of one purpose from another key (HKDF-SHA256, RFC 5869).
func Derive(key Bytes, purpose string) Bytes {
	k, err := hkdf.Key(sha256.New, key.Reveal(), nil, purpose, KeySize)
	if err != nil {
		panic(err) // the length is a constant
	}
	return New(k)
}

// Seal encrypts plain under a 32-byte key with AES-256-GCM and a random nonce; context says what it
// is, and Open needs the same. A key may seal 2^32 times (NIST SP 800-38D §8.3).
func Seal(key Bytes, plain []byte, context string) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, plain, []byte(context)), nil
}

// Open reverses Seal.
func Open(key Bytes, sealed []byte, context string) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < a.Overhead() {
		return nil, errors.New("open seal: too short")
	}
	plain, err := a.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, errors.New("open seal: it has another key or context, or was changed")
	}
	return plain, nil
}

// aead draws its nonces itself, and puts them before the ciphertext: FIPS 140-3 allows no others.
func aead(key Bytes) (cipher.AEAD, error) {
	if len(key.Reveal()) != KeySize {
		return nil, fmt.Errorf("seal: the key has %d bytes instead of %d", len(key.Reveal()), KeySize)
	}
	block, err := aes.NewCipher(key.Reveal())
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return a, nil
}
