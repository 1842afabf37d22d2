package ledger

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

func (l *Ledger) openKey(key secret.Bytes) error {
	sealed, err := os.ReadFile(l.file(keyFile))
	if errors.Is(err, os.ErrNotExist) {
		if st, statErr := os.Stat(l.file(recordsFile)); statErr == nil && st.Size() > 0 {
			return damaged("its key is missing")
		}
		sealed, err = l.createKey(key)
	}
	if err != nil {
		return err
	}
	skey, err := secret.Open(key, sealed, sealContext)
	if err != nil {
		return fault.Wrap(fault.Refused, "the ledger was sealed with another key; bring back the key file that it was made with", err)
	}
	if l.signer, err = note.NewSigner(string(skey)); err != nil {
		return err
	}
	if err := l.checkPublic(); err != nil {
		return err
	}
	m := hmac.New(sha256.New, skey)
	m.Write([]byte("ward ledger commit v1"))
	l.mac = m.Sum(nil)
	return nil
}

// checkPublic makes sure that the public key beside the log is that of the sealed one: else a stranger could sign.
func (l *Ledger) checkPublic() error {
	pub, err := publicKey(l.dir)
	if err != nil {
		return err
	}
	v, err := note.NewVerifier(pub)
	if err != nil {
		return damaged("its public key can't be read")
	}
	signed, err := note.Sign(&note.Note{Text: "mine\n"}, l.signer)
	if err != nil {
		return err
	}
	if _, err := note.Open(signed, note.VerifierList(v)); err != nil {
		return damaged("its public key is another one")
	}
	return nil
}

// createKey makes the signing key. The public half comes first: without the sealed one it is made anew.
func (l *Ledger) createKey(key secret.Bytes) ([]byte, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, l.name)
	if err != nil {
		return nil, err
	}
	sealed, err := secret.Seal(key, []byte(skey), sealContext)
	if err != nil {
		return nil, err
	}
	if err := l.replace(publicFile, []byte(vkey+"\n"), 0o644); err != nil {
		return nil, err
	}
	return sealed, l.replace(keyFile, sealed, 0o600)
}

// replace puts a whole file in place, durably, or leaves the old one.
func (l *Ledger) replace(name string, content []byte, mode os.FileMode) error {
	tmp := l.file(name + ".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, l.file(name))
}

func (l *Ledger) openRecords() error {
	tree, err := readCheckpoint(l.dir)
	if err != nil {
		return err
	}
	if l.records, err = os.OpenFile(l.file(recordsFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	l.signed = tree.N
	if err = l.recover(tree); err == nil {
		err = l.checkpoint()
	}
	if err != nil && tree.N > 0 && isFull(err) {
		err = nil // the seals hold until there is room for a signature
	}
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		l.records.Close()
	}
	return err
}

// syncDir makes new names last through a loss of power.
func (l *Ledger) syncDir() error {
	d, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// recover reads all records. Up to the checkpoint they must be those that were signed; after it, whole batches
// with a right seal count. What follows them, and only in the last place, was torn by a crash.
func (l *Ledger) recover(tree tlog.Tree) error {
	r := bufio.NewReaderSize(l.records, 1<<16)
	// at is the state before the batch that is being read, which counts when its seal is right.
	at := planned{tree: l.tree.clone(), seen: map[string]uint64{}}
	batchSeal := newSeal(l.mac, &l.tree)
	var read int64 // bytes
	for {
		line, err := readLine(r)
		if err != nil {
			break // the end, or a torn one: judged below
		}
		var rec struct {
			Index  int64
			Source string
			Seq    uint64
		}
		if json.Unmarshal(line, &rec) != nil || rec.Index != at.tree.n {
			break
		}
		bare, commit, last := cutCommit(line)
		batchSeal.add(bare)
		if at.tree.n%indexEvery == 0 {
			at.offsets = append(at.offsets, read)
		}
		at.tree.add(line)
		read += int64(len(line)) + 1
		at.seen[rec.Source] = max(at.seen[rec.Source], l.seen[rec.Source], rec.Seq)
		if at.tree.n == tree.N && at.tree.root() != tree.Hash {
			return damaged("the records don't match the signed checkpoint")
		}
		if !last && at.tree.n != tree.N {
			continue
		}
		if at.tree.n > tree.N && !hmac.Equal([]byte(commit), []byte(batchSeal.sum())) {
			break
		}
		l.adopt(at, read)
		at = planned{tree: l.tree.clone(), seen: map[string]uint64{}}
		batchSeal = newSeal(l.mac, &l.tree)
	}
	if l.tree.n < tree.N {
		return damaged(fmt.Sprintf("record %d is missing or damaged", at.tree.n))
	}
	return l.cutTorn()
}

// adopt makes a batch that was read the ledger's state.
func (l *Ledger) adopt(p planned, end int64) {
	l.tree, l.bytes = p.tree, end
	l.offsets = append(l.offsets, p.offsets...)
	for s, n := range p.seen {
		l.seen[s] = n
	}
}

// maxTorn is more than one batch can leave behind.
const maxTorn = maxBatch + MaxRecord

// cutTorn puts what follows the last sealed batch into a file of its own, and says so in the ledger. More than one
// seal in it can't come from a crash.
func (l *Ledger) cutTorn() error {
	st, err := l.records.Stat()
	if err != nil {
		return err
	}
	torn := st.Size() - l.bytes
	if torn == 0 {
		return nil
	}
	rest, err := io.ReadAll(io.NewSectionReader(l.records, l.bytes, min(torn, maxTorn)))
	if err != nil {
		return err
	}
	seals := 0
	for line := range bytes.SplitSeq(rest, []byte{'\n'}) {
		if _, _, ok := cutCommit(line); ok {
			seals++
		}
	}
	if torn > maxTorn || seals > 1 {
		return damaged(fmt.Sprintf("what follows record %d has no right seal", l.tree.n-1))
	}
	now := time.Now().UTC()
	name := "torn-" + now.Format("20060102T150405.000000")
	if err := l.replace(name, rest, 0o600); err != nil {
		return err
	}
	if err := errors.Join(l.records.Truncate(l.bytes), l.records.Sync()); err != nil {
		return err
	}
	e := wire.Event{Source: "ledger", Time: now, Kind: "ledger.torn", Subject: "ledger", Detail: map[string]string{"bytes": fmt.Sprint(torn), "file": name}}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return l.write([]*batch{{events: []wire.Event{e}, lines: [][]byte{line}}})
}

func damaged(what string) error {
	return fault.New(fault.Refused, "the ledger has been changed: "+what+"; keep the folder as evidence, and see 'ward audit verify'")
}

// checkpoint signs all records, if there are new ones. It holds no lock while it writes.
func (l *Ledger) checkpoint() error {
	l.mu.Lock()
	tree := tlog.Tree{N: l.tree.n, Hash: l.tree.root()}
	done := l.signed == tree.N && tree.N > 0
	l.mu.Unlock()
	if done {
		return nil
	}
	// The first line of a checkpoint is its origin (C2SP tlog-checkpoint).
	text := l.name + strings.TrimPrefix(string(tlog.FormatTree(tree)), "go.sum database tree")
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err == nil {
		err = l.replace(checkpointFile, signed, 0o644)
	}
	if err != nil {
		return fmt.Errorf("sign checkpoint: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signed = tree.N
	return nil
}
