package ledger

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/wardhq/ward/internal/base/fault"
	"github.com/wardhq/ward/internal/wire"
)

// Bounds of what waits, in bytes.
const (
	maxLater  = maxBatch - MaxRecord
	pokeLater = 1 << 20 // from which it is written at once
)

// later are events that nobody waits for.
type later struct {
	mu   sync.Mutex
	b    batch // guarded by mu
	full bool  // guarded by mu: there is no room on disk but for what must be kept
	lost int64 // guarded by mu: since it was last said
	all  int64 // guarded by mu: lost since the start
	kept int64 // guarded by mu: records written since the start
}

// Later keeps events that may be lost: a crash loses at most what came in the last second. It doesn't wait. What there is no room
// for is left out and counted, by the events' counts, and the loss becomes an event of its own (ledger.dropped). Events that their source
// has sent before are left out.
func (l *Ledger) Later(events []wire.Event) error {
	l.later.mu.Lock()
	defer l.later.mu.Unlock()
	for i := range events {
		e := &events[i]
		if e.Source == own {
			return fault.New(fault.Refused, "an event under the ledger's own name")
		}
		if l.later.full || l.later.b.size() > maxLater {
			l.later.lose(max(1, e.Count))
			continue
		}
		whole := l.later.b
		if err := l.later.b.add(e); err != nil {
			l.later.b = whole
			return err
		}
	}
	if l.later.b.size() >= pokeLater {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// lose counts what isn't kept; mu is held.
func (w *later) lose(n int64) {
	w.lost += n
	w.all += n
}

// flushLater writes what waits, and says what was lost.
func (l *Ledger) flushLater() {
	l.later.mu.Lock()
	b := l.later.b
	l.later.b = batch{}
	l.later.mu.Unlock()
	failed := len(b.marks) > 0 && l.write([]*batch{&b}) != nil
	l.later.mu.Lock()
	if failed {
		for _, m := range b.marks {
			l.later.lose(m.count)
		}
	}
	if !failed {
		l.later.kept += int64(len(b.marks))
	}
	lost := l.later.lost
	l.later.mu.Unlock()
	if lost == 0 || l.note("ledger.dropped", lost, nil) != nil {
		return
	}
	l.later.mu.Lock()
	l.later.lost -= lost
	l.later.mu.Unlock()
}

// note says something of the ledger itself in it.
func (l *Ledger) note(kind string, count int64, detail map[string]string) error {
	var b batch
	if err := b.add(&wire.Event{Source: own, Time: l.clock.Now().UTC(), Kind: kind, Subject: own, Detail: detail, Count: count}); err != nil {
		return err
	}
	return l.write([]*batch{&b})
}

// Keep is how much a ledger keeps. Zero values are the defaults: 4 GB, 400 days.
type Keep struct {
	Bytes int64 // beyond it, segments whose days have passed are removed; events of Later are dropped near it
	Days  int   // that a record stays at least
}

func (k Keep) orDefault() Keep {
	if k.Bytes == 0 {
		k.Bytes = 4 << 30
	}
	if k.Days == 0 {
		k.Days = 400
	}
	return k
}

// SetKeep says how much is kept from now on.
func (l *Ledger) SetKeep(k Keep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep = k
}

// Room is how much room a ledger has.
type Room uint8

// From none to enough. The zero value is what isn't known yet.
const (
	RoomUnknown Room = iota
	RoomReserve      // hardly: what can't be lost goes into what was reserved
	RoomLow          // a tenth of the disk is left, or of the budget: what Later brings is dropped
	RoomEnough
)

// String is the word of pages, and behind "ledger." the kind of the event.
func (r Room) String() string {
	return [...]string{"unknown", "reserve", "low", "enough"}[min(r, RoomEnough)]
}

// Parts of a disk below which room is low or only the reserve is left, but no more than so many bytes: a tenth of a large disk is much.
const (
	lowPart, lowBytes         = 10, 4 << 30
	reservePart, reserveBytes = 20, 1 << 30
)

// judge says how much room there is, with so much of the disk free, and so many bytes of the budget used.
func judge(free, disk, used, budget int64) Room {
	switch {
	case free < min(disk/reservePart, reserveBytes):
		return RoomReserve
	case free < min(disk/lowPart, lowBytes), used > budget-budget/10:
		return RoomLow
	}
	return RoomEnough
}

// lookAround reserves room for the next segment, removes what has had its days, and says when room gets short.
func (l *Ledger) lookAround() {
	var disk unix.Statfs_t
	if err := unix.Statfs(l.dir, &disk); err != nil {
		return // nothing is known; writing tells
	}
	free := int64(disk.Bavail) * disk.Bsize
	l.mu.Lock()
	keep, reserved, was := l.keep.orDefault(), l.reserve, l.room
	used := l.used()
	l.mu.Unlock()
	if used > keep.Bytes {
		l.trim(keep)
	}
	room := judge(free, int64(disk.Blocks)*disk.Bsize, used, keep.Bytes)
	if !reserved && room > RoomReserve {
		reserved = l.makeReserve()
	}
	if !reserved {
		room = RoomReserve
	}
	if room == was {
		return
	}
	l.mu.Lock()
	l.room = room
	l.mu.Unlock()
	l.later.mu.Lock()
	l.later.full = room < RoomEnough
	l.later.mu.Unlock()
	if was == RoomUnknown && room == RoomEnough {
		return
	}
	detail := map[string]string{"free": strconv.FormatInt(free, 10), "bytes": strconv.FormatInt(used, 10), "budget": strconv.FormatInt(keep.Bytes, 10)}
	_ = l.note("ledger."+room.String(), 0, detail) // where even that finds no room, Status says it
}

// used is the bytes of records and hashes; l.mu is held.
func (l *Ledger) used() int64 {
	all := l.bytes + 64*l.state.tree.n // a record has two hashes on average
	for _, s := range l.segments[:len(l.segments)-1] {
		all += s.bytes
	}
	return all
}

// makeReserve makes a file with room for the next segment.
func (l *Ledger) makeReserve() bool {
	l.mu.Lock() // who ends a segment takes the file
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.file(reserveFile), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false
	}
	ok := reserveRoom(f, 0, l.limit)
	if err := f.Close(); err != nil || !ok {
		_ = os.Remove(l.file(reserveFile)) // nothing is in it
		return false
	}
	l.reserve = true
	return true
}

// reserveRoom reserves a segment's room behind a file's first bytes, without making the file longer. It takes at most half of what is free. A
// file system that can't reserve counts as one that has.
func reserveRoom(f *os.File, from, limit int64) bool {
	size := withMargin(limit) - from
	if size <= 0 {
		return true
	}
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil || int64(disk.Bavail)*disk.Bsize < 2*size {
		return false
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, from, size)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		_ = f.Truncate(from) // gives back what there was
		return false
	}
	return true
}

