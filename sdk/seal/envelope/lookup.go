package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

const (
	sivSize        = sha256.Size
	lookupOverhead = idEnd + sivSize
	macSize        = idEnd + sha256.Size
	indexSize      = 16
)

// A LookupKey seals so that equal values in equal contexts are equal: for columns that are searched. It shows who is equal,
// and no more.
type LookupKey struct {
	hidden
	id         KeyID
	mac, index Key
	block      cipher.Block
}

// DeriveLookupKey makes the key that a service gets from the key version m of a lookup key.
func DeriveLookupKey(m Key) (Key, error) { return m.derive("ward lookup v1 key") }

// NewLookupKey prepares what DeriveLookupKey has made of the version id.
func NewLookupKey(id KeyID, l Key) (*LookupKey, error) {
	mac, err := l.derive("ward lookup v1 mac")
	if err != nil {
		return nil, err
	}
	enc, err := l.derive("ward lookup v1 encrypt")
	if err != nil {
		return nil, err
	}
	defer enc.Erase()
	index, err := l.derive("ward lookup v1 index")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(enc.Reveal())
	return &LookupKey{id: id, mac: mac, index: index, block: block}, err
}

// ID of the key version.
func (l *LookupKey) ID() KeyID { return l.id }

// Seal encrypts deterministically. The context has no row.
func (l *LookupKey) Seal(c Context, plaintext []byte) ([]byte, error) {
	if err := c.checkLookup(); err != nil {
		return nil, err
	}
	if len(plaintext) > MaxMessage {
		return nil, errors.New("seal: the message is longer than 1 GiB")
	}
	head := start(Lookup, suiteSIV, l.id)
	out := append(make([]byte, 0, lookupOverhead+len(plaintext)), head[:]...)
	out = append(out, tag(l.mac, head[:], c, plaintext)...)
	out = append(out, plaintext...)
	l.crypt(out)
	return out, nil
}

// Open reverses Seal; anything else is ErrDecrypt.
func (l *LookupKey) Open(c Context, sealed []byte) ([]byte, error) {
	in, err := Inspect(sealed)
	if err != nil || in.Kind != Lookup || in.Key != l.id || c.checkLookup() != nil {
		return nil, ErrDecrypt
	}
	out := append(make([]byte, 0, len(sealed)), sealed...)
	l.crypt(out)
	plaintext := out[lookupOverhead:]
	if subtle.ConstantTimeCompare(tag(l.mac, out[:idEnd], c, plaintext), out[idEnd:lookupOverhead]) != 1 {
		clear(out)
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

// crypt turns b's text into its other form, in place.
func (l *LookupKey) crypt(b []byte) {
	cipher.NewCTR(l.block, b[idEnd:idEnd+aes.BlockSize]).XORKeyStream(b[lookupOverhead:], b[lookupOverhead:])
}

// Index is the 16 bytes by which a value is found without being stored in a form that opens. The context has no row.
func (l *LookupKey) Index(c Context, value []byte) ([]byte, error) {
	if err := c.checkLookup(); err != nil {
		return nil, err
	}
	return tag(l.index, nil, c, value)[:indexSize:indexSize], nil
}

// tag is HMAC-SHA-256 over head ‖ encoded context ‖ value.
func tag(k Key, head []byte, c Context, value []byte) []byte {
	h := hmac.New(sha256.New, k.Reveal())
	h.Write(head)
	context, _ := c.append(make([]byte, 0, scratchLength)) // the callers have checked it
	h.Write(context)
	h.Write(value)
	return h.Sum(nil)
}

// A MACKey authenticates messages that stay readable.
type MACKey struct {
	hidden
	id  KeyID
	key Key
}

// NewMACKey prepares the version id, m, of a MAC key.
func NewMACKey(id KeyID, m Key) (*MACKey, error) {
	k, err := m.derive("ward mac v1")
	return &MACKey{id: id, key: k}, err
}

// MAC of a message in a context.
func (m *MACKey) MAC(c Context, message []byte) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	head := start(MAC, suiteHMAC, m.id)
	return append(head[:], tag(m.key, nil, c, message)...), nil
}

// Verify returns nil if mac is of this message in this context and ErrDecrypt otherwise.
func (m *MACKey) Verify(c Context, message, mac []byte) error {
	in, err := Inspect(mac)
	if err != nil || in.Kind != MAC || in.Key != m.id || c.Check() != nil {
		return ErrDecrypt
	}
	if subtle.ConstantTimeCompare(tag(m.key, nil, c, message), mac[idEnd:]) != 1 {
		return ErrDecrypt
	}
	return nil
}
