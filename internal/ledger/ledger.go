// Package ledger is the append-only, tamper-evident record of what happened: a
// Merkle log (RFC 6962, by golang.org/x/mod/sumdb/tlog) with signed checkpoints.
//
// Guarantee: events that Append acknowledged are on disk, all of a call or none, sealed by a MAC over
// everything before them; a checkpoint signed with a key that lies on disk only sealed follows within a
// quarter of a second. A record that was changed, removed or reordered is found by Verify, one after
// the last checkpoint by Open; what a crash tore is put aside and said. Not
// guaranteed: that nobody puts back an older copy of the folder, or cuts whole batches off behind the
// checkpoint after a crash: keep checkpoints elsewhere too.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/base/secret"
	"github.com/wardhq/ward/internal/wire"
)

// Bounds.
const (
	// MaxRecord bounds one record in bytes; longer details are refused.
	MaxRecord = 64 << 10
	// maxBatch bounds what is written with one sync, in bytes, and so what one call may append.
	maxBatch = 8 << 20
	// checkpointEvery is how long records may wait for a signature.
	checkpointEvery = 250 * time.Millisecond
	// indexEvery is how many records lie between two known offsets.
	indexEvery = 256
)

// The files of a ledger.
const (
	recordsFile    = "records.jsonl"
	checkpointFile = "checkpoint"
	keyFile        = "key.sealed"
	publicFile     = "key.pub"
	sealContext    = "ward ledger key v1"
)

// Record is an event with its place in the log.
type Record struct {
	Index int64 `json:"index"`
	wire.Event
	// Commit, in the last record of each batch, is the MAC that seals the batch.
	Commit string `json:"commit,omitempty"`
}

// Ledger appends. It is safe for concurrent use; one process has it open.
type Ledger struct {
	dir    string
	name   string
	signer note.Signer
	mac    []byte
	queue  chan *batch
	stop   chan struct{}
	owned  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	records *os.File
	tree    frontier
	bytes   int64             // of records
	offsets []int64           // of every indexEvery-th record
	seen    map[string]uint64 // by source, the last sequence number
	changed chan struct{}     // closed and replaced at each append
	broken  error             // why nothing can be appended any more
	signed  int64             // records under the last checkpoint
}

