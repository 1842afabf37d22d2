// Package ledger is the append-only, tamper-evident record of what happened: a
// Merkle log (RFC 6962, by golang.org/x/mod/sumdb/tlog) with signed checkpoints.
//
// Guarantee: an event that Append acknowledged is on disk, under a checkpoint signed with a key that
// lies on disk only sealed; a record that was changed, removed or reordered is
// found by Verify; a torn tail of a crash is cut off at open, acknowledged events never. Not
// guaranteed: that nobody puts back an older copy of the whole folder: keep checkpoints
// elsewhere too.
package ledger

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// MaxRecord bounds one record in bytes; longer details are refused.
const MaxRecord = 64 << 10

// The files of a ledger.
const (
	recordsFile    = "records.jsonl"
	hashesFile     = "hashes"
	checkpointFile = "checkpoint"
	keyFile        = "key.sealed"
	publicFile     = "key.pub"
	sealContext    = "ward ledger key v1"
)

// Record is an event with its place in the log.
type Record struct {
	Index int64 `json:"index"`
	wire.Event
}

// Ledger appends. It is safe for concurrent use; one process has it open.
type Ledger struct {
	dir    string
	signer note.Signer
	name   string
	queue  chan *batch
	owned  sync.WaitGroup
	stop   chan struct{}

	mu      sync.Mutex // guards what follows
	records *os.File
	hashes  *os.File
	size    int64             // records
	bytes   int64             // of records
	seen    map[string]uint64 // by source, the last sequence number
	changed chan struct{}     // closed and replaced at each append
	broken  error             // why nothing can be appended any more
}

type batch struct {
	events []wire.Event
	done   chan error
}

// Open opens the ledger of a folder, or begins one.
func Open(dir, name string, key secret.Bytes) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{dir: dir, name: name, seen: map[string]uint64{}, changed: make(chan struct{}), queue: make(chan *batch, 256), stop: make(chan struct{})}
	if err := l.openKey(key); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.openFiles(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.owned.Go(l.run)
	return l, nil
}

func (l *Ledger) file(name string) string { return filepath.Join(l.dir, name) }

