// Package sealed is secrets that may lie in git: age files (age-encryption.org/v1) for control's recipient.
//
// Guarantee: who has the files and the recipient can't read them; a file that was changed anywhere doesn't open; files
// and values are bounded. Not guaranteed: who wrote a file (a recipient is public), that a file is meant for the
// secret that it is used for (ward.yaml says so), nor secrecy from a future quantum computer (X25519).
package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

// Limits in bytes.
const (
	MaxValue = 64 << 10
	MaxFile  = 128 << 10 // a value in armour, with the headers of many recipients
)

// Seal encrypts a value for recipients ("age1…"), in armour.
func Seal(value secret.Bytes, recipients ...string) ([]byte, error) {
	if len(value.Reveal()) > MaxValue {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("a secret has at most %d bytes", MaxValue))
	}
	to, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "a recipient begins with age1 and comes from `ward secrets recipient`", err)
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to...)
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	if _, err := w.Write(value.Reveal()); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return out.Bytes(), nil
}

// Identity opens what was sealed for its recipient. It is safe for concurrent use.
type Identity struct{ age *age.X25519Identity }

// NewIdentity makes one.
func NewIdentity() (Identity, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Identity{}, fmt.Errorf("make age identity: %w", err)
	}
	return Identity{id}, nil
}

// ParseIdentity reads what Text gave.
func ParseIdentity(text secret.Bytes) (Identity, error) {
	id, err := age.ParseX25519Identity(string(text.Reveal()))
	if err != nil {
		return Identity{}, errors.New("read age identity: it isn't one") // the cause might show it
	}
	return Identity{id}, nil
}

// Text is the identity as age writes it.
func (i Identity) Text() secret.Bytes { return secret.New([]byte(i.age.String())) }

// Recipient is the public half.
func (i Identity) Recipient() string { return i.age.Recipient().String() }

// String hides the identity.
func (Identity) String() string { return "[secret]" }

// GoString hides the identity.
func (Identity) GoString() string { return "[secret]" }

// Open decrypts a file, in armour or not.
func (i Identity) Open(file []byte) (secret.Bytes, error) {
	if len(file) > MaxFile {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("a sealed file has at most %d bytes", MaxFile))
	}
	var in io.Reader = bytes.NewReader(file)
	if bytes.HasPrefix(bytes.TrimLeft(file, " \t\r\n"), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	r, err := age.Decrypt(in, i.age)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return secret.Bytes{}, fault.Wrap(fault.Refused, "it is sealed for others; seal it again for what `ward secrets recipient` shows", err)
	}
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Invalid, "it isn't an age file, or was damaged", err)
	}
	value, err := io.ReadAll(io.LimitReader(r, MaxValue+1))
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Invalid, "it isn't a whole age file, or was damaged", err)
	}
	if len(value) > MaxValue {
		return secret.Bytes{}, fault.New(fault.Invalid, fmt.Sprintf("a secret has at most %d bytes", MaxValue))
	}
	return secret.New(value), nil
}
