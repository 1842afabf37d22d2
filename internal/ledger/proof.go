package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
)

// Proof shows, to whoever has the ledger's public key and not the ledger, that a record is in it, or that it goes on from an older
// checkpoint: hashes as in RFC 6962 §2.1, and checkpoints as in C2SP tlog-checkpoint.
type Proof struct {
	Type       string `json:"type"` // proofType
	Checkpoint string `json:"checkpoint"`
	// Inclusion, of one record.
	Index     int64       `json:"index"`
	Record    string      `json:"record,omitempty"` // its line as it is, without the end
	Inclusion []tlog.Hash `json:"inclusion,omitempty"`
	// Consistency with an older checkpoint.
	Since       string      `json:"since,omitempty"`
	Consistency []tlog.Hash `json:"consistency,omitempty"`
}

const (
	proofType = "ward-ledger-proof-v1"
	maxProof  = 1 << 20 // bytes; a record's JSON may be escaped
	maxHashes = 128     // twice the height of the largest tree
)

// Claim is what a proof shows.
type Claim struct {
	Record  *Record `json:"record,omitempty"`
	Records int64   `json:"records"`         // of the ledger, under the checkpoint
	Since   int64   `json:"since,omitempty"` // records of the older checkpoint
}

// ParseProof reads a proof's file. It says nothing until Check.
func ParseProof(b []byte) (Proof, error) {
	var p Proof
	if len(b) > maxProof || json.Unmarshal(b, &p) != nil || p.Type != proofType || len(p.Inclusion) > maxHashes || len(p.Consistency) > maxHashes {
		return Proof{}, fault.New(fault.Invalid, "this is no proof of a ledger")
	}
	if p.Record == "" && p.Since == "" {
		return Proof{}, fault.New(fault.Invalid, "this proof shows nothing")
	}
	return p, nil
}

// Check checks everything that a proof says, with the ledger's verifier key.
func (p *Proof) Check(verifierKey string) (Claim, error) {
	tree, err := ParseCheckpoint([]byte(p.Checkpoint), verifierKey)
	if err != nil {
		return Claim{}, err
	}
	c := Claim{Records: tree.N}
	if p.Record != "" {
		if p.Index < 0 || p.Index >= tree.N || tlog.CheckRecord(p.Inclusion, tree.N, tree.Hash, p.Index, tlog.RecordHash([]byte(p.Record))) != nil {
			return Claim{}, fault.New(fault.Refused, "the proof doesn't hold: the record isn't in the ledger that the checkpoint is of")
		}
		c.Record = &Record{}
		if err := json.Unmarshal([]byte(p.Record), c.Record); err != nil || c.Record.Index != p.Index {
			return Claim{}, fault.New(fault.Refused, "the proof doesn't hold: its record is of another place")
		}
	}
	if p.Since != "" {
		old, err := ParseCheckpoint([]byte(p.Since), verifierKey)
		if err != nil {
			return Claim{}, err
		}
		if c.Since = old.N; checkGrowth(p.Consistency, tree, old) != nil {
			return Claim{}, fault.New(fault.Refused, "the proof doesn't hold: the ledger doesn't go on from the older checkpoint")
		}
	}
	return c, nil
}

// checkGrowth is tlog.CheckTree, for trees of every size.
func checkGrowth(p tlog.TreeProof, now, old tlog.Tree) error {
	switch {
	case old.N > now.N:
		return errors.New("the older one is longer")
	case old.N == now.N && old.Hash != now.Hash:
		return errors.New("two roots of one size")
	case old.N == 0 || old.N == now.N:
		return nil // everything goes on from nothing, and from itself
	}
	return tlog.CheckTree(p, now.N, now.Hash, old.N, old.Hash)
}

// Nothing is the index of no record, for Prove.
const Nothing = int64(math.MinInt64)

// Prove makes a proof from a ledger's folder, which may be open: of a record (or Nothing), and, with since not nil, of growth since that
// signed checkpoint. It checks what it made. A ledger that doesn't go on from since is fault.Refused: it has been changed.
func Prove(dir string, index int64, since []byte) (Proof, error) {
	pub, err := publicKey(dir)
	if err != nil {
		return Proof{}, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, checkpointFile))
	if err != nil {
		return Proof{}, fmt.Errorf("read checkpoint: %w", err)
	}
	tree, err := ParseCheckpoint(signed, pub)
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Type: proofType, Checkpoint: string(signed)}
	var old tlog.Tree
	if since != nil {
		p.Since = string(since)
		if old, err = ParseCheckpoint(since, pub); err != nil {
			return Proof{}, err
		}
		if old.N > tree.N {
			return Proof{}, damaged(fmt.Sprintf("the checkpoint is of %d records, and the ledger has %d: the last %d were cut off, or an older copy was put back", old.N, tree.N, old.N-tree.N))
		}
	}
	if index != Nothing {
		if index < 0 || index >= tree.N {
			return Proof{}, fault.New(fault.NotFound, fmt.Sprintf("there is no record %d under the checkpoint, which has %d; the newest are signed within a second", index, tree.N))
		}
		if p.Index = index; p.Record == "" {
			line, err := readRecord(dir, index)
			if err != nil {
				return Proof{}, err
			}
			p.Record = string(line)
		}
	}
	hashes, err := openHashes(dir)
	if err != nil {
		return Proof{}, err
	}
	if err = p.fill(hashes, tree, old); err != nil {
		// What lies beside the records is believed as long as it leads to the signed root.
		if hashes, err = openHashes(dir); err != nil {
			return Proof{}, err
		}
		hashes.distrust = true
		err = p.fill(hashes, tree, old)
	}
	return p, err
}

// fill reckons the hashes.
func (p *Proof) fill(hashes tlog.HashReader, tree, old tlog.Tree) error {
	var err error
	if p.Record != "" {
		if p.Inclusion, err = tlog.ProveRecord(tree.N, p.Index, hashes); err == nil {
			err = tlog.CheckRecord(p.Inclusion, tree.N, tree.Hash, p.Index, tlog.RecordHash([]byte(p.Record)))
		}
		if err != nil {
			return damaged("the records don't lead to the signed root")
		}
	}
	if p.Since == "" {
		return nil
	}
	p.Consistency = nil
	if old.N > 0 && old.N < tree.N {
		if p.Consistency, err = tlog.ProveTree(tree.N, old.N, hashes); err != nil {
			return damaged("hashes of the ledger are missing")
		}
	}
	if checkGrowth(p.Consistency, tree, old) != nil {
		return damaged(fmt.Sprintf("its first %d records aren't those of the older checkpoint", old.N))
	}
	return nil
}

// readRecord returns a record's line.
func readRecord(dir string, index int64) ([]byte, error) {
	segments, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("open records: %w", err)
	}
	var out []byte
	for i, s := range segments {
		if s.first > index || i < len(segments)-1 && segments[i+1].first <= index {
			continue
		}
		if err := s.lines(dir, span{skip: index - s.first}, func(_ int64, line []byte) error {
			out = append(out, line...)
			return errEnough
		}); err != nil {
			return nil, err
		}
	}
	if out == nil {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("record %d isn't there any more; its days have passed", index))
	}
	return out, nil
}
