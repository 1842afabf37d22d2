package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Report is what Verify found.
type Report struct {
	Records int64  `json:"records"` // under the checkpoint
	First   int64  `json:"first"`   // of them that is still there; those before it are proved by their hashes
	Root    string `json:"root"`
	Key     string `json:"key"` // that the checkpoint is signed with
	// Tail is whole records after it. Their seal is checked when the ledger is opened, for that takes its key.
	Tail int64 `json:"tail"`
}

// readCheckpoint opens the checkpoint with the public key beside it; the zero Tree if there is none yet.
func readCheckpoint(dir string) (tlog.Tree, error) {
	pub, err := publicKey(dir)
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		if hasRecords(dir) {
			return tlog.Tree{}, damaged("the checkpoint is missing")
		}
		return tlog.Tree{}, nil
	}
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return ParseCheckpoint(signed, pub)
}

func publicKey(dir string) (string, error) {
	pub, err := os.ReadFile(filepath.Join(dir, publicFile))
	if err != nil {
		return "", fmt.Errorf("read ledger key: %w", err)
	}
	return strings.TrimSpace(string(pub)), nil
}

// ParseCheckpoint checks a signed checkpoint (C2SP tlog-checkpoint) against a
// verifier key (golang.org/x/mod/sumdb/note), and returns its tree.
func ParseCheckpoint(signed []byte, verifierKey string) (tlog.Tree, error) {
	v, err := note.NewVerifier(verifierKey)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("read ledger key: %w", err)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	// An unknown signature beside ours would be bytes that nobody vouches for.
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return tlog.Tree{}, damaged("the checkpoint's signature is not the ledger's")
	}
	// Strict: one signature has one spelling.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return tlog.Tree{}, damaged("the checkpoint's signature is not as it was written")
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

// hasRecords tells whether a folder holds any; what can't be listed counts as if it did.
func hasRecords(dir string) bool {
	all, err := list(dir)
	if err != nil {
		return true
	}
	for _, s := range all {
		if s.bytes > 0 || s.first > 0 {
			return true
		}
	}
	return false
}

// Checkpoint is what was signed last.
type Checkpoint struct {
	Records int64     `json:"records"`
	Root    string    `json:"root"`
	Time    time.Time `json:"time"` // when
}

