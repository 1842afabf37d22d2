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
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
)

func (l *Ledger) openKey(key secret.Bytes) error {
	sealed, err := os.ReadFile(l.file(keyFile))
	if errors.Is(err, os.ErrNotExist) {
		if hasRecords(l.dir) {
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
	if l.public, err = publicKey(l.dir); err != nil {
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
	if err == nil {
		reserveRoom(l.records, l.bytes, l.limit)
		l.removeBefore(l.state.Removed)
		l.lookAround()
		return nil
	}
	for _, f := range []*os.File{l.records, l.hashes} {
		if f != nil {
			f.Close()
		}
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

// recover reads the last segment, or more where no trusted state says what was before. Up to the checkpoint its records must lead to the root
// that was signed; after it, whole batches with a right seal count. What follows them, and only in the last place, was torn by a crash.
func (l *Ledger) recover(tree tlog.Tree) error {
	var err error
	if l.segments, err = l.ownSegments(); err != nil {
		return err
	}
	from, err := l.begin(tree)
	if err != nil {
		return err
	}
	for i := from; i < len(l.segments); i++ {
		s := &l.segments[i]
		if s.first != l.state.tree.n {
			return damaged(fmt.Sprintf("record %d is missing", l.state.tree.n))
		}
		if err := l.recoverSegment(s, tree); err != nil {
			return err
		}
		if i < len(l.segments)-1 {
			if l.bytes != s.bytes {
				return damaged(fmt.Sprintf("what follows record %d has no right seal", l.state.tree.n-1))
			}
			s.newest = l.state.Newest
			l.writeStored()
			l.records.Close()
			l.hashes.Close()
		}
	}
	if l.state.tree.n < tree.N {
		return damaged(fmt.Sprintf("record %d is missing or damaged", l.state.tree.n))
	}
	if err := l.records.Sync(); err != nil { // a process that was killed may have left a part in memory, and what follows isn't synced with it
		return err
	}
	return l.cutTorn()
}

// ownSegments lists the folder's segments; there is at least one. The only file of former times becomes the first.
func (l *Ledger) ownSegments() ([]segment, error) {
	all, err := list(l.dir)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return []segment{{file: named(recordsFile, 0)}}, nil
	}
	if all[0].file == oldRecords {
		all[0].file = named(recordsFile, 0)
		if err := errors.Join(os.Rename(l.file(oldRecords), l.file(all[0].file)), l.syncDir()); err != nil {
			return nil, err
		}
	}
	for i := 1; i < len(all); i++ {
		if s, ok := l.readStart(all[i].first); ok {
			all[i-1].newest = s.Newest
		}
	}
	return all, nil
}

// begin finds the last segment below the checkpoint whose state before it is known.
func (l *Ledger) begin(tree tlog.Tree) (from int, err error) {
	for from = len(l.segments) - 1; from > 0; from-- {
		first := l.segments[from].first
		if s, ok := l.readStart(first); ok && first <= tree.N {
			l.state = s
			break
		}
	}
	if first := l.segments[from].first; from == 0 && first > 0 {
		hashes, err := openHashes(l.dir)
		if err == nil {
			l.state.tree, err = frontierAt(first, hashes)
		}
		if err != nil {
			return 0, damaged(fmt.Sprintf("the records before %d are missing, and so are their hashes", first))
		}
		l.state.Removed = first
	}
	if l.state.tree.n == tree.N && tree.N > 0 && l.state.tree.root() != tree.Hash {
		return 0, damaged("the records don't match the signed checkpoint")
	}
	return from, nil
}

// found is what recover needs of a record.
type found struct {
	Index  int64
	Source string
	Seq    uint64
	Time   time.Time
	Kind   string
	Detail json.RawMessage
}

// recoverSegment adopts the whole batches of a segment, and writes its hashes anew.
func (l *Ledger) recoverSegment(s *segment, tree tlog.Tree) (err error) {
	if l.records, err = os.OpenFile(l.file(s.file), recordsFlags, 0o600); err != nil {
		return err
	}
	if l.hashes, err = os.OpenFile(l.file(named(hashesFile, s.first)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	l.bytes, l.hashed, l.offsets = 0, 0, nil
	r := bufio.NewReaderSize(l.records, 1<<16)
	// at is the state before the batch that is being read, which counts when its seal is right.
	anew := func() (planned, seal) {
		return l.begun(), newSeal(l.mac, &l.state.tree)
	}
	at, batchSeal := anew()
	var read int64 // bytes
	for {
		line, err := readLine(r)
		if err != nil {
			return nil // the end, or a torn one: judged by the caller
		}
		var rec found
		if json.Unmarshal(line, &rec) != nil || rec.Index != at.tree.n {
			return nil
		}
		bare, commit, last := cutCommit(line)
		batchSeal.add(bare)
		if (at.tree.n-s.first)%indexEvery == 0 {
			at.offsets = append(at.offsets, read)
		}
		at.hashes = at.tree.add(line, at.hashes)
		read += int64(len(line)) + 1
		at.see(&rec, l.state.Seen[rec.Source])
		if at.tree.n == tree.N && at.tree.root() != tree.Hash {
			return damaged("the records don't match the signed checkpoint")
		}
		if !last && at.tree.n != tree.N {
			continue
		}
		if at.tree.n > tree.N && !hmac.Equal([]byte(commit), []byte(batchSeal.sum())) {
			return nil
		}
		l.adopt(at, read)
		at, batchSeal = anew()
	}
}

// see takes in what a record says of its source and of the ledger.
func (p *planned) see(r *found, before uint64) {
	p.seen[r.Source] = max(p.seen[r.Source], before, r.Seq)
	if r.Time.After(p.newest) {
		p.newest = r.Time
	}
	if r.Source == own && r.Kind == removedKind {
		p.removed = removedUntil(r.Detail)
	}
}

// removedUntil reads below which record a removal went; 0 if it doesn't say.
func removedUntil(detail []byte) int64 {
	var d struct{ Until string }
	if json.Unmarshal(detail, &d) != nil {
		return 0
	}
	n, _ := strconv.ParseInt(d.Until, 10, 64) // 0 where it isn't a number
	return n
}

// adopt makes a batch that is on disk the ledger's state.
func (l *Ledger) adopt(p planned, end int64) {
	if l.unhashed = p.hashes; len(l.unhashed) >= 1<<16 {
		l.writeStored()
	}
	l.state.tree, l.bytes = p.tree, end
	l.state.Newest, l.state.Removed = p.newest, max(l.state.Removed, p.removed)
	l.offsets = append(l.offsets, p.offsets...)
	for s, n := range p.seen {
		l.state.Seen[s] = n
	}
}

// writeStored writes the hashes that wait. Failing does no harm: they follow from the records. l.mu is held.
func (l *Ledger) writeStored() {
	_, _ = l.hashes.WriteAt(l.unhashed, l.hashed)
	l.hashed += int64(len(l.unhashed))
	l.unhashed = l.unhashed[:0]
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
	if st.Size() > max(l.bytes, withMargin(l.limit))+maxTorn {
		return damaged(fmt.Sprintf("what follows record %d can't come from a crash", l.state.tree.n-1))
	}
	end, err := endOfText(l.records, l.bytes, st.Size())
	torn := end - l.bytes
	if err != nil || torn == 0 {
		return err
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
		return damaged(fmt.Sprintf("what follows record %d has no right seal", l.state.tree.n-1))
	}
	now := l.clock.Now().UTC()
	name := "torn-" + now.Format("20060102T150405.000000")
	if err := l.replace(name, rest, 0o600); err != nil {
		return err
	}
	if err := errors.Join(l.records.Truncate(l.bytes), l.records.Sync()); err != nil {
		return err
	}
	return l.note("ledger.torn", 0, map[string]string{"bytes": fmt.Sprint(torn), "file": name})
}

func damaged(what string) error {
	return fault.New(fault.Refused, "the ledger has been changed: "+what+"; keep the folder as evidence, and see 'ward audit verify'")
}

// checkpoint signs all records, if there are new ones. Nobody who appends waits for it.
func (l *Ledger) checkpoint() error {
	l.signing.Lock()
	defer l.signing.Unlock()
	l.mu.Lock()
	tree := tlog.Tree{N: l.state.tree.n, Hash: l.state.tree.root()}
	done := l.signed == tree.N && tree.N > 0
	l.writeStored() // who has the checkpoint can prove by it
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