// recordsFlags open a file of records. A write has returned when its bytes are on disk. Over zeros that are there already they are all that has to go
// there: neither the file's length nor its blocks change, so the file system writes no journal.
const recordsFlags = os.O_RDWR | os.O_CREATE | unix.O_DSYNC

// aheadBytes is how many zeros are written ahead at once, out of a block of aheadBlock.
const (
	aheadBytes = 1 << 20
	aheadBlock = 1 << 16
)

// put writes text behind the records and returns when it is on disk. Where the zeros end, more follow it, unless room is short, or there is so much
// text that a journal's writing doesn't count; l.mu is held.
func (l *Ledger) put(text []byte) error {
	end := l.bytes + int64(len(text))
	ahead := min(aheadBytes, withMargin(l.limit)-end)
	if end <= l.zeroed || ahead <= 0 || l.room == RoomReserve || len(text) > aheadBytes/4 {
		_, err := l.records.WriteAt(text, l.bytes)
		return err
	}
	parts, zeros := [][]byte{text}, make([]byte, aheadBlock)
	for ; ahead > 0; ahead -= aheadBlock {
		parts = append(parts, zeros[:min(aheadBlock, ahead)])
	}
	n, err := unix.Pwritev(int(l.records.Fd()), parts, l.bytes)
	if err == nil && n < len(text) { // room for the zeros isn't needed
		_, err = l.records.WriteAt(text[n:], l.bytes+int64(n))
	}
	l.zeroed = l.bytes + int64(n)
	return err
}

// withMargin is how long a segment may get: the last batch may go beyond the limit.
func withMargin(limit int64) int64 { return limit + limit/16 }

