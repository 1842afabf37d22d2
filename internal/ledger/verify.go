package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Report is what Verify found.
type Report struct {
	Records int64  `json:"records"` // under the checkpoint
	Root    string `json:"root"`
	Tail    int64  `json:"tail"` // whole records after it, of an append that was under way
}

// readCheckpoint opens the checkpoint with the public key beside it.
func readCheckpoint(dir string) (tlog.Tree, error) {
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		if st, statErr := os.Stat(filepath.Join(dir, recordsFile)); statErr == nil && st.Size() > 0 {
			return tlog.Tree{}, damaged("the checkpoint is missing")
		}
		return tlog.Tree{}, nil
	}
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read checkpoint: %w", err)
	}
	pub, err := os.ReadFile(filepath.Join(dir, publicFile))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read ledger key: %w", err)
	}
	return ParseCheckpoint(signed, strings.TrimSpace(string(pub)))
}

// ParseCheckpoint checks a signed checkpoint (C2SP tlog-checkpoint) against a
// verifier key (golang.org/x/mod/sumdb/note), and returns its tree.
func ParseCheckpoint(signed []byte, verifierKey string) (tlog.Tree, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read ledger key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, damaged("the checkpoint's signature is not the ledger's")
	}
	text, ok := strings.CutPrefix(n.Text, v.Name())
	if !ok {
		return tlog.Tree{}, damaged("the checkpoint is of another ledger")
	}
	tree, err := tlog.ParseTree([]byte("go.sum database tree" + text))
	if err != nil {
		return tlog.Tree{}, damaged("the checkpoint can't be read")
	}
	return tree, nil
}

// Verify recomputes every hash of a ledger's folder from its records alone, and compares with
// the signed checkpoint. verifierKey "" takes the one in the folder; whoever keeps the
// key elsewhere finds an exchanged folder too.
func Verify(dir, verifierKey string) (Report, error) {
	tree, err := readCheckpoint(dir)
	if verifierKey != "" {
		var signed []byte
		if signed, err = os.ReadFile(filepath.Join(dir, checkpointFile)); err == nil {
			tree, err = ParseCheckpoint(signed, verifierKey)
		}
	}
	if err != nil {
		return Report{}, err
	}
	f, err := os.Open(filepath.Join(dir, recordsFile))
	if err != nil {
		return Report{}, fmt.Errorf("open records: %w", err)
	}
	defer f.Close()
	var hashes memoryHashes
	var n int64
	var bad error
	err = scan(f, func(rec Record, line []byte) bool {
		if rec.Index != n {
			bad = damaged(fmt.Sprintf("record %d stands where record %d belongs", rec.Index, n))
			return false
		}
		if n < tree.N {
			var hs []tlog.Hash
			if hs, bad = tlog.StoredHashes(n, line, &hashes); bad != nil {
				return false
			}
			hashes = append(hashes, hs...)
		}
		n++
		return true
	})
	if bad != nil {
		return Report{}, bad
	}
	if err != nil && n < tree.N {
		return Report{}, damaged(err.Error())
	}
	if n < tree.N {
		return Report{}, damaged(fmt.Sprintf("%d of %d records are missing at the end", tree.N-n, tree.N))
	}
	root, err := tlog.TreeHash(tree.N, &hashes)
	if err != nil {
		return Report{}, fmt.Errorf("hash records: %w", err)
	}
	if root != tree.Hash {
		return Report{}, damaged("the records don't match the signed checkpoint")
	}
	return Report{Records: tree.N, Root: root.String(), Tail: n - tree.N}, nil
}

// memoryHashes are the stored hashes of a tree that is being recomputed.
type memoryHashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (m *memoryHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x >= int64(len(*m)) {
			return nil, fmt.Errorf("hash %d isn't known yet", x)
		}
		out[i] = (*m)[x]
	}
	return out, nil
}

func (m memoryHashes) bytes() []byte {
	b := make([]byte, 0, len(m)*tlog.HashSize)
	for _, h := range m {
		b = append(b, h[:]...)
	}
	return b
}
