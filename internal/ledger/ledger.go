// Package ledger is the append-only, tamper-evident record of what happened: a Merkle log (RFC 6962, by
// golang.org/x/mod/sumdb/tlog) in segment files, with signed checkpoints.
//
// Guarantee: events that Append acknowledged are on disk, all of a call or none, sealed by a MAC over
// everything before them; those of Later are there within a second, or counted as lost. A checkpoint signed
// with a key that lies on disk only sealed follows within a quarter of a second. A record that was changed,
// removed or reordered is found by Verify, one in the last segment by Open; what a crash tore is put aside and
// said. Disk is reserved ahead; what is removed for room, whole segments past their days, stays proved by its
// hashes. Not guaranteed: that nobody puts back an older copy of the folder, or cuts whole batches off behind
// the checkpoint after a crash: anchors (package anchor) find that.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/wardhq/ward/internal/base/clock"
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
	// maxSpare is how large a buffer may be to be kept for the next batch, in bytes.
	maxSpare = 1 << 20
	// roundEvery is how long records may wait for a signature, and events of Later for the disk.
	roundEvery = 250 * time.Millisecond
	// indexEvery is how many records lie between two known offsets.
	indexEvery = 256
	// segmentBytes is when a segment ends. What a start has to read again, and what is reserved ahead, follow from it.
	segmentBytes = 16 << 20
	// recordRoom is what the ledger adds to an event.
	recordRoom = 128
)

// The files of a ledger, beside those of its segments.
const (
	checkpointFile = "checkpoint"
	keyFile        = "key.sealed"
	publicFile     = "key.pub"
	sealContext    = "ward ledger key v1"
)

// own is the source of what the ledger says of itself. Nobody else may use it.
const own = "ledger"

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
	clock  clock.Clock
	signer note.Signer
	public string // the verifier key of it
	mac    []byte
	queue  chan *batch
	turn   chan struct{} // has room for who writes the queue
	wake   chan struct{} // enough of later for a write
	spare  sync.Pool     // of *batch that nobody waits for any more
	stop   chan struct{}
	owned  sync.WaitGroup

	signing sync.Mutex // who holds it writes the checkpoint

	mu       sync.Mutex // guards what follows
	limit    int64      // bytes after which a segment ends
	keep     Keep
	segments []segment // the last one is being written
	records  *os.File  // of it
	hashes   *os.File  // of it
	bytes    int64     // of it
	zeroed   int64     // of it: zeros are on disk up to here
	hashed   int64     // bytes of its hashes on disk
	unhashed []byte    // those that aren't there yet
	offsets  []int64   // of every indexEvery-th of its records
	state    state
	text     []byte        // of the batch under way; kept to be used again
	changed  chan struct{} // closed and replaced at each append
	broken   error         // why nothing can be appended any more
	signed   int64         // records under the last checkpoint
	opened   int64         // records that were there already
	later    later
	room     Room
	reserve  bool // there is a file for the next segment
}

// batch is what one Append waits for: events as JSON, one after the other.
type batch struct {
	text  []byte
	marks []mark
	done  chan error
}

// mark is where an event of a batch ends, and what identifies it.
type mark struct {
	end    int
	source string
	seq    uint64
	time   time.Time
	count  int64
}

func (b *batch) add(e *wire.Event) error {
	start := len(b.text)
	var err error
	if b.text, err = appendEvent(b.text, e); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	if len(b.text)-start > MaxRecord-recordRoom {
		return fault.New(fault.Invalid, "an event is over the limit of a record")
	}
	b.marks = append(b.marks, mark{len(b.text), e.Source, e.Seq, e.Time, max(1, e.Count)})
	return nil
}

func (l *Ledger) newBatch() *batch {
	if b, ok := l.spare.Get().(*batch); ok {
		return b
	}
	return &batch{done: make(chan error, 1)}
}

// reuse keeps a batch that has its answer, or none to come.
func (l *Ledger) reuse(b *batch) {
	if cap(b.text) <= maxSpare {
		b.text, b.marks = b.text[:0], b.marks[:0]
		l.spare.Put(b)
	}
}

func (b *batch) size() int { return len(b.text) + recordRoom*len(b.marks) }

// Open opens the ledger of a folder, or begins one.
func Open(dir, name string, key secret.Bytes) (*Ledger, error) {
	return open(dir, name, key, segmentBytes)
}