// endOfText is where, between two places of a file, the zeros begin that were written ahead.
func endOfText(f *os.File, start, end int64) (int64, error) {
	b := make([]byte, 1<<16)
	for end > start {
		b = b[:min(int64(len(b)), end-start)]
		if _, err := f.ReadAt(b, end-int64(len(b))); err != nil {
			return 0, err
		}
		rest := bytes.TrimRight(b, "\x00")
		if end -= int64(len(b) - len(rest)); len(rest) > 0 {
			break
		}
	}
	return end, nil
}

// trim removes the oldest segments while the ledger is beyond its budget and their days have passed. What is removed is said first, with
// the root of all up to there; its hashes stay.
func (l *Ledger) trim(keep Keep) {
	end := l.clock.Now().AddDate(0, 0, -keep.Days)
	l.mu.Lock()
	segments, used := l.segments, l.used()
	bytes, n := int64(0), 0
	for n < len(segments)-1 && used-bytes > keep.Bytes && !segments[n].newest.IsZero() && segments[n].newest.Before(end) {
		bytes += segments[n].bytes
		n++
	}
	l.mu.Unlock()
	if n == 0 {
		return
	}
	until := segments[n].first
	root, err := l.proveBefore(until, segments[:n])
	if err != nil {
		slog.Error("old records not removed", "error", err)
		return
	}
	err = l.note(removedKind, 0, map[string]string{
		"until": strconv.FormatInt(until, 10), "root": root.String(), "bytes": strconv.FormatInt(bytes, 10), "newest": segments[n-1].newest.UTC().Format(time.RFC3339),
	})
	if err == nil {
		err = l.checkpoint()
	}
	if err != nil {
		return // without room for the record nothing is removed
	}
	l.mu.Lock()
	l.state.Removed = until
	l.mu.Unlock()
	l.removeBefore(until)
}

// proveBefore makes sure that the hashes of segments that are to go are on disk, and that they prove what the ledger holds.
func (l *Ledger) proveBefore(until int64, gone []segment) (tlog.Hash, error) {
	for _, s := range gone {
		if err := l.writeHashes(s); err != nil {
			return tlog.Hash{}, err
		}
	}
	l.mu.Lock()
	size, root := l.state.tree.n, l.state.tree.root()
	l.mu.Unlock()
	hashes, err := openHashes(l.dir)
	if err != nil {
		return tlog.Hash{}, err
	}
	before, err := frontierAt(until, hashes)
	if err != nil {
		return tlog.Hash{}, err
	}
	proof, err := tlog.ProveTree(size, until, hashes)
	if err == nil {
		err = tlog.CheckTree(proof, size, root, until, before.root())
	}
	return before.root(), err
}

// removedKind is the kind of the event of a removal.
const removedKind = "ledger.removed"

// removeBefore removes the files of segments that a record says were removed.
func (l *Ledger) removeBefore(until int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 1 && l.segments[1].first <= until {
		s := l.segments[0]
		for _, name := range []string{s.file, named(startFile, s.first), named(IndexFile, s.first)} {
			if err := os.Remove(l.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return // the next start tries again
			}
		}
		l.segments = slices.Clone(l.segments[1:])
	}
}

// IndexFile is the name of a segment's index, which package search keeps.
const IndexFile = "index-%016d"

// Status is how a ledger is.
type Status struct {
	Records  int64  `json:"records"` // that there ever were
	First    int64  `json:"first"`   // that is still there
	Bytes    int64  `json:"bytes"`   // of records and hashes
	Segments int    `json:"segments"`
	Room     string `json:"room"`
	Dropped  int64  `json:"dropped,omitempty"` // events of Later, since the start
	Waited   int64  `json:"waited"`            // records since the start that were on disk before anybody went on (class A)
	Later    int64  `json:"later"`             // and those that nobody waited for (class B)
}

// Status tells how the ledger is.
func (l *Ledger) Status() Status {
	l.later.mu.Lock()
	dropped, later := l.later.all, l.later.kept
	l.later.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{
		Records: l.state.tree.n, First: l.segments[0].first, Bytes: l.used(), Segments: len(l.segments), Room: l.room.String(), Dropped: dropped,
		Waited: max(l.state.tree.n-l.opened-later, 0), Later: later,
	}
}