// Checkpoint reads the checkpoint on disk again, and checks that this ledger has signed it and that it is none from before. That its records are as
// they were is Verify's to tell. Without records there is none: the zero Checkpoint.
func (l *Ledger) Checkpoint() (Checkpoint, error) {
	l.mu.Lock()
	signed := l.signed
	l.mu.Unlock()
	st, err := os.Stat(l.file(checkpointFile))
	if errors.Is(err, os.ErrNotExist) && signed == 0 {
		return Checkpoint{}, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return Checkpoint{}, damaged("the checkpoint is missing")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(l.file(checkpointFile))
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	tree, err := ParseCheckpoint(text, l.public)
	if err != nil {
		return Checkpoint{}, err
	}
	if tree.N < signed {
		return Checkpoint{}, damaged(fmt.Sprintf("a checkpoint of %d records stands where one of %d was signed", tree.N, signed))
	}
	return Checkpoint{Records: tree.N, Root: tree.Hash.String(), Time: st.ModTime().UTC()}, nil
}

// Verify recomputes every hash of a ledger's folder from its records alone, and compares with
// the signed checkpoint; of records that were removed, which a record must say, the hashes that were kept. verifierKey "" takes the one in
// the folder; whoever keeps the key elsewhere finds an exchanged folder too. It writes nothing, and may run beside an open ledger.
func Verify(dir, verifierKey string) (Report, error) {
	return VerifyContext(context.Background(), dir, verifierKey)
}

// VerifyContext is Verify until ctx ends, whose error it is then.
func VerifyContext(ctx context.Context, dir, verifierKey string) (Report, error) {
	own, err := publicKey(dir)
	if err != nil {
		return Report{}, err
	}
	if verifierKey == "" {
		verifierKey = own
	} else if verifierKey != own {
		return Report{}, damaged("the key in the folder is another one")
	}
	const tries = 3 // a ledger that is open may remove a segment meanwhile
	for n := 1; ; n++ {
		tree, err := readCheckpoint(dir) // before the records: they may grow meanwhile
		if err != nil {
			return Report{}, err
		}
		v := verification{dir: dir, tree: tree, ended: ctx.Err}
		err = v.run()
		if errors.Is(err, os.ErrNotExist) && n < tries {
			continue
		}
		if err != nil {
			return Report{}, err
		}
		return Report{Records: tree.N, First: v.first, Root: tree.Hash.String(), Key: verifierKey, Tail: v.got.n - tree.N}, nil
	}
}

// verification goes through all records.
type verification struct {
	dir     string
	tree    tlog.Tree
	got     frontier
	stored  []byte
	first   int64 // record that is there
	removed int64 // below which records were, as one says
	ended   func() error
}

func (v *verification) run() error {
	segments, err := list(v.dir)
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	if len(segments) > 0 && segments[0].first > 0 {
		v.first = segments[0].first
		hashes, err := openHashes(v.dir)
		if err == nil {
			v.got, err = frontierAt(v.first, hashes)
		}
		if err != nil {
			return damaged(fmt.Sprintf("records 0 to %d are missing, and so are their hashes", v.first-1))
		}
	}
	for i, s := range segments {
		if s.first != v.got.n {
			return damaged(fmt.Sprintf("record %d is missing: what follows begins with %d", v.got.n, s.first))
		}
		err := s.lines(v.dir, span{}, v.line)
		if errors.Is(err, io.ErrUnexpectedEOF) && i == len(segments)-1 && v.got.n >= v.tree.N {
			break // a batch is under way, or was torn
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged(err.Error())
		}
		if err != nil {
			return err
		}
	}
	switch {
	case v.got.n < v.tree.N:
		return damaged(fmt.Sprintf("%d of %d records are missing at the end", v.tree.N-v.got.n, v.tree.N))
	case v.first > v.removed:
		return damaged(fmt.Sprintf("records %d to %d are missing, and none says that they were removed", v.removed, v.first-1))
	}
	return nil
}

// line takes in one record.
func (v *verification) line(n int64, line []byte) error {
	if n%indexEvery == 0 {
		if err := v.ended(); err != nil {
			return err
		}
	}
	signed := n < v.tree.N
	if !signed && !json.Valid(line) {
		return io.ErrUnexpectedEOF
	}
	if !bytes.HasPrefix(line, fmt.Appendf(nil, `{"index":%d,`, n)) {
		return damaged(fmt.Sprintf("another record stands where record %d belongs", n))
	}
	v.stored = v.got.add(line, v.stored[:0])
	if v.got.n == v.tree.N && v.got.root() != v.tree.Hash {
		return damaged("the records don't match the signed checkpoint")
	}
	if signed && bytes.Contains(line, []byte(removedKind)) {
		var rec found
		if json.Unmarshal(line, &rec) == nil && rec.Source == own && rec.Kind == removedKind {
			v.removed = max(v.removed, removedUntil(rec.Detail))
		}
	}
	return nil
}

// ReadDir calls f for the records of a ledger that isn't open, in order, until f returns false. A torn end is no
// error: the last batch may be under way.
func ReadDir(dir string, f func(Record) bool) error {
	segments, err := list(dir)
	if err == nil && len(segments) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	more := true
	for i, s := range segments {
		err := s.scan(dir, span{}, func(rec Record, _ []byte) bool {
			more = f(rec)
			return more
		})
		if errors.Is(err, io.ErrUnexpectedEOF) && i == len(segments)-1 || !more {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadCheckpoint returns the signed checkpoint of a ledger's folder, checked with the key beside it.
func ReadCheckpoint(dir string) ([]byte, tlog.Tree, error) {
	pub, err := publicKey(dir)
	if err != nil {
		return nil, tlog.Tree{}, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, tlog.Tree{}, fmt.Errorf("read checkpoint: %w", err)
	}
	tree, err := ParseCheckpoint(signed, pub)
	return signed, tree, err
}