func open(dir, name string, key secret.Bytes, limit int64) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{
		dir: dir, name: name, clock: clock.System{}, limit: limit, state: state{Seen: map[string]uint64{}}, changed: make(chan struct{}),
		queue: make(chan *batch, 256), turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if err := l.openKey(key); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.openRecords(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.opened = l.state.tree.n
	l.owned.Go(l.run)
	return l, nil
}

func (l *Ledger) file(name string) string { return filepath.Join(l.dir, name) }

var errClosed = errors.New("append to ledger: it is closed")

// Append keeps events, in order and all or none, and returns when they are durable. Events that
// their source has sent before are left out. An error doesn't always mean that they weren't kept: who sends
// again under the same sequence numbers is safe.
func (l *Ledger) Append(ctx context.Context, events []wire.Event) error {
	b := l.newBatch()
	defer l.reuse(b)
	for i := range events {
		if events[i].Source == own {
			return fault.New(fault.Refused, "an event under the ledger's own name")
		}
		if err := b.add(&events[i]); err != nil {
			return err
		}
		if b.size() > maxBatch {
			return fault.New(fault.Invalid, "too many events at once")
		}
	}
	select {
	case l.queue <- b:
	case <-ctx.Done():
		return fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	for {
		select {
		case err := <-b.done:
			return err
		case l.turn <- struct{}{}: // nobody writes: this call does, for all that wait
			select {
			case next := <-l.queue:
				l.writeAll(next)
			default:
			}
			<-l.turn
		}
	}
}

// run writes what nobody waits for, signs, and looks after the room.
func (l *Ledger) run() {
	round := time.NewTicker(roundEvery)
	defer round.Stop()
	for {
		select {
		case <-l.wake:
			l.flushLater()
		case <-round.C:
			l.flushLater()
			l.lookAround()
			_ = l.checkpoint() // without it the MACs hold; it is tried again
		case <-l.stop:
			l.flushLater()
			return
		}
	}
}

// writeAll writes a batch and those that wait behind it.
func (l *Ledger) writeAll(next *batch) {
	for next != nil {
		batches, bytes := []*batch{next}, next.size()
		next = nil
		for next == nil && len(batches) < cap(l.queue) {
			select {
			case b := <-l.queue:
				if bytes += b.size(); bytes > maxBatch {
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
}

// write appends all events, or none: after a failed write the file is cut back to what
// it was.
func (l *Ledger) write(batches []*batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	if l.bytes >= l.limit {
		if err := l.rotate(); err != nil {
			return refuseFull(err)
		}
	}
	p := l.plan(batches)
	if p.count == 0 {
		return nil
	}
	err := l.put(p.text)
	if err == nil {
		l.take(p)
		return nil
	}
	// What couldn't be synced must not come up later: it is cut off, and that is synced.
	if cut := errors.Join(l.records.Truncate(l.bytes), l.records.Sync()); cut != nil {
		l.broken = fmt.Errorf("the ledger is out of order until control restarts: %w", cut)
	}
	l.zeroed = 0
	reserveRoom(l.records, l.bytes, l.limit) // the cut gave it back
	return refuseFull(err)
}

func refuseFull(err error) error {
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
	hashes  []byte // that wait to be written, and behind them the batch's, in the order of tlog.StoredHashIndex
	offsets []int64
	seen    map[string]uint64
	newest  time.Time
	removed int64 // 0, or below which record all has been removed
}

// begun is a batch without records yet; l.mu is held.
func (l *Ledger) begun() planned {
	return planned{tree: l.state.tree.clone(), hashes: l.unhashed, seen: map[string]uint64{}, newest: l.state.Newest}
}

// plan lays out what is new among the events, sealed as one; l.mu is held.
func (l *Ledger) plan(batches []*batch) planned {
	p := l.begun()
	seal := newSeal(l.mac, &l.state.tree)
	text, start := l.text[:0], -1
	end := func() {
		p.hashes = p.tree.add(text[start:], p.hashes)
		text = append(text, '\n')
	}
	first := l.segments[len(l.segments)-1].first
	for _, b := range batches {
		from := 0
		for _, m := range b.marks {
			event := b.text[from:m.end]
			from = m.end
			if m.seq != 0 {
				if m.seq <= max(l.state.Seen[m.source], p.seen[m.source]) {
					continue
				}
				p.seen[m.source] = m.seq
			}
			if start >= 0 {
				end()
			}
			start = len(text)
			if (p.tree.n-first)%indexEvery == 0 {
				p.offsets = append(p.offsets, l.bytes+int64(start))
			}
			text = appendRecord(text, p.tree.n, event)
			seal.add(text[start:])
			p.count++
			if m.time.After(p.newest) {
				p.newest = m.time
			}
		}
	}
	if start >= 0 {
		text = withCommit(text, seal.sum())
		end()
	}
	p.text = text
	if l.text = text[:0]; cap(text) > maxSpare {
		l.text = nil
	}
	return p
}

// take makes a written batch the ledger's state; l.mu is held.
func (l *Ledger) take(p planned) {
	l.adopt(p, l.bytes+int64(len(p.text)))
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close writes what Later left, signs what is there, and stops appending.
func (l *Ledger) Close() error {
	close(l.stop)
	l.owned.Wait()
	l.mu.Lock()
	l.broken = errClosed
	err := l.records.Truncate(l.bytes)       // the zeros behind them
	reserveRoom(l.records, l.bytes, l.limit) // the cut gave it back
	l.mu.Unlock()
	return errors.Join(err, l.checkpoint(), l.records.Close(), l.hashes.Close())
}

// VerifierKey is what the ledger's checkpoints are checked with (golang.org/x/mod/sumdb/note), as it was when the ledger was opened.
func (l *Ledger) VerifierKey() string { return l.public }

// Size is the number of records, and a channel that is closed at the next append.
func (l *Ledger) Size() (int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.tree.n, l.changed
}

// Read calls f for every record from index on, until f returns false. What has been removed is left out.
func (l *Ledger) Read(from int64, f func(Record) bool) error {
	l.mu.Lock()
	segments, bytes := l.segments, l.bytes
	last := segments[len(segments)-1]
	start := int64(0)
	if at := (from - last.first) / indexEvery; from > last.first && at < int64(len(l.offsets)) {
		start = l.offsets[at]
	}
	l.mu.Unlock()
	more := true
	each := func(rec Record, _ []byte) bool {
		more = rec.Index < from || f(rec)
		return more
	}
	for i, s := range segments[:len(segments)-1] {
		if segments[i+1].first <= from {
			continue
		}
		err := s.scan(l.dir, span{skip: max(0, from-s.first)}, each)
		if errors.Is(err, os.ErrNotExist) && l.oldest() > s.first {
			continue // it has been removed meanwhile
		}
		if err != nil || !more {
			return err
		}
	}
	if bytes == 0 {
		return nil // as a span's end it means the file's
	}
	return last.scan(l.dir, span{start: start, end: bytes}, each)
}
