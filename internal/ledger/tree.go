package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree (RFC 6962 §2.1): the hashes of its complete subtrees,
// largest first. It is all that a root and the next leaf need.
type frontier struct {
	n     int64
	edges []tlog.Hash
	leaf  []byte // kept to be used again
}

// add appends a record, and to stored the hashes of subtrees that it completes, as tlog.StoredHashes orders them.
func (f *frontier) add(record, stored []byte) []byte {
	f.leaf = append(append(f.leaf[:0], 0), record...) // RFC 6962 §2.1
	h := tlog.Hash(sha256.Sum256(f.leaf))
	stored = append(stored, h[:]...)
	for range bits.TrailingZeros64(^uint64(f.n)) { // as many complete subtrees merge as f.n ends in ones
		last := len(f.edges) - 1
		h = tlog.NodeHash(f.edges[last], h)
		stored = append(stored, h[:]...)
		f.edges = f.edges[:last]
	}
	f.edges = append(f.edges, h)
	f.n++
	return stored
}

func (f *frontier) root() tlog.Hash {
	if f.n == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	h := f.edges[len(f.edges)-1]
	for i := len(f.edges) - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.edges[i], h)
	}
	return h
}

func (f *frontier) clone() frontier { return frontier{f.n, slices.Clone(f.edges), f.leaf} }

// frontierAt is the frontier of the first n records, by their stored hashes.
func frontierAt(n int64, r tlog.HashReader) (frontier, error) {
	var at []int64
	for done := int64(0); done < n; {
		level := bits.Len64(uint64(n-done)) - 1
		at = append(at, tlog.StoredHashIndex(level, done>>level))
		done += 1 << level
	}
	edges, err := r.ReadHashes(at)
	return frontier{n: n, edges: edges}, err
}

// seal makes the commit of a batch: a MAC over the root before it and its lines.
type seal struct {
	h   hash.Hash
	end []byte // of a line
}

func newSeal(key []byte, before *frontier) seal {
	s := seal{hmac.New(sha256.New, key), []byte{'\n'}}
	root := before.root()
	s.h.Write(root[:])
	return s
}

// add takes a line without a commit.
func (s seal) add(line []byte) {
	s.h.Write(line)
	s.h.Write(s.end)
}

func (s seal) sum() string { return base64.RawURLEncoding.EncodeToString(s.h.Sum(nil)) }

// commitHead and commitTail enclose a commit at the end of a line.
const (
	commitHead = `,"commit":"`
	commitTail = `"}`
	commitSize = len(commitHead) + 43 + len(commitTail)
)

func withCommit(line []byte, commit string) []byte {
	return append(line[:len(line)-1], commitHead+commit+commitTail...)
}

// cutCommit reverses withCommit; ok is false for a line without one.
func cutCommit(line []byte) (bare []byte, commit string, ok bool) {
	at := len(line) - commitSize
	if at < 1 || string(line[at:at+len(commitHead)]) != commitHead || string(line[len(line)-len(commitTail):]) != commitTail {
		return line, "", false
	}
	return append(slices.Clone(line[:at]), '}'), string(line[at+len(commitHead) : len(line)-len(commitTail)]), true
}
