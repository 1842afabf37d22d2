package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// storedHashes reads the hashes of a folder's tree by tlog.StoredHashIndex: from the files that the ledger keeps beside its segments, and
// where they are missing, short or not believed, from the records. It is a tlog.HashReader for one goroutine.
type storedHashes struct {
	dir      string
	firsts   []int64           // of all segments, those that were removed too
	records  map[int64]segment // that are there
	computed map[int64][]byte
	// distrust takes hashes of segments that are there from their records alone.
	distrust bool
}

// openHashes lists what there is in a folder.
func openHashes(dir string) (*storedHashes, error) {
	h := &storedHashes{dir: dir, records: map[int64]segment{}, computed: map[int64][]byte{}}
	segments, err := list(dir)
	if err != nil {
		return nil, err
	}
	for _, s := range segments {
		h.records[s.first] = s
		h.firsts = append(h.firsts, s.first)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range names {
		digits, ok := strings.CutPrefix(d.Name(), "hashes-")
		if n, err := strconv.ParseInt(digits, 10, 64); ok && err == nil {
			h.firsts = append(h.firsts, n)
		}
	}
	slices.Sort(h.firsts)
	h.firsts = slices.Compact(h.firsts)
	return h, nil
}

// ReadHashes implements tlog.HashReader.
func (h *storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		at, _ := slices.BinarySearchFunc(h.firsts, x, func(first, x int64) int {
			if tlog.StoredHashCount(first) <= x {
				return -1
			}
			return 1
		})
		if at == 0 {
			return nil, errors.New("read hashes of the ledger: the first are missing")
		}
		first := h.firsts[at-1]
		if err := h.read(first, x-tlog.StoredHashCount(first), &out[i]); err != nil {
			return nil, fmt.Errorf("read hashes of the ledger: %w", err)
		}
	}
	return out, nil
}

// read finds the n-th hash of a segment.
func (h *storedHashes) read(first, n int64, to *tlog.Hash) error {
	s, there := h.records[first]
	_, known := h.computed[first]
	if !known && !(h.distrust && there) {
		f, err := os.Open(filepath.Join(h.dir, named(hashesFile, first)))
		if err == nil {
			defer f.Close()
			if _, err = f.ReadAt(to[:], 32*n); err == nil {
				return nil
			}
		}
		if !there {
			return err
		}
	}
	if !known {
		b, err := h.compute(s)
		if err != nil {
			return err
		}
		h.computed[first] = b
	}
	b := h.computed[first]
	if 32*n+32 > int64(len(b)) {
		return io.ErrUnexpectedEOF
	}
	copy(to[:], b[32*n:])
	return nil
}

// compute reckons a segment's hashes from its records.
func (h *storedHashes) compute(s segment) ([]byte, error) {
	f, err := frontierAt(s.first, h)
	if err != nil {
		return nil, err
	}
	var out []byte
	err = s.lines(h.dir, span{}, func(_ int64, line []byte) error {
		out = f.add(line, out)
		return nil
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // a batch is under way
	}
	return out, err
}

// writeHashes puts a segment's hashes on disk, as its records say.
func (l *Ledger) writeHashes(s segment) error {
	h, err := openHashes(l.dir)
	if err != nil {
		return err
	}
	b, err := h.compute(s)
	if err != nil {
		return err
	}
	return l.replace(named(hashesFile, s.first), b, 0o600)
}
