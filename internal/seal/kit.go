package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func kitMAC(root secret.Bytes, kit string) []byte {
	m := hmac.New(sha256.New, secret.Derive(root, "ward recovery kit v1").Reveal())
	m.Write([]byte(kit))
	return m.Sum(nil)
}

// CheckKit tells whether a recovery kit's recipient is the one that was made with this root.
func CheckKit(root secret.Bytes, kit string, mac []byte) error {
	if !hmac.Equal(mac, kitMAC(root, kit)) {
		return fault.New(fault.Refused, "the recovery kit in the file of the root key was exchanged by somebody; bring back a copy of .ward/seal, or remove kit, kit_mac and recovery from its root.json and make a new one with 'ward seal kit'")
	}
	return nil
}

// NewKit makes a recovery kit, which opens the root key whatever seals it; the kit before is worth nothing then. The kit is an age
// identity ("AGE-SECRET-KEY-1…"): it is for paper or a safe, and Ward doesn't keep it.
func (st *State) NewKit(root secret.Bytes) (kit secret.Bytes, err error) {
	if err := st.verify(root); err != nil {
		return secret.Bytes{}, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("make recovery kit: %w", err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, id.Recipient())
	if err == nil {
		if _, err = w.Write(root.Reveal()); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("make recovery kit: %w", err)
	}
	st.Kit, st.Recovery = id.Recipient().String(), b.Bytes()
	st.KitMAC = kitMAC(root, st.Kit)
	return secret.New([]byte(id.String())), nil
}

// errKit says what a recovery kit looks like.
var errKit = fault.New(fault.Invalid, "that isn't a recovery kit: it is one line that begins with AGE-SECRET-KEY-1")

// ParseKit reads a kit as people type it.
func ParseKit(text secret.Bytes) (*age.X25519Identity, error) {
	if len(text.Reveal()) > 1024 {
		return nil, errKit
	}
	id, err := age.ParseX25519Identity(strings.ToUpper(strings.TrimSpace(string(text.Reveal()))))
	if err != nil {
		return nil, errKit
	}
	return id, nil
}

// Recover returns the root key by the recovery kit.
func (st *State) Recover(kit secret.Bytes) (secret.Bytes, error) {
	if st.Kit == "" {
		return secret.Bytes{}, fault.New(fault.NotFound, "no recovery kit was ever made; 'ward seal kit' makes one while the seal opens")
	}
	id, err := ParseKit(kit)
	if err != nil {
		return secret.Bytes{}, err
	}
	if id.Recipient().String() != st.Kit {
		return secret.Bytes{}, fault.New(fault.Refused, "this is another recovery kit: a newer one was made since, or it is another application's")
	}
	r, err := age.Decrypt(bytes.NewReader(st.Recovery), id)
	if err != nil {
		return secret.Bytes{}, fault.Wrap(fault.Refused, "the recovery data is damaged", err)
	}
	b, err := io.ReadAll(io.LimitReader(r, secret.KeySize+1))
	if err != nil || len(b) != secret.KeySize {
		return secret.Bytes{}, fault.Wrap(fault.Refused, "the recovery data is damaged", err)
	}
	root := secret.New(b)
	return root, st.verify(root)
}