func (l *Ledger) openKey(key secret.Bytes) error {
	sealed, err := os.ReadFile(l.file(keyFile))
	if errors.Is(err, os.ErrNotExist) {
		skey, vkey, err := note.GenerateKey(rand.Reader, l.name)
		if err != nil {
			return err
		}
		sealed, err = secret.Seal(key, []byte(skey), sealContext)
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.file(publicFile), []byte(vkey+"\n"), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(l.file(keyFile), sealed, 0o600); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	skey, err := secret.Open(key, sealed, sealContext)
	if err != nil {
		return fault.Wrap(fault.Refused, "the ledger was sealed with another key; bring back the key file that it was made with", err)
	}
	l.signer, err = note.NewSigner(string(skey))
	return err
}

func (l *Ledger) openFiles() error {
	var err error
	if l.records, err = os.OpenFile(l.file(recordsFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if l.hashes, err = os.OpenFile(l.file(hashesFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	tree, err := l.checkpoint()
	if err != nil {
		return err
	}
	if err := l.recover(tree); err != nil {
		return err
	}
	return l.sign()
}

// checkpoint reads the last one; the zero Tree if there is none yet.
func (l *Ledger) checkpoint() (tlog.Tree, error) {
	return readCheckpoint(l.dir)
}

// recover reads all records: whole ones count, a torn tail beyond the checkpoint is cut off.
// It refuses a log that is shorter than its checkpoint, or has another root.
func (l *Ledger) recover(tree tlog.Tree) error {
	r := bufio.NewReaderSize(l.records, 1<<16)
	var size, bytes int64
	for {
		line, err := readLine(r)
		if err != nil {
			break // the end, or a torn or damaged tail: judged below
		}
		var rec Record
		if json.Unmarshal(line, &rec) != nil || rec.Index != size {
			break
		}
		l.seen[rec.Source] = max(l.seen[rec.Source], rec.Seq)
		size++
		bytes += int64(len(line)) + 1
	}
	if size < tree.N {
		return damaged(fmt.Sprintf("record %d is missing or damaged", size))
	}
	l.size, l.bytes = size, bytes
	if err := l.records.Truncate(bytes); err != nil {
		return err
	}
	// The hashes are derived; those on disk may be lost, from before a crash, or of other records.
	if err := l.rehash(); err != nil {
		return err
	}
	if !l.hasRoot(tree) {
		return damaged("the records don't match the signed checkpoint")
	}
	return nil
}

func (l *Ledger) hasRoot(tree tlog.Tree) bool {
	if tree.N == 0 {
		return true
	}
	root, err := tlog.TreeHash(tree.N, l.reader())
	return err == nil && root == tree.Hash
}

func damaged(what string) error {
	return fault.New(fault.Refused, "the ledger has been changed: "+what+"; keep the folder as evidence, and see 'ward audit verify'")
}

// rehash writes the hashes of all records anew.
func (l *Ledger) rehash() error {
	var hashes memoryHashes
	r := bufio.NewReader(io.NewSectionReader(l.records, 0, l.bytes))
	for i := range l.size {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		hs, err := tlog.StoredHashes(i, line, &hashes)
		if err != nil {
			return err
		}
		hashes = append(hashes, hs...)
	}
	if err := l.hashes.Truncate(0); err != nil {
		return err
	}
	_, err := l.hashes.WriteAt(hashes.bytes(), 0)
	return err
}

func (l *Ledger) writeHashes(n int64, record []byte) error {
	hs, err := tlog.StoredHashes(n, record, l.reader())
	if err != nil {
		return err
	}
	_, err = l.hashes.WriteAt(memoryHashes(hs).bytes(), tlog.StoredHashIndex(0, n)*tlog.HashSize)
	return err
}

func (l *Ledger) reader() tlog.HashReader { return hashReader(l.hashes) }

func hashReader(f io.ReaderAt) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if _, err := f.ReadAt(out[i][:], x*tlog.HashSize); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// Append keeps events, in order, and returns when they are durable. Events that
// their source has sent before are left out.
func (l *Ledger) Append(ctx context.Context, events []wire.Event) error {
	b := &batch{events: events, done: make(chan error, 1)}
	select {
	case l.queue <- b:
	case <-l.stop:
		return errors.New("append to ledger: it is closed")
	case <-ctx.Done():
		return fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	select {
	case err := <-b.done:
		return err
	case <-l.stop:
		return errors.New("append to ledger: it is closed")
	}
}

// run writes batches, as many as wait at once, with one sync.
func (l *Ledger) run() {
	for {
		var first *batch
		select {
		case first = <-l.queue:
		case <-l.stop:
			return
		}
		batches := []*batch{first}
		for more := true; more && len(batches) < 256; {
			select {
			case b := <-l.queue:
				batches = append(batches, b)
			default:
				more = false
			}
		}
		err := l.write(batches)
		for _, b := range batches {
			b.done <- err
		}
	}
}

// write appends all events, or none: after a failed write the files are cut back to what
// they were.
func (l *Ledger) write(batches []*batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	size, bytes := l.size, l.bytes
	seen := map[string]uint64{}
	err := l.writeAll(batches, seen)
	if err == nil {
		err = l.sign()
	}
	if err == nil {
		for s, n := range seen {
			l.seen[s] = n
		}
		close(l.changed)
		l.changed = make(chan struct{})
		return nil
	}
	l.size, l.bytes = size, bytes
	if cut := errors.Join(l.records.Truncate(bytes), l.hashes.Truncate(tlog.StoredHashCount(size)*tlog.HashSize)); cut != nil {
		l.broken = fmt.Errorf("ledger is out of order until control restarts: %w", cut)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fault.Wrap(fault.Exhausted, "the disk that holds the ledger is full", err)
	}
	return fmt.Errorf("append to ledger: %w", err)
}

func (l *Ledger) writeAll(batches []*batch, seen map[string]uint64) error {
	var buf []byte
	start := l.bytes
	for _, b := range batches {
		for _, e := range b.events {
			last := max(l.seen[e.Source], seen[e.Source])
			if e.Seq != 0 && e.Seq <= last {
				continue
			}
			line, err := json.Marshal(Record{Index: l.size, Event: e})
			if err != nil {
				return err
			}
			if len(line) > MaxRecord {
				return fault.New(fault.Invalid, "an event is over the limit of a record")
			}
			buf = append(append(buf, line...), '\n')
			if err := l.writeHashes(l.size, line); err != nil {
				return err
			}
			seen[e.Source] = e.Seq
			l.size++
		}
	}
	if _, err := l.records.WriteAt(buf, start); err != nil {
		return err
	}
	l.bytes = start + int64(len(buf))
	return l.records.Sync()
}

// sign writes a checkpoint over all records. The hashes aren't synced: they follow from the records.
func (l *Ledger) sign() error {
	root, err := tlog.TreeHash(l.size, l.reader())
	if err != nil {
		return err
	}
	text := string(tlog.FormatTree(tlog.Tree{N: l.size, Hash: root}))
	// The first line of a checkpoint is its origin (C2SP tlog-checkpoint).
	text = l.name + strings.TrimPrefix(text, "go.sum database tree")
	signed, err := note.Sign(&note.Note{Text: text}, l.signer)
	if err != nil {
		return err
	}
	tmp := l.file(checkpointFile + ".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(signed)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, l.file(checkpointFile))
}

// Close stops appending.
func (l *Ledger) Close() error {
	close(l.stop)
	l.owned.Wait()
	return errors.Join(l.records.Close(), l.hashes.Close())
}

// Size is the number of records, and a channel that is closed at the next append.
func (l *Ledger) Size() (int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size, l.changed
}

// Read calls f for every record from index on, until f returns false.
func (l *Ledger) Read(from int64, f func(Record) bool) error {
	l.mu.Lock()
	bytes := l.bytes
	l.mu.Unlock()
	return scan(io.NewSectionReader(l.records, 0, bytes), func(rec Record, _ []byte) bool {
		return rec.Index < from || f(rec)
	})
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
