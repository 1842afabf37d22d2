package envelope

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"sync"
)

// Sizes in bytes.
const (
	HeaderSize = 104                              // of a data key, at the front of each of its messages and streams
	Overhead   = HeaderSize + nonceSize + tagSize // a message is that much longer than its plaintext
	MaxMessage = 1 << 30                          // of a message's plaintext; a stream may be longer

	nonceSize     = 12
	tagSize       = 16
	wrappedEnd    = idEnd + nonceSize + KeySize + tagSize
	kindAt        = 1
	messageInfo   = "ward seal v1 message"
	streamInfo    = "ward seal v1 stream"
	commitInfo    = "ward seal v1 commitment"
	wrapInfo      = "ward seal v1 wrap"
	wrapPrefix    = "ward data key v1"
	scratchLength = 512 // of associated data that fits the first buffer
)

// A DataKey seals and opens messages and streams. It is ready: no call derives keys but the streams'.
type DataKey struct {
	hidden
	header  [HeaderSize]byte // with the kind Message
	key     Key
	aead    cipher.AEAD
	scratch sync.Pool // of *[]byte, for associated data
}

// NewDataKey prepares a data key from its header (of a message or a stream) and its 32 bytes, which it copies. A
// key that isn't the header's gives ErrDecrypt.
func NewDataKey(header, key []byte) (*DataKey, error) {
	in, err := Inspect(header)
	if err != nil || len(header) != HeaderSize || (in.Kind != Message && in.Kind != Stream) {
		return nil, ErrDecrypt
	}
	k, err := KeyFrom(key)
	if err != nil {
		return nil, ErrDecrypt
	}
	commitment, err := k.derive(commitInfo)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commitment.Reveal(), header[wrappedEnd:]) != 1 {
		return nil, ErrDecrypt
	}
	return newDataKey(header, k)
}

// newDataKey trusts that the commitment fits.
func newDataKey(header []byte, k Key) (*DataKey, error) {
	d := &DataKey{header: [HeaderSize]byte(header), key: k}
	d.header[kindAt] = byte(Message)
	d.scratch.New = func() any { b := make([]byte, 0, scratchLength); return &b }
	var err error
	d.aead, err = k.gcm(messageInfo)
	return d, err
}

// Header is a copy of the 104 bytes with the kind Message.
func (d *DataKey) Header() []byte { return bytes.Clone(d.header[:]) }

// ID of the key version that wraps it.
func (d *DataKey) ID() KeyID { return KeyID(d.header[idAt:idEnd]) }

// Reveal returns the 32 secret bytes, for the one who may hold them; no copy.
func (d *DataKey) Reveal() []byte { return d.key.Reveal() }

// Seal encrypts a message for a context. The result alone is allocated.
func (d *DataKey) Seal(c Context, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxMessage {
		return nil, errors.New("seal: the message is longer than 1 GiB; use a stream")
	}
	scratch := d.scratch.Get().(*[]byte)
	defer d.scratch.Put(scratch)
	ad, err := c.append(append((*scratch)[:0], d.header[:]...))
	if err != nil {
		return nil, err
	}
	*scratch = ad
	out := append(make([]byte, 0, Overhead+len(plaintext)), d.header[:]...)
	return d.aead.Seal(out, nil, plaintext, ad), nil
}

// Open decrypts a message that was sealed under this data key for this context; anything else is ErrDecrypt.
func (d *DataKey) Open(c Context, message []byte) ([]byte, error) {
	if len(message) < Overhead || !bytes.Equal(message[:HeaderSize], d.header[:]) { // no secret: it is in each message
		return nil, ErrDecrypt
	}
	scratch := d.scratch.Get().(*[]byte)
	defer d.scratch.Put(scratch)
	ad, err := c.append(append((*scratch)[:0], d.header[:]...))
	if err != nil {
		return nil, ErrDecrypt
	}
	*scratch = ad
	plaintext, err := d.aead.Open(make([]byte, 0, len(message)-Overhead), nil, message[HeaderSize:], ad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return plaintext, nil
}

// A Wrapper makes data keys under one version of a managed key, or under an owner's key below it, and opens them again.
type Wrapper struct {
	hidden
	id   KeyID
	by   byte
	ad   []byte
	aead cipher.AEAD
}

// NewWrapper wraps under m: the version id of the key called name, or, if owner isn't empty, that owner's key under it.
func NewWrapper(id KeyID, name, owner string, m Key) (*Wrapper, error) {
	if name == "" || len(name) > maxName || len(owner) > maxName {
		return nil, errors.New("wrap data key: the key's name or its owner's is missing or longer than 1024 bytes")
	}
	w := &Wrapper{id: id, by: byVersion}
	if owner != "" {
		w.by = byOwner
	}
	w.ad = append(append([]byte(wrapPrefix), w.by), id[:]...)
	w.ad = appendField(appendField(w.ad, name), owner)
	var err error
	w.aead, err = m.gcm(wrapInfo)
	return w, err
}

// New draws a data key.
func (w *Wrapper) New() (*DataKey, error) {
	k := NewKey()
	commitment, err := k.derive(commitInfo)
	if err != nil {
		return nil, err
	}
	header := append(make([]byte, 0, HeaderSize), version, byte(Message), suiteGCM, w.by)
	header = append(header, w.id[:]...)
	header = w.aead.Seal(header, nil, k.Reveal(), w.ad)
	return newDataKey(append(header, commitment.Reveal()...), k)
}

// Open unwraps the data key of a header; ErrDecrypt if this isn't the key that wrapped it.
func (w *Wrapper) Open(header []byte) (*DataKey, error) {
	in, err := Inspect(header)
	if err != nil || len(header) != HeaderSize || in.Key != w.id || header[3] != w.by {
		return nil, ErrDecrypt
	}
	d, err := w.aead.Open(make([]byte, 0, KeySize), nil, header[idEnd:wrappedEnd], w.ad)
	if err != nil {
		return nil, ErrDecrypt
	}
	defer clear(d)
	return NewDataKey(header, d)
}
