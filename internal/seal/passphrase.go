package seal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Words seals with a passphrase, stretched by Argon2id (RFC 9106).
type Words struct {
	// Ask returns the passphrase; again asks for one to be set, which people have to type twice.
	Ask func(again bool) (secret.Bytes, error)
}

// Kind is Passphrase.
func (Words) Kind() Kind { return Passphrase }

// stretched is a root under a passphrase, with what it was stretched by.
type stretched struct {
	blob
	Salt   []byte `json:"salt"`
	Time   uint32 `json:"time"`   // passes
	Memory uint32 `json:"memory"` // KiB
}

// Costs of a passphrase: RFC 9106 §4's second choice is 64 MiB and 3 passes.
const (
	passes       = 3
	memory       = 64 << 10 // KiB
	maxPasses    = 64
	maxMemory    = 4 << 20 // KiB
	minWords     = 12      // bytes
	saltSize     = 16
	wrongWords   = "the passphrase is wrong; the recovery kit opens the root key, too: 'ward seal recover'"
	stretchedKey = "ward seal by passphrase v1"
)

func (s *stretched) key(words secret.Bytes) secret.Bytes {
	return secret.Derive(secret.New(argon2.IDKey(words.Reveal(), s.Salt, s.Time, s.Memory, 1, secret.KeySize)), stretchedKey)
}

// Wrap implements Seal.
func (w Words) Wrap(_ context.Context, root secret.Bytes) (json.RawMessage, error) {
	words, err := w.Ask(true)
	if err != nil {
		return nil, err
	}
	if len(words.Reveal()) < minWords {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("a passphrase needs at least %d characters; five or six random words are good", minWords))
	}
	s := stretched{Salt: make([]byte, saltSize), Time: passes, Memory: memory}
	_, _ = rand.Read(s.Salt) // never returns an error (crypto/rand)
	if s.Sealed, err = secret.Seal(s.key(words), root.Reveal(), rootContext+" "+string(Passphrase)); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// Unwrap implements Seal.
func (w Words) Unwrap(_ context.Context, wrapped json.RawMessage) (secret.Bytes, error) {
	var s stretched
	if err := json.Unmarshal(wrapped, &s); err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Invalid, "the file of the root key is damaged", err)
	}
	if s.Time == 0 || s.Time > maxPasses || s.Memory > maxMemory || len(s.Salt) != saltSize {
		return secret.Bytes{}, fault.New(fault.Invalid, "the file of the root key asks for a cost that Ward never set")
	}
	words, err := w.Ask(false)
	if err != nil {
		return secret.Bytes{}, err
	}
	root, err := secret.Open(s.key(words), s.Sealed, rootContext+" "+string(Passphrase))
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Refused, wrongWords, err)
	}
	return secret.New(root), nil
}
