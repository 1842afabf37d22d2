// Package leak finds secrets where they must not be, in streams and in trees, without having them: control makes
// fingerprints of the values, and a Finder looks for what matches.
//
// A fingerprint of a form (the value raw, in base64, hex, escaped) is a keyed 24-bit hash of its first 8 bytes, to look
// cheaply, and HMAC-SHA256 of all of it, to be sure. Guarantee: nothing is reported or masked that isn't a
// secret, by 2^-128; a form is found wherever it stands, across chunks too; neither fingerprints nor findings hold
// a value. Who has fingerprints has their key, so that he may try values: those that could be guessed, also when
// their first 8 bytes are known, are Local, and Shared leaves them out. Not guaranteed: that a secret is found that was
// split, encrypted or encoded otherwise; values under 8 bytes aren't looked for; of forms over 1,024 bytes
// only so many are compared and masked.
package leak

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/url"
	"slices"

	"github.com/wardhq/ward/internal/base/secret"
)

// Sizes in bytes.
const (
	MinValue = 8    // shorter values aren't looked for
	window   = 8    // what the filter sees
	maxForm  = 1024 // what is compared of a longer form
	keySize  = 32
	proof    = 16
)

// Form is how a secret is written. The zero Form is none.
type Form uint8

// The forms.
const (
	Raw Form = iota + 1
	Base64
	Base64URL
	Hex
	Escaped // as in URLs
	JSON    // as in JSON strings
	KeyLine // a line of a private key in PEM
	Card    // no secret of ours: the number of a payment card
)

// String is the form's name for people and JSON.
func (f Form) String() string {
	return [...]string{"none", "raw", "base64", "base64url", "hex", "url-escaped", "json-escaped", "key line", "card number"}[min(f, Card)]
}

// Secret is one value to look for. A name may have several.
type Secret struct {
	Name   string
	Value  secret.Bytes
	Canary bool // nobody uses it: whoever shows it has stolen it
}

// Fingerprints are what Finders look for. They don't change, and are safe for concurrent use.
type Fingerprints struct {
	key     [keySize]byte
	names   []named
	prints  []print   // by tag, then the longest first
	outside [4]uint64 // bytes that no form has among its first 7: if one stands at the end of a chunk, nothing has begun there

	// what follows is derived
	factor uint64 // of the filter's hash; odd
	mac    []byte
	shift  uint // 64 - log2 of the filter's bits
	filter []uint64
}

type named struct {
	name          string
	canary, local bool
}

type print struct {
	name   uint32 // index of names
	form   Form
	length uint16
	tag    uint32 // 24 bits
	proof  [proof]byte
}

