package logs

import "math/bits"

// filter is a Bloom filter of the text of a block in lower case: of each four letters beside each other (so that it serves parts of words), and
// of each whole word of eight or more with a digit in it, which IDs are. A query for less reads every block.
type filter []byte

const (
	maxFilter = 16 << 10 // bytes
	minFilter = 256
	gram      = 4
	longWord  = 8
)

func isFilterLen(n int) bool { return n >= minFilter && n <= maxFilter && n&(n-1) == 0 }

// newFilter makes the smallest filter of which at most about a quarter is set.
func newFilter(text []byte) filter {
	f := make(filter, maxFilter)
	eachKey(text, true, func(h uint32) { f[h>>3&(maxFilter-1)] |= 1 << (h & 7) })
	ones := 0
	for _, b := range f {
		ones += bits.OnesCount8(b)
	}
	for len(f) > minFilter && ones*8 <= len(f)*8 { // halved, at most a quarter is set
		half := len(f) / 2
		ones = 0
		for i := range half {
			f[i] |= f[half+i]
			ones += bits.OnesCount8(f[i])
		}
		f = f[:half]
	}
	return f
}

// mayHold tells whether all keys may be in the text.
func (f filter) mayHold(keys []uint32) bool {
	for _, h := range keys {
		if f[int(h>>3)&(len(f)-1)]>>(h&7)&1 == 0 {
			return false
		}
	}
	return true
}

// keysOf are the keys that a text must have which holds this part of it. Whole says that no letter or digit stands beside the part.
func keysOf(part []byte, whole bool) []uint32 {
	var out []uint32
	eachKey(part, whole, func(h uint32) { out = append(out, h) })
	return out
}

// Classes of bytes.
const (
	other = iota
	letter
	digit
)

// classOf returns the class of a byte, and the byte in lower case.
func classOf(c byte) (class int, lower byte) {
	switch {
	case c >= 'a' && c <= 'z':
		return letter, c
	case c >= 'A' && c <= 'Z':
		return letter, c + 'a' - 'A'
	case c >= '0' && c <= '9':
		return digit, c
	}
	return other, c
}

// eachKey calls f with the keys of a text. Where it isn't whole, its first and last words may be parts of longer ones.
func eachKey(text []byte, whole bool, f func(uint32)) {
	var last uint32 // four letters
	letters, length, digits := 0, 0, false
	hash, edge := uint64(offset64), !whole
	end := func() {
		if digits && length >= longWord && !edge {
			f(uint32(hash))
			f(uint32(hash >> 32))
		}
		letters, length, digits, hash, edge = 0, 0, false, offset64, false
	}
	for _, c := range text {
		class, c := classOf(c)
		if class == other {
			end()
			continue
		}
		length++
		hash = (hash ^ uint64(c)) * prime64
		if class == digit {
			digits, letters = true, 0
			continue
		}
		last = last<<8 | uint32(c)
		if letters++; letters >= gram {
			h := last * 0x9e3779b1
			f(h ^ h>>15)
		}
	}
	if whole {
		end()
	}
}

// FNV-1a's, whose two halves are two hashes.
const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

func fold(out, text []byte) []byte {
	n := len(out)
	out = append(out, text...)
	for i, c := range out[n:] {
		if c-'A' < 26 {
			out[n+i] = c + 'a' - 'A'
		}
	}
	return out
}
