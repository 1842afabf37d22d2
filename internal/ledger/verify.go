package ledger

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
		if st, statErr := os.Stat(filepath.Join(dir, recordsFile)); statErr == nil && st.Size() > 0 {
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

// Verify recomputes every hash of a ledger's folder from its records alone, and compares with
// the signed checkpoint. verifierKey "" takes the one in the folder; whoever keeps the
// key elsewhere finds an exchanged folder too. It writes nothing, and may run beside an open ledger.
func Verify(dir, verifierKey string) (Report, error) {
	own, err := publicKey(dir)
	if err != nil {
		return Report{}, err
	}
	if verifierKey == "" {
		verifierKey = own
	} else if verifierKey != own {
		return Report{}, damaged("the key in the folder is another one")
	}
	tree, err := readCheckpoint(dir) // before the records: they may grow meanwhile
	if err != nil {
		return Report{}, err
	}
	f, err := os.Open(filepath.Join(dir, recordsFile))
	if err != nil {
		return Report{}, fmt.Errorf("open records: %w", err)
	}
	defer f.Close()
	var got frontier
	var bad error
	err = scan(f, func(rec Record, line []byte) bool {
		if rec.Index != got.n {
			bad = damaged(fmt.Sprintf("record %d stands where record %d belongs", rec.Index, got.n))
			return false
		}
		got.add(line)
		if got.n == tree.N && got.root() != tree.Hash {
			bad = damaged("the records don't match the signed checkpoint")
		}
		return bad == nil
	})
	switch {
	case bad != nil:
		return Report{}, bad
	case err != nil && got.n < tree.N:
		return Report{}, damaged(err.Error())
	case got.n < tree.N:
		return Report{}, damaged(fmt.Sprintf("%d of %d records are missing at the end", tree.N-got.n, tree.N))
	}
	return Report{Records: tree.N, Root: tree.Hash.String(), Key: verifierKey, Tail: got.n - tree.N}, nil
}

// ReadDir calls f for the records of a ledger that isn't open, in order, until f returns false. A torn end is no
// error: the last batch may be under way.
func ReadDir(dir string, f func(Record) bool) error {
	file, err := os.Open(filepath.Join(dir, recordsFile))
	if err != nil {
		return fmt.Errorf("open records: %w", err)
	}
	defer file.Close()
	err = scan(file, func(rec Record, _ []byte) bool { return f(rec) })
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func scan(r io.Reader, f func(Record, []byte) bool) error {
	b := bufio.NewReaderSize(r, 1<<16)
	for n := int64(0); ; n++ {
		line, err := readLine(b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		if !f(rec, line) {
			return nil
		}
	}
}

// readLine returns a line without its end; io.EOF only at the very end, io.ErrUnexpectedEOF for a
// line that was cut.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= MaxRecord:
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
}