// Make makes fingerprints under a fresh key. Values that are too short are left out.
func Make(secrets []Secret) *Fingerprints {
	f := &Fingerprints{outside: [4]uint64{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}}
	_, _ = rand.Read(f.key[:]) // never returns an error (crypto/rand)
	f.deriveKeys()
	// Which of these bytes the secrets really have is nobody's business.
	f.cover([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=%.\\"))
	for _, s := range secrets {
		value := s.Value.Reveal()
		if len(value) < MinValue {
			continue
		}
		f.names = append(f.names, named{s.Name, s.Canary, guessable(value)})
		seen := map[string]bool{}
		for _, w := range formsOf(value) {
			if len(w.text) < MinValue || seen[string(w.text)] {
				continue
			}
			seen[string(w.text)] = true
			text := w.text[:min(len(w.text), maxForm)]
			f.cover(text[:window-1])
			f.prints = append(f.prints, print{uint32(len(f.names) - 1), w.form, uint16(len(text)), f.tagOf(text), f.proofOf(text)})
		}
	}
	f.index()
	return f
}

type written struct {
	form Form
	text []byte
}

// formsOf is how a value may be written.
func formsOf(value []byte) []written {
	out := []written{{Raw, value}}
	for aligned := range 3 {
		std := inBase64(value, aligned)
		out = append(out, written{Base64, std}, written{Base64URL, bytes.ReplaceAll(bytes.ReplaceAll(std, []byte("+"), []byte("-")), []byte("/"), []byte("_"))})
	}
	lower := hex.AppendEncode(nil, value)
	out = append(
		out, written{Hex, lower}, written{Hex, bytes.ToUpper(lower)},
		written{Escaped, []byte(url.QueryEscape(string(value)))}, written{Escaped, []byte(url.PathEscape(string(value)))},
	)
	for _, html := range []bool{false, true} {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		if err := e.Encode(string(value)); err == nil { // bytes that aren't UTF-8 have no form in JSON, and this one does no harm
			out = append(out, written{JSON, bytes.Trim(b.Bytes(), "\"\n")})
		}
	}
	return append(out, keyLines(value)...)
}

// inBase64 is the characters that are certain when so many bytes (modulo 3) stand before the value, whatever they are and
// whatever follows.
func inBase64(value []byte, before int) []byte {
	padded := append(make([]byte, before, before+len(value)), value...)
	all := base64.RawStdEncoding.AppendEncode(nil, padded)
	first := (8*before + 5) / 6
	return all[first : 8*len(padded)/6]
}

// keyLines are the full lines of private keys in PEM; certificates are public.
func keyLines(value []byte) []written {
	var out []written
	inside := false
	for line := range bytes.SplitSeq(value, []byte("\n")) {
		line = bytes.TrimSpace(line)
		switch {
		case bytes.HasPrefix(line, []byte("-----")):
			inside = bytes.HasPrefix(line, []byte("-----BEGIN ")) && bytes.Contains(line, []byte("PRIVATE KEY"))
		case inside && len(line) >= 32:
			out = append(out, written{KeyLine, line})
		}
	}
	return out
}

// minUnknown is how many bits must be unknown to who knows the first 8 bytes.
const minUnknown = 80

// guessable estimates whether a value could be found by trying: as if its bytes were drawn by their own frequencies.
func guessable(value []byte) bool {
	var counts [256]float64
	for _, c := range value {
		counts[c]++
	}
	bits := 0.0 // a byte
	for _, n := range counts {
		if n > 0 {
			p := n / float64(len(value))
			bits -= p * math.Log2(p)
		}
	}
	return bits*float64(len(value)-window) < minUnknown
}

// Local are the names of secrets that could be guessed from their fingerprints.
func (f *Fingerprints) Local() []string {
	var out []string
	for _, n := range f.names {
		if n.local {
			out = append(out, n.name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Shared is what may be given to those who must not know the secrets: without those that could be guessed.
func (f *Fingerprints) Shared() *Fingerprints {
	out := &Fingerprints{key: f.key, outside: f.outside}
	at := make([]uint32, len(f.names))
	for i, n := range f.names {
		if !n.local {
			at[i] = uint32(len(out.names))
			out.names = append(out.names, n)
		}
	}
	for _, p := range f.prints {
		if !f.names[p.name].local {
			p.name = at[p.name]
			out.prints = append(out.prints, p)
		}
	}
	out.deriveKeys()
	out.index()
	return out
}

// deriveKeys makes the two keys of the one.
func (f *Fingerprints) deriveKeys() {
	derive := func(what string) []byte {
		h := hmac.New(sha256.New, f.key[:])
		h.Write([]byte(what))
		return h.Sum(nil)
	}
	f.factor = binary.BigEndian.Uint64(derive("ward leak v1 window")) | 1
	f.mac = derive("ward leak v1 proof")
}

// cover notes bytes that forms begin with.
func (f *Fingerprints) cover(text []byte) {
	for _, c := range text {
		f.outside[c/64] &^= 1 << (c % 64)
	}
}

func (f *Fingerprints) isOutside(c byte) bool { return f.outside[c/64]>>(c%64)&1 == 1 }

// index makes the filter: at least 64 bits for each print, so that one byte in 64 or fewer passes, up to 128 KiB.
func (f *Fingerprints) index() {
	bits := uint(14)
	for ; bits < 20 && 64*len(f.prints) > 1<<bits; bits++ {
	}
	f.shift, f.filter = 64-bits, make([]uint64, 1<<bits/64)
	for _, p := range f.prints {
		at := p.tag >> (24 - bits)
		f.filter[at/64] |= 1 << (at % 64)
	}
	slices.SortFunc(f.prints, func(a, b print) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(b.length, a.length)) })
}

// withTag calls try with each run of prints that have the tag and one length.
func (f *Fingerprints) withTag(tag uint32, try func(from, to int)) {
	from, _ := slices.BinarySearchFunc(f.prints, tag, func(p print, tag uint32) int { return cmp.Compare(p.tag, tag) })
	for to := from; from < len(f.prints) && f.prints[from].tag == tag; from = to {
		for to < len(f.prints) && f.prints[to].tag == tag && f.prints[to].length == f.prints[from].length {
			to++
		}
		try(from, to)
	}
}

// tagOf is the keyed hash of the first 8 bytes: multiply-shift, of which 24 bits stay.
func (f *Fingerprints) tagOf(text []byte) uint32 {
	return uint32(binary.LittleEndian.Uint64(text) * f.factor >> 40)
}

func (f *Fingerprints) proofOf(text []byte) (out [proof]byte) {
	h := hmac.New(sha256.New, f.mac)
	h.Write(text)
	copy(out[:], h.Sum(nil))
	return out
}
