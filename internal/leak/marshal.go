package leak

import (
	"encoding/binary"

	"github.com/wardhq/ward/internal/base/fault"
)

// Limits of what Unmarshal reads.
const (
	maxMarshalled = 64 << 20 // bytes
	maxName       = 63       // bytes
	printSize     = 4 + 1 + 2 + 4 + proof
)

const version = 1

// Marshal is for Unmarshal: version, key, bytes outside, names, prints; integers big-endian.
func (f *Fingerprints) Marshal() []byte {
	b := append([]byte{version}, f.key[:]...)
	for _, w := range f.outside {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.names)))
	for _, n := range f.names {
		var flags byte
		if n.canary {
			flags |= 1
		}
		if n.local {
			flags |= 2
		}
		b = append(append(b, flags, byte(len(n.name))), n.name...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.prints)))
	for _, p := range f.prints {
		b = append(binary.BigEndian.AppendUint32(b, p.name), byte(p.form))
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, p.length), p.tag)
		b = append(b, p.proof[:]...)
	}
	return b
}

// Unmarshal reads what Marshal made.
func Unmarshal(b []byte) (*Fingerprints, error) {
	r := reader{rest: b, ok: len(b) <= maxMarshalled}
	f := &Fingerprints{}
	if r.uint(1) != version {
		r.ok = false
	}
	copy(f.key[:], r.take(keySize))
	for i := range f.outside {
		f.outside[i] = r.uint(8)
	}
	for n := r.uint(4); r.ok && n > 0; n-- {
		flags := r.uint(1)
		name := string(r.take(int(r.uint(1))))
		r.ok = r.ok && flags <= 3 && len(name) <= maxName
		f.names = append(f.names, named{name, flags&1 != 0, flags&2 != 0})
	}
	for n := r.uint(4); r.ok && n > 0; n-- {
		p := print{name: uint32(r.uint(4)), form: Form(r.uint(1)), length: uint16(r.uint(2)), tag: uint32(r.uint(4))}
		copy(p.proof[:], r.take(proof))
		r.ok = r.ok && int(p.name) < len(f.names) && p.form >= Raw && p.form <= KeyLine && p.length >= window && p.length <= maxForm && p.tag < 1<<24
		f.prints = append(f.prints, p)
	}
	if !r.ok || len(r.rest) > 0 {
		return nil, fault.New(fault.Invalid, "these aren't fingerprints")
	}
	f.deriveKeys()
	f.index()
	return f, nil
}

// reader takes from the front, until it isn't ok any more.
type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) take(n int) []byte {
	if !r.ok || n > len(r.rest) {
		r.ok = false
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint(size int) uint64 {
	var v uint64
	for _, c := range r.take(size) {
		v = v<<8 | uint64(c)
	}
	return v
}
