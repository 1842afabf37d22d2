// Package breach knows passwords that were made public: by a filter of a list, embedded or built from a file, and
// optionally by asking a range API that learns five hexadecimal digits of the SHA-1.
//
// Guarantee: a password of the list is always found; another one is taken for known once in 65,536 times; a filter
// file that is damaged or hostile isn't opened; no password leaves the process. A range API that doesn't answer
// locks nobody out: it is counted, logged, and the filter's answer stands. Not guaranteed: that the embedded filter
// knows more than the most common passwords (its list is that of zxcvbn, MIT licence, from eight characters on).
// Words say besides what is easy to guess.
package breach

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/FastFilter/xorfilter"

	"github.com/wardhq/ward/internal/base/secret"
)

// Limits.
const (
	MaxEntries = 50_000_000 // of a filter; 113 MB
	shortest   = 8          // bytes of a plain password: shorter ones are refused by their length
	longest    = 256        // bytes of a line
	maxSegment = 1 << 18    // the library's own limit
)

//go:embed common.filter
var embedded []byte

//go:embed words.filter
var embeddedWords []byte

// Words are those that people make passwords of: common passwords of any length, words and names (the lists of zxcvbn,
// MIT licence). One word in 65,536 is taken for known that isn't.
type Words struct{ filter *Filter }

// EmbeddedWords are those that Ward carries.
func EmbeddedWords() (*Words, error) {
	f, err := Open(bytes.NewReader(embeddedWords))
	return &Words{f}, err
}

// The tiers of words, by what an attacker needs to reach them.
const (
	firstWords = 1_000
	allWords   = 50_000
	firstMark  = "\x00" // after a word that is among the first
)

// Guesses is how many tries a word in lower case takes at most, or 0 if it isn't known.
func (w *Words) Guesses(word string) int {
	switch {
	case !w.filter.fuse.Contains(key(sha1.Sum([]byte(word)))):
		return 0
	case w.filter.fuse.Contains(key(sha1.Sum([]byte(word + firstMark)))):
		return firstWords
	}
	return allWords
}

// Filter is a set of passwords, as a binary fuse filter of 16-bit fingerprints of the first eight bytes of their
// SHA-1. It is safe for concurrent use.
type Filter struct {
	fuse    xorfilter.BinaryFuse[uint16]
	entries uint64
}

// Embedded is the filter of common passwords that Ward carries.
func Embedded() (*Filter, error) { return Open(bytes.NewReader(embedded)) }

// Entries is how many passwords were put in.
func (f *Filter) Entries() int { return int(f.entries) }

// Contains reports whether the password, or it in lower case, is in the list.
func (f *Filter) Contains(password secret.Bytes) bool {
	p := password.Reveal()
	return f.fuse.Contains(key(sha1.Sum(p))) || f.fuse.Contains(key(sha1.Sum(bytes.ToLower(p))))
}

func key(sum [sha1.Size]byte) uint64 { return binary.BigEndian.Uint64(sum[:]) }

// Skipped says which lines of a list were of no use: too long for a password, or so short that length refuses them.
type Skipped struct{ Long, Short int }

// Build makes a filter of a list with one password a line, or one "SHA1HEX" or "SHA1HEX:count" as Have I Been Pwned
// publishes them. It takes at most limit lines, and MaxEntries; more are an error. It needs some 40 bytes of memory
// for each while it runs.
func Build(list io.Reader, limit int) (*Filter, Skipped, error) {
	var skipped Skipped
	var keys []uint64
	r := bufio.NewReaderSize(list, 64<<10)
	for {
		line, long, err := readLine(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, skipped, fmt.Errorf("read list of passwords: %w", err)
		}
		sum, isHash := parseHash(line)
		switch {
		case long:
			skipped.Long++
			continue
		case isHash:
		case len(line) < shortest:
			skipped.Short++
			continue
		default:
			sum = sha1.Sum(line)
		}
		if len(keys) >= min(limit, MaxEntries) {
			return nil, skipped, fmt.Errorf("read list of passwords: it has more than %d", len(keys))
		}
		keys = append(keys, key(sum))
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) == 0 {
		return nil, skipped, errors.New("read list of passwords: it has none of eight characters or more")
	}
	n := len(keys)
	fuse, err := xorfilter.NewBinaryFuse[uint16](keys)
	if err != nil {
		return nil, skipped, fmt.Errorf("build password filter: %w", err)
	}
	return &Filter{fuse: *fuse, entries: uint64(n)}, skipped, nil
}