// batch is what one Append waits for.
type batch struct {
	events []wire.Event
	lines  [][]byte // the events as JSON
	bytes  int
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
	if err := l.openRecords(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.owned.Go(l.run)
	return l, nil
}

func (l *Ledger) file(name string) string { return filepath.Join(l.dir, name) }

var errClosed = errors.New("append to ledger: it is closed")

// Append keeps events, in order and all or none, and returns when they are durable. Events that
// their source has sent before are left out. An error doesn't always mean that they weren't kept: who sends
// again under the same sequence numbers is safe.
func (l *Ledger) Append(ctx context.Context, events []wire.Event) error {
	b := &batch{events: events, done: make(chan error, 1)}
	for i := range events {
		line, err := json.Marshal(&events[i])
		if err != nil {
			return fmt.Errorf("append to ledger: %w", err)
		}
		if len(line) > MaxRecord-128 { // room for index and commit
			return fault.New(fault.Invalid, "an event is over the limit of a record")
		}
		b.lines = append(b.lines, line)
		b.bytes += len(line) + 128
	}
	if b.bytes > maxBatch {
		return fault.New(fault.Invalid, "too many events at once")
	}
	select {
	case l.queue <- b:
	case <-l.stop:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	select {
	case err := <-b.done:
		return err
	case <-l.stop:
	}
	l.owned.Wait() // what was under way has an answer now
	select {
	case err := <-b.done:
		return err
	default:
		return errClosed
	}
}

// run writes batches, as many as wait at once, with one sync; checkpoints follow after the answer.
func (l *Ledger) run() {
	due := time.After(checkpointEvery)
	for {
		var next *batch
		select {
		case next = <-l.queue:
		case <-due:
			due = nil
			if err := l.checkpoint(); err != nil { // the MACs hold; it is tried again
				due = time.After(checkpointEvery)
			}
			continue
		case <-l.stop:
			return
		}
		for next != nil {
			batches, bytes := []*batch{next}, next.bytes
			next = nil
			for next == nil && len(batches) < cap(l.queue) {
				select {
				case b := <-l.queue:
					if bytes += b.bytes; bytes > maxBatch {
						next = b
					} else {
						batches = append(batches, b)
					}
					continue
				default:
				}
				break
			}
			err := l.write(batches)
			for _, b := range batches {
				b.done <- err
			}
		}
		if due == nil {
			due = time.After(checkpointEvery)
		}
	}
}

// write appends all events, or none: after a failed write the file is cut back to what
// it was.
func (l *Ledger) write(batches []*batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	p := l.plan(batches)
	if p.count == 0 {
		return nil
	}
	_, err := l.records.WriteAt(p.text, l.bytes)
	if err == nil {
		err = unix.Fdatasync(int(l.records.Fd()))
	}
	if err == nil {
		l.take(p)
		return nil
	}
	// What couldn't be synced must not come up later: it is cut off, and that is synced.
	if cut := errors.Join(l.records.Truncate(l.bytes), l.records.Sync()); cut != nil {
		l.broken = fmt.Errorf("the ledger is out of order until control restarts: %w", cut)
	}
	if isFull(err) {
		return fault.Wrap(fault.Exhausted, "the disk that holds the ledger is full", err)
	}
	return fmt.Errorf("append to ledger: %w", err)
}

// isFull tells that there was no room: on the disk, in the quota, or below the process's limit.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// planned is a batch that isn't written yet.
type planned struct {
	text    []byte
	count   int64
	tree    frontier
	offsets []int64
	seen    map[string]uint64
}

// plan lays out what is new among the events, sealed as one; l.mu is held.
func (l *Ledger) plan(batches []*batch) planned {
	p := planned{tree: l.tree.clone(), seen: map[string]uint64{}}
	seal := newSeal(l.mac, &l.tree)
	var line []byte // held back: the last one carries the commit
	put := func(commit string) {
		if commit != "" {
			line = withCommit(line, commit)
		}
		if p.tree.n%indexEvery == 0 {
			p.offsets = append(p.offsets, l.bytes+int64(len(p.text)))
		}
		p.tree.add(line)
		p.text = append(append(p.text, line...), '\n')
	}
	for _, b := range batches {
		for i := range b.events {
			e := &b.events[i]
			if e.Seq != 0 {
				if e.Seq <= max(l.seen[e.Source], p.seen[e.Source]) {
					continue
				}
				p.seen[e.Source] = e.Seq
			}
			if line != nil {
				put("")
			}
			line = fmt.Appendf(nil, `{"index":%d,%s`, p.tree.n, b.lines[i][1:])
			seal.add(line)
			p.count++
		}
	}
	if line != nil {
		put(seal.sum())
	}
	return p
}

// take makes a written batch the ledger's state; l.mu is held.
func (l *Ledger) take(p planned) {
	l.tree = p.tree
	l.bytes += int64(len(p.text))
	l.offsets = append(l.offsets, p.offsets...)
	for s, n := range p.seen {
		l.seen[s] = n
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close signs what is there, and stops appending.
func (l *Ledger) Close() error {
	close(l.stop)
	l.owned.Wait()
	return errors.Join(l.checkpoint(), l.records.Close())
}

// Size is the number of records, and a channel that is closed at the next append.
func (l *Ledger) Size() (int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.n, l.changed
}

// Read calls f for every record from index on, until f returns false.
func (l *Ledger) Read(from int64, f func(Record) bool) error {
	l.mu.Lock()
	bytes, start := l.bytes, l.bytes
	if from = max(from, 0); from < l.tree.n {
		start = l.offsets[from/indexEvery]
	}
	l.mu.Unlock()
	return scan(io.NewSectionReader(l.records, start, bytes-start), func(rec Record, _ []byte) bool {
		return rec.Index < from || f(rec)
	})
}
