package otp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"strings"

	"github.com/wardhq/ward/internal/base/secret"
)

// RecoveryCodes is how many a set has.
const RecoveryCodes = 10

const recoverySize = 10 // bytes: 80 bits need no slow hash

// Crockford's alphabet has no I, L, O or U, which are misread.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func recoveryEncoding() *base32.Encoding {
	return base32.NewEncoding(crockford).WithPadding(base32.NoPadding)
}

// RecoveryHash is what is stored of a recovery code: its SHA-256 with the user's identifier.
type RecoveryHash [sha256.Size]byte

// NewRecovery makes a set of codes, "XXXX-XXXX-XXXX-XXXX", and what to store of each.
func NewRecovery(user string) (codes []secret.Bytes, hashes []RecoveryHash) {
	for range RecoveryCodes {
		b := make([]byte, recoverySize)
		_, _ = rand.Read(b) // never returns an error (crypto/rand)
		text := strings.ReplaceAll(groups(recoveryEncoding().EncodeToString(b)), " ", "-")
		codes = append(codes, secret.New([]byte(text)))
		hashes = append(hashes, recoveryHash(user, b))
	}
	return codes, hashes
}

// ParseRecovery reads a typed code: case, spaces and hyphens don't matter, and I, L and O mean 1, 1 and 0.
func ParseRecovery(user, typed string) (RecoveryHash, error) {
	text := strings.NewReplacer("I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(stripSpaces(typed)))
	b, err := recoveryEncoding().DecodeString(text)
	if len(text) != 16 || err != nil || len(b) != recoverySize || strings.ContainsAny(text, "\r\n") {
		return RecoveryHash{}, errors.New("parse recovery code: it has sixteen letters and digits")
	}
	return recoveryHash(user, b), nil
}

// FindRecovery returns which of the stored hashes a typed code is, or -1. The caller deletes that one in the same
// transaction, and goes on only if it was still there.
func FindRecovery(hashes []RecoveryHash, user, typed string) int {
	h, err := ParseRecovery(user, typed)
	if err != nil {
		return -1
	}
	found := -1
	for i := range hashes {
		if subtle.ConstantTimeCompare(hashes[i][:], h[:]) == 1 {
			found = i
		}
	}
	return found
}

func recoveryHash(user string, code []byte) RecoveryHash {
	// The code has a fixed length, so nothing can move between it and the user.
	return sha256.Sum256(append([]byte("ward recovery code 1\x00"+user+"\x00"), code...))
}