// readLine returns a line without its end; long says that it was cut.
func readLine(r *bufio.Reader) (line []byte, long bool, err error) {
	line, err = r.ReadSlice('\n')
	for err == bufio.ErrBufferFull {
		long = true
		line, err = r.ReadSlice('\n')
	}
	if err == io.EOF && (len(line) > 0 || long) {
		err = nil
	}
	line = bytes.TrimRight(line, "\r\n")
	return line, long || len(line) > longest, err
}

func parseHash(line []byte) (sum [sha1.Size]byte, ok bool) {
	digits, count, counted := bytes.Cut(line, []byte(":"))
	if len(digits) != hex.EncodedLen(len(sum)) || counted && (len(count) == 0 || len(bytes.Trim(count, "0123456789")) > 0) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], digits)
	return sum, err == nil
}

// A filter file is this header, the fingerprints, and the SHA-256 of both; all numbers are little-endian.
type header struct {
	Magic              [8]byte
	Entries            uint64
	Seed               uint64
	SegmentLength      uint32 // a power of two
	SegmentCountLength uint32 // a multiple of it; there are two segments more
}

func magic() [8]byte { return [8]byte([]byte("WARDBF16")) }

// Write writes the filter, for Open.
func (f *Filter) Write(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	h := header{magic(), f.entries, f.fuse.Seed, f.fuse.SegmentLength, f.fuse.SegmentCountLength}
	if err := errors.Join(binary.Write(out, binary.LittleEndian, h), binary.Write(out, binary.LittleEndian, f.fuse.Fingerprints), out.Flush()); err != nil {
		return fmt.Errorf("write password filter: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write password filter: %w", err)
	}
	return nil
}

// Open reads a filter that Write wrote, and nothing after it. The checksum finds damage; that the file is the
// operator's own is for its permissions to say.
func Open(r io.Reader) (*Filter, error) {
	f, err := open(r)
	if err != nil {
		return nil, fmt.Errorf("open password filter: %w", err)
	}
	return f, nil
}

func open(r io.Reader) (*Filter, error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	var h header
	if err := binary.Read(in, binary.LittleEndian, &h); err != nil {
		return nil, errors.New("it is too short")
	}
	if h.Magic != magic() {
		return nil, errors.New("it isn't a password filter")
	}
	// A lookup computes places from these without a check of its own.
	size := uint64(h.SegmentCountLength) + 2*uint64(h.SegmentLength)
	if h.SegmentLength == 0 || h.SegmentLength&(h.SegmentLength-1) != 0 || h.SegmentLength > maxSegment ||
		h.SegmentCountLength == 0 || h.SegmentCountLength%h.SegmentLength != 0 || size > 2*MaxEntries || h.Entries == 0 || h.Entries > size {
		return nil, errors.New("its header is damaged")
	}
	// The buffer grows with what is there, not with what the header promises.
	raw, err := io.ReadAll(io.LimitReader(in, int64(2*size)))
	if err != nil || uint64(len(raw)) != 2*size {
		return nil, errors.New("it is too short")
	}
	want, stored := sum.Sum(nil), make([]byte, sha256.Size+1)
	if n, err := io.ReadFull(r, stored); err != io.ErrUnexpectedEOF || n != sha256.Size {
		return nil, errors.New("it is too short or too long")
	}
	if subtle.ConstantTimeCompare(want, stored[:sha256.Size]) != 1 {
		return nil, errors.New("its checksum is wrong")
	}
	f := &Filter{entries: h.Entries}
	f.fuse = xorfilter.BinaryFuse[uint16]{
		Seed: h.Seed, SegmentLength: h.SegmentLength, SegmentLengthMask: h.SegmentLength - 1,
		SegmentCount: h.SegmentCountLength / h.SegmentLength, SegmentCountLength: h.SegmentCountLength,
		Fingerprints: make([]uint16, size),
	}
	for i := range f.fuse.Fingerprints {
		f.fuse.Fingerprints[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return f, nil
}
